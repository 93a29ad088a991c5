"""The real command learns whose answers are preferred, of the embedded preferences, over several seeds."""

import json

import pytest

from rlnlp.data.records import ASSETS
from rlnlp.embedded.grammar import load_grammar
from support import forked

TEXTS = ("This is amazing!", "This is great!", "This is okay.", "This is terrible.")
CI = 0.92  # of the held-out pairs; 0.95 and more was measured on several machines
APART = 0.05  # of the range of the four texts: what is okay is at least this far from good and bad ones


def fitted(place, seed, *words):
    """The result of a run on the embedded preferences."""
    place.mkdir()
    asked = ["reward-model", f"seed={seed}", "heldout.every=0", "device.threads=1", "hydra.run.dir=rm", *words]
    status, _, errors = forked.rlnlp(*asked, cwd=place, timeout=900)
    assert status == 0, errors
    return json.loads((place / "rm" / "run.json").read_text())["result"]


def verdicts():
    """Of each thing that the grammar judges, sentences that praise it and others that do not; none is in the pairs."""
    rules = load_grammar().rules

    def words(name):
        return [a.items[0].value for a in rules[name].alternatives if len(a.items) == 1 and not a.items[0].is_rule]

    known = (ASSETS / "preferences.jsonl").read_text()
    found = []
    for thing in sorted(name.removeprefix("noun.") for name in rules if name.startswith("noun.")):
        if f"good.{thing}" not in rules:
            continue
        good, bad = words(f"good.{thing}"), words(f"bad.{thing}")
        for noun in words(f"noun.{thing}")[:2]:
            be = "were" if noun.endswith("s") and not noun.endswith("ss") else "was"
            sides = [[f"The {noun} {be} {word}!" for word in side] for side in (good, bad)]
            found.append([[text for text in side if text not in known] for side in sides])
    return [sides for sides in found if all(sides)]


def ranked(place, *words):
    """The scores of texts, by their text, best first."""
    status, answer, errors = forked.rlnlp("rank", "rm", *words, "--json", cwd=place)
    assert status == 0, errors
    return {each["text"]: each["score"] for each in json.loads(answer)}


def look_at_ranking(place):
    """The four texts are in order and apart; the fraction of the pairs of short verdicts that are."""
    found = ranked(place, *TEXTS)
    order, scores = list(found), list(found.values())
    print(found)
    assert set(order[:2]) == set(TEXTS[:2])
    assert order[2:] == list(TEXTS[2:])
    assert min(scores[1] - scores[2], scores[2] - scores[3]) > APART * (scores[0] - scores[3])
    short = verdicts()
    (place / "texts.txt").write_text("".join(f"{text}\n" for sides in short for side in sides for text in side))
    score = ranked(place, "--file", "texts.txt")
    right = [score[good] > score[bad] for praise, blame in short for good in praise for bad in blame]
    assert len(right) > 500
    return sum(right) / len(right)


@pytest.mark.slow
def test_the_default_command_learns_the_embedded_preferences_and_ranks_short_verdicts(tmp_path):
    few = ["algo.learning_curve=[]", "algo.shuffled_labels=false", "algo.total_steps=200"]
    results = [fitted(tmp_path / str(seed), seed, *few) for seed in range(3)]
    print([(each["accuracy"], each["n"], each["ece"]) for each in results])
    assert all(each["n"] >= 360 and each["heldout"] for each in results)
    right = sum(each["accuracy"] * each["n"] for each in results)
    assert right / sum(each["n"] for each in results) >= CI
    assert all(each["beats_baselines"] for each in results)
    short = [look_at_ranking(tmp_path / str(seed)) for seed in range(3)]
    print(short)
    assert min(short) > 0.85


@pytest.mark.nightly
def test_the_whole_fit_reaches_what_is_promised_and_ranks_texts_by_their_sentiment(tmp_path):
    results = [fitted(tmp_path / str(seed), seed) for seed in range(3)]
    print([(each["accuracy"], each["n"], each["ece"], each["learning_curve"]) for each in results])
    right = sum(each["accuracy"] * each["n"] for each in results)
    assert right / sum(each["n"] for each in results) >= 0.95
    assert all(look_at_ranking(tmp_path / str(seed)) > 0.85 for seed in range(3))
