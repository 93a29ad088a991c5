"""The table of judged answers: what is trained on, what is measured on, and what becomes of rows that do not fit."""

import json
from dataclasses import replace

import numpy as np
import pytest

from rlnlp.config.data import PreferenceData
from rlnlp.data.judged_batch import batches, bootstrap_weights, rating_scale, row_groups
from rlnlp.data.preference_table import preference_table
from rlnlp.errors import Exit, Failure
from rlnlp.models.chat import Chat
from rlnlp.models.text_tokens import TextReader
from rlnlp.models.tokenizer import Tokenizer
from support import small
from support.data import READING

CPU = "cpu"


def reader(most=32):
    raw = small.tokenizer()
    return TextReader(Chat(Tokenizer(raw, (small.END,), 0, ()), None, {}), most)


def pair(prompt, chosen="is good", rejected="is bad", **more):
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, **more}


@pytest.fixture
def table(tmp_path):
    """The table of some rows, with some settings."""

    def make(*rows, heldout=(), size=1, most=32, rated=False, seed=0, **settings):
        for name, content in (("rows", rows), ("held", heldout)):
            (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content))
        given = {"too_long": "cut", "values": {}, "group": None, **READING, **settings}
        data = PreferenceData(
            preferences=str(tmp_path / "rows.jsonl"), heldout=str(tmp_path / "held.jsonl") if heldout else None, **given
        )
        return preference_table(data, size, seed, reader(most), rated)

    return make


def many(count):
    return [pair(f"the {small.WORDS[2 + i % 12]} {'very ' * (i // 12)}") for i in range(count)]


def test_whole_prompts_are_held_out_and_the_rest_is_trained_on(table):
    rows = [row for row in many(20) for _ in range(2)]
    found = table(*rows, size=5)
    assert found.heldout_is_separate
    assert sorted([*found.train, *found.heldout]) == list(range(40))
    held = {found.units[r] for r in found.heldout}
    assert len(held) == 2, "at most a tenth"
    assert not held & {found.units[r] for r in found.train}
    assert found.heldout != table(*rows, size=5, seed=1).heldout


def test_too_few_rows_are_measured_on_what_is_trained_on_and_that_is_told(table):
    found = table(*many(4), size=2)
    assert (found.heldout_is_separate, found.train) == (False, [0, 1, 2, 3])
    assert "measured on" in found.told["heldout-trained-on"]
    assert table(*many(4), size=0).heldout == [0, 1, 2, 3]


def test_rows_of_a_held_out_file_whose_prompts_are_trained_on_are_left_out(table):
    rows = many(5)
    found = table(*rows[:3], heldout=rows[2:], size=9)
    assert found.heldout_is_separate
    assert [found.rows[r].row.prompt for r in found.heldout] == [row["prompt"] for row in rows[3:]]
    assert found.told["held-out-trained-on"] == "held out: 1 of 3 rows left out: their prompts are trained on"
    assert len(set(found.units)) == 5
    with pytest.raises(Failure, match=r"every prompt of .* is trained on") as failure:
        table(*rows, heldout=rows[:2])
    assert failure.value.code == Exit.DATA


LONG = [pair("the cat " * 20, "is very good !", "is bad ."), pair("the dog", "is nice", "is so cold")]


def test_what_is_too_long_is_cut_left_out_or_refused_as_it_is_asked_for(table):
    cut = table(*LONG, size=0, most=12)
    first = cut.rows[0]
    assert len(cut.rows) == 2
    assert [len(text) for text in first.texts] == [12, 12]
    assert [text.answer for text in first.texts] == [
        text.answer for text in table(*LONG, size=0, most=99).rows[0].texts
    ]
    dropped = table(*LONG, size=0, most=12, too_long="drop")
    assert [row.row.prompt for row in dropped.rows] == ["the dog"]
    assert dropped.told["pairs-dropped"].startswith("1 of 2 rows left out: an answer does not fit")
    with pytest.raises(Failure) as failure:
        table(*LONG, size=0, most=12, too_long="refuse")
    assert failure.value.code == Exit.DATA
    assert "rows.jsonl:1: longer than the model's context of 12 tokens" in str(failure.value)
    assert "data.too_long=cut" in str(failure.value)


def test_answers_that_are_the_same_after_cutting_are_left_out(table):
    same = pair("the", "is good " * 9 + "!", "is good " * 9 + ".")
    found = table(same, LONG[1], size=0, most=10)
    assert [row.row.prompt for row in found.rows] == ["the dog"]
    assert "the same after cutting" in found.told["pairs-cut"]


def test_regression_needs_ratings_and_takes_single_answers(table):
    rated = [{"responses": ["is good"], "ratings": [4]}, {"responses": ["is bad", "is old"], "ratings": [1, 1]}]
    found = table(*rated, size=0, rated=True)
    assert [len(row.texts) for row in found.rows] == [1, 2]
    scale = rating_scale(found)
    assert (scale.mean, scale.deviation) == (2.0, pytest.approx(2**0.5))
    with pytest.raises(Failure, match=r"1 row of .* without ratings"):
        table(*rated, pair("the"), size=0, rated=True)


def test_a_part_of_the_data_is_whole_prompts_and_shuffled_labels_are_those_of_no_one(table):
    rows = [row for row in many(12) for _ in range(3)]
    found = table(*rows, size=0)
    part = found.fraction(0.5)
    assert len(part) == 18
    assert len({found.units[r] for r in part}) == 6
    assert found.fraction(0.01) == [0, 1, 2]
    mixed = found.shuffled(np.random.default_rng(0))
    turned = [a.row.pairs != b.row.pairs for a, b in zip(found.rows, mixed.rows, strict=True)]
    assert 8 < sum(turned) < 28
    assert [row.texts for row in mixed.rows] == [row.texts for row in found.rows]
    assert (mixed.units, mixed.train) == (found.units, found.train)


def test_a_batch_has_the_texts_of_its_rows_and_their_pairs(table):
    several = {"prompt": "a", "responses": ["is good", "is old", "is bad"], "ratings": [2, 1, 2], "weight": 3}
    found = table(pair("the"), several, pair("the room", margin=2), size=0)
    batch = batches(found, rating_scale(found), CPU)([2, 1])
    assert batch.numbers.tolist() == [5, 6, 2, 3, 4]
    assert batch.texts == [*found.rows[2].texts, *found.rows[1].texts]
    assert batch.row_of_text.tolist() == [0, 0, 1, 1, 1]
    assert batch.row_of_pair.tolist() == [0, 1, 1, 1]
    pairs = zip(batch.chosen.tolist(), batch.rejected.tolist(), batch.target.tolist(), strict=True)
    assert list(pairs) == [(0, 1, 1.0), (2, 3, 1.0), (2, 4, 0.5), (4, 3, 1.0)]
    assert batch.margin.tolist() == [2, 0, 0, 0]
    assert batch.weights.tolist() == [1, 3]
    assert batch.ratings[:2].tolist() == [0, 0]
    with pytest.raises(ValueError):
        replace(batch, margin=batch.margin[1:])


def test_rows_are_grouped_by_their_texts_and_none_is_parted(table):
    several = {"prompt": "a", "responses": ["is good", "is old", "is bad"], "ratings": [2, 1, 2]}
    found = table(pair("the"), several, pair("the room"), size=0)
    assert list(row_groups(found, [0, 1, 2], 5)) == [[0, 1], [2]]
    assert list(row_groups(found, [1, 0, 2], 4)) == [[1], [0, 2]]
    assert list(row_groups(found, [0, 1, 2], 1)) == [[0], [1], [2]]
    assert list(row_groups(found, [], 4)) == []
    room = 5 * max(found.lengths[:2])  # tokens of the five texts of the first two rows, with padding
    assert list(row_groups(found, [0, 1, 2], 99, room)) == [[0, 1], [2]]
    assert list(row_groups(found, [0, 1], 99, room - 1)) == [[0], [1]]
    assert list(row_groups(found, [0, 1, 2], 99, 1)) == [[0], [1], [2]]


def test_a_bootstrap_draws_units_and_leaves_out_what_is_not_trained_on():
    units = [0, 0, 1, 2, 3, 3]
    counts = bootstrap_weights(units, [0, 1, 2, 3], 50, 0)
    assert counts.shape == (50, 6)
    assert bool((counts[:, 0] == counts[:, 1]).all())
    assert counts[:, 4:].sum() == 0
    assert bool((counts[:, [0, 2, 3]].sum(1) == 3).all())
    assert bootstrap_weights(units, [0, 1], 1, 0).tolist() == [[1.0] * 6]
