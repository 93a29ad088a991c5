"""The audit: counts by hand, biases that are found where they are and nowhere else, lines that can be read."""

import json
import math

import numpy as np
import pytest

from rlnlp.feedback.audit import audit, audit_of, reading_seconds
from rlnlp.feedback.audit_lines import audit_lines, findings
from rlnlp.feedback.records import BETTER, RATED, SKIPPED, UNDONE, Annotator, Item, Judgement, NewItem, Verdict
from rlnlp.feedback.simulated import Rater, SimulatedAnnotators
from rlnlp.feedback.store import Store
from rlnlp.feedback.taste import Taste
from rlnlp.maths.reliability import cohen_kappa, fleiss_kappa, krippendorff_alpha, wilson_interval

PEOPLE = [Annotator(1, "ann", "person"), Annotator(2, "bob\x1b[2J", "person"), Annotator(3, "idle", "person")]


class Set:
    """Judgements made by hand."""

    def __init__(self):
        self.standing, self.every = [], []

    def say(self, item, annotator, preference, shown=0, seconds=30.0, repeat_of=None, words=10):
        verdict = Verdict(SKIPPED) if preference is None else Verdict(BETTER, preference)
        return self.judge(item, annotator, verdict, shown, seconds, repeat_of, ("w " * words, "v " * words))

    def judge(self, item, annotator, verdict, shown=0, seconds=30.0, repeat_of=None, responses=("x",)):
        one = Judgement(len(self.every) + 1, item, annotator, 1, verdict, shown, seconds, "", "")
        row = Item("q", responses, id=item, repeat_of=repeat_of, annotator=annotator if repeat_of else None)
        self.standing.append((row, one))
        self.every.append(one)

    def undo(self, item, annotator):
        self.every.append(Judgement(len(self.every) + 1, item, annotator, 1, Verdict(UNDONE), 0, None, "", ""))

    def audit(self):
        record = audit_of(self.standing, self.every, PEOPLE, 0)
        json.dumps(record, allow_nan=False)
        return record


@pytest.fixture
def by_hand():
    made = Set()
    for item, (ann, bob) in enumerate([(0, 0), (0, 1), (1, 1), (0.5, 0.5), (0, 0), (1, 0.5)], 1):
        made.say(item, 1, ann, shown=item % 2)
        made.say(item, 2, bob, shown=0, seconds=1.0 if item < 3 else None)
    made.say(7, 1, 0, shown=None)
    made.say(8, 1, None)
    made.say(9, 1, 0, shown=0, repeat_of=1)  # the same as before
    made.say(10, 1, 0, shown=1, repeat_of=3)  # the opposite of before
    made.say(11, 1, 0, shown=1, repeat_of=99)  # of what is undone: nothing to compare
    made.undo(5, 2)
    return made


def test_counts_by_annotator_by_hand(by_hand):
    ann, bob = by_hand.audit()["annotators"]
    assert (ann["name"], ann["comparisons"], ann["skipped"], ann["undone"]) == ("ann", 10, 1, 0)
    assert (bob["name"], bob["comparisons"], bob["skipped"], bob["undone"]) == ("bob\x1b[2J", 6, 0, 1)
    assert (ann["ties"]["count"], ann["ties"]["of"]) == (1, 10)
    # decided and shown in a known order: items 1 2 3 5 6, 9 10 11
    # shown first 1 0 1 1 0, 0 1 1; preferred 0 0 1 0 1, 0 0 0: the same in items 2, 3 and 9
    assert (ann["first_shown"]["count"], ann["first_shown"]["of"]) == (3, 8)
    assert ann["first_shown"]["interval"] == list(wilson_interval(3, 8))
    assert (ann["consistent"]["count"], ann["consistent"]["of"]) == (1, 2)
    assert (bob["too_fast"]["count"], bob["too_fast"]["of"]) == (2, 2)
    assert (ann["too_fast"]["count"], ann["too_fast"]["of"]) == (0, 10)
    assert (ann["agrees"]["count"], ann["agrees"]["of"]) == (4, 6)
    assert (ann["seconds"], bob["seconds"]) == (30.0, 1.0)
    assert bob["consistent"] == {"value": None, "interval": [0.0, 1.0], "count": 0, "of": 0}


def test_agreement_of_the_items_that_several_judged_without_repeats(by_hand):
    record = by_hand.audit()
    import numpy as np

    table = np.array([[2.0, 1, 0], [0, 1, 1], [0, 0, 1]])
    counts = np.array([[2.0, 0, 0], [1, 1, 0], [0, 2, 0], [0, 0, 2], [2, 0, 0], [0, 1, 1]])
    (pair,) = record["pairs"]
    assert pair["annotators"] == ["ann", "bob\x1b[2J"]
    assert (pair["agrees"]["count"], pair["agrees"]["of"]) == (4, 6)
    assert pair["kappa"]["value"] == pytest.approx(float(cohen_kappa(table)))
    assert record["krippendorff"]["value"] == pytest.approx(krippendorff_alpha(counts))
    assert (record["krippendorff"]["items"], record["krippendorff"]["judgements"]) == (6, 12)
    assert record["fleiss"]["value"] == pytest.approx(fleiss_kappa(counts))
    assert (record["fleiss"]["items"], record["fleiss"]["raters"]) == (6, 2)
    assert record == by_hand.audit(), "the same each time"


def test_ratings_are_consistent_within_one_step():
    made = Set()
    for item, first, again in ((1, 5, 6), (2, 5, 7), (3, 10, 10)):
        made.judge(item, 1, Verdict(RATED, rating=first))
        made.judge(item + 10, 1, Verdict(RATED, rating=again), repeat_of=item)
    (ann,) = made.audit()["annotators"]
    assert (ann["consistent"]["count"], ann["consistent"]["of"], ann["ratings"]) == (2, 3, 6)
    assert ann["rating"] == pytest.approx(43 / 6)
    assert ann["first_shown"]["of"] == 0


def test_an_empty_set_one_annotator_and_one_answer_for_all_have_no_agreement():
    made = Set()
    assert audit_lines(made.audit()) == ["nothing has been judged yet"]
    made.say(1, 1, 0)
    record = made.audit()
    assert (record["krippendorff"], record["fleiss"], record["pairs"]) == (None, None, [])
    assert any("no item was judged by two" in line for line in audit_lines(record))
    made.say(1, 2, 0)
    record = made.audit()
    assert record["krippendorff"]["value"] is None
    assert record["pairs"][0]["kappa"] == {"value": None, "interval": None}
    assert any("all is one answer" in line for line in audit_lines(record))
    json.dumps(record, allow_nan=False)


def test_too_fast_is_faster_than_the_words_can_be_read():
    assert reading_seconds(Item("q", ("w " * 50, "v " * 50))) == pytest.approx(6)
    assert reading_seconds(Item("q" * 1000, ("a", "b"))) == 0.5


LENGTH = Taste(lambda prompts, responses: np.array([[float(len(r))] for r in responses]), (1.0,))


def judged(tmp_path, raters, items=120, overlap=1, repeated=0.3):
    with Store(tmp_path / "set.sqlite", 1, repeated=repeated) as store:
        store.add(
            NewItem(f"q{i}", ("a" * (i % 5 + 1), "a" * (i % 3 + 2)), overlap=overlap, uid=f"u{i}") for i in range(items)
        )
        SimulatedAnnotators(raters, 0).collect(store, lambda: False)
        return audit(store)


@pytest.mark.slow
def test_biases_are_found_in_whom_they_are_and_in_nobody_else(tmp_path):
    record = judged(tmp_path, [
        Rater("exact", LENGTH), Rater("left", LENGTH, temperature=2.0, position_bias=3.0),
        Rater("blind", LENGTH, temperature=100.0),
    ], overlap=3)  # fmt: skip
    said = "\n".join(findings(record))
    assert "left leans to the response shown first" in said
    assert "blind often says something else when asked again" in said
    assert "exact" not in said
    assert "blind leans" not in said
    assert "left answers" not in said, "no times are known"
    people = {one["name"]: one for one in record["annotators"]}
    assert people["exact"]["consistent"]["value"] == 1
    assert people["exact"]["first_shown"]["interval"][0] < 0.5 < people["exact"]["first_shown"]["interval"][1]
    kappas = {tuple(pair["annotators"]): pair["kappa"]["value"] for pair in record["pairs"]}
    assert len(kappas) == 3
    assert abs(kappas["exact", "blind"]) < 0.3
    lines = audit_lines(record)
    assert all(len(line) <= 160 for line in lines)
    assert math.isclose(record["krippendorff"]["items"], 120)


def test_the_lines_show_names_as_text_and_every_figure_with_its_count(by_hand):
    text = "\n".join(audit_lines(by_hand.audit()))
    assert "\x1b" not in text
    assert "38 % [14, 69] of 8" in text
    assert "Krippendorff's alpha" in text
    assert "Cohen's kappa" in text
    assert "16 judgements" not in text
    assert "17 judgements, 16 comparisons among them, by 2 annotators" in text
