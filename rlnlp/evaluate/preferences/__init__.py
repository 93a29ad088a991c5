"""The honest report of a reward model: from the scores of held-out pairs to a record, and its page."""

from rlnlp.evaluate.preferences.curve import CurvePoint
from rlnlp.evaluate.preferences.heldout import HeldoutScores
from rlnlp.evaluate.preferences.record import preference_record

__all__ = ["CurvePoint", "HeldoutScores", "preference_record"]
