"""Where an on-policy algorithm plays: the policy, its prompts, how it is drawn from, scored and compared."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from rlnlp import build
from rlnlp.algos.observe import Observer
from rlnlp.config.schema import OnPolicyRun
from rlnlp.data.order import rows_of_step
from rlnlp.evaluate.measure import Measurement, measure
from rlnlp.maths.distribution import Distribution
from rlnlp.maths.kl import k1
from rlnlp.models.policy import Policy
from rlnlp.rewards.terms import Reward
from rlnlp.rollout.sampling import Collect, sampler
from rlnlp.run.run import Run
from rlnlp.types import Prompts, Rollout


@dataclass(frozen=True)
class Stage:
    """The parts that REINFORCE and PPO share; ``prompts`` are those of a step, ``kl`` is k1 per token, (B, T)."""

    language: build.Language
    distribution: Distribution
    prompts: Callable[[int], Prompts]
    collect: Collect
    reward: Reward
    reference: build.LogprobFn
    kl: Callable[[Rollout], Tensor]
    measure_policy: Callable[[], Measurement]
    observe: Observer

    @property
    def policy(self) -> Policy:
        """The policy that learns."""
        return self.language.policy


def stage(c: OnPolicyRun, run: Run) -> Stage:
    """Everything around the algorithm's own loop, from the config.

    Raises:
        Failure: exit 2, 3, 4 or 7, for what the config, the data, the model or a reward function get wrong.
    """
    language = build.language(c.model, c.device, c.seed)
    run.computes_on(language.device, c.device.threads)
    task = build.task(c, language)
    run.facts["code"] = task.code
    draw = sampler(language.policy, task.distribution, c.sampler.max_new_tokens, language.tokenizer.pad)
    collect = run.timed("sampling", draw)

    def kl(rollout: Rollout) -> Tensor:
        return k1(task.logprobs(rollout), task.reference(rollout))

    def prompts(step: int) -> Prompts:
        rows = rows_of_step(len(task.table.train), c.algo.batch_size, step, c.seed)
        return task.table.batch([task.table.train[i] for i in rows], language.device)

    def measure_policy() -> Measurement:  # with the same numbers each time: a paired comparison
        return measure(task.table, collect, task.reward, kl, run.rng("heldout"), language.device)

    return Stage(
        language, task.distribution, prompts, collect, run.timed("reward", task.reward),
        run.timed("kl", task.reference), run.timed("kl", kl), measure_policy,
        Observer(c.heldout.every, c.samples, task.table, measure_policy, run),
    )  # fmt: skip
