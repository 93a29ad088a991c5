"""How far the rounds of RLHF have come: what a checkpoint must know beside the weights."""

from typing import Any


class Rounds:
    """``history`` has the record of the first policy and of each round that is measured.

    ``used`` are the judgements that the reward model of round ``fitted`` learns from, for which ``asked`` pairs were
    asked about; ``new_judgements`` is what the reward model before it made of those. ``ended`` are the last steps of
    rounds that ended early, ``points`` the held-out gains of the first round, ``last`` the responses of the policy that
    was measured last to held-out prompts.
    """

    def __init__(self) -> None:
        self.history: list[dict[str, Any]] = []
        self.used: list[dict[str, Any]] = []
        self.asked = 0
        self.new_judgements: dict[str, Any] | None = None
        self.fitted = 0
        self.ended: list[int] = []
        self.points: list[dict[str, Any]] = []
        self.last: dict[str, Any] = {}

    @property
    def done(self) -> int:
        """The rounds that are measured."""
        return max(0, len(self.history) - 1)

    def state_dict(self) -> dict[str, Any]:
        """The state, as JSON."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        vars(self).update(state)
