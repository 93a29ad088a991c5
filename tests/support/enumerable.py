"""A language so small that every text can be listed: exact objectives, and the optimum in closed form."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rlnlp.maths.rewards import on_last_token
from rlnlp.models.policy import Policy, logprob_fn
from rlnlp.types import Prompts, Rollout, Scores
from support import small

# The end token also starts: were it a token of the texts, a model with rotary places only could not tell x from x x,
# for attention over equal values is the same whatever their number, and the optimum would be out of its reach.
VOCABULARY, LONGEST, START = 8, 3, small.END


@dataclass(frozen=True)
class Language:
    """All texts of at most three tokens with a random reward each, and where a policy starts from."""

    texts: Rollout
    rewards: Tensor  # (N,)
    policy: Policy
    reference: Policy
    kl_coef: float

    def logprobs(self, policy: Policy) -> Tensor:
        """log pi(y) of every text, (N,)."""
        return logprob_fn(policy, small.plain(), 512)(self.texts).sum(1)

    def objective(self, policy: Policy) -> float:
        """J(pi) = E[r] - kl_coef KL(pi, ref), exactly."""
        lp, ref = self.logprobs(policy).double(), self.logprobs(self.reference).double()
        assert abs(float(lp.exp().sum()) - 1) < 1e-4, "the list of texts must be complete"
        return float((lp.exp() * (self.rewards.double() - self.kl_coef * (lp - ref))).sum())

    def optimum(self) -> float:
        """J* = kl_coef log sum_y ref(y) exp(r(y) / kl_coef)."""
        ref = self.logprobs(self.reference).double()
        return float(self.kl_coef * (ref + self.rewards.double() / self.kl_coef).logsumexp(0))

    def gained(self) -> float:
        """The share of J* - J(ref) that the policy has now."""
        start = self.objective(self.reference)
        return (self.objective(self.policy) - start) / (self.optimum() - start)

    def reward(self) -> Callable[[Rollout], Scores]:
        """``rollout -> Scores`` by looking the text up."""
        index = {
            key(row, mask): i for i, (row, mask) in enumerate(zip(self.texts.responses, self.texts.mask, strict=True))
        }

        def score(rollout: Rollout) -> Scores:
            found = [index[key(row, mask)] for row, mask in zip(rollout.responses, rollout.mask, strict=True)]
            value = self.rewards[found]
            return Scores(on_last_token(value, rollout.mask), {"random": value})

        return score


def key(row: Tensor, mask: Tensor) -> tuple[int, ...]:
    """A text as a key."""
    return tuple(row[mask].tolist())


def language(seed: int, kl_coef: float) -> Language:
    """A language with rewards of deviation 1 and a start near the uniform policy."""
    policy = small.policy(VOCABULARY, width=32, layers=2, seed=seed, spread=0.05, tied=False)
    texts = every_text()
    rewards = torch.from_numpy(np.random.default_rng(seed).standard_normal(len(texts.mask))).float()
    return Language(texts, rewards, policy, policy.reference(), kl_coef)


def every_text() -> Rollout:
    """Every response of at most three tokens that ends with the end token or is three tokens long."""
    rows = []
    for n in range(1, LONGEST + 1):
        for row in itertools.product(range(VOCABULARY), repeat=n):
            if small.END not in row[:-1] and (row[-1] == small.END or n == LONGEST):
                rows.append(row)
    mask = torch.tensor([[t < len(row) for t in range(LONGEST)] for row in rows])
    responses = torch.tensor([[*row, *[0] * (LONGEST - len(row))] for row in rows])
    prompts = small.prompts(*[[START]] * len(rows))
    ended = torch.tensor([small.END in row for row in rows])
    return Rollout(prompts, responses, mask, torch.cat([prompts.mask, mask], 1), ended)


def one_prompt(step: int) -> Prompts:
    """The only prompt there is."""
    return small.prompts([START])
