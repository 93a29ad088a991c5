"""The KL penalty coefficient: fixed, or adapted so that the KL per response stays near a target."""

from typing import Any, Protocol


class KlControl(Protocol):
    """``coef`` is the KL penalty coefficient (beta) in force."""

    coef: float

    def adapt(self, kl: float, responses: int) -> None:
        """Update ``coef`` from the mean KL, nats per response, of a rollout of ``responses`` responses."""
        ...


class FixedKl:
    """A constant coefficient."""

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
        """Raise the coefficient above the target, lower it below."""
        error = max(-0.2, min(0.2, kl / self.target - 1))
        self.coef *= 1 + error * responses / self.horizon

    def state_dict(self) -> dict[str, Any]:
        """The coefficient, as JSON."""
        return {"coef": self.coef}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self.coef = state["coef"]


def kl_control(coef: float, target: float | None, horizon: float) -> KlControl:
    """Fixed without a target, adaptive with one."""
    return FixedKl(coef) if target is None else AdaptiveKl(coef, target, horizon)
