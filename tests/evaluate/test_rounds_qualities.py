"""The terms of the gold reward, satisfaction and length, before and after: as bars, and in the table of the report."""

import math

import numpy as np
import pytest
import torch

from rlnlp.algos.rounds.draws import Draws, known_terms
from rlnlp.algos.rounds.record import by_prompt, gains, term_means
from rlnlp.evaluate.rounds.qualities import draw_qualities, qualities
from rlnlp.evaluate.rounds.tables import before_after
from rlnlp.types import Scores
from support.rounds import around, first_policy, round_record

BEFORE = {"polite": around(0.5, 0.1), "helpful": around(0.2, 0.05)}
AFTER = {"polite": around(0.8, 0.1), "helpful": around(0.6, 0.05)}


def rng():
    return np.random.default_rng(0)


def ends(**changes):
    last = round_record(2, gold_terms=AFTER)
    last["gains"]["gold_terms"] = {"polite": around(0.3, 0.02), "helpful": None}
    return first_policy(gold_terms=BEFORE), last | changes


def test_the_bars_are_the_terms_satisfaction_and_length_of_the_first_and_the_final_policy():
    found = list(qualities(*ends(), 64))
    assert [each.label for each in found] == ["polite", "helpful", "satisfaction", "length"]
    assert [each.before.value for each in found] == [0.5, 0.2, 5.1, 12.0]
    assert [each.after.value for each in found] == pytest.approx([0.8, 0.6, 6.1, 13.0])
    assert found[1].after.interval == pytest.approx((0.55, 0.65))
    assert [each.after.pairs for each in found] == [64, 64, 30, 64]
    assert len({each.unit for each in found}) == 3
    assert found[0].unit == found[1].unit
    assert found[2].limits == (1, 10)


def test_what_only_one_policy_has_is_no_bar_and_without_any_there_is_no_picture(tmp_path):
    first, last = ends(satisfaction=None, gold_terms={"polite": None, "new": around(0.5, 0.1)})
    assert [each.label for each in qualities(first, last, 64)] == ["length"]
    nothing = {"gold_terms": {}, "satisfaction": None, "response_tokens": None}
    assert draw_qualities([first_policy(**nothing), round_record(1, **nothing)], 64, tmp_path, "a run") is None
    assert not [*tmp_path.iterdir()]
    unknown = first_policy(gold_terms={"polite": [0.5, None, None]}), last | {"gold_terms": AFTER}
    assert all(map(math.isnan, next(iter(qualities(*unknown, 1))).before.interval))
    assert draw_qualities(unknown, 1, tmp_path, "a $run_{").read_bytes().startswith(b"\x89PNG")


def test_the_table_has_the_terms_below_the_gold_reward_if_there_are_several():
    rows = before_after(ends())
    names = [row[0] for row in rows]
    start = names.index("gold reward")
    assert names[start + 1 : start + 3] == ["  polite", "  helpful"]
    assert rows[start + 1] == ("  polite", "0.500", "0.800", "+0.300 [+0.280, +0.320]")
    assert rows[start + 2] == ("  helpful", "0.200", "0.600", "+0.400")
    one = {"polite": around(0.5, 0.1)}
    assert "  polite" not in [
        row[0] for row in before_after((first_policy(gold_terms=one), round_record(1, gold_terms=one)))
    ]


def test_a_term_that_abstains_is_the_mean_of_what_it_said():
    values = np.array([[1.0, math.nan], [0.2, 0.4], [math.nan, math.nan]])
    assert by_prompt(values)[:2] == pytest.approx([1.0, 0.3])
    assert math.isnan(by_prompt(values)[2])
    found = term_means({"a": values, "silent": np.full((3, 2), math.nan)}, rng())
    assert found["a"][0] == pytest.approx(0.65)
    assert found["silent"] is None


def test_gains_are_of_the_same_prompts():
    asked = [[("p", "x"), ("q", "y")]]
    low, high = np.array([[0.1], [0.5]]), np.array([[0.4], [0.8]])
    odd = np.array([[0.4], [math.nan]])
    first = Draws(asked, low, 0 * low, 10 * low, {"a": low, "b": low})
    found = gains(Draws(asked, high, 0 * low, 20 * low, {"a": high, "b": odd}), first, 3 * low, low, rng())
    assert found["gold"] == pytest.approx([0.3, 0.3, 0.3])
    assert found["reward"][0] == pytest.approx(0.6)
    assert found["response_tokens"][0] == pytest.approx(3.0)
    assert found["gold_terms"]["a"] == pytest.approx([0.3, 0.3, 0.3])
    assert found["gold_terms"]["b"][0] == pytest.approx(0.3)


def test_where_a_term_abstains_is_known():
    scores = Scores(torch.ones(2, 3), {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([3.0, 0.0])},
                    {"b": torch.tensor([True, False])})  # fmt: skip
    found = known_terms(scores)
    assert found["a"].tolist() == [1.0, 2.0]
    assert found["b"][0] == 3.0
    assert found["b"][1].isnan()
