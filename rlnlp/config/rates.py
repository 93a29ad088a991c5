"""The peak learning rates where the settings leave them open: by the size of the model that learns.

An adapter has ten times the rate that its base would have, whatever its own size: Schulman et al. 2025 ("LoRA Without
Regret", Thinking Machines) find the best rate of an adapter at 10 times that of all weights, from model to model and
from rank to rank with alpha = 32, and TRL advises the same.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from rlnlp.config.algos import Optimization, Ppo
from rlnlp.config.rlhf import RewardModelStage, Rlhf

A = TypeVar("A", bound=Optimization)
SMALL, LARGE = 2e6, 1e8  # parameters
RATES = {  # by algorithm, another is as reinforce: the rate up to SMALL parameters, and from LARGE on
    "sft": (3e-4, 2e-5),
    "reward-model": (2e-3, 2e-5),
    "reinforce": (6e-4, 1e-5),
    "ppo": (3e-4, 1e-5),
}
OF_ROUNDS = (4e-3, 2e-5)  # of a reward model that is fitted in a round: a few epochs of a few hundred judgements
CRITIC = (1e-3, 1e-5)
ADAPTER = 10.0  # times the rate of the base


def by_size(parameters: int, small: float, large: float) -> float:
    """A rate that falls from ``small`` to ``large`` between SMALL and LARGE parameters, a power of their number.

    Two digits are enough.
    """
    part = min(max(math.log(max(parameters, 1) / SMALL) / math.log(LARGE / SMALL), 0.0), 1.0)
    return float(f"{small * (large / small) ** part:.2g}")


def open_rates(algo: Optimization) -> list[str]:
    """The learning rates that the settings leave open."""
    names = ["learning_rate", *(["critic_learning_rate"] if isinstance(algo, Ppo) else [])]
    return [name for name in names if vars(algo)[name] is None]


def with_stage_rates(
    algo: Rlhf, policy: int, reward_model: int, known: Mapping[str, Any], adapter: bool = False
) -> tuple[Rlhf, dict[str, float]]:
    """``algo`` with a number for each rate of both stages; and those that the settings leave open.

    ``policy`` and ``reward_model`` are the parameters that learn in each; ``adapter`` is as in ``with_rates``, of the
    policy. The decided rates, and the ``known`` ones of a run, are called by their keys below ``algo``:
    "policy.learning_rate".
    """
    sizes = {"policy": policy, "reward_model": reward_model}
    stages: dict[str, Any] = {}
    decided: dict[str, float] = {}
    for name, parameters in sizes.items():
        stage: Optimization = vars(algo)[name]
        own = {key.partition(".")[2]: rate for key, rate in known.items() if key.partition(".")[0] == name}
        stages[name] = with_rates(stage, parameters, own, adapter and name == "policy")
        decided |= {f"{name}.{key}": vars(stages[name])[key] for key in open_rates(stage)}
    return replace(algo, **stages), decided


def with_rates(algo: A, parameters: int, known: Mapping[str, Any], adapter: bool = False) -> A:
    """``algo`` with a number for each rate: the ``known`` one of a run, else one by the ``parameters`` that learn.

    ``adapter``: what learns is an adapter of a base of so many parameters. A critic that is a head on it, or a second
    adapter, learns at a rate of adapters too.
    """
    own = OF_ROUNDS if isinstance(algo, RewardModelStage) else RATES.get(vars(algo)["name"], RATES["reinforce"])
    decided: dict[str, Any] = {}
    for key in open_rates(algo):
        rate = known.get(key)
        of_critic = key.startswith("critic")
        ends = CRITIC if of_critic else own
        by_adapter = adapter and (not of_critic or vars(algo)["critic"] != "separate")
        usual = by_size(parameters, *ends) * (ADAPTER if by_adapter else 1)
        decided[key] = rate if isinstance(rate, float) else usual
    return replace(algo, **decided)
