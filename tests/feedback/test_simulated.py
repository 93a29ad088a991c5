"""Simulated annotators: Davidson's model, biases and errors, and answers that are the same each time."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from rlnlp.feedback.records import BETTER, RATED, SIMULATED, TIE, Item, NewItem, Question
from rlnlp.feedback.simulated import Rater, SimulatedAnnotators, differing
from rlnlp.feedback.store import Store
from rlnlp.feedback.taste import Taste
from rlnlp.rng import stream

LENGTH = Taste(lambda prompts, responses: np.array([[len(r) / 10] for r in responses]).reshape(-1, 1), (1.0,))


def rater(**more):
    return Rater("r", LENGTH, **more)


def test_the_chances_are_those_of_davidson_by_hand():
    # d = (.8 - .2) / .5 + .3 = 1.5: e^.75 = 2.117, nu = .4, e^-.75 = .4724, of 2.9894 in all
    first, tie, second = rater(temperature=0.5, position_bias=0.3, nu=0.4).chances(0.8, 0.2)
    assert (first, tie, second) == pytest.approx((2.117000 / 2.989367, 0.4 / 2.989367, 0.472367 / 2.989367), abs=1e-6)
    # a tenth of the decided answers is flipped
    flipped = rater(temperature=0.5, position_bias=0.3, nu=0.4, error_rate=0.1).chances(0.8, 0.2)
    assert flipped == pytest.approx((0.9 * first + 0.1 * second, tie, 0.9 * second + 0.1 * first))


def test_without_ties_and_bias_it_is_bradley_terry():
    for gap in (-3.0, -0.1, 0.0, 2.0):
        first, tie, second = rater(temperature=2.0).chances(gap, 0.0)
        assert first == pytest.approx(1 / (1 + math.exp(-gap / 2)))
        assert tie == 0
        assert first + second == pytest.approx(1)
    assert rater(temperature=1e-9, nu=0.5).chances(5.0, -5.0) == (1.0, 0.0, 0.0), "no overflow"


def test_at_temperature_0_it_is_the_sign_with_ties_of_a_width():
    exact = rater(tie_width=0.1)
    assert exact.chances(0.5, 0.3) == (1, 0, 0)
    assert exact.chances(0.3, 0.5) == (0, 0, 1)
    assert exact.chances(0.25, 0.125 + 0.03125) == (0, 1, 0)
    assert rater().chances(0.3, 0.3) == (0, 1, 0)
    assert rater(error_rate=0.1).chances(0.5, 0.3) == (0.9, 0, 0.1)


def judged(tmp_path, raters, items, seed=1, store_seed=3, **more):
    with Store(tmp_path / "set.sqlite", store_seed, repeated=0) as store:
        store.add(items)
        SimulatedAnnotators(raters, seed).collect(store, lambda: False)
        return store.standing(), store.annotators()


def pairs(number, first="a" * 8, second="a" * 5, **more):
    return [NewItem(f"q{i}", (first, second), uid=f"u{i}", **more) for i in range(number)]


def test_answers_come_as_often_as_the_model_says_whichever_is_shown_first():
    one = rater(temperature=0.3, position_bias=0.8, nu=0.5, error_rate=0.1)
    annotators = SimulatedAnnotators([one], 1)
    for shown, tastes in ((0, (0.8, 0.5)), (1, (0.5, 0.8))):
        said = Counter()
        for i in range(1000):
            question = Question(Item("q", ("a" * 8, "a" * 5), uid=f"u{i}"), (shown, 1 - shown), 0)
            preference = annotators.verdict(0, question).preference
            said["tie" if preference == TIE else "first" if preference == shown else "second"] += 1
        for name, p in zip(("first", "tie", "second"), one.chances(*tastes), strict=True):
            assert abs(said[name] - 1000 * p) < 5 * math.sqrt(1000 * p * (1 - p)), (shown, name)


def test_the_answers_are_of_the_seed_the_item_and_the_rater_not_of_memory(tmp_path):
    one = rater(temperature=1.0, nu=0.5)

    def answers(folder, raters, seed=1, items=None, store_seed=3):
        (tmp_path / folder).mkdir()
        standing, people = judged(tmp_path / folder, raters, items or pairs(16), seed, store_seed)
        name = {person.id: person.name for person in people}
        return {item.uid: (j.verdict, j.shown_first) for item, j in standing if name[j.annotator] == "r"}

    same = answers("a", [one])
    both = [one, replace(one, name="s")]
    assert same == answers("b", both, items=pairs(16, overlap=2)[::-1])
    assert same != answers("d", [one], seed=2)
    assert same != answers("e", [replace(one, temperature=0.01)])


def test_several_raters_take_turns_and_each_judges_what_is_wanted(tmp_path):
    raters = [replace(rater(), name=name) for name in "abc"]
    standing, people = judged(tmp_path, raters, pairs(9, overlap=2))
    assert [person.kind for person in people] == [SIMULATED] * 3
    assert Counter(j.annotator for _, j in standing) == {1: 6, 2: 6, 3: 6}
    twins = SimulatedAnnotators([replace(rater(temperature=9.0), name=name) for name in "ab"], 0)
    questions = [Question(Item("q", ("a", "aa"), uid=f"u{i}"), (0, 1), 0) for i in range(40)]
    assert [twins.verdict(0, q) for q in questions] != [twins.verdict(1, q) for q in questions], "each draws its own"


def test_one_who_has_nothing_left_does_not_end_it_for_the_others(tmp_path):
    raters = [replace(rater(), name=name) for name in "ab"]
    with Store(tmp_path / "set.sqlite", repeated=0) as store:
        store.add(pairs(40, overlap=2))
        for some in (raters[:1], raters):
            SimulatedAnnotators(some, 0).collect(store, lambda: False)
        assert store.wanted() == 0


def test_it_stops_when_that_is_enough(tmp_path):
    with Store(tmp_path / "set.sqlite", repeated=0) as store:
        store.add(pairs(20))
        SimulatedAnnotators([rater()], 0).collect(store, lambda: len(store.judgements()) >= 7)
        assert (len(store.judgements()), store.wanted()) == (7, 13)


def test_repeats_are_answered_too_and_without_noise_alike(tmp_path):
    with Store(tmp_path / "set.sqlite", 1, repeated=0.3) as store:
        store.add(pairs(34))
        SimulatedAnnotators([rater()], 0).collect(store, lambda: False)
        repeats = [(item, j) for item, j in store.standing() if item.repeat_of]
        assert len(repeats) > 2
        assert {j.verdict.preference for _, j in store.standing()} == {0.0}


def test_ratings_go_from_1_to_10_with_the_taste(tmp_path):
    items = [NewItem("q", ("a" * n,), uid=f"u{n}") for n in (0, 1, 5, 9, 10, 14)]
    standing, _ = judged(tmp_path, [rater()], items)
    assert [j.verdict.kind for _, j in standing] == [RATED] * 6
    assert [j.verdict.rating for _, j in standing] == [1, 2, 6, 10, 10, 10]
    noisy = [rater(temperature=0.1).rating(0.45, stream(0, "x", i)) for i in range(300)]
    assert abs(np.mean(noisy) - 5) < 0.5
    assert np.std(noisy) > 0.5
    blind = Counter(rater(error_rate=1.0).rating(0.5, stream(0, "y", i)) for i in range(500))
    assert set(blind) == set(range(1, 11))


def test_raters_that_differ_stay_near_the_one_they_are_made_from():
    two = Taste(lambda prompts, responses: np.zeros((len(responses), 2)), (0.75, 0.25))
    base = Rater("rater", two, 0.5, 0.1, 0.2, 0.1)
    alike = differing(base, 3, 0.0, 1)
    assert [one.name for one in alike] == ["rater-1", "rater-2", "rater-3"]
    assert {replace(one, name="", taste=two) for one in alike} == {replace(base, name="", taste=two)}
    others = differing(base, 40, 0.3, 1)
    assert others == [replace(o, taste=replace(o.taste)) for o in differing(base, 40, 0.3, 1)]
    for one in others:
        assert sum(one.taste.weights) == pytest.approx(1)
        assert 0 < one.error_rate <= 0.5
    assert np.mean([math.log(o.temperature / 0.5) for o in others]) == pytest.approx(0, abs=0.2)
    assert np.std([math.log(o.temperature / 0.5) for o in others]) == pytest.approx(0.3, abs=0.12)
    assert np.std([o.position_bias for o in others]) == pytest.approx(0.3, abs=0.12)
    assert len({o.taste.weights for o in others}) == 40


def test_messages_and_items_without_a_prompt_are_judged(tmp_path):
    seen = []

    def terms(prompts, responses):
        seen.extend(prompts)
        return np.array([[len(r)] for r in responses], dtype=float)

    items = [
        NewItem([{"role": "user", "content": "hi"}], tuple({"role": "assistant", "content": c} for c in ("aa", "a"))),
        NewItem(None, ("b", "bb")),
    ]
    standing, _ = judged(tmp_path, [Rater("r", Taste(terms, (1.0,)))], items)
    assert [j.verdict.preference for _, j in standing] == [0.0, 1.0]
    assert seen == [[{"role": "user", "content": "hi"}]] * 2 + [None] * 2
    assert standing[0][1].verdict.kind == BETTER
