"""A causal language model, seen as a policy over responses."""

import copy
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from rlnlp.config import Fresh
from rlnlp.errors import Exit, Failure
from rlnlp.maths.distribution import Distribution, logprobs_and_entropy, taken_logits
from rlnlp.models.tokenizer import Tokenizer
from rlnlp.types import Evaluation, Rollout, chunks

Seen = TypeVar("Seen")


class Policy(nn.Module):
    """pi(response | prompt)."""

    def __init__(self, lm: Any) -> None:
        super().__init__()
        self.lm = lm.eval()  # no dropout: sampling, old and new log-probabilities are of one distribution

    def forward(self, rollout: Rollout, distribution: Distribution) -> Evaluation:
        """Log-probability of each response token and entropy where it was drawn, both (B, T)."""
        logits = response_logits(self.lm, rollout)
        place = (rollout.mask.long().cumsum(1) - 1).clamp(min=0)
        logits = taken_logits(logits, rollout.responses, place, distribution)
        logprobs, entropy = logprobs_and_entropy(logits, rollout.responses)
        return Evaluation(logprobs.masked_fill(~rollout.mask, 0), entropy.masked_fill(~rollout.mask, 0))


def response_logits(lm: Any, rollout: Rollout) -> Tensor:
    """The model's logits for each response place, (B, T, V); the head runs on those places only."""
    out = lm(
        input_ids=rollout.tokens,
        attention_mask=rollout.attention.long(),
        position_ids=positions(rollout.attention),
        use_cache=False,
        logits_to_keep=rollout.responses.shape[1] + 1,
    )
    logits: Tensor = out.logits[:, :-1]
    return logits


def positions(attention: Tensor) -> Tensor:
    """Place of each real token among the real ones, 0 for padding: left padding must not move a prompt. (B, L)."""
    return (attention.long().cumsum(1) - 1).clamp(min=0)


def frozen(policy: Policy) -> Policy:
    """A copy of ``policy`` as it is now, without gradients: the reference."""
    return copy.deepcopy(policy).requires_grad_(False)


def scorer(policy: Policy, distribution: Distribution, micro_batch_size: int) -> Callable[[Rollout], Tensor]:
    """``rollout -> log pi`` of its responses, (B, T), without a gradient, under ``policy`` as it is when called."""

    @torch.no_grad()
    def logprobs(rollout: Rollout) -> Tensor:
        parts = chunks(rollout, len(rollout.responses), micro_batch_size)
        return torch.cat([policy(part, distribution).logprobs for part in parts])

    return logprobs


def remembered(function: Callable[[Rollout], Seen]) -> Callable[[Rollout], Seen]:
    """``function`` with its last answer kept: two that ask about one rollout cost one forward."""
    last: list[tuple[Rollout, Seen]] = []

    def ask(rollout: Rollout) -> Seen:
        if not last or last[0][0] is not rollout:
            last[:] = [(rollout, function(rollout))]
        return last[0][1]

    return ask


def load_policy(place: str, local_only: bool, device: torch.device) -> Policy:
    """The causal language model at ``place`` in float32.

    Raises:
        Failure: exit 4, if it cannot be loaded whole: every weight must come from the files.
    """
    from transformers import AutoModelForCausalLM

    try:
        lm, info = AutoModelForCausalLM.from_pretrained(
            place,
            local_files_only=local_only,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            attn_implementation=_attention(device),
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise Failure(Exit.MODEL, f"model '{place}' cannot be loaded: {str(error).splitlines()[0]}") from error
    missing = sorted(info["missing_keys"])
    if missing:
        raise Failure(Exit.MODEL, f"model '{place}' lacks {len(missing)} weights, such as {missing[0]}")
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
        attn_implementation=_attention(device),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(rng_seed)
        lm = LlamaForCausalLM(config)
    return Policy(lm.to(device))


def context_length(policy: Policy) -> int:
    """The longest text that the model can read, tokens."""
    config = policy.lm.config
    return int(config.max_position_embeddings if hasattr(config, "max_position_embeddings") else config.n_positions)


def _attention(device: torch.device) -> str:
    # On a CPU the backward of the fused kernels is about ten times slower than plain products at these lengths.
    return "eager" if device.type == "cpu" else "sdpa"
