"""PPO once more, slowly: one sequence at a time without padding, plain Python for all that has no gradient.

Around it the small real parts that the fast one needs: a model of about a thousand weights in float64, prompts of two
lengths, rewards for each token, a desk instead of a run directory.
"""

import copy
import math
from dataclasses import dataclass, replace
from itertools import chain

import torch
from omegaconf import OmegaConf

from rlnlp.algos import ppo
from rlnlp.algos.kl_control import kl_control
from rlnlp.algos.ptx import without_texts
from rlnlp.config.algos import Ppo
from rlnlp.config.parse import parse
from rlnlp.maths.distribution import Distribution
from rlnlp.models.critic import critic_like
from rlnlp.models.policy import Policy, logprob_fn
from rlnlp.rng import stream
from rlnlp.rollout.sampling import sampler
from rlnlp.types import Rollout, Scores
from support import reference, small

D = torch.float64
VOCABULARY, LONGEST = 6, 5
PROMPTS = ([1, 3, 1, 4], [3])
WORTH = torch.tensor([0.3, -0.7, 0.5, 1.1, -0.2, 0.8], dtype=D)


def settings(**changes) -> Ppo:
    """conf/algo_ppo.yaml, made small, with changes; the critic has the policy's rate unless it is given one."""
    composed = OmegaConf.to_container(OmegaConf.load(small.ROOT / "conf" / "algo_ppo.yaml"))
    base = {
        "total_steps": 1, "batch_size": 2, "num_generations": 4, "micro_batch_size": 64, "kl_coef": 0.3,
        "ppo_epochs": 4, "learning_rate": 1e-3, "critic": "separate", "gamma": 1.0,
        "lam": 0.95, "cliprange": 0.2, "cliprange_high": 0.2, "cliprange_value": 0.2, "vf_coef": 0.1,
    }  # fmt: skip
    asked = {**composed, **base, **changes}
    asked["critic_learning_rate"] = changes.get("critic_learning_rate", asked["learning_rate"])
    return parse(Ppo, asked)


def policy(seed: int = 0) -> Policy:
    """A Llama of one layer in float64."""
    lm = small.lm(VOCABULARY, width=8, layers=1, seed=seed).double()
    lm.set_attn_implementation("sdpa")  # the eager one takes its softmax in float32: NaN on float64's padding
    return Policy(lm)


class Desk:
    """What ``train`` needs of a run: steps, streams, and somewhere to write."""

    def __init__(self, seed: int = 0) -> None:
        self.seed, self.rows, self.at_step = seed, [], lambda step: None

    def steps(self, total, parts):
        """1 to ``total``; ``at_step`` is called after the body of each."""
        for step in range(1, total + 1):
            yield step
            self.at_step(step)

    def rng(self, name, *index):
        """The stream of a real run."""
        return stream(self.seed, name, *index)

    def log(self, step, **figures):
        """Keep the figures."""
        self.rows.append(figures)


def dense(rollout: Rollout) -> Scores:
    """A reward on each chosen token, by the token and its place."""
    place = 1 + torch.arange(rollout.mask.shape[1], dtype=D)
    return Scores((WORTH[rollout.responses] / place).masked_fill(~rollout.mask, 0), {})


def constant(rollout: Rollout) -> Scores:
    """The reward 0.7 on the last token of each response."""
    rewards = torch.zeros(rollout.mask.shape, dtype=D)
    for row, mask in zip(rewards, rollout.mask.tolist(), strict=True):
        row[reference.places(mask)[-1]] = 0.7
    return Scores(rewards, {})


class Play:
    """PPO on ``PROMPTS``: its actor and critic, what it collects, and what it has logged."""

    def __init__(self, c: Ppo, drawn: Distribution | None = None, holes: bool = False, reward=dense, **made) -> None:
        self.c, self.drawn, self.holes, self.reward = c, drawn or small.plain(), holes, reward
        self.policy = made.get("policy") or policy()
        self.reference = (made.get("reference") or self.policy).reference()
        self.actor = ppo.actor_critic(
            self.policy, critic_like(self.policy) if c.critic == "separate" else None, self.drawn, c
        )
        self.critic = self.actor.parts["critic"].double()
        self.head = self.critic if c.critic == "shared" else self.critic.head
        self.trunk = self.policy.lm.model if c.critic == "shared" else self.critic.trunk
        self.control = kl_control(c.kl_coef, c.kl_target, c.kl_horizon)
        self.desk, self.rollouts, self.ptx = Desk(), [], without_texts

    def wake(self) -> "Play":
        """Values that are not 0, and a critic with a trunk of its own."""
        generator = torch.Generator().manual_seed(7)
        if self.c.critic == "separate":
            self.trunk.load_state_dict(policy(5).lm.model.state_dict())
        for weight in self.head.parameters():
            weight.data.copy_(torch.randn(weight.shape, generator=generator, dtype=D))
        return self

    def collect(self, prompts, rng) -> Rollout:
        """Responses drawn from the policy; with ``holes``, the second token of a long one was not its choice."""
        rollout = sampler(self.policy, self.drawn, LONGEST, 0)(prompts, rng)
        if self.holes:
            mask = rollout.mask.clone()
            mask[mask.sum(1) > 2, 1] = False
            rollout = replace(rollout, mask=mask)
        self.rollouts.append(rollout)
        return rollout

    def train(self) -> list[dict[str, float]]:
        """The real loop. Returns the figures of each step."""
        asked = small.prompts(*PROMPTS)
        ppo.train(
            self.actor, lambda step: asked, self.collect, self.reward,
            logprob_fn(self.reference, self.drawn.unfiltered(), 64),
            ppo.sampling_mismatch(self.policy, self.drawn, self.c), self.control,
            lambda *seen: seen[-1], self.ptx, self.c, self.desk,
        )  # fmt: skip
        return self.desk.rows


@dataclass
class Row:
    """A response: what its policy, its reference and its critic said when it was drawn, and what came of it."""

    tokens: tuple[int, ...]
    chosen: list[int]  # places in ``tokens``
    logprobs: list[float]
    values: list[float]
    rewards: list[float]
    advantages: list[float]
    returns: list[float]


def sequences(rollout: Rollout) -> list[tuple[tuple[int, ...], list[int]]]:
    """Each row without padding, and the places in it that the policy chose."""
    out = []
    for tokens, read, mask in zip(rollout.tokens, rollout.attention, rollout.mask, strict=True):
        whole = torch.cat([torch.zeros(len(read) - len(mask), dtype=torch.bool), mask])
        out.append((tuple(tokens[read].tolist()), reference.places(whole[read].tolist())))
    return out


def says(policy: Policy, tokens, chosen, temperature: float):
    """Log-probability of each chosen token and entropy before it: of one sequence, from the model's own logits."""
    logits = policy.lm(torch.tensor([tokens])).logits[0] / temperature
    rows = [logits[t - 1].log_softmax(-1) for t in chosen]
    return [row[tokens[t]] for row, t in zip(rows, chosen, strict=True)], [-(r.exp() * r).sum() for r in rows]


def judges(play: Play, tokens, chosen):
    """The value of what stands before each chosen token."""
    hidden = play.trunk(torch.tensor([tokens])).last_hidden_state[0]
    return [play.head.linear(hidden[t - 1])[0] for t in chosen]


def numbers(tensors) -> list[float]:
    """As plain floats."""
    return [torch.as_tensor(t).item() for t in tensors]


def remember(play: Play, rollout: Rollout, kl_coef: float) -> dict[tuple[int, ...], Row]:
    """The rollout as seen by the policy and the critic as they are now."""
    c, rows = play.c, []
    rewards = play.reward(rollout).rewards
    for (tokens, chosen), given, mask, ended in zip(
        sequences(rollout), rewards, rollout.mask, rollout.ended, strict=True
    ):
        logprobs = numbers(says(play.policy, tokens, chosen, play.drawn.temperature)[0])
        ref = numbers(says(play.reference, tokens, chosen, play.drawn.temperature)[0])
        kl = [reference.kl_of_token(p, q, c.kl_estimator) for p, q in zip(logprobs, ref, strict=True)]
        most = 10 if c.kl_estimator == "k3" else math.inf
        paid = numbers(r - kl_coef * min(k, most) for r, k in zip(given[mask], kl, strict=True))
        paid[-1] -= 0 if ended else c.missing_eos_penalty
        rows.append(Row(tokens, chosen, logprobs, numbers(judges(play, tokens, chosen)), paid, [], []))
    width = max(len(row.chosen) for row in rows)
    masks = [[True] * len(row.chosen) + [False] * (width - len(row.chosen)) for row in rows]

    def wide(x):
        return [*x, *[0.0] * (width - len(x))]

    paid, values = [wide(row.rewards) for row in rows], [wide(row.values) for row in rows]
    if c.whiten_rewards:
        paid = reference.whitened(paid, masks, keep_mean=True)
    raw = reference.generalized_advantages(paid, values, masks, c.gamma, c.lam)
    white = reference.whitened(raw, masks)
    for row, advantages, better in zip(rows, raw, white, strict=True):
        row.advantages = better[: len(row.chosen)]
        row.returns = [a + v for a, v in zip(advantages[: len(row.chosen)], row.values, strict=True)]
    return {row.tokens: row for row in rows}


def losses(play: Play, parts: list[Rollout], memory):
    """Of a minibatch: policy loss less entropy bonus, value loss, and the figures, each a mean over tokens."""
    c, policy_loss, value_loss, sums = play.c, 0, 0, dict.fromkeys(
        ("policy_loss", "entropy", "clip_fraction", "approx_kl", "ratio", "value_loss", "value_clip_fraction"), 0.0
    )  # fmt: skip
    tokens = sum(int(part.mask.sum()) for part in parts)
    total = sum(len(part.mask) for part in parts) if c.loss_reduction == "sequences" else tokens
    for words, chosen in chain.from_iterable(map(sequences, parts)):
        row = memory[words]
        logprobs, entropies = says(play.policy, words, chosen, play.drawn.temperature)
        values = judges(play, words, chosen)
        for i in range(len(chosen)):
            ratio, a = (logprobs[i] - row.logprobs[i]).exp(), row.advantages[i]
            free, held = ratio * a, ratio.clamp(1 - c.cliprange, 1 + c.cliprange_high) * a
            near = values[i].clamp(row.values[i] - c.cliprange_value, row.values[i] + c.cliprange_value)
            far, close = (values[i] - row.returns[i]) ** 2, (near - row.returns[i]) ** 2
            policy_loss = policy_loss - torch.minimum(free, held) / total - c.entropy_coef * entropies[i] / total
            value_loss = value_loss + torch.maximum(far, close) / 2 / total
            seen = (-min(free, held), entropies[i], held < free, (logprobs[i] - row.logprobs[i]) ** 2 / 2, ratio,
                    max(far, close) / 2, close > far)  # fmt: skip
            for name, figure in zip(sums, numbers(seen), strict=True):
                sums[name] += figure / tokens
    return policy_loss, value_loss, sums


def state(module) -> dict[str, torch.Tensor]:
    """A copy of the weights."""
    return copy.deepcopy(module.state_dict())


def same(before, module) -> bool:
    """True if no byte of the weights has changed."""
    now = module.state_dict()
    return all(torch.equal(weight, now[name]) for name, weight in before.items())
