"""The honest report of a reward model: from the scores of held-out pairs to a record, and its page."""

from rlnlp.evaluate.preferences.curve import CurvePoint
from rlnlp.evaluate.preferences.heldout import HeldoutScores
from rlnlp.evaluate.preferences.page import write_preference_report
from rlnlp.evaluate.preferences.record import preference_record
from rlnlp.evaluate.preferences.short import reward_model_lines, reward_model_printed

__all__ = [
    "CurvePoint", "HeldoutScores", "preference_record", "reward_model_lines", "reward_model_printed",
    "write_preference_report",
]  # fmt: skip
