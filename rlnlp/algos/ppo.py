"""Proximal policy optimization of a language model, token by token.

Schulman et al. 2017 (arXiv:1707.06347), as Ziegler et al. 2019 (arXiv:1909.08593) apply it to text.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import islice

import torch
from torch import Tensor

from rlnlp.algos.actor_critic import ActorCritic, Learner, SeparateActorCritic, SharedActorCritic
from rlnlp.algos.kl_control import KlControl, kl_control
from rlnlp.algos.observe import Observing, rollout_metrics
from rlnlp.algos.opening import FILTERED, WHOLE_CRITIC, Prepared
from rlnlp.algos.optim import clear, descend, learning_rate
from rlnlp.algos.ptx import Ptx, without_texts
from rlnlp.algos.setup import OnPolicySetup, load_language, on_policy_setup
from rlnlp.algos.update import TokenLosses, accumulate_gradient, mean_figures, minibatches, of_rollout
from rlnlp.batching import forward_in_micro_batches
from rlnlp.build import Language
from rlnlp.config.algos import Ppo
from rlnlp.config.schema import PpoRun
from rlnlp.errors import Exit, Failure
from rlnlp.evaluate.report import finish_run
from rlnlp.maths.advantages import generalized_advantages
from rlnlp.maths.distribution import Distribution
from rlnlp.maths.kl import ESTIMATORS, k1
from rlnlp.maths.losses import clipped_policy_gradient, clipped_value_error
from rlnlp.maths.masked import masked_mean, scale_to_unit_std, whitened
from rlnlp.maths.rewards import penalized_rewards, subtract_missing_eos_penalty
from rlnlp.maths.statistics import explained_variance
from rlnlp.models.critic import AdapterCritic, Critic, adapter_critic, critic_like, value_head
from rlnlp.models.fast import FirstPass
from rlnlp.models.load import load_critic
from rlnlp.models.locate import locate_critic
from rlnlp.models.policy import LogprobFn, Policy, logprob_fn
from rlnlp.models.sharding import share_weights
from rlnlp.processes.rows import own, whole
from rlnlp.rewards.terms import Reward
from rlnlp.rollout.sampling import Collect
from rlnlp.run.parts import Parts, Stateful
from rlnlp.run.run import Run
from rlnlp.run.steps import Steps
from rlnlp.types import ActorCriticExperience, ActorCriticOutput, PolicyOutput, Prompts, Rollout


def train(
    model: ActorCritic,
    prompts: Callable[[int], Prompts],
    collect: Collect,
    reward: Reward,
    reference: LogprobFn,
    mismatch: Callable[[Rollout, Tensor], dict[str, float]],
    control: KlControl,
    observe: Observing,
    ptx: Ptx,
    algo: Ppo,
    run: Steps,
) -> None:
    """Ascend E[reward] - kl_coef KL(policy || reference): a rollout, then several updates that stay near its policy.

    ``ptx`` adds what else the policy learns in each of them.
    """
    for step in run.steps(algo.total_steps, parts(model, control, observe)):
        rollout = collect(prompts(step).repeat(algo.num_generations), run.rng("sampling", step))
        scores = reward(rollout)
        ref_logprobs = reference(rollout)
        rewards = subtract_missing_eos_penalty(scores.rewards, rollout.mask, rollout.ended, algo.missing_eos_penalty)
        if step == 1:
            model.start_critic_at(mean_return(rewards, rollout.mask, algo))
        critic_only = step <= algo.critic_warmup_steps
        with torch.set_grad_enabled(algo.minibatch == algo.responses and not critic_only):  # or no update would use it
            first = FirstPass(scored(model, own(rollout), algo))
        old = whole(first.detached, len(rollout.mask))
        kl = k1(old.logprobs, ref_logprobs)
        penalty = ESTIMATORS[algo.kl_estimator](old.logprobs, ref_logprobs)
        rewards = penalized_rewards(rewards, penalty, rollout.mask, control.coef)
        experience = make_experience(rollout, old, rewards, algo)

        figures = rollout_metrics(rollout, scores, kl, algo.num_generations) | mismatch(rollout, old.logprobs)
        batches = minibatches(experience, algo.minibatch, algo.ppo_epochs, partial(run.rng, "minibatches", step))
        figures |= update_policy(
            model, batches, first, critic_only, partial(ptx, step), partial(optimizer_step, step), algo
        )

        figures["kl_coef"] = control.coef
        figures["explained_variance"] = explained_variance(old.values, experience.returns, rollout.mask)
        figures["learning_rate"] = learning_rate(algo, step)
        control.adapt(figures["kl"], len(rollout.mask))
        run.log(
            step, episodes=len(rollout.mask), tokens=int(rollout.mask.sum()),
            **observe(step, rollout, scores, kl, figures),
        )  # fmt: skip


def scored(model: ActorCritic, rollout: Rollout, algo: Ppo) -> ActorCriticOutput:
    """The forward pass of a rollout, in micro-batches without a gradient if it does not fit one."""
    size, tokens = algo.micro_batch_size, algo.micro_batch_tokens
    return forward_in_micro_batches(model.forward, rollout, size, model.shares, tokens)


def mean_return(rewards: Tensor, mask: Tensor, algo: Ppo) -> float:
    """The mean over the tokens of the discounted rewards from there on: what a critic that knows nothing should say."""
    rewards = scale_to_unit_std(rewards, mask) if algo.whiten_rewards else rewards
    return float(masked_mean(generalized_advantages(rewards, torch.zeros_like(rewards), mask, algo.gamma, 1.0), mask))


def make_experience(rollout: Rollout, old: ActorCriticOutput, rewards: Tensor, algo: Ppo) -> ActorCriticExperience:
    """What is learned from a rollout: advantages with mean 0 and standard deviation 1 over all of it, and returns."""
    if algo.whiten_rewards:
        rewards = scale_to_unit_std(rewards, rollout.mask)
    advantages = generalized_advantages(rewards, old.values, rollout.mask, algo.gamma, algo.lam)
    returns = advantages + old.values
    return ActorCriticExperience(rollout, old.logprobs, whitened(advantages, rollout.mask), old.values, returns)


def update_policy(
    model: ActorCritic,
    batches: Iterable[ActorCriticExperience],
    first: FirstPass[ActorCriticOutput],
    critic_only: bool,
    more: Callable[[int], dict[str, float]],
    take_step: Callable[[Learner], float],
    algo: Ppo,
) -> dict[str, float]:
    """An optimizer step for each minibatch, until ``target_kl`` is passed; the mean of each update's figures.

    ``first`` is a forward pass of the first minibatch, made before any update: with its graph, it is learned from.
    Where there are several processes, it is of this one's rows, and each learns from its own rows of a minibatch.
    ``more`` adds to the policy's gradient of an update (0, 1, ...). ``take_step`` returns the norm of the gradient.

    Raises:
        Failure: exit 4, if the policy was not at first the one that the rollout's log-probabilities come from.
    """

    def policy_loss(out: PolicyOutput, experience: ActorCriticExperience) -> TokenLosses:
        loss, clipped = clipped_policy_gradient(
            out.logprobs, experience.old_logprobs, experience.advantages, algo.cliprange, algo.cliprange_high
        )
        log_ratio = out.logprobs - experience.old_logprobs
        figures = {
            "policy_loss": loss, "entropy": out.entropy, "clip_fraction": clipped,
            "approx_kl": log_ratio.square() / 2, "ratio": log_ratio.exp(),
        }  # fmt: skip
        with_bonus = loss - algo.entropy_coef * out.entropy  # eq. 9 of arXiv:1707.06347
        return TokenLosses(with_bonus, experience.rollout.mask, figures)

    def value_loss(values: Tensor, experience: ActorCriticExperience) -> TokenLosses:
        loss, clipped = clipped_value_error(values, experience.old_values, experience.returns, algo.cliprange_value)
        return TokenLosses(loss, experience.rollout.mask, {"value_loss": loss, "value_clip_fraction": clipped})

    learners: list[Learner] = model.critic_only(value_loss) if critic_only else []
    updates: list[dict[str, float]] = []
    for number, batch in enumerate(batches):
        mine = own(batch)
        learners = learners or model.learners(policy_loss, value_loss, mine.rollout, first.take())
        figures: dict[str, float] = {}
        for learner in learners:
            parts = of_rollout(mine, algo.micro_batch_size, model.shares, algo.micro_batch_tokens)
            _, found = accumulate_gradient(parts, learner.loss_fn, batch.rollout.mask, algo.loss_reduction)
            figures |= found
            if not updates:
                check_ratio_is_one(figures, learner.dtype)
            if algo.target_kl is not None and "approx_kl" in figures and figures["approx_kl"] > algo.target_kl:
                clear(learner.optimizers)
                return mean_figures(updates)
            if "policy_loss" in found:
                figures |= more(number)
            figures[learner.norm] = take_step(learner)
        updates.append(figures)
    return mean_figures(updates)


def check_ratio_is_one(figures: dict[str, float], dtype: torch.dtype) -> None:
    """Before the first update, old and new log-probabilities are of one policy: ratio 1, approx_kl 0, up to rounding.

    Raises:
        Failure: exit 4, if they are not: what is optimized then is not the objective.
    """
    if "ratio" in figures and not same_policy(figures, dtype):
        raise Failure(
            Exit.MODEL,
            f"before the first update the ratio is {figures['ratio']:.4f}, not 1, and approx_kl"
            f" {figures['approx_kl']:.2g}, not 0: the model gives the same text other log-probabilities each time\n"
            "usual causes: dropout or noise in the model's own code, a layer that depends on the rest of the batch"
            " (batch norm, expert capacity), attention that sees padding",
            "ratio-not-one",
        )


def same_policy(figures: Mapping[str, float], dtype: torch.dtype) -> bool:
    """True if the mean ratio of two sets of log-probabilities is 1, and their approx_kl 0, up to rounding."""
    ratio, divergence = (0.1, 2e-2) if dtype != torch.float32 else (1e-3, 1e-5)
    return not (abs(figures["ratio"] - 1) > ratio or figures["approx_kl"] > divergence)


def parts(model: ActorCritic, control: KlControl, observe: Observing) -> Parts:
    """What a checkpoint holds; a KL coefficient only if it moves."""
    held: Parts = {**model.parts, "observer": observe}
    return {**held, "kl_control": control} if isinstance(control, Stateful) else held


def main(config: PpoRun, run: Run) -> None:
    """Build the parts of the config, measure, train, measure again, and report."""
    config, language = load_language(config, run)
    made, algo = prepare(config, language, run), config.algo
    setup = made.around
    control = kl_control(algo.kl_coef, algo.kl_target, algo.kl_horizon)
    if config.model.lora.on and algo.critic == "separate":
        run.log_message(WHOLE_CRITIC)
    before = setup.begin(made.parts, made.trial)
    if setup.distribution.filtered:
        run.log_message(FILTERED)
    train(
        made.model, setup.prompts, setup.collect, setup.reward, setup.reference,
        sampling_mismatch(setup.policy, setup.distribution, algo), control, setup.observe,
        without_texts, algo, run,
    )  # fmt: skip
    finish_run(run, before, setup.save_result(), setup.observe.health)


def prepare(config: PpoRun, language: Language, run: Run) -> Prepared[OnPolicySetup, ActorCritic]:
    """What stands before the first step.

    Raises:
        Failure: as ``on_policy_setup``, or exit 4 for a critic that does not fit.
    """
    setup, algo = on_policy_setup(config, language, run), config.algo
    critic = initial_critic(setup, config)
    share_weights(config.device, setup.policy, critic)
    model = actor_critic(setup.policy, critic, setup.distribution, algo)
    return Prepared(setup, model, model.parts, partial(trial_step, setup, model, algo, run))


def trial_step(setup: OnPolicySetup, model: ActorCritic, algo: Ppo, run: Run, step: int) -> float:
    """Seconds that a step takes, from one that changes nothing: a rollout, and the gradient of a minibatch.

    Raises:
        Failure: exit 4, as ``update_policy``; here no forward pass is learned from twice.
    """
    begun = time.monotonic()
    rollout = setup.collect(setup.prompts(step).repeat(algo.num_generations), run.rng("trial", step))
    rewards, _ = setup.reward(rollout).rewards, setup.reference(rollout)
    with torch.no_grad():
        first = FirstPass(scored(model, own(rollout), algo))
    experience = make_experience(rollout, whole(first.detached, len(rollout.mask)), rewards, algo)
    batches = minibatches(experience, algo.minibatch, 1, partial(run.rng, "minibatches", 0))
    ready = time.monotonic()
    update_policy(model, islice(batches, 1), first, False, partial(without_texts, step), discard_gradient, algo)
    updates = algo.ppo_epochs * algo.responses // algo.minibatch
    return ready - begun + updates * (time.monotonic() - ready)


def optimizer_step(step: int, learner: Learner) -> float:
    """Step the learner's weights; returns the norm of the gradient before clipping."""
    return descend(learner.optimizers, step, learner.algo)


def discard_gradient(learner: Learner) -> float:
    """A step that changes nothing."""
    clear(learner.optimizers)
    return 0.0


def actor_critic(policy: Policy, critic: Critic | AdapterCritic | None, drawn: Distribution, algo: Ppo) -> ActorCritic:
    """The policy with a critic, or with a value head; tokens are scored without the filters of ``drawn``."""
    if critic is None:
        return SharedActorCritic(policy, value_head(policy), drawn.unfiltered(), algo)
    return SeparateActorCritic(policy, critic, drawn.unfiltered(), algo)


def initial_critic(setup: OnPolicySetup, config: PpoRun) -> Critic | AdapterCritic | None:
    """The critic that the config asks for; none if the policy has the value head."""
    if config.algo.critic == "shared":
        return None
    if config.algo.critic == "adapter":
        return adapter_critic(setup.policy)
    start = locate_critic(config.algo.critic_path, config.model.allow_download)
    if start is None:
        return critic_like(setup.policy)
    return load_critic(start, not config.model.allow_download, setup.policy, setup.tokenizer)


def sampling_mismatch(policy: Policy, drawn: Distribution, algo: Ppo) -> Callable[[Rollout, Tensor], dict[str, float]]:
    """The mean over tokens of log p (as drawn) - log p (as scored), nats; nothing where no filter is on."""
    if not drawn.filtered:
        return lambda rollout, logprobs: {}
    as_drawn = logprob_fn(policy, drawn, algo.micro_batch_size, algo.micro_batch_tokens)
    return lambda rollout, logprobs: {
        "sampling_mismatch": float(masked_mean(as_drawn(rollout) - logprobs, rollout.mask))
    }
