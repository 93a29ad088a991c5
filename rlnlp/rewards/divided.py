"""Which of several processes computes a term: each its own rows, or the first one all of them."""

import torch
from torch import Tensor

from rlnlp.config.reward import REWARDS, RewardTerm
from rlnlp.processes.rows import of_first, own, process_count, whole
from rlnlp.rewards.arguments import MODELS
from rlnlp.rewards.terms import PartlyGiven, Term
from rlnlp.types import Rollout


def divided(term: Term, settings: RewardTerm) -> Term:
    """``term`` for the whole rollout, the same in every process.

    A model reads the responses of each process there. A function of texts is called in the first process alone, with
    all responses: it may compare them, count its calls or ask a service. Coherence is divided already.
    """
    if process_count() == 1 or settings.fn == "coherence":
        return term
    return by_rows(term) if REWARDS.get(settings.fn, "").startswith(MODELS) else by_first(term)


def by_rows(term: Term) -> Term:
    """The values of each process's own rows, put together; (B,) or (B, T)."""

    def call(rollout: Rollout) -> Tensor | PartlyGiven:
        found, rows, device = term(own(rollout)), len(rollout.mask), rollout.mask.device
        if isinstance(found, PartlyGiven):
            return PartlyGiven(whole(found.values.to(device), rows), whole(found.given.to(device), rows))
        return whole(found.to(device), rows)

    return call


def by_first(term: Term) -> Term:
    """The values that the first process finds; (B,) or (B, T)."""

    def call(rollout: Rollout) -> Tensor | PartlyGiven:
        def found() -> Tensor:
            values = term(rollout)
            given = values.given if isinstance(values, PartlyGiven) else torch.ones(len(rollout.mask))
            plain = values.values if isinstance(values, PartlyGiven) else values
            return torch.cat([given.float().unsqueeze(1), plain.reshape(len(given), -1).float()], 1)

        given, *_ = (sent := of_first(found)).unbind(1)
        values = sent[:, 1] if sent.shape[1] == 2 else sent[:, 1:]
        return values if bool(given.all()) else PartlyGiven(values, given.bool())

    return call
