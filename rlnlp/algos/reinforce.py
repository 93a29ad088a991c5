"""REINFORCE with a baseline and a KL penalty (Williams 1992; Ahmadian et al. 2024, arXiv:2402.14740)."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from rlnlp.algos.baselines import Baseline, MovingMean, batch_mean, greedy, group_leave_one_out, no_baseline
from rlnlp.algos.observe import Observing, rollout_metrics
from rlnlp.algos.opening import Prepared
from rlnlp.algos.optim import Optimizers, descend, learning_rate, optimizers
from rlnlp.algos.ptx import Ptx, without_texts
from rlnlp.algos.setup import OnPolicySetup, load_language, on_policy_setup
from rlnlp.algos.update import TokenLosses, accumulate_gradient, of_rollout
from rlnlp.batching import forward_in_micro_batches
from rlnlp.build import Language
from rlnlp.config.algos import Reinforce
from rlnlp.config.schema import ReinforceRun
from rlnlp.evaluate.report import finish_run
from rlnlp.maths.advantages import divide_by_group_std
from rlnlp.maths.distribution import Distribution
from rlnlp.maths.kl import k1
from rlnlp.maths.losses import policy_gradient
from rlnlp.maths.rewards import penalized_rewards, subtract_missing_eos_penalty
from rlnlp.models.fast import FirstPass, first_pass_kept
from rlnlp.models.policy import LogprobFn, Policy
from rlnlp.models.sharding import share_weights
from rlnlp.processes.rows import own, whole
from rlnlp.rewards.terms import Reward
from rlnlp.rollout.sampling import Collect, sampler
from rlnlp.run.parts import Parts, Stateful
from rlnlp.run.run import Run
from rlnlp.run.steps import Steps
from rlnlp.types import Experience, PolicyOutput, Prompts, Rollout


def train(
    policy: Policy,
    optimizer_parts: Optimizers,
    distribution: Distribution,
    prompts: Callable[[int], Prompts],
    collect: Collect,
    reward: Reward,
    reference: LogprobFn,
    baseline: Baseline,
    observe: Observing,
    ptx: Ptx,
    algo: Reinforce,
    run: Steps,
) -> None:
    """Ascend E[reward] - kl_coef KL(policy || reference), one on-policy step per rollout.

    The return of a response is its reward less the KL penalty of its tokens; every token that the policy chose
    shares the response's advantage. ``distribution`` is the one that tokens are drawn from; ``ptx`` adds what else is
    learned in the step.
    """
    unfiltered = partial(policy, distribution=distribution.unfiltered())
    for step in run.steps(algo.total_steps, parts(policy, optimizer_parts, baseline, observe)):
        rollout = collect(prompts(step).repeat(algo.num_generations), run.rng("sampling", step))
        scores = reward(rollout)
        with torch.set_grad_enabled(not distribution.filtered):  # with filters, the update needs a pass of its own
            first = FirstPass(scored(unfiltered, policy, own(rollout), algo))
        old_logprobs = whole(first.detached.logprobs, len(rollout.mask))
        kl = k1(old_logprobs, reference(rollout))
        rewards = subtract_missing_eos_penalty(scores.rewards, rollout.mask, rollout.ended, algo.missing_eos_penalty)
        returns = penalized_rewards(rewards, kl, rollout.mask, algo.kl_coef).sum(1)
        advantages = returns - baseline(rollout.prompts, returns)
        if algo.normalize_advantages != "none":
            group = algo.num_generations if algo.normalize_advantages == "group" else len(returns)
            advantages = divide_by_group_std(advantages, returns, group)

        experience = Experience(rollout, old_logprobs, advantages.unsqueeze(1).expand_as(rollout.mask))
        loss, entropy = accumulate(policy, distribution, experience, first, algo)
        of_texts = ptx(step, 0)
        grad_norm = descend(optimizer_parts, step, algo)

        figures = rollout_metrics(rollout, scores, kl, algo.num_generations)
        figures |= {
            "kl_coef": algo.kl_coef,
            "entropy": entropy,
            "policy_loss": loss,
            **of_texts,
            "grad_norm": grad_norm,
            "learning_rate": learning_rate(algo, step),
        }
        run.log(
            step, episodes=len(returns), tokens=int(rollout.mask.sum()),
            **observe(step, rollout, scores, kl, figures),
        )  # fmt: skip


def scored(
    forward: Callable[[Rollout], PolicyOutput], policy: Policy, rollout: Rollout, algo: Reinforce
) -> PolicyOutput:
    """``forward`` of a rollout, in micro-batches without a gradient if it does not fit one."""
    size, tokens = algo.micro_batch_size, algo.micro_batch_tokens
    return forward_in_micro_batches(forward, rollout, size, policy.shares, tokens)


def accumulate(
    policy: Policy, distribution: Distribution, experience: Experience, first: FirstPass[PolicyOutput], algo: Reinforce
) -> tuple[float, float]:
    """Leave the gradient of the loss over the whole rollout in the policy. Returns loss, and entropy per token in nats.

    ``first`` is a forward pass at the present weights: with its graph, it is learned from. Where there are several
    processes, it and the gradient are of this one's rows.
    """
    mine = own(experience)
    forward = first_pass_kept(partial(policy, distribution=distribution), mine.rollout, first.take())

    def loss_fn(part: Experience) -> TokenLosses:
        out = forward(part.rollout)
        loss = policy_gradient(out.logprobs, part.advantages) - algo.entropy_coef * out.entropy
        return TokenLosses(loss, part.rollout.mask, {"entropy": out.entropy})

    micro_batches = of_rollout(mine, algo.micro_batch_size, policy.shares, algo.micro_batch_tokens)
    loss, figures = accumulate_gradient(micro_batches, loss_fn, experience.rollout.mask, algo.loss_reduction)
    return loss, figures["entropy"]


def parts(policy: Policy, optimizer_parts: Optimizers, baseline: Baseline, observe: Observing) -> Parts:
    """What a checkpoint holds; a baseline only if it has a state."""
    held: Parts = {"policy": policy, **optimizer_parts, "observer": observe}
    return {**held, "baseline": baseline} if isinstance(baseline, Stateful) else held


def prepare(config: ReinforceRun, language: Language, run: Run) -> Prepared[OnPolicySetup, Policy]:
    """What stands before the first step.

    Raises:
        Failure: as ``on_policy_setup``.
    """
    setup = on_policy_setup(config, language, run)
    share_weights(config.device, setup.policy)
    trial = partial(trial_step, setup, config.algo, run)
    return Prepared(setup, setup.policy, {"policy": setup.policy}, trial)


def trial_step(setup: OnPolicySetup, algo: Reinforce, run: Run, step: int) -> float:
    """Seconds that a step takes, from one that changes nothing: a rollout, its scores and its gradient."""
    begun = time.monotonic()
    rollout = setup.collect(setup.prompts(step).repeat(algo.num_generations), run.rng("trial", step))
    rewards, _ = setup.reward(rollout).rewards, setup.reference(rollout)
    unfiltered = partial(setup.policy, distribution=setup.distribution.unfiltered())
    with torch.set_grad_enabled(not setup.distribution.filtered):
        first = FirstPass(scored(unfiltered, setup.policy, own(rollout), algo))
    experience = Experience(rollout, whole(first.detached.logprobs, len(rollout.mask)), rewards)
    accumulate(setup.policy, setup.distribution, experience, first, algo)
    setup.policy.zero_grad(set_to_none=True)
    return time.monotonic() - begun


def baseline_of(setup: OnPolicySetup, reward: Reward, config: ReinforceRun) -> Baseline:
    """The baseline of the settings, for returns of ``reward``."""
    algo = config.algo

    def return_of(rollout: Rollout) -> Tensor:
        raw = reward(rollout).rewards
        rewards = subtract_missing_eos_penalty(raw, rollout.mask, rollout.ended, algo.missing_eos_penalty)
        return penalized_rewards(rewards, setup.kl(rollout), rollout.mask, algo.kl_coef).sum(1)

    likeliest = sampler(
        setup.policy, replace(setup.distribution, top_k=1), config.sampler.max_new_tokens, setup.tokenizer.pad,
        setup.tokenizer.stopper,
    )  # fmt: skip
    group = algo.num_generations
    baselines: dict[str, Callable[[], Baseline]] = {
        "none": lambda: no_baseline,
        "batch": lambda: batch_mean,
        "ema": lambda: MovingMean(algo.ema_decay),
        "leave-one-out": lambda: group_leave_one_out(group),
        "greedy": lambda: greedy(likeliest, return_of, group),
    }
    return baselines[algo.baseline]()


def main(config: ReinforceRun, run: Run) -> None:
    """Build the parts of the config, measure, train, measure again, and report."""
    config, language = load_language(config, run)
    made, algo = prepare(config, language, run), config.algo
    setup = made.around
    before = setup.begin(made.parts, made.trial)
    train(
        setup.policy, optimizers(setup.policy, algo), setup.distribution, setup.prompts, setup.collect, setup.reward,
        setup.reference, baseline_of(setup, setup.reward, config), setup.observe, without_texts, algo, run,
    )  # fmt: skip
    finish_run(run, before, setup.save_result(), setup.observe.health)
