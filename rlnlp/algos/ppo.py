"""Proximal policy optimization of a language model, token by token.

Schulman et al. 2017 (arXiv:1707.06347), as Ziegler et al. 2019 (arXiv:1909.08593) apply it to text.
"""

import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from rlnlp.algos.actor_critic import ActorCritic, Learner, Terms, check_ratio_is_one, separate, shared
from rlnlp.algos.kl_control import KlControl, kl_control
from rlnlp.algos.observe import Observer, rollout_metrics
from rlnlp.algos.optim import backward, clear, descend, learning_rate
from rlnlp.algos.schedule import FILTERED, schedule_text
from rlnlp.algos.setup import Stage, stage
from rlnlp.config.algos import Ppo
from rlnlp.config.schema import PpoRun
from rlnlp.evaluate.report import finish_run
from rlnlp.maths.advantages import generalized_advantages
from rlnlp.maths.distribution import Distribution
from rlnlp.maths.kl import ESTIMATORS, k1, penalized_rewards, subtract_missing_eos_penalty
from rlnlp.maths.losses import clipped_policy_gradient, clipped_value_error
from rlnlp.maths.masked import reduce, scale_to_unit_std, whitened
from rlnlp.maths.statistics import explained_variance
from rlnlp.models.critic import Critic, critic_like, load_critic, value_head
from rlnlp.models.policy import Policy
from rlnlp.rewards.terms import Reward
from rlnlp.rollout.sampling import Collect
from rlnlp.run.checkpoint import Parts, Stateful
from rlnlp.run.run import Run
from rlnlp.types import ActorCriticOutput, Experience, PolicyOutput, Prompts, Rollout, micro_batches, take


def train(
    actor: ActorCritic,
    prompts: Callable[[int], Prompts],
    collect: Collect,
    reward: Reward,
    reference: Callable[[Rollout], Tensor],
    control: KlControl,
    observe: Observer,
    c: Ppo,
    run: Run,
) -> None:
    """Ascend E[reward] - kl_coef KL(policy || reference): a rollout, then several updates that stay near its policy."""
    for step in run.steps(c.total_steps, parts(actor, control, observe)):
        rollout = collect(prompts(step).repeat(c.num_generations), run.rng("sampling", step))
        scores = reward(rollout)
        ref_logprobs = reference(rollout)
        with torch.set_grad_enabled(step > c.critic_warmup_steps):  # or no pass of the policy would use the graph
            old = actor.look(rollout)
        kl = k1(old.logprobs, ref_logprobs)
        rewards = subtract_missing_eos_penalty(scores.rewards, rollout.mask, rollout.ended, c.missing_eos_penalty)
        penalty = ESTIMATORS[c.kl_estimator](old.logprobs, ref_logprobs)
        experience = make_experience(rollout, old, penalized_rewards(rewards, penalty, rollout.mask, control.coef), c)

        found = actor.mismatch(rollout, old.logprobs)
        learners = actor.warming if step <= c.critic_warmup_steps else actor.learners
        found |= update_policy(learners, experience, step, c, run)

        figures = rollout_metrics(rollout, scores, kl, c.num_generations) | found
        figures["kl_coef"] = control.coef
        figures["explained_variance"] = explained_variance(old.values, experience.returns, rollout.mask)
        figures["learning_rate"] = learning_rate(c, step)
        control.adapt(figures["kl"], len(rollout.mask))
        run.log(
            step, episodes=len(rollout.mask), tokens=int(rollout.mask.sum()),
            **observe(step, rollout, scores, kl, figures),
        )  # fmt: skip


def make_experience(rollout: Rollout, old: ActorCriticOutput, rewards: Tensor, c: Ppo) -> Experience:
    """What is learned from a rollout: advantages with mean 0 and deviation 1 over the whole of it, and returns."""
    if c.whiten_rewards:
        rewards = scale_to_unit_std(rewards, rollout.mask)
    advantages = generalized_advantages(rewards, old.values, rollout.mask, c.gamma, c.lam)
    returns = advantages + old.values
    return Experience(rollout, old.logprobs, old.values, whitened(advantages, rollout.mask), returns)


def update_policy(learners: list[Learner], experience: Experience, step: int, c: Ppo, run: Run) -> dict[str, float]:
    """Up to ``ppo_epochs`` passes over the rollout; the mean of each update's figures.

    Raises:
        Failure: exit 4, if the policy was not at first the one that the rollout's log-probabilities come from.
    """
    seen: list[dict[str, float]] = []
    for part in minibatches(experience, step, c, run):
        found: dict[str, float] = {}
        for learner in learners:
            found |= accumulate(learner, part, c)
            if not seen:
                check_ratio_is_one(found, learner.dtype)
            if c.target_kl is not None and "approx_kl" in found and found["approx_kl"] > c.target_kl:
                clear(learner.steppers)
                return means(seen)
            found[learner.norm] = descend(learner.steppers, step, learner.c)
        seen.append(found)
    return means(seen)


def minibatches(experience: Experience, step: int, c: Ppo, run: Run) -> Iterator[Experience]:
    """The rollout in a new order each epoch, ``minibatch`` responses at a time; as it is if that is all of it."""
    for epoch in range(c.ppo_epochs):
        if c.minibatch == c.responses:
            yield experience
            continue
        order = run.rng("minibatches", step, epoch).permutation(len(experience.rollout.mask))
        for rows in torch.from_numpy(order).split(c.minibatch):
            yield take(experience, rows)


def accumulate(learner: Learner, part: Experience, c: Ppo) -> dict[str, float]:
    """Leave the gradient of the minibatch's loss in the learner's weights. Returns its figures, means over tokens.

    Each micro-batch divides by the count of the whole minibatch, so the cut changes nothing but rounding.
    """
    mask = part.rollout.mask
    tokens = int(mask.sum())
    total = len(mask) if c.loss_reduction == "sequences" else tokens
    sums: dict[str, Tensor] = {}
    for piece in micro_batches(part, part.rollout, c.micro_batch_size):
        terms = learner.terms(piece)
        backward(reduce(terms.loss, piece.rollout.mask, total))
        for name, figure in terms.figures.items():
            value = reduce(figure.detach().float(), piece.rollout.mask, tokens)
            sums[name] = sums[name] + value if name in sums else value
    return {name: float(value) for name, value in sums.items()}


def policy_terms(out: PolicyOutput, e: Experience, c: Ppo) -> Terms:
    """The clipped surrogate of eq. 7 less the entropy bonus of eq. 9 (arXiv:1707.06347), per token."""
    loss, clipped = clipped_policy_gradient(out.logprobs, e.old_logprobs, e.advantages, c.cliprange, c.cliprange_high)
    change = out.logprobs - e.old_logprobs
    figures = {
        "policy_loss": loss, "entropy": out.entropy, "clip_fraction": clipped,
        "approx_kl": change.square() / 2, "ratio": change.exp(),
    }  # fmt: skip
    return Terms(loss - c.entropy_coef * out.entropy, figures)


def value_terms(values: Tensor, e: Experience, c: Ppo) -> Terms:
    """Half the squared error of the critic, clipped around the old values, per token."""
    loss, clipped = clipped_value_error(values, e.old_values, e.returns, c.cliprange_value)
    return Terms(loss, {"value_loss": loss, "value_clip_fraction": clipped})


def means(rows: list[dict[str, float]]) -> dict[str, float]:
    """The mean of each figure over the updates, and their number."""
    names = dict.fromkeys(name for row in rows for name in row)
    found = {name: sum(row[name] for row in rows) / len(rows) for name in names}
    return {**found, "updates": float(len(rows))}


def parts(actor: ActorCritic, control: KlControl, observe: Observer) -> Parts:
    """What a checkpoint holds; a KL coefficient only if it moves."""
    held: Parts = {**actor.parts, "observer": observe}
    return {**held, "kl_control": control} if isinstance(control, Stateful) else held


def main(c: PpoRun, run: Run) -> None:
    """Put the parts of the config together, measure, train, measure again, and tell."""
    here = stage(c, run)
    actor = actor_critic(here.policy, own_critic(here.policy, c), here.distribution, c.algo)
    reference = here.reference
    control = kl_control(c.algo.kl_coef, c.algo.kl_target, c.algo.kl_horizon)
    before = here.measure_policy()
    run.log_message(schedule_text(c.algo, c.sampler.max_new_tokens, trial(here, actor, c.algo, run)))
    if here.distribution.filtered:
        run.log_message(FILTERED)
    train(actor, here.prompts, here.collect, here.reward, reference, control, here.observe, c.algo, run)
    finish_run(run, before, here.measure_policy(), here.policy, here.language.tokenizer, here.observe.health)


def trial(here: Stage, actor: ActorCritic, c: Ppo, run: Run) -> float:
    """Seconds that a step takes, from one that changes nothing: a rollout, and the gradient of a minibatch.

    Raises:
        Failure: exit 4, as ``update_policy``; here the look is always a pass of its own.
    """
    begun = time.monotonic()
    rollout = here.collect(here.prompts(1).repeat(c.num_generations), run.rng("trial"))
    rewards, _ = here.reward(rollout).rewards, here.reference(rollout)
    with torch.no_grad():
        old = actor.look(rollout)
    part = next(minibatches(make_experience(rollout, old, rewards, c), 0, c, run))
    looked = time.monotonic()
    for learner in actor.learners:
        check_ratio_is_one(accumulate(learner, part, c), learner.dtype)
        clear(learner.steppers)
    updates = c.ppo_epochs * c.responses // c.minibatch
    return looked - begun + updates * (time.monotonic() - looked)


def actor_critic(policy: Policy, critic: Critic | None, drawn: Distribution, c: Ppo) -> ActorCritic:
    """The policy with a critic, or without one with a value head; both read texts under the unfiltered distribution."""

    def acting(out: PolicyOutput, e: Experience) -> Terms:
        return policy_terms(out, e, c)

    def judging(values: Tensor, e: Experience) -> Terms:
        return value_terms(values, e, c)

    if critic is None:
        return shared(policy, value_head(policy), drawn, acting, judging, c)
    return separate(policy, critic, drawn, acting, judging, c)


def own_critic(policy: Policy, c: PpoRun) -> Critic | None:
    """The critic that starts as the config says; none if the policy has the value head."""
    if c.algo.critic == "shared":
        return None
    start = c.algo.critic_path
    return critic_like(policy) if start is None else load_critic(start, not c.model.allow_download, policy)
