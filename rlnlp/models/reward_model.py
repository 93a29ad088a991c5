"""Reward models: scores of texts, by one or several members that learn to tell better answers from worse."""

import copy
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from rlnlp.batching import AtOnce, parts_at_once
from rlnlp.maths.preferences import ensemble_mean, ensemble_mean_minus_uncertainty, ensemble_minimum
from rlnlp.models.policy import Policy
from rlnlp.models.reward_check import check_trunks
from rlnlp.models.reward_encoder import ClassHead, EncoderTrunk
from rlnlp.models.reward_heads import LinearHead, MlpHead, new_head
from rlnlp.models.reward_memory import at_once
from rlnlp.models.reward_padding import fit_rows
from rlnlp.models.reward_pooling import POOLS
from rlnlp.models.reward_trunk import CausalTrunk
from rlnlp.models.text_tokens import TextBatch, TextTokens, text_batch
from rlnlp.models.tokenizer import Tokenizer
from rlnlp.rng import stream

MEAN, MINIMUM, LESS_UNCERTAINTY = "mean", "minimum", "mean-minus-uncertainty"
COMBINED = (MEAN, MINIMUM, LESS_UNCERTAINTY)
Rngs = Sequence[np.random.Generator]  # one for each member
SHARED, APART = "heads", "models"  # what the members of an ensemble are: heads on one trunk, or models


class RewardModel(nn.Module):
    """M members that score texts. ``trunks`` are one for all, or one each; ``heads`` one each.

    ``gain`` and ``bias`` (M,) put each member's score on a scale: gain * raw + bias. ``frozen``: the trunk does not
    learn, and its features may be kept. Trunks are never in training mode: dropout in a trunk makes two scores of one
    text differ. ``pad`` fills up; it is never the token that ends a text.
    """

    gain: Tensor
    bias: Tensor
    trunks: Any  # module lists are not typed
    heads: Any

    def __init__(
        self, trunks: Sequence[CausalTrunk | EncoderTrunk], heads: Sequence[LinearHead | MlpHead | ClassHead], pad: int,
        combine: str = MEAN, uncertainty_coef: float = 1.0, frozen: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        if len(trunks) not in (1, len(heads)) or combine not in COMBINED:
            raise ValueError(f"{len(trunks)} trunks for {len(heads)} heads, combined by {combine!r}")
        self.trunks, self.heads = nn.ModuleList(trunks), nn.ModuleList(heads)
        self.pad, self.combine, self.uncertainty_coef, self.frozen = pad, combine, uncertainty_coef, frozen
        self.register_buffer("gain", torch.ones(len(heads)))
        self.register_buffer("bias", torch.zeros(len(heads)))
        for trunk in trunks:
            trunk.requires_grad_(not frozen)
        self.eval()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.gain.device

    @property
    def context(self) -> int:
        """The longest text that the model can read, tokens."""
        return int(self.trunks[0].context)

    def train(self, mode: bool = True) -> Self:
        """As it is: it has no training mode."""
        return super().train(False)

    def trainable(self) -> list[nn.Parameter]:
        """The weights that learn."""
        return [weight for weight in self.parameters() if weight.requires_grad]

    def forward(self, batch: TextBatch, rngs: Rngs | None = None) -> Tensor:
        """The raw scores of each member, (M, B), with gradient; with ``rngs``, dropout of heads that have it is on."""
        if len(self.trunks) == 1:
            return self.heads_on(self.features(batch), rngs)
        members = zip(self.trunks, self.heads, self._each(rngs), strict=True)
        return torch.stack([head(trunk(batch), rng) for trunk, head, rng in members])

    def features(self, batch: TextBatch) -> Tensor:
        """What the trunk makes of each text, (B, D); without gradient if it is frozen.

        Raises:
            ValueError: each member has a trunk of its own.
        """
        if len(self.trunks) != 1:
            raise ValueError("members with trunks of their own have no features in common")
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            features: Tensor = self.trunks[0](batch)
        return features

    def heads_on(self, features: Tensor, rngs: Rngs | None = None) -> Tensor:
        """The raw scores of each member from the features of its texts. (B, D) -> (M, B)."""
        return torch.stack([head(features, rng) for head, rng in zip(self.heads, self._each(rngs), strict=True)])

    def _each(self, rngs: Rngs | None) -> Sequence[np.random.Generator | None]:
        return [None] * len(self.heads) if rngs is None else rngs

    @torch.no_grad()
    def hold_in(self, dtype: torch.dtype) -> None:
        """Hold the weights of the trunks in ``dtype``, and compute in it; heads and scales stay as they are."""
        for trunk in self.trunks:
            trunk.dtype = dtype
            for weight in trunk.body.parameters():
                weight.data = weight.data.to(dtype)

    @torch.no_grad()
    def normalize(self, gain: Sequence[float], bias: Sequence[float]) -> None:
        """Let each member's score be its gain times the raw one plus its bias, both (M,)."""
        self.gain.copy_(torch.tensor(gain))
        self.bias.copy_(torch.tensor(bias))

    def combined(self, raw: Tensor) -> Tensor:
        """The ensemble's scores: each member's on its scale, then combined. (M, N) -> (N,)."""
        scores = self.gain.unsqueeze(1) * raw + self.bias.unsqueeze(1)
        if self.combine == MINIMUM:
            return ensemble_minimum(scores)
        if self.combine == LESS_UNCERTAINTY:
            return ensemble_mean_minus_uncertainty(scores, self.uncertainty_coef)
        return ensemble_mean(scores)

    def at_once(self, texts: int | None, tokens: int | None = None) -> AtOnce:
        """How much the model reads at once: so many ``texts``, or None for as many as its size allows."""
        return at_once([trunk.body for trunk in self.trunks], texts, tokens)

    @torch.no_grad()
    def raw_scores(self, texts: Sequence[TextTokens], count: int, tokens: int | None = None) -> Tensor:
        """The raw scores of each member, (M, N); texts of similar length at a time, ``count`` of up to ``tokens``."""
        order = sorted(range(len(texts)), key=lambda i: (len(texts[i]), texts[i]))
        sizes = [(1, len(texts[i])) for i in order]
        parts = [order[part] for part in parts_at_once(sizes, count, tokens)]
        found = [self(text_batch([texts[i] for i in part], self.pad, self.device)) for part in parts]
        places = torch.tensor(order, device=self.device).argsort()
        return torch.cat([torch.zeros(len(self.heads), 0, device=self.device), *found], dim=1)[:, places]

    def scores(self, texts: Sequence[TextTokens], count: int, tokens: int | None = None) -> Tensor:
        """The ensemble's scores, (N,), in the order of the texts."""
        return self.combined(self.raw_scores(texts, count, tokens))


def reward_model_of(
    policy: Policy, tokenizer: Tokenizer, head: str, members: int, of: str, combine: str, uncertainty_coef: float,
    frozen_trunk: bool, rng_seed: int,
) -> RewardModel:  # fmt: skip
    """A reward model on the body of a causal language model, whose head it does not have.

    ``head`` is linear or mlp; ``of`` says whether the ``members`` are heads on one trunk or models of their own, which
    a frozen trunk makes the same. Each head starts from a stream of its own. ``tokenizer`` is one of
    ``padded_apart``.

    Raises:
        Failure: exit 4, if the score of a text would depend on anything else.
    """
    body = policy.lm.base_model
    fit_rows(body, tokenizer.pad)
    count = members if of == APART and not frozen_trunk else 1
    trunk = CausalTrunk(body, POOLS[head], policy.dtype, policy.first_position)
    check_trunks([trunk], tokenizer.pad, policy.device, "the model")
    trunks = [trunk, *(copy.deepcopy(trunk) for _ in range(count - 1))]
    heads = [new_head(head, policy.hidden_size) for _ in range(members)]
    for number, each in enumerate(heads):
        each.start(stream(rng_seed, "reward-head", number))
    model = RewardModel(trunks, heads, tokenizer.pad, combine, uncertainty_coef, frozen_trunk)
    return model.to(policy.device)
