"""A causal language model, seen as a policy over responses."""

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, TypeVar

import torch
import torch.utils.checkpoint
from torch import Tensor, nn

from rlnlp.config.schema import Fresh
from rlnlp.errors import Exit, Failure
from rlnlp.maths.distribution import Distribution, logprobs_and_entropy, taken_logits
from rlnlp.models.blocks import Blocks
from rlnlp.models.look import Looked
from rlnlp.models.tokenizer import Tokenizer
from rlnlp.types import PolicyOutput, Rollout, length_sorted_rows, restore_row_order, take, trim_padding

Seen = TypeVar("Seen")


class Policy(Looked[[Distribution], PolicyOutput]):
    """pi(response | prompt)."""

    def __init__(self, lm: Any, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.lm = lm.eval()  # no dropout: sampling, old and new log-probabilities are of one distribution
        self.dtype = dtype
        self.blocks = Blocks(lm)
        self.recomputed: list[nn.Module] = []

    def read(self, rollout: Rollout, distribution: Distribution) -> PolicyOutput:
        """Log-probability of each response token and entropy where it was drawn, both (B, T)."""
        trimmed, width = trim_padding(rollout), rollout.mask.shape[1]
        said = evaluation(self.outputs(trimmed).logits, trimmed, distribution)
        return PolicyOutput(pad_to(said.logprobs, width), pad_to(said.entropy, width))

    def outputs(self, rollout: Rollout, **asked: Any) -> Any:
        """What the model says of each response position; only the positions before them go through the head."""
        read, width = rollout.attention[:, :-1], rollout.responses.shape[1]  # nothing is foretold by the last token
        # By number, not by count: a frozen head would multiply the slice of a count many times slower than a matrix.
        before = torch.arange(read.shape[1] - width, read.shape[1], device=read.device)
        with computing_in(self.dtype, rollout.mask.device), sparing(self.blocks, self.recomputed, rollout):
            return self.lm(
                input_ids=rollout.tokens[:, :-1],
                attention_mask=read.long(),
                position_ids=positions(read),
                use_cache=False,
                logits_to_keep=before,
                **asked,
            )


def evaluation(logits: Tensor, rollout: Rollout, distribution: Distribution) -> PolicyOutput:
    """Log-probability and entropy, both (B, T), from the logits of the response positions, (B, T, V)."""
    position = (rollout.mask.long().cumsum(1) - 1).clamp(min=0)
    logits = taken_logits(logits, rollout.responses, position, distribution)
    logprobs, entropy = logprobs_and_entropy(logits, rollout.responses, spent=True)
    return PolicyOutput(logprobs.masked_fill(~rollout.mask, 0), entropy.masked_fill(~rollout.mask, 0))


def pad_to(x: Tensor, width: int) -> Tensor:
    """``x`` (B, t) with zeros up to ``width`` positions."""
    return nn.functional.pad(x, (0, width - x.shape[1]))


def computing_in(dtype: torch.dtype, device: torch.device) -> torch.autocast:
    """A context in which products of float32 weights are computed in ``dtype``."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


@contextmanager
def recomputing(layers: list[nn.Module]) -> Iterator[None]:
    """Where checkpointed layers forget what they computed, if a gradient is wanted.

    transformers does so in training mode only, where dropout is on as well; here the layers alone are in that mode,
    not what is in them, and only while a gradient is taken: sampling needs their cache.
    """
    for layer in layers:
        layer.training = torch.is_grad_enabled()
    try:
        yield
    finally:
        for layer in layers:
            layer.training = False


def sparing(blocks: Blocks, recomputed: list[nn.Module], rollout: Rollout) -> AbstractContextManager[None]:
    """Where a pass over ``rollout`` keeps no more than it must: a layer that computes again must do all of it twice."""
    return recomputing(recomputed) if recomputed else blocks.only_where_read(rollout)


def checkpointed(model: Any) -> list[nn.Module]:
    """The layers of a transformers model that now compute again in the backward pass.

    Raises:
        Failure: exit 4, if the architecture cannot.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    if not layers:
        raise Failure(Exit.MODEL, f"model.gradient_checkpointing: {type(model).__name__} has no layers that can do it")
    for layer in layers:
        layer.gradient_checkpointing = True
        layer._gradient_checkpointing_func = partial(torch.utils.checkpoint.checkpoint, use_reentrant=False)
    return layers


def positions(attention: Tensor) -> Tensor:
    """Place of each real token among the real ones, 0 for padding: left padding must not move a prompt. (B, L)."""
    return (attention.long().cumsum(1) - 1).clamp(min=0)


def frozen(policy: Policy) -> Policy:
    """A copy of ``policy`` as it is now, without gradients: the reference."""
    policy.looked.clear()
    return copy.deepcopy(policy).requires_grad_(False)


def logprob_fn(policy: Policy, distribution: Distribution, micro_batch_size: int) -> Callable[[Rollout], Tensor]:
    """``rollout -> log pi`` of its responses, (B, T), without a gradient, under ``policy`` as it is when called."""

    @torch.no_grad()
    def logprobs(rollout: Rollout) -> Tensor:
        rows = length_sorted_rows(rollout, micro_batch_size)
        return restore_row_order([policy(take(rollout, part), distribution).logprobs for part in rows], rows)

    return logprobs


def forward_fn(policy: Policy, distribution: Distribution, micro_batch_size: int) -> Callable[[Rollout], Tensor]:
    """As ``logprob_fn``, for a rollout that is learned from next: one micro-batch is passed once for both."""
    score = logprob_fn(policy, distribution, micro_batch_size)

    def logprobs(rollout: Rollout) -> Tensor:
        whole = len(rollout.mask) <= micro_batch_size
        return policy.look(rollout, distribution).logprobs if whole else score(rollout)

    return logprobs


def remembered(function: Callable[[Rollout], Seen]) -> Callable[[Rollout], Seen]:
    """``function`` with its last answer kept: two that ask about one rollout cost one forward."""
    last: list[tuple[Rollout, Seen]] = []

    def ask(rollout: Rollout) -> Seen:
        if not last or last[0][0] is not rollout:
            last[:] = [(rollout, function(rollout))]
        return last[0][1]

    return ask


def load_policy(model_id: str, local_only: bool, device: torch.device) -> Policy:
    """The causal language model at ``model_id`` in float32.

    Raises:
        Failure: exit 4, if it cannot be loaded whole: every weight must come from the files.
    """
    from transformers import AutoModelForCausalLM

    try:
        lm, info = AutoModelForCausalLM.from_pretrained(
            model_id,
            local_files_only=local_only,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            attn_implementation=attention_kind(device),
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise Failure(Exit.MODEL, f"model '{model_id}' cannot be loaded: {str(error).splitlines()[0]}") from error
    missing = sorted(info["missing_keys"])
    if missing:
        raise Failure(Exit.MODEL, f"model '{model_id}' lacks {len(missing)} weights, such as {missing[0]}")
    return Policy(lm.to(device))


def fresh_policy(size: Fresh, tokenizer: Tokenizer, rng_seed: int, device: torch.device) -> Policy:
    """A Llama of the given size with random weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer.raw),
        hidden_size=size.width,
        intermediate_size=-(-size.width * 8 // 3 // 8) * 8,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        max_position_embeddings=size.context,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.start[0] if tokenizer.start else None,
        eos_token_id=tokenizer.end[0],
        pad_token_id=tokenizer.pad,
        attn_implementation=attention_kind(device),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(rng_seed)
        lm = LlamaForCausalLM(config)
    return Policy(lm.to(device))


def context_length(policy: Policy) -> int:
    """The longest text that the model can read, tokens."""
    config = policy.lm.config
    return int(config.max_position_embeddings if hasattr(config, "max_position_embeddings") else config.n_positions)


def attention_kind(device: torch.device) -> str:
    """The implementation of attention that trains fastest on ``device``."""
    # On a CPU the backward of the fused kernels is about ten times slower than plain products at these lengths.
    return "eager" if device.type == "cpu" else "sdpa"
