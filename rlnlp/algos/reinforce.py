"""REINFORCE with a baseline and a KL penalty (Williams 1992; Ahmadian et al. 2024, arXiv:2402.14740)."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from rlnlp.algos.baselines import Baseline, MovingMean, batch_mean, greedy, group_leave_one_out, no_baseline
from rlnlp.algos.observe import Observer, rollout_metrics
from rlnlp.algos.optim import Optimizers, backward, descend, learning_rate, optimizers
from rlnlp.algos.setup import stage
from rlnlp.config.algos import Reinforce
from rlnlp.config.schema import ReinforceRun
from rlnlp.evaluate.report import finish_run
from rlnlp.maths.advantages import divide_by_group_std
from rlnlp.maths.distribution import Distribution
from rlnlp.maths.kl import penalized_rewards, subtract_missing_eos_penalty
from rlnlp.maths.losses import policy_gradient
from rlnlp.maths.masked import reduce
from rlnlp.models.policy import Policy
from rlnlp.rewards.terms import Reward
from rlnlp.rollout.sampling import Collect, sampler
from rlnlp.run.checkpoint import Parts, Stateful
from rlnlp.run.run import Run
from rlnlp.types import Prompts, Rollout, micro_batches


@dataclass(frozen=True)
class Batch:
    """What the update needs: a rollout and the advantage of each response, (B,)."""

    rollout: Rollout
    advantages: Tensor


def train(
    policy: Policy,
    distribution: Distribution,
    prompts: Callable[[int], Prompts],
    collect: Collect,
    reward: Reward,
    kl_to_reference: Callable[[Rollout], Tensor],
    baseline: Baseline,
    observe: Observer,
    c: Reinforce,
    run: Run,
) -> None:
    """Ascend E[reward] - kl_coef KL(policy || reference), one on-policy step per rollout.

    The return of a response is its reward less the KL penalty of its tokens; every token that the policy chose
    shares the response's advantage.
    """
    steppers = optimizers(policy, c)
    for step in run.steps(c.total_steps, parts(policy, steppers, baseline, observe)):
        rollout = collect(prompts(step).repeat(c.num_generations), run.rng("sampling", step))
        scores = reward(rollout)
        kl = kl_to_reference(rollout)
        rewards = subtract_missing_eos_penalty(scores.rewards, rollout.mask, rollout.ended, c.missing_eos_penalty)
        returns = penalized_rewards(rewards, kl, rollout.mask, c.kl_coef).sum(1)
        advantages = returns - baseline(rollout.prompts, returns)
        if c.normalize_advantages != "none":
            group = c.num_generations if c.normalize_advantages == "group" else len(returns)
            advantages = divide_by_group_std(advantages, returns, group)

        loss, entropy = accumulate(policy, distribution, Batch(rollout, advantages), c)
        grad_norm = descend(steppers, step, c)

        figures = rollout_metrics(rollout, scores, kl, c.num_generations)
        rate = learning_rate(c, step)
        figures |= {
            "kl_coef": c.kl_coef,
            "entropy": entropy,
            "policy_loss": loss,
            "grad_norm": grad_norm,
            "learning_rate": rate,
        }
        run.log(
            step, episodes=len(returns), tokens=int(rollout.mask.sum()),
            **observe(step, rollout, scores, kl, figures),
        )  # fmt: skip


def accumulate(policy: Policy, distribution: Distribution, batch: Batch, c: Reinforce) -> tuple[float, float]:
    """Leave the gradient of the whole batch's loss in the policy. Returns loss, and entropy per token in nats.

    Each micro-batch divides by the count of the whole batch, so the cut changes nothing but rounding.
    """
    mask = batch.rollout.mask
    total = len(mask) if c.loss_reduction == "sequences" else int(mask.sum())
    loss_sum = entropy_sum = 0.0
    for part in micro_batches(batch, batch.rollout, c.micro_batch_size):
        out = policy(part.rollout, distribution)
        per_token = policy_gradient(out.logprobs, part.advantages.unsqueeze(1)) - c.entropy_coef * out.entropy
        loss = reduce(per_token, part.rollout.mask, total)
        backward(loss)
        loss_sum += loss.item()
        entropy_sum += out.entropy.sum().item()
    return loss_sum, entropy_sum / int(mask.sum())


def parts(policy: Policy, steppers: Optimizers, baseline: Baseline, observe: Observer) -> Parts:
    """What a checkpoint holds; a baseline only if it has a state."""
    held: Parts = {"policy": policy, **steppers, "observer": observe}
    return {**held, "baseline": baseline} if isinstance(baseline, Stateful) else held


def main(c: ReinforceRun, run: Run) -> None:
    """Put the parts of the config together, measure, train, measure again, and tell."""
    here = stage(c, run)
    policy, pad, longest = here.policy, here.language.tokenizer.pad, c.sampler.max_new_tokens

    def worth(rollout: Rollout) -> Tensor:
        raw = here.reward(rollout).rewards
        rewards = subtract_missing_eos_penalty(raw, rollout.mask, rollout.ended, c.algo.missing_eos_penalty)
        return penalized_rewards(rewards, here.kl(rollout), rollout.mask, c.algo.kl_coef).sum(1)

    likeliest = sampler(policy, replace(here.distribution, top_k=1), longest, pad)
    group = c.algo.num_generations
    baselines: dict[str, Callable[[], Baseline]] = {
        "none": lambda: no_baseline,
        "batch": lambda: batch_mean,
        "ema": lambda: MovingMean(c.algo.ema_decay),
        "leave-one-out": lambda: group_leave_one_out(group),
        "greedy": lambda: greedy(likeliest, worth, group),
    }
    before = here.measure_policy()
    train(
        policy, here.distribution, here.prompts, here.collect, here.reward, here.kl,
        baselines[c.algo.baseline](), here.observe, c.algo, run,
    )  # fmt: skip
    finish_run(run, before, here.measure_policy(), policy, here.language.tokenizer, here.observe.health)
