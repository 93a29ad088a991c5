"""What goes through a model at once: so many texts, of so many tokens with padding, in their order."""

import random
from itertools import pairwise

import pytest
import torch

from rlnlp.batching import length_sorted_rows, micro_batches, parts_at_once
from rlnlp.types import Rollout, take
from support import small

SIZES = [(2, 10), (2, 10), (1, 30), (1, 31), (5, 4), (1, 100), (1, 1)]  # texts of an item, tokens of its longest


@pytest.mark.parametrize(
    ("texts", "tokens", "want"),
    [
        (4, None, [[0, 1], [2, 3], [4], [5, 6]]),
        (99, None, [[0, 1, 2, 3, 4, 5, 6]]),
        (99, 62, [[0, 1], [2, 3], [4], [5], [6]]),  # 2 x 31 fit, 2 x 10 and 2 x 10 and 1 x 30 would be 5 x 30
        (99, 61, [[0, 1], [2], [3], [4], [5], [6]]),
        (4, 20, [[0], [1], [2], [3], [4], [5], [6]]),  # one that is more stands alone
        (1, 1, [[0], [1], [2], [3], [4], [5], [6]]),
    ],
)
def test_parts_hold_as_much_as_may_be_and_what_is_more_stands_alone(texts, tokens, want):
    numbers = list(range(len(SIZES)))
    assert [numbers[part] for part in parts_at_once(SIZES, texts, tokens)] == want


def test_nothing_has_no_parts():
    assert list(parts_at_once([], 4, 9)) == []


def test_no_part_is_more_than_it_may_be_and_none_could_have_taken_the_next_item():
    rng = random.Random(0)
    for _ in range(200):
        sizes = [(rng.randint(1, 4), rng.randint(1, 50)) for _ in range(rng.randint(1, 20))]
        texts, tokens = rng.randint(1, 12), rng.choice([None, rng.randint(1, 300)])

        def fits(items, texts=texts, tokens=tokens):
            count = sum(n for n, _ in items)
            return count <= texts and (tokens is None or count * max(length for _, length in items) <= tokens)

        parts = list(parts_at_once(sizes, texts, tokens))
        assert [item for part in parts for item in sizes[part]] == sizes
        assert all(fits(sizes[part]) or len(sizes[part]) == 1 for part in parts)
        assert not any(fits(sizes[part.start : part.stop + 1]) for part in parts[:-1])


def of_lengths(prompts, responses):
    rows = take(small.prompts(*([3] * n for n in range(1, max(prompts) + 1))), torch.tensor(prompts) - 1)
    mask = torch.arange(max(responses)) < torch.tensor(responses).unsqueeze(1)
    return Rollout(rows, mask.long(), mask, torch.cat([rows.mask, mask], 1), mask[:, 0])


def padded(rollout, part):
    prompts, responses = rollout.prompts.mask.sum(1)[part], rollout.mask.sum(1)[part]
    return len(part) * int(prompts.max() + responses.max())


@pytest.mark.parametrize("together", [False, True])
def test_micro_batches_hold_at_most_their_tokens_with_padding_and_little_of_that(together):
    rng = random.Random(1)
    for _ in range(60):
        count = rng.randint(1, 24)
        prompts, responses = ([rng.randint(1, 20) for _ in range(count)] for _ in range(2))
        rollout, size, tokens = of_lengths(prompts, responses), rng.randint(1, 12), rng.randint(1, 300)
        parts = length_sorted_rows(rollout, size, together, tokens)
        assert sorted(torch.cat(parts).tolist()) == list(range(count))
        assert all(len(part) == 1 or (len(part) <= size and padded(rollout, part) <= tokens) for part in parts)
        if not together:
            for part, following in pairwise(parts):
                more = torch.cat([part, following[:1]])
                assert len(more) > size or padded(rollout, more) > tokens, "it could have taken the next one"


def test_very_different_lengths_cost_less_padding_than_parts_of_a_count():
    rollout = of_lengths([4] * 16, [2] * 12 + [100] * 4)
    by_count = sum(padded(rollout, part) for part in length_sorted_rows(rollout, 5))
    by_tokens = [padded(rollout, part) for part in length_sorted_rows(rollout, 16, tokens=208)]
    assert sum(by_tokens) < 0.8 * by_count
    assert max(by_tokens) == 208


def test_a_rollout_that_fits_is_given_as_it_is_and_one_of_more_tokens_is_cut():
    rollout = of_lengths([2, 3], [4, 1])
    assert next(micro_batches(rollout, rollout, 2, tokens=14)) is rollout
    assert len(list(micro_batches(rollout, rollout, 2, tokens=13))) == 2


def of_groups(group, lengths):
    prompts = take(small.prompts([3], [4], [5]), torch.tensor(group))
    mask = torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)
    return Rollout(prompts, mask.long(), mask, torch.cat([prompts.mask, mask], 1), mask[:, 0])


def test_responses_to_one_prompt_are_not_torn_apart_unless_they_are_too_many():
    rollout = of_groups([0, 1, 2, 0, 1, 2, 0, 1], [2, 9, 1, 3, 4, 3, 5, 2])

    def cut(size):
        return [part.tolist() for part in length_sorted_rows(rollout, size, together=True)]

    assert cut(8) == [[2, 5, 0, 3, 6, 7, 4, 1]], "groups by their longest response, shorter ones first"
    assert cut(6) == [[2, 5, 0, 3, 6], [7, 4, 1]]
    assert cut(4) == [[2, 5], [0, 3, 6], [7, 4, 1]]
    assert cut(2) == [[2, 5], [0, 3], [6], [7, 4], [1]]
    assert [part.tolist() for part in length_sorted_rows(rollout, 4)] == [[2, 0, 7, 3], [5, 4, 6, 1]]
    parts = list(micro_batches(rollout, rollout, 4, together=True))
    assert [len(set(part.prompts.rows.tolist())) for part in parts] == [1, 1, 1]
