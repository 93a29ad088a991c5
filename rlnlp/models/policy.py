"""A causal language model, seen as a policy over responses."""

import copy
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from rlnlp.batching import length_sorted_rows, restore_row_order
from rlnlp.device import computing_in
from rlnlp.maths.distribution import Distribution, taken_logits
from rlnlp.maths.token_statistics import logprobs_and_entropy
from rlnlp.models.adapter_files import ADAPTER_WEIGHTS
from rlnlp.models.calling import argument_names, last_logits, named_only
from rlnlp.models.fast import checkpointed
from rlnlp.models.locate import UNBOUNDED, context_in
from rlnlp.models.lora import Adapter, Adapters
from rlnlp.models.reading import Reading, Sharing, reading, sharing_of
from rlnlp.processes.rows import own, whole
from rlnlp.run.parts import WEIGHTS
from rlnlp.types import PolicyOutput, Rollout, take

LogprobFn = Callable[[Rollout], Tensor]
Answer = TypeVar("Answer")


class Policy(nn.Module):
    """pi(response | prompt). Nothing outside this room touches ``lm``, the model of transformers.

    ``files`` gives the content of its config and tokenizer by file name: beside the weights of ``body`` they make a
    folder that transformers loads. ``first_position`` is that of a text's first token. Where the cache of keys and
    values does not work, ``cached`` is False and each token of a response costs a pass over all of it; where only its
    rows cannot be left out, ``shrinks`` is False. ``sharing``: how responses share a prompt that they have in common,
    None if each is read behind its own. ``drawable``: tokens with a higher id are never drawn, None if all
    may be. ``unused`` names the weights of the files that the model has no place for.

    Where an ``adapter`` learns, the weights of ``lm`` do not; other policies may use them with adapters of their own.
    """

    def __init__(self, lm: Any, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.lm = lm.eval()  # no dropout: sampling, old and new log-probabilities are of one distribution
        self.names = argument_names(lm)
        self.first_position, self.cached, self.shrinks = 0, True, True
        self.may_share = True
        self.sharing: Sharing | None = None
        self.width: int | None = None
        self.unused: tuple[str, ...] = ()
        self.drawable: int | None = None
        self.dtype = dtype
        self.recomputed: list[nn.Module] = []
        self.files: Callable[[], Mapping[str, bytes]] = dict
        self.adapter: Adapter | None = None
        self.adapters: Adapters | None = None
        self.adapter_files: Mapping[str, bytes] = {}

    @property
    def body(self) -> nn.Module:
        """The module whose weights are stored: the adapter, if there is one."""
        body: nn.Module = self.lm if self.adapter is None else self.adapter
        return body

    @property
    def weights_file(self) -> str:
        """What the file of the weights of ``body`` is called."""
        return WEIGHTS if self.adapter is None else ADAPTER_WEIGHTS

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = self.lm.device
        return device

    @property
    def hidden_size(self) -> int:
        """Width of the hidden states: as measured, else as the config says."""
        return int(self.lm.config.get_text_config().hidden_size) if self.width is None else self.width

    @property
    def vocabulary(self) -> int:
        """Rows of the embedding: tokens that the model knows."""
        return int(self.lm.get_input_embeddings().num_embeddings)

    @property
    def logit_count(self) -> int:
        """Rows of the head: logits at each position."""
        head = self.lm.get_output_embeddings()
        return self.vocabulary if head is None else len(head.weight)

    @property
    def ends(self) -> tuple[int, ...]:
        """The tokens that end a response by the model's generation config."""
        stored = self.lm.generation_config.eos_token_id if self.lm.can_generate() else None
        return () if stored is None else (stored,) if isinstance(stored, int) else tuple(stored)

    @property
    def context(self) -> int:
        """The longest text that the model can read, tokens."""
        limit = context_in(self.lm.config.to_dict())
        return UNBOUNDED if limit is None else limit - self.first_position

    def trainable(self) -> list[nn.Parameter]:
        """The weights that learn."""
        return [p for p in self.parameters() if p.requires_grad]

    @property
    def shares(self) -> bool:
        """True if responses may share their prompt: they should not be torn apart."""
        return self.sharing is not None

    def share_prompts(self, how: str) -> None:
        """With ``auto``, let responses share their prompt from now on, where a check allows it and it is less work."""
        if how == "auto" and self.may_share:
            self.sharing = sharing_of(self.lm, self.context, self.adapters is not None)

    def recompute_layers(self) -> None:
        """Recompute layers in the backward pass from now on: less memory, more time.

        Raises:
            Failure: exit 4, if the architecture cannot.
        """
        self.recomputed = checkpointed(self.lm) if self.adapters is None else checkpointed(self.lm, self.adapters.again)

    def learn(self, adapter: Adapter, adapters: Adapters) -> None:
        """Let ``adapter`` learn from now on, and not the weights; ``adapters`` say what the layers use."""
        self.lm.requires_grad_(False)
        self.adapter, self.adapters = adapter, adapters

    def adapted(self) -> AbstractContextManager[None]:
        """A context in which the layers of ``lm`` use the policy's adapter, or none if it has none."""
        return nullcontext() if self.adapters is None else self.adapters.using(self.adapter)

    def reference(self, dtype: torch.dtype | None = None) -> "Policy":
        """The policy as it is now, without gradients: a copy, or the same weights without the adapter that learns.

        A copy holds its weights in ``dtype`` and computes in it; None is as the policy does.
        """
        if self.adapter is None and dtype is not None:
            return self._copy_in(dtype)
        if self.adapter is None:
            return copy.deepcopy(self).requires_grad_(False)
        start = Policy(self.lm, self.dtype)
        start.first_position, start.cached, start.shrinks = self.first_position, self.cached, self.shrinks
        start.width, start.drawable, start.adapters = self.width, self.drawable, self.adapters
        start.sharing = self.sharing
        if not self.adapter.adds_nothing:
            start.adapter = copy.deepcopy(self.adapter).requires_grad_(False)
        return start

    def _copy_in(self, dtype: torch.dtype) -> "Policy":
        weights = {id(p): nn.Parameter(p.detach().to(dtype, copy=True), requires_grad=False) for p in self.parameters()}
        start = copy.deepcopy(self, weights)  # buffers stay exact, such as the frequencies of positions
        start.dtype = torch.float32  # of products of float32 weights; those of others are in theirs
        return start

    def forward(self, rollout: Rollout, distribution: Distribution) -> PolicyOutput:
        """Log-probability of each response token and entropy where it was drawn, both (B, T)."""
        read, width = self.reading(rollout), rollout.mask.shape[1]
        out = policy_output(self.outputs(read).logits, read.rollout, distribution)
        return PolicyOutput(read.restored(out.logprobs, width), read.restored(out.entropy, width))

    def reading(self, rollout: Rollout) -> Reading:
        """``rollout`` as the policy reads it."""
        return reading(rollout, self.sharing, self.first_position)

    def outputs(self, read: Reading, **wanted: Any) -> Any:
        """The model's outputs, logits (N, T, V) of the response positions only: no others go through the head."""
        with computing_in(self.dtype, read.tokens.device), read.attending(self.lm.config):
            out = self.call(
                input_ids=read.tokens,
                attention_mask=read.attention,
                position_ids=read.positions,
                use_cache=False,
                logits_to_keep=read.before,
                **wanted,
            )
        out.logits = read.of_responses(last_logits(out.logits, read.before))[..., : self.drawable]
        return out

    def call(self, **arguments: Any) -> Any:
        """The model's outputs for those of the arguments that it reads."""
        with self.adapted():
            return self.lm(**named_only(self.names, arguments))


def policy_output(logits: Tensor, rollout: Rollout, distribution: Distribution) -> PolicyOutput:
    """Log-probability and entropy, both (B, T), from the logits of the response positions, (B, T, V)."""
    position = (rollout.mask.long().cumsum(1) - 1).clamp(min=0)
    logits = taken_logits(logits, rollout.responses, position, distribution)
    logprobs, entropy = logprobs_and_entropy(logits, rollout.responses, spent=True)
    return PolicyOutput(logprobs.masked_fill(~rollout.mask, 0), entropy.masked_fill(~rollout.mask, 0))


def logprob_fn(policy: Policy, distribution: Distribution, size: int, tokens: int | None = None) -> LogprobFn:
    """``rollout -> log pi`` of its responses, (B, T), without a gradient, under ``policy`` as it is when called.

    ``size`` and ``tokens`` are as in ``length_sorted_rows``.
    """

    @torch.no_grad()
    def logprobs(rollout: Rollout) -> Tensor:
        mine = own(rollout)
        rows = length_sorted_rows(mine, size, policy.shares, tokens)
        found = restore_row_order([policy(take(mine, part), distribution).logprobs for part in rows], rows)
        return whole(found, len(rollout.mask))

    return logprobs


def remembered(function: Callable[[Rollout], Answer]) -> Callable[[Rollout], Answer]:
    """``function`` with its last answer kept: two that ask about one rollout cost one forward."""
    last: list[tuple[Rollout, Answer]] = []

    def ask(rollout: Rollout) -> Answer:
        if not last or last[0][0] is not rollout:
            last[:] = [(rollout, function(rollout))]
        return last[0][1]

    return ask
