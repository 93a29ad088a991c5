"""The record of a reward model's report: what it says, and what it does not say, of pairs made by hand or drawn."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit as sigmoid

from rlnlp.config.data import Reading
from rlnlp.data.judged import Judged
from rlnlp.data.preferences import read_judgements
from rlnlp.evaluate.preferences import CurvePoint, HeldoutScores, preference_record
from rlnlp.evaluate.preferences.calibrated import crosswise
from rlnlp.evaluate.preferences.heldout import decided
from rlnlp.evaluate.preferences.words import gain_words, rate
from rlnlp.maths.calibration import best_temperature
from support.data import READING
from support.judgements import pairs, row

DATA = Path(os.environ.get("RLNLP_CHAT_DATA", ""))


def made(heldout, train=None, **more):
    """The record, as JSON holds it: no nan, no array."""
    record = preference_record(heldout, heldout.rows if train is None else train, np.random.default_rng(0), **more)
    return json.loads(json.dumps(record, allow_nan=False))


def baseline(record, name):
    return next(each for each in record["baselines"] if each["name"] == name)


def drawn(count, seed, temperature=1.0, per_prompt=1):
    """Pairs whose labels have known probabilities, of a model whose probabilities are right at ``temperature``."""
    draw = np.random.default_rng(seed)
    log_odds = 1.5 * draw.normal(size=count)
    right = draw.random(count) < sigmoid(np.abs(log_odds) / temperature)
    first = draw.random(count) < 0.5
    return pairs(np.where(right, 1, -1) * np.abs(log_odds), draw.integers(-9, 10, count), per_prompt, first)


def true_error(temperature):
    size = np.linspace(0, 15, 20_001)
    density = np.exp(-np.square(size / 1.5) / 2)
    return float(np.sum(np.abs(sigmoid(size / temperature) - sigmoid(size)) * density) / density.sum())


def test_pairs_count_one_each_equal_scores_half_and_ties_not_at_all():
    first = row("a", ["one", "two", "three"], (0, 1), (0, 2), (1, 2, 0.5))
    second = row("b", ["four", "five"], (1, 0))
    record = made(HeldoutScores([first, second], [0, 1], [np.array([2.0, 1.0, 2.0]), np.zeros(2)], [[1, 1, 1], [1, 1]]))
    assert (record["n"], record["ties"], record["prompts"]) == (3, 1, 2)
    assert record["accuracy"] == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert record["notes"][0] == "1 labelled tie left out: no answer is the right one."


def test_of_four_pairs_little_is_said_and_why_is_said():
    record = made(pairs([1.0, -1.0, 2.0, 0.5], first=[True, False, True, False]))
    assert record["accuracy"] == 0.75
    assert record["accuracy_interval"] == [0, 1]
    for name in ("ece", "temperature", "by_margin", "by_length_difference", "length", "twice_the_labels", "agreement"):
        assert record[name] is None
    assert record["missing"]["calibration"] == "4 pairs, at least 20 are needed"
    assert set(record["missing"]) == {
        "calibration", "by_margin", "by_length_difference", "length", "learning_curve", "shuffled labels", "agreement",
        "unseen_annotators",
    }  # fmt: skip
    assert record["verdict"].startswith("not shown: it may be no better than ")
    assert record["beats_baselines"] is None
    assert record["mislabelled"][0]["probability"] == pytest.approx(sigmoid(-1.0))


def test_nothing_is_said_of_no_pair_and_of_ties_alone():
    for heldout in (HeldoutScores([], [], [], []), _tie()):
        record = made(heldout, [])
        assert record["accuracy"] is None
        assert record["accuracy_interval"] is None
        assert record["verdict"].startswith("nothing is measured")
        assert all(each["accuracy"] is None and each["beaten"] is None for each in record["baselines"])


def _tie():
    return HeldoutScores([row("a", ["x", "y"], (0, 1, 0.5))], [0], [np.ones(2)], [[1, 1]])


def test_of_one_prompt_no_interval_is_told():
    record = made(pairs([1.0, -1.0] * 20, per_prompt=40))
    assert record["accuracy"] == 0.5
    assert record["accuracy_interval"] is None
    assert record["ece_interval"] is None
    assert record["length"]["interval"] is None
    assert "All pairs belong to one prompt: no interval can be told." in record["notes"]


def test_a_score_that_is_length_does_not_beat_longer_wins():
    draw = np.random.default_rng(3)
    longer = draw.integers(1, 30, 300) * np.where(draw.random(300) < 0.77, 1, -1)
    record = made(pairs(0.05 * longer, longer, first=draw.random(300) < 0.5))
    rule = baseline(record, "longer")
    assert (rule["gain"], rule["gain_interval"], rule["beaten"]) == (0, [0, 0], False)
    assert record["beats_baselines"] is False
    percent = f"{100 * record['accuracy']:.1f} %"
    assert record["verdict"] == (
        f"no: it does not beat 'longer wins' ({percent} against {percent}, difference 0.0 points [0.0, 0.0])"
    )
    assert record["length"]["correlation"] == pytest.approx(1)
    assert record["length"]["accuracy_shorter_preferred"] == 0
    assert record["length"]["n_shorter_preferred"] == (longer < 0).sum()


def test_a_model_that_beats_both_rules_is_told_to():
    draw = np.random.default_rng(4)
    right = np.where(draw.random(400) < 0.9, 1.0, -1.0)
    record = made(pairs(right, draw.integers(-9, 10, 400), first=draw.random(400) < 0.5))
    majority, longer = baseline(record, "majority"), baseline(record, "longer")
    told = [
        f"'{each['rule']}' ({rate(each['accuracy'])}, difference {gain_words(each)})" for each in (majority, longer)
    ]
    assert record["verdict"] == (
        f"yes: it beats {told[0]} and {told[1]} with an accuracy of {rate(record['accuracy'])}"
    )
    assert record["beats_baselines"] is True
    assert baseline(record, "majority")["beaten"] is True


def test_a_gain_that_may_be_chance_is_neither_a_yes_nor_a_no():
    right = [True] * 17 + [False] * 13
    longer = [5 if (i < 15) else -5 for i in range(30)]
    record = made(pairs([1.0 if each else -1.0 for each in right], longer, first=[i % 2 == 0 for i in range(30)]))
    assert baseline(record, "longer")["gain"] > 0
    assert baseline(record, "longer")["beaten"] is None
    assert record["verdict"].startswith("not shown: it may be no better than ")


def test_longer_or_shorter_and_first_or_second_are_learned_from_the_training_pairs():
    heldout = pairs([1.0] * 30, [5] * 30, first=[True] * 20 + [False] * 10)
    train = pairs([0.0] * 30, [-5] * 30, first=[False] * 20 + [True] * 10).rows
    record = made(heldout, train)
    assert (baseline(record, "longer")["rule"], baseline(record, "longer")["accuracy"]) == ("shorter wins", 0)
    assert baseline(record, "majority")["rule"] == "the second wins"
    assert baseline(record, "majority")["accuracy"] == pytest.approx(1 / 3)


def test_a_place_that_is_the_label_is_no_baseline():
    rule = baseline(made(pairs([1.0, -1.0, 1.0, 1.0] * 10)), "majority")
    assert (rule["rule"], rule["accuracy"], rule["gain"]) == ("a coin", 0.5, 0.25)
    assert rule["gain_interval"] == pytest.approx([0.1, 0.375], abs=0.03)
    assert rule["beaten"] is True


def test_of_fewer_than_six_prompts_nothing_is_shown_to_be_beaten():
    for count, beaten in ((5, None), (6, True)):
        record = made(pairs([1.0] * count, [-1] * count, first=[i % 2 == 0 for i in range(count)]), _others(40))
        assert baseline(record, "longer")["gain_interval"] == [1, 1]
        assert baseline(record, "longer")["beaten"] is beaten


def test_the_gain_over_a_coin_is_as_uncertain_as_the_accuracy():
    record = made(pairs([1.0] * 10))
    rule = baseline(record, "majority")
    assert rule["gain_interval"] == pytest.approx([end - 0.5 for end in record["accuracy_interval"]])
    assert rule["interval"] is None


def test_a_model_of_shuffled_labels_is_a_baseline_on_the_same_pairs():
    heldout, other = pairs([1.0, 1.0, 1.0, -1.0] * 10), pairs([1.0, -1.0, -1.0, -1.0] * 10)
    rule = baseline(made(heldout, shuffled=other), "shuffled labels")
    assert (rule["accuracy"], rule["gain"], rule["beaten"]) == (0.25, 0.5, True)
    with pytest.raises(ValueError, match="other rows"):
        made(heldout, shuffled=pairs([1.0] * 3))


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_the_calibration_error_of_10000_pairs_is_within_2_hundredths_of_the_true_one(temperature):
    record = made(drawn(10_000, 1, temperature, per_prompt=20))
    assert abs(record["ece"] - true_error(temperature)) < 0.02
    assert record["ece_interval"][0] <= true_error(temperature) <= record["ece_interval"][1]
    assert record["temperature"]["value"] == pytest.approx(temperature, rel=0.1)
    assert record["temperature"]["ece"] < 0.02
    assert len(record["reliability"]) == 15
    assert sum(point["n"] for point in record["reliability"]) == 10_000


@pytest.mark.parametrize(("temperature", "seeds"), [(2.0, 1), pytest.param(1.0, 20, marks=pytest.mark.slow)])
def test_the_interval_of_400_pairs_holds_the_true_calibration_error(temperature, seeds):
    ends = [made(drawn(400, seed, temperature))["ece_interval"] for seed in range(seeds)]
    held = [low <= true_error(temperature) <= high for low, high in ends]
    assert sum(held) >= 0.9 * seeds


def test_the_error_with_a_temperature_is_told_on_other_prompts_than_it_was_fitted_to():
    found = decided(drawn(300, 0, 2.0, per_prompt=3))
    used = found.differences / crosswise(found, np.random.default_rng(0))
    temperatures = np.unique(used.round(9))
    assert len(temperatures) == 5
    for value in temperatures:
        own = np.isclose(used, value)
        assert best_temperature(found.differences[~own], np.ones(int((~own).sum()))) == pytest.approx(value)
        assert not set(found.units[own]) & set(found.units[~own])


def test_why_there_is_no_temperature_is_said():
    assert made(pairs([1.0] * 30))["temperature"]["reason"].startswith("it is right on every pair")
    assert made(pairs([1.0, -1.0] * 15))["temperature"]["reason"].startswith("its probabilities tell no more")


def test_scores_that_are_fitted_to_ratings_have_no_calibration():
    record = made(pairs([1.0, -1.0] * 20), log_odds=False)
    assert record["ece"] is None
    assert record["missing"]["calibration"].startswith("its scores are fitted to ratings")
    assert record["mislabelled"][0]["probability"] is None


def test_margins_of_the_data_come_before_the_models_own():
    own = made(pairs(np.linspace(-1, 3, 60)))["by_margin"]
    assert own["of"] == "the model's own margin"
    given = made(pairs(np.linspace(-1, 3, 60), margin=[1.0, 2.0, 3.0] * 20))["by_margin"]
    assert given["of"] == "margin"
    assert [(group["low"], group["high"], group["n"]) for group in given["groups"]] == [
        (1, 1, 20), (2, 2, 20), (3, 3, 20),
    ]  # fmt: skip
    rated = made(pairs(np.linspace(-1, 3, 60), ratings=[(5.0, 1.0), (3.0, 2.0)] * 30))["by_margin"]
    assert rated["of"] == "difference of the ratings"
    assert [group["low"] for group in rated["groups"]] == [1, 4]


def test_accuracy_by_length_difference_is_by_how_much_longer_the_preferred_answer_is():
    groups = made(pairs([-1.0] * 20 + [1.0] * 20, [-5] * 20 + [5] * 20))["by_length_difference"]
    assert [(group["low"], group["high"], group["accuracy"]) for group in groups] == [(-5, -5, 0), (5, 5, 1)]


def accurate(fraction, count=200):
    """A model that is right on so many pairs, the first ones."""
    return pairs(np.where(np.arange(count) < fraction * count, 1.0, -1.0))


def test_twice_the_labels_are_on_the_straight_line_over_the_doublings():
    curve = [CurvePoint(50 * 2**i, 50 * 2**i, accurate(0.6 + 0.05 * i)) for i in range(3)]
    heldout = accurate(0.75)
    record = made(heldout, [*heldout.rows, *_others(200)], curve=curve)
    assert [point["prompts"] for point in record["learning_curve"]] == [50, 100, 200, 400]
    assert [point["accuracy"] for point in record["learning_curve"]] == pytest.approx([0.6, 0.65, 0.7, 0.75])
    found = record["twice_the_labels"]
    assert (found["prompts"], found["accuracy"], found["gain"]) == (800, pytest.approx(0.8), pytest.approx(0.05))
    assert found["gain_interval"][0] > 0
    low, high = found["interval"]
    assert low < 0.8 < high
    assert high - low < 0.2


def _others(count):
    return [row(f"other {i}", ["x", "y"], (0, 1)) for i in range(count)]


def test_the_interval_of_twice_the_labels_is_of_the_same_prompts_at_every_point():
    """Models of equal accuracy on the same pairs: the slope is 0 in every resample."""
    curve = [CurvePoint(50 * 2**i, 50 * 2**i, accurate(0.7)) for i in range(4)]
    found = made(accurate(0.7), _others(400), curve=curve)["twice_the_labels"]
    assert found["gain_interval"] == pytest.approx([0, 0], abs=1e-9)
    assert found["interval"] == pytest.approx(made(accurate(0.7))["accuracy_interval"], abs=0.01)


@pytest.mark.parametrize(
    ("curve", "reason"),
    [
        ([CurvePoint(50, 50, accurate(0.6))], "at least 3 sizes of data, there are 2"),
        ([CurvePoint(25 * 2**i, 25 * 2**i, accurate(0.5 + 0.17 * i)) for i in range(3)], "leaves 100 %"),
    ],
)
def test_why_twice_the_labels_are_not_shown(curve, reason):
    record = made(accurate(1.0), _others(200), curve=curve)
    assert record["twice_the_labels"] is None
    assert reason in record["missing"]["twice_the_labels"]


def test_of_a_curve_that_flattens_no_straight_line_is_shown():
    curve = [CurvePoint(25 * 2**i, 25 * 2**i, accurate(x)) for i, x in enumerate([0.5, 0.6, 0.7])]
    record = made(accurate(0.7), _others(200), curve=curve)
    assert record["missing"]["twice_the_labels"].startswith("the curve flattens")


def test_a_line_with_a_wide_interval_is_not_shown():
    curve = [CurvePoint(5 * 2**i, 5 * 2**i, accurate(0.5 + 0.05 * i, 20)) for i in range(3)]
    record = made(accurate(0.6, 20), _others(40), curve=curve)
    assert "points wide" in record["missing"]["twice_the_labels"]


def test_on_training_pairs_there_is_no_verdict():
    record = made(accurate(1.0), separate=False, curve=[CurvePoint(50, 50, accurate(0.6))])
    assert record["verdict"] == (
        "not measured: its accuracy of 100.0 % is on pairs that it was trained on, and says nothing of others"
    )
    assert record["beats_baselines"] is None
    assert record["learning_curve"] == []
    assert record["missing"]["learning_curve"] == "on pairs that were trained on, every curve rises"
    assert [each["beaten"] for each in record["baselines"]] == [None] * 3
    assert record["notes"][0].startswith("All figures are measured on pairs that the model was trained on")


def votes(*names_and_choices):
    """Rows of one pair, an annotator each, who prefers the first answer (0) or the second."""
    return [(name, (0, 1) if choice == 0 else (1, 0)) for name, choice in names_and_choices]


def test_agreement_is_that_of_two_annotators_over_pairs_that_several_judged():
    """Half of the pairs have 3 of 3 votes alike, half 2 of 3: the agreement is (1 + 1/3) / 2."""
    rows = []
    for i in range(20):
        for name, order in votes(("ann", 0), ("bob", 0), ("cy", i % 2)):
            answers = ["x", "y"] if name != "bob" else ["y ", " x"]  # the other way round, with other spaces
            order = order if name != "bob" else order[::-1]
            rows.append(row(f"prompt {i}", answers, order, annotator=name))
    rows.append(row("alone", ["x", "y"], (0, 1), annotator="ann"))
    heldout = HeldoutScores(rows, [*np.repeat(range(20), 3), 20], [np.array([1.0, 0.0])] * 61, [[1, 1]] * 61)
    found = made(heldout)["agreement"]
    assert (found["pairs"], found["annotators"], found["judgements"]) == (20, 3, 60)
    assert found["rate"] == pytest.approx(2 / 3)
    assert found["ceiling"] == pytest.approx([2 / 3, (1 + math.sqrt(1 / 3)) / 2])
    assert found["interval"] == pytest.approx([0.53, 0.80], abs=0.04)
    by_name = {each["annotator"]: (each["accuracy"], each["n"]) for each in made(heldout)["by_annotator"]}
    assert by_name == {"ann": (1, 21), "bob": (0, 20), "cy": (0.5, 20)}


def test_the_best_model_is_between_both_ends_of_the_ceiling():
    """With known chances of the annotators' votes: the accuracy of whoever always knows the more likely one."""
    chance = np.random.default_rng(0).uniform(0.5, 1, 10_000)
    agreement = np.mean(chance**2 + (1 - chance) ** 2)
    assert agreement <= chance.mean() <= (1 + math.sqrt(2 * agreement - 1)) / 2


def test_why_there_is_no_agreement_is_said():
    assert made(pairs([1.0] * 30))["missing"]["agreement"] == "no two annotators are named in the data"
    one_each = pairs([1.0] * 30, annotator=["ann", "bob"] * 15)
    assert made(one_each)["missing"]["agreement"] == "0 pairs were judged by several annotators, 10 are needed"


def test_annotators_that_training_has_not_seen_are_told_apart():
    heldout = pairs([1.0] * 20 + [-1.0] * 10, annotator=["ann"] * 10 + ["bob", "cy"] * 10)
    found = made(heldout, [row("p", ["x", "y"], (0, 1), annotator="ann")])["unseen_annotators"]
    assert (found["annotators"], found["n"], found["accuracy"]) == (2, 20, 0.5)
    every = made(heldout, heldout.rows)
    assert every["unseen_annotators"] is None
    assert "no held-out pair is from an annotator" in every["missing"]["unseen_annotators"]


def test_the_labels_that_are_most_doubted_come_first_as_people_read_them():
    talk = [{"role": "user", "content": "hi"}]
    rows = [
        Judged(talk, ({"role": "assistant", "content": "yes"}, {"role": "assistant", "content": "no"}),
               pairs([1.0]).rows[0].pairs, None, 1.0, "ann", None, "a.jsonl, line 7"),
        row(None, ["x", "y"], (1, 0)), row("p", ["u", "v"], (0, 1)),
    ]  # fmt: skip
    raw = [np.array([0.0, 3.0]), np.array([1.0, 0.0]), np.array([1.0, 0.0])]
    worst, second = made(HeldoutScores(rows, [0, 1, 2], raw, [[1, 1]] * 3))["mislabelled"]
    assert (worst["location"], worst["prompt"], worst["chosen"], worst["rejected"]) == (
        "a.jsonl, line 7", "User: hi", "yes", "no",
    )  # fmt: skip
    assert worst["probability"] == pytest.approx(sigmoid(-3))
    assert (second["prompt"], second["chosen"]) == ("", "y")


def test_scores_that_are_no_numbers_are_left_out_and_told():
    record = made(pairs([1.0, math.nan, math.inf, -1.0]))
    assert (record["n"], record["unscored"], record["accuracy"]) == (2, 2, 0.5)
    assert "2 pairs left out, because a score is not finite." in record["notes"]


def test_groups_and_texts_without_a_prompt_are_called_by_their_names():
    grouped = made(pairs([1.0] * 4, group=["a", "a", "b", "b"]))
    assert grouped["unit"] == "group"
    assert "With fewer than 20 groups the intervals" in grouped["notes"][0]
    bare = HeldoutScores([row(None, ["x", "y"], (0, 1))] * 2, [0, 0], [np.ones(2)] * 2, [[1, 1]] * 2)
    assert "All pairs belong to one set of texts: no interval can be told." in made(bare)["notes"]


def test_shapes_that_differ_are_refused():
    one = row("p", ["x", "y"], (0, 1))
    with pytest.raises(ValueError, match="differ in number"):
        HeldoutScores([one], [0], [], [[1, 1]])
    with pytest.raises(ValueError, match="2 answers, scores"):
        HeldoutScores([one], [0], [np.ones(3)], [[1, 1]])


@pytest.mark.nightly
@pytest.mark.skipif(not (DATA / "ukpconvarg").is_dir(), reason="RLNLP_CHAT_DATA names no folder with ukpconvarg")
def test_of_real_arguments_a_score_that_is_length_does_not_beat_longer_wins():
    """By topic; of a score that is length in characters, and of one that knows a little more than length."""
    reading = Reading(**READING | {"columns": {"text1": "a1", "text2": "a2", "preference": "label"}})
    found = read_judgements("data.preferences", f"{DATA}/ukpconvarg/*.csv", reading, {"a1": 0, "a2": 1}, "file")
    sizes = [[len(text) for text in row.texts] for row in found.rows]
    scores = [0.01 * np.array(each, dtype=float) for each in sizes]
    record = made(HeldoutScores(found.rows, found.units, scores, sizes))
    assert (record["n"], record["prompts"], record["unit"]) == (8670, 24, "group")
    assert record["accuracy"] == pytest.approx(0.77, abs=0.005)
    assert record["verdict"].startswith("no: it does not beat 'longer wins' (77.")
    assert record["length"]["accuracy_shorter_preferred"] == 0
    for score, each in list(zip(scores, found.rows, strict=True))[::4]:
        score[each.pairs[0].chosen] += 20
    better = made(HeldoutScores(found.rows, found.units, scores, sizes))
    assert better["verdict"].startswith("yes: it beats ")
