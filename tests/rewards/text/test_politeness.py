"""The reward ``politeness``: by hand, on the grammar's replies, and on general English."""

import random
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlnlp.embedded.grammar import corpus, load_grammar, write_text
from rlnlp.rewards.text.politeness import LIST, lexicon, phrases, politeness, shouts
from rlnlp.rewards.text.words import words


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", 0.5), ("the table is green", 0.5), ("Thank you!", 0.5 * (1 + 1 / 1.5)),
        ("LEAVE us alone", 0.5 * (1 - 1 / 1.5)),
        ("please", 0.5 * (1 + 0.75 / 1.25)), ("thank you, please", 0.5 * (1 + 1.75 / 2.25)),
        ("thank you, idiot", 0.5), ("idiot, idiot", 0.5 * (1 - 2 / 2.5)), ("please stop it", 0.5 * (1 - 1 / 1.5)),
        ("I WANT MY MONEY NOW", 0.5 * (1 - 0.75 / 1.25)), ("I’m afraid not", 0.5 * (1 + 0.25 / 0.75)),
    ],
)  # fmt: skip
def test_politeness_weighs_kind_phrases_against_rude_ones(text, value):
    assert politeness([text]) == [pytest.approx(value)]


def test_a_repeated_kind_word_counts_once_and_a_rude_one_every_time():
    once, often, rude, ruder = politeness(["thanks", "thanks " * 30, "idiot", "idiot " * 3])
    assert once == often > 0.5 > rude > ruder


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("NO", 0),
        ("A USB HDMI cable", 0),
        ("I HATE IT, I REALLY DO", 1),
        ("ON AND ON, then it IS SO LOUD", 2),
        ("À BIENTÔT OÙ ÇA", 1),
    ],
)
def test_three_words_in_capitals_are_a_shout(text, count):
    assert shouts(text) == count


def test_every_phrase_can_be_found_and_none_is_listed_twice():
    known, longest = lexicon()
    assert len(known) > 250
    assert all(phrases(words(phrase)) == [(phrase, value)] for phrase, value in known.items())
    assert all(0 < abs(value) <= 1 for value in known.values())
    listed = [
        p.strip()
        for line in LIST.read_text().splitlines()
        if line and line[0] != "#"
        for p in line.partition(":")[2].split(",")
    ]
    assert sorted(listed) == sorted(known)
    assert longest == max(len(phrase.split()) for phrase in known)


@given(st.lists(st.sampled_from([*list(lexicon()[0])[::7], "table", "GREEN", "it"]), max_size=8), st.data())
def test_a_kind_phrase_more_never_harms_and_a_rude_one_more_never_helps(parts, data):
    known = lexicon()[0]
    phrase = data.draw(st.sampled_from(sorted(known)))
    before, after = politeness(
        [" ; ".join(["xx " + p for p in parts]), " ; ".join(["xx " + p for p in [*parts, phrase]])]
    )
    assert 0 <= before <= 1
    assert (after >= before - 1e-12) if known[phrase] > 0 else (after < before)


@cache
def replies(count=300):
    """Replies of the grammar and the politeness that it gave them itself."""
    rng, grammar = random.Random(1), load_grammar()
    topics = [rule.name.split(".", 1)[1] for rule in grammar.of_kind("text", "support") if rule.name[:4] == "ask."]
    dialogues = [write_text(grammar, rng, f"dialogue.{rng.choice(topics)}").text for _ in range(count)]
    return [(d.partition("Agent:")[2].strip(), corpus.reader().read(d).politeness) for d in dialogues]


def auc(high, low):
    """Probability that one of ``high`` is above one of ``low``."""
    return float(np.mean([[(a > b) + 0.5 * (a == b) for b in low] for a in high]))


def test_politeness_separates_kind_plain_and_rude_replies_of_the_grammar():
    values = politeness([text for text, _ in replies()])
    kind, plain, rude = (
        [v for v, (_, gold) in zip(values, replies(), strict=True) if np.sign(gold) == s] for s in (1, 0, -1)
    )
    assert min(map(len, (kind, plain, rude))) > 40
    assert auc(kind, rude) > 0.99
    assert auc(kind, plain) > 0.98
    assert auc(plain, rude) > 0.98


@pytest.mark.parametrize(
    ("kinder", "ruder"),
    [
        ("Could you please send it again?", "Send it again, hurry up."),
        ("We apologise for the wait.", "Deal with it."),
        ("You're welcome, have a great day!", "Get lost, you moron."),
        ("I understand, and I am sorry.", "What the hell do you want now?"),
        ("The parcel is here.", "Who cares about the parcel?"),
        ("Stop at the corner, thanks.", "Stop whining."),
    ],
)
def test_politeness_orders_sentences_of_general_english(kinder, ruder):
    high, low = politeness([kinder, ruder])
    assert high > low
    assert low <= 0.5 <= high
