"""Texts for supervised training: what is read, what is an error, and what a batch contains."""

import json

import pytest
import torch

from rlnlp.data.records import ASSETS
from rlnlp.data.texts import text_table
from rlnlp.embedded.grammar import corpus
from rlnlp.errors import Failure
from rlnlp.models.load import load_tokenizer
from support import small
from support.data import text_data

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tokenizer(model_dir):
    return load_tokenizer(str(model_dir), True)


def table(path, tokenizer, records, heldout=0, best=1.0, max_tokens=64, too_long="refuse"):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return text_table(text_data(str(path), best, too_long=too_long), heldout, 0, tokenizer, max_tokens)


def words(tokenizer, ids):
    return tokenizer.raw.convert_ids_to_tokens(ids)


def test_a_text_is_a_start_and_a_completion_that_ends_and_a_pair_is_cut_where_it_says(tmp_path, tokenizer):
    records = [{"text": "the film was good"}, {"prompt": "the film", "completion": " was good"}]
    whole, cut = table(tmp_path / "t.jsonl", tokenizer, records).rows
    whole, cut = whole[:2], cut[:2]
    assert [words(tokenizer, part) for part in whole] == [["<s>"], ["the", "film", "was", "good", "</s>"]]
    assert [words(tokenizer, part) for part in cut] == [["<s>", "the", "film"], ["was", "good", "</s>"]]


def test_a_batch_counts_the_completion_and_its_end_and_nothing_else(tmp_path, tokenizer):
    records = [{"prompt": "the", "completion": " film was"}, {"prompt": "the film was", "completion": " bad"}]
    batch = table(tmp_path / "t.jsonl", tokenizer, records).batch([0, 1], CPU)
    assert batch.mask.tolist() == [[True, True, True], [True, True, False]]
    assert batch.prompts.mask.tolist() == [[False, False, True, True], [True, True, True, True]]
    assert batch.responses[:, -1].tolist() == [small.END, tokenizer.pad]
    assert batch.ended.all()


def test_the_best_fraction_is_by_score_and_keeps_the_order_of_the_file(tmp_path, tokenizer):
    scored = {"the": 1, "a": 3, "film": 0, "food": 2}
    records = [{"prompt": "the", "response": f" {word}", "score": score} for word, score in scored.items()]
    best = table(tmp_path / "t.jsonl", tokenizer, records, best=0.5)
    assert [words(tokenizer, rest)[0] for _, rest, _ in best.rows] == ["a", "food"]


def test_a_number_behind_embedded_is_how_many_of_its_texts_are_read():
    own = load_tokenizer(str(ASSETS / "embedded"), True)
    found = text_table(text_data("embedded/300"), 0, 0, own, 128)
    assert [own.decode(before + rest) for before, rest, _ in found.rows] == corpus.texts(300, 0)


@pytest.mark.parametrize("score", [None, "high", float("inf")])
def test_a_record_without_a_score_cannot_be_among_the_best(tmp_path, tokenizer, score):
    records = [{"text": "the film", "score": 1.0}, {"text": "a film", "score": score}]
    with pytest.raises(Failure, match=r"t.jsonl:2") as failure:
        table(tmp_path / "t.jsonl", tokenizer, records, best=0.5)
    assert failure.value.code == 3


def test_a_seeded_tenth_at_most_is_held_out_and_never_trained_on(tmp_path, tokenizer):
    records = [{"text": f"the film {'was ' * n}good"} for n in range(40)]
    made = table(tmp_path / "t.jsonl", tokenizer, records, heldout=100)
    assert len(made.heldout) == 4
    assert sorted(made.train + made.heldout) == list(range(40))


@pytest.mark.parametrize(
    "record", [{"text": 3}, {"prompt": "a", "completion": None}, {"words": "a"}, {"text": "a " * 70}]
)
def test_a_record_that_is_no_text_is_exit_3_with_its_line(tmp_path, tokenizer, record):
    with pytest.raises(Failure, match=r"t.jsonl:2: ") as failure:
        table(tmp_path / "t.jsonl", tokenizer, [{"text": "the film"}, record])
    assert failure.value.code == 3
