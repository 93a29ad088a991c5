"""Rows that do not fit the model: what is kept of them, and what is told."""

import json

import pytest

from rlnlp.data.prompts import prompt_table
from rlnlp.data.texts import text_table
from rlnlp.errors import Failure
from rlnlp.models.tokenizer import Tokenizer
from support import small
from support.data import prompt_data, text_data

LONG = "the film was very good"  # six tokens with the start


def words(start=(1,)) -> Tokenizer:
    raw = small.tokenizer()
    if not start:
        raw.backend_tokenizer.post_processor = None
    return Tokenizer(raw, (small.END,), 0, start)


def written(path, *records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def prompts(path, *given, room=4, start=(1,), heldout=0, own=None, **changes):
    data = prompt_data(written(path, *({"prompt": each} for each in given)), own, **changes)
    return prompt_table(data, heldout, 0, words(start), room)


def read(table):
    return [record["prompt"] for record in table.records]


def error(function, *args, **changes):
    with pytest.raises(Failure) as failure:
        function(*args, **changes)
    assert failure.value.code == 3
    return str(failure.value)


def test_prompts_that_are_too_long_are_left_out_and_counted_once(tmp_path):
    table = prompts(tmp_path / "p.jsonl", "food", LONG, "the film", LONG, "a room is")
    assert read(table) == ["food", "the film", "a room is"]
    assert table.notes == [
        "2 of 5 prompts left out (data.too_long=drop): the model has room for 4 tokens besides the response;"
        " first p.jsonl:2"
    ]
    assert prompts(tmp_path / "p.jsonl", "food", LONG, room=6).notes == []


def test_a_prompt_that_is_cut_keeps_its_start_and_its_last_tokens_and_its_text_is_what_the_model_sees(tmp_path):
    table = prompts(tmp_path / "p.jsonl", "food", LONG, too_long="cut")
    assert read(table) == ["food", "was very good"]
    assert table.tokens[1] == [1, *words().encode("was very good")[1:]]
    assert table.notes[0].startswith("1 of 2 prompts cut (data.too_long=cut): ")
    bare = prompts(tmp_path / "p.jsonl", LONG, too_long="cut", start=(), room=2)
    assert bare.tokens == [words().encode("very good")[1:]]


def test_what_is_refused_is_told_with_its_line_and_what_to_type(tmp_path):
    message = error(prompts, tmp_path / "p.jsonl", "food", LONG, too_long="refuse")
    assert "p.jsonl:2: 6 tokens, but the model has room for 4 besides the response\n" in message
    assert message.endswith("to leave out what is too long: data.too_long=drop; to shorten it: data.too_long=cut")
    assert "data.too_long" not in error(prompts, tmp_path / "p.jsonl", 3, too_long="refuse")


@pytest.mark.parametrize("way", ["drop", "cut"])
def test_an_empty_prompt_without_a_start_token_is_left_out_and_told(way, tmp_path):
    table = prompts(tmp_path / "p.jsonl", "", "food", start=(), too_long=way)
    assert read(table) == ["food"]
    assert table.notes == [
        f"1 of 2 prompts left out (data.too_long={way}): empty, and the tokenizer has no start token; first p.jsonl:1"
    ]


def test_empty_and_repeated_prompts_are_used_and_told(tmp_path):
    table = prompts(tmp_path / "p.jsonl", "food", " ", "film", "food", "", "food", start=(1,))
    assert len(read(table)) == 6
    assert table.notes == [
        "2 of 6 prompts empty; first p.jsonl:2",
        "2 of 6 prompts the same as one before; first p.jsonl:4",
    ]


def test_no_prompt_that_fits_is_an_error_with_the_reason(tmp_path):
    message = error(prompts, tmp_path / "p.jsonl", LONG, LONG)
    assert message.startswith(f"data.prompts: no prompt of {tmp_path}/p.jsonl can be used\n2 of 2 prompts left out (")


def test_held_out_data_are_told_by_themselves_and_the_package_s_own_are_not(tmp_path):
    own = written(tmp_path / "own.jsonl", {"prompt": "film"}, {"prompt": LONG})
    table = prompts(tmp_path / "p.jsonl", "food", own=own, heldout=9)
    assert (read(table), table.train, table.heldout) == (["food", "film"], [0], [1])
    assert [note.partition(" (")[0] for note in table.notes] == ["held out: 1 of 2 prompts left out"]
    assert prompt_table(prompt_data(["embedded/review"] * 2), 0, 0, words(), 64).notes == []


def texts(path, *records, room=6, **changes):
    return text_table(text_data(written(path, *records), **changes), 0, 0, words(), room)


def test_a_text_that_is_too_long_is_left_out_or_cut_behind_its_prompt_and_then_does_not_end(tmp_path):
    pair = {"prompt": "the film", "completion": " was very good !"}
    short = {"text": "the film"}
    left = texts(tmp_path / "t.jsonl", pair, short)
    assert len(left.rows) == 1
    assert left.notes == [
        "1 of 2 texts left out (data.too_long=drop): the model's context has 6 tokens; first t.jsonl:1"
    ]
    cut = texts(tmp_path / "t.jsonl", pair, short, too_long="cut")
    assert cut.rows[0].completion == words().encode("was very good")[1:]
    assert cut.rows[1].completion[-1] == small.END
    assert "t.jsonl:1: 8 tokens, but the model's context has 6\n" in error(
        texts, tmp_path / "t.jsonl", pair, short, too_long="refuse"
    )


def test_a_prompt_that_fills_the_context_by_itself_cannot_be_cut(tmp_path):
    whole = {"prompt": LONG, "completion": " !"}
    assert "no text of" in error(texts, tmp_path / "t.jsonl", whole, too_long="cut")
    kept = texts(tmp_path / "t.jsonl", whole, {"text": "food"}, too_long="cut")
    assert (len(kept.rows), kept.notes[0].partition(" (")[0]) == (1, "1 of 2 texts left out")


def test_empty_completions_and_repeated_texts_are_told(tmp_path):
    pair = {"prompt": "film", "completion": " good"}
    table = texts(tmp_path / "t.jsonl", pair, {"prompt": "film", "completion": ""}, pair, {**pair, "prompt": "food"})
    assert len(table.rows) == 4
    assert table.notes == [
        "1 of 4 texts empty; first t.jsonl:2",
        "1 of 4 texts the same as one before; first t.jsonl:3",
    ]
