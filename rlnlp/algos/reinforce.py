"""REINFORCE with a baseline and a KL penalty (Williams 1992; Ahmadian et al. 2024, arXiv:2402.14740)."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from rlnlp import build
from rlnlp.algos.baselines import Baseline, MovingMean, batch_mean, greedy, group_leave_one_out, no_baseline
from rlnlp.algos.observe import Observer, rollout_metrics
from rlnlp.algos.optim import Optimizers, descend, learning_rate, optimizers
from rlnlp.checkpoint import Parts, Stateful
from rlnlp.config import Reinforce, ReinforceRun
from rlnlp.data.order import rows_of_step
from rlnlp.evaluate.measure import Measured, measure
from rlnlp.evaluate.report import conclude
from rlnlp.maths.advantages import over_deviation
from rlnlp.maths.distribution import Distribution
from rlnlp.maths.kl import k1, penalised_rewards
from rlnlp.maths.losses import policy_gradient
from rlnlp.maths.masked import reduce
from rlnlp.models.policy import Policy
from rlnlp.rewards.terms import Reward
from rlnlp.run import Run
from rlnlp.sampling import Collect, sampler
from rlnlp.types import Prompts, Rollout, chunks


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
    for step in run.steps(c.total_steps, parts(policy, steppers, baseline)):
        rollout = collect(prompts(step).repeat(c.num_generations), run.rng("sampling", step))
        scores = reward(rollout)
        kl = kl_to_reference(rollout)
        returns = penalised_rewards(scores.rewards, kl, rollout.mask, c.kl_coef).sum(1)
        advantages = returns - baseline(rollout.prompts, returns)
        if c.normalize_advantages != "none":
            group = c.num_generations if c.normalize_advantages == "group" else len(returns)
            advantages = over_deviation(advantages, returns, group)

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
            step, episodes=len(returns), tokens=int(rollout.mask.sum()), **figures, **observe(step, rollout, scores, kl)
        )


def accumulate(policy: Policy, distribution: Distribution, batch: Batch, c: Reinforce) -> tuple[float, float]:
    """Leave the gradient of the whole batch's loss in the policy. Returns loss, and entropy per token in nats.

    Each micro-batch divides by the count of the whole batch, so the cut changes nothing but rounding.
    """
    mask = batch.rollout.mask
    total = len(mask) if c.loss_reduction == "sequences" else int(mask.sum())
    loss_sum = entropy_sum = 0.0
    for part in chunks(batch, len(mask), c.micro_batch_size):
        out = policy(part.rollout, distribution)
        per_token = policy_gradient(out.logprobs, part.advantages.unsqueeze(1)) - c.entropy_coef * out.entropy
        loss = reduce(per_token, part.rollout.mask, total)
        loss.backward()
        loss_sum += loss.item()
        entropy_sum += out.entropy.sum().item()
    return loss_sum, entropy_sum / int(mask.sum())


def parts(policy: Policy, steppers: Optimizers, baseline: Baseline) -> Parts:
    """What a checkpoint holds; a baseline only if it has a state."""
    held: Parts = {"policy": policy, **steppers}
    return {**held, "baseline": baseline} if isinstance(baseline, Stateful) else held


def main(c: ReinforceRun, run: Run) -> None:
    """Put the parts of the config together, measure, train, measure again, and tell."""
    language = build.language(c.model, c.device, c.seed)
    run.computes_on(language.device, c.device.threads)
    policy, pad, longest = language.policy, language.tokenizer.pad, c.sampler.max_new_tokens
    task = build.task(c, language)
    run.facts["reward_code"] = task.reward_code
    collect = run.timed("sampling", sampler(policy, task.distribution, longest, pad))
    reward = run.timed("reward", task.reward)

    def kl_to_reference(rollout: Rollout) -> Tensor:
        return k1(task.logprobs(rollout), task.reference(rollout))

    def worth(rollout: Rollout) -> Tensor:
        rewards = task.reward(rollout).rewards
        return penalised_rewards(rewards, kl_to_reference(rollout), rollout.mask, c.algo.kl_coef).sum(1)

    def prompts(step: int) -> Prompts:
        rows = rows_of_step(len(task.table.train), c.algo.batch_size, step, c.seed)
        return task.table.batch([task.table.train[i] for i in rows], language.device)

    likeliest = sampler(policy, replace(task.distribution, top_k=1), longest, pad)
    group = c.algo.num_generations
    baselines: dict[str, Callable[[], Baseline]] = {
        "none": lambda: no_baseline,
        "batch": lambda: batch_mean,
        "ema": lambda: MovingMean(c.algo.ema_decay),
        "leave-one-out": lambda: group_leave_one_out(group),
        "greedy": lambda: greedy(likeliest, worth, group),
    }

    def seen() -> Measured:  # with the same numbers each time: a paired comparison
        return measure(task.table, collect, task.reward, kl_to_reference, run.rng("heldout"), language.device)

    before = seen()
    train(
        policy, task.distribution, prompts, collect, reward, run.timed("kl", kl_to_reference),
        baselines[c.algo.baseline](), Observer(c.heldout.every, c.samples, task.table, seen, run), c.algo, run,
    )  # fmt: skip
    conclude(run, before, seen(), policy, language.tokenizer)
