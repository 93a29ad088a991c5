"""The policy's optimization within a round, by whichever algorithm the settings name."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from rlnlp.algos import ppo, reinforce
from rlnlp.algos.kl_control import kl_control
from rlnlp.algos.observe import Observing
from rlnlp.algos.opening import Trial
from rlnlp.algos.optim import Optimizers, forget, optimizers
from rlnlp.algos.ptx import Ptx
from rlnlp.algos.setup import OnPolicySetup
from rlnlp.config.schema import PpoRun, ReinforceRun
from rlnlp.rewards.terms import Reward
from rlnlp.run.parts import Parts
from rlnlp.run.run import Run
from rlnlp.run.steps import Steps
from rlnlp.types import Prompts


@dataclass(frozen=True)
class PolicyOptimization:
    """``parts`` are those of a checkpoint. ``optimize`` takes the ``steps`` of a round on the ``prompts`` of each, with
    texts mixed in by ``ptx``. ``trial`` gives the seconds of a step, from one that changes nothing.
    """

    parts: Parts
    optimize: Callable[[Callable[[int], Prompts], Ptx, Steps], None]
    trial: Trial

    def restart(self) -> None:
        """Go on with new optimizers: the moments are of a reward that is no longer there."""
        forget(self.optimizers)

    @property
    def optimizers(self) -> Optimizers:
        """The optimizers among the parts."""
        return {name: part for name, part in self.parts.items() if isinstance(part, torch.optim.Optimizer)}


def policy_optimization(
    config: PpoRun | ReinforceRun, setup: OnPolicySetup, reward: Reward, observe: Observing, run: Run
) -> PolicyOptimization:
    """What optimizes the policy of ``setup`` for ``reward``, of whatever reward model that has at the time.

    Raises:
        Failure: exit 4, for a critic that does not fit.
    """
    if isinstance(config, PpoRun):
        return _by_ppo(config, setup, reward, observe, run)
    return _by_reinforce(config, setup, reward, observe, run)


def _by_ppo(config: PpoRun, setup: OnPolicySetup, reward: Reward, observe: Observing, run: Run) -> PolicyOptimization:
    algo = config.algo
    model = ppo.actor_critic(setup.policy, ppo.initial_critic(setup, config), setup.distribution, algo)
    control = kl_control(algo.kl_coef, algo.kl_target, algo.kl_horizon)
    mismatch = ppo.sampling_mismatch(setup.policy, setup.distribution, algo)

    def optimize(prompts: Callable[[int], Prompts], ptx: Ptx, steps: Steps) -> None:
        ppo.train(
            model, prompts, setup.collect, reward, setup.reference, mismatch, control, observe, ptx, algo, steps,
        )  # fmt: skip

    trial = partial(ppo.trial_step, setup, model, algo, run)
    return PolicyOptimization(ppo.parts(model, control, observe), optimize, trial)


def _by_reinforce(
    config: ReinforceRun, setup: OnPolicySetup, reward: Reward, observe: Observing, run: Run
) -> PolicyOptimization:
    algo, policy = config.algo, setup.policy
    own, baseline = optimizers(policy, algo), reinforce.baseline_of(setup, reward, config)

    def optimize(prompts: Callable[[int], Prompts], ptx: Ptx, steps: Steps) -> None:
        reinforce.train(
            policy, own, setup.distribution, prompts, setup.collect, reward, setup.reference, baseline, observe, ptx,
            algo, steps,
        )  # fmt: skip

    trial = partial(reinforce.trial_step, setup, algo, run)
    return PolicyOptimization(reinforce.parts(policy, own, baseline, observe), optimize, trial)
