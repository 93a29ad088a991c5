"""The price of KL: fixed, or moved so that the KL per response stays near a target."""

from typing import Any, Protocol


class KlControl(Protocol):
    """What one nat costs now, and how that follows what was seen."""

    coef: float

    def adapt(self, kl: float, responses: int) -> None:
        """Take in the mean KL, nats per response, of a rollout of so many responses."""
        ...


class FixedKl:
    """Always the same price."""

    def __init__(self, coef: float) -> None:
        self.coef = coef

    def adapt(self, kl: float, responses: int) -> None:
        """Nothing changes."""


class AdaptiveKl:
    """Proportional control in log space (Ziegler et al. 2019, arXiv:1909.08593, section 2.2 and their code).

    e = clip(kl / target - 1, -0.2, 0.2); coef <- coef (1 + e responses / horizon).
    """

    def __init__(self, coef: float, target: float, horizon: float) -> None:
        self.coef, self.target, self.horizon = coef, target, horizon

    def adapt(self, kl: float, responses: int) -> None:
        """Raise the price above the target, lower it below."""
        error = max(-0.2, min(0.2, kl / self.target - 1))
        self.coef *= 1 + error * responses / self.horizon

    def state_dict(self) -> dict[str, Any]:
        """The price, as JSON."""
        return {"coef": self.coef}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the price back."""
        self.coef = state["coef"]


def kl_control(coef: float, target: float | None, horizon: float) -> KlControl:
    """Fixed without a target, adaptive with one."""
    return FixedKl(coef) if target is None else AdaptiveKl(coef, target, horizon)
