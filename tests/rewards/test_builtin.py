"""The built-in reward terms against numbers worked out by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlnlp.errors import Failure
from rlnlp.models.policy import logprob_fn
from rlnlp.rewards.model.coherence import coherence
from rlnlp.rewards.text.diversity import diversity
from rlnlp.rewards.text.length import length
from rlnlp.rewards.text.sentiment import lexicon, sentiment, valences
from rlnlp.rewards.text.similarity import similarity
from rlnlp.rewards.text.words import words
from rlnlp.rollout.sampling import sampler
from rlnlp.types import Rollout
from support import small


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        (" ... !? ", []),
        ("The cat, THE cat.", ["the", "cat", "the", "cat"]),
        ("I don't; it’s well-made", ["i", "don't", "it's", "well-made"]),
        ("snake_case 3.5 naïve", ["snake", "case", "3", "5", "naïve"]),
        ("'quoted' - dash", ["quoted", "dash"]),
    ],
)
def test_words_are_lower_case_without_punctuation(text, found):
    assert words(text) == found


@pytest.mark.parametrize(
    ("count", "worth"), [(0, 0), (1, 0.2), (4, 0.8), (5, 1), (12, 1), (20, 1), (25, 0.75), (30, 0.5), (40, 0), (60, 0)]
)
def test_length_is_1_in_the_range_and_falls_in_a_line_to_0_at_no_word_and_at_twice_the_top(count, worth):
    assert length(["word " * count], 5, 20) == [pytest.approx(worth, abs=1e-12)]


@pytest.mark.parametrize(
    ("text", "worth"), [("", 0), ("?!", 0), ("one", 1), ("one One ONE", 1 / 3), ("a b a b", 1 / 2), ("a b, a c", 3 / 4)]
)
def test_diversity_is_distinct_words_over_words(text, worth):
    assert diversity([text]) == [worth]


@pytest.mark.parametrize(
    ("completion", "reference", "worth"),
    [
        ("the cat sat", "the cat sat", 1),
        ("the the the", "the cat", 2 * 1 / 5),
        ("a b b", "b b c", 2 * 2 / 6),
        ("one two", "three", 0),
        ("", "three", 0),
        ("one", "", 0),
        ("", "", 0),
        ("Good, very GOOD", "very good good!", 1),
    ],
)
def test_similarity_is_the_f1_of_shared_words_counted_as_often_as_both_have_them(completion, reference, worth):
    assert similarity([completion], [reference]) == [pytest.approx(worth)]


def test_similarity_without_a_reference_is_exit_3_and_says_what_to_do():
    with pytest.raises(Failure, match=r"leave the term out with ~reward\.terms\.similarity") as failure:
        similarity(["a", "b"], ["a", None])
    assert failure.value.code == 3


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("great", [0.75]),
        ("a GREAT film, okay food", [0.75, 0.25]),
        ("great and terrible", [0.75, -1.0]),
        ("not great", [-0.375]),
        ("not terrible", [0.5]),
        ("it isn’t a great film", [-0.375]),
        ("never in my great", [-0.375]),
        ("never ever in my great", [0.75]),
        ("great, not", [0.75]),
        ("the table", []),
        ("", []),
    ],
)
def test_a_negation_within_three_words_before_turns_a_valence_round_and_halves_it(text, found):
    assert valences(words(text)) == found


@pytest.mark.parametrize(
    ("text", "worth"),
    [
        ("", 0.5), ("the table", 0.5), ("perfect", 1), ("terrible", 0), ("great", 0.875), ("not great", 0.3125),
        ("great and terrible", 0.5 * (1 + (0.75 - 1) / 2)),
    ],
)  # fmt: skip
def test_sentiment_is_the_mean_valence_moved_to_0_and_1(text, worth):
    assert sentiment([text]) == [pytest.approx(worth)]


def test_every_word_of_the_lexicon_can_be_met_and_has_a_valence_within_1():
    known = lexicon()
    assert len(known) > 300
    assert all(words(word) == [word] for word in known)
    assert all(0 < abs(valence) <= 1 for valence in known.values())


@given(st.lists(st.text(), max_size=4))
def test_text_terms_stay_within_0_and_1_whatever_the_text(texts):
    references = [text[::-1] for text in texts]
    for values in (length(texts, 5, 20), diversity(texts), sentiment(texts), similarity(texts, references)):
        assert len(values) == len(texts)
        assert all(0 <= value <= 1 for value in values)


def drawn(policy: object, rows: int = 5, longest: int = 6) -> Rollout:
    asked = small.prompts(*[[1, 3 + i, *range(4, 4 + i)] for i in range(rows)])
    return sampler(policy, small.plain(), longest, 0)(asked, np.random.default_rng(0))


def test_coherence_is_one_less_the_mean_surprise_in_units_of_a_blind_draw():
    policy = small.policy(16)
    rollout = drawn(policy)
    slow = []
    for row in range(len(rollout.responses)):
        real = rollout.tokens[row][rollout.attention[row]]
        start = int(rollout.prompts.mask[row].sum())
        with torch.no_grad():
            logits = policy.lm(input_ids=real.view(1, -1)).logits[0].double()
        nats = [float(logits[i - 1].logsumexp(0) - logits[i - 1, real[i]]) for i in range(start, len(real))]
        slow.append(max(0.0, 1 - sum(nats) / len(nats) / math.log(16)))
    assert len({int(mask.sum()) for mask in rollout.mask}) > 1, "the responses should differ in length"
    fast = coherence(logprob_fn(policy, small.plain(), 2), 16)(rollout)
    assert fast.tolist() == pytest.approx(slow, abs=1e-5)


def test_coherence_is_within_0_and_1_and_higher_for_the_likelier_response():
    policy = small.policy(16, spread=1.0)
    term = coherence(logprob_fn(policy, small.plain(), 8), 16)
    asked = small.prompts([1, 5])
    worth = []
    for token in range(16):
        responses, mask = torch.tensor([[token]]), torch.ones(1, 1, dtype=torch.bool)
        rollout = Rollout(asked, responses, mask, torch.cat([asked.mask, mask], 1), torch.tensor([token == small.END]))
        worth.append(float(term(rollout)))
    with torch.no_grad():
        logits = policy.lm(input_ids=asked.tokens).logits[0, -1]
    assert all(0 <= value <= 1 for value in worth)
    assert min(worth) == 0
    assert max(worth) == worth[int(logits.argmax())]
    kept = [i for i in logits.argsort().tolist() if worth[i] > 0]
    assert [worth[i] for i in kept] == sorted(worth[i] for i in kept)
