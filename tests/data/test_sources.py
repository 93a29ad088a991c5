"""What a setting of data names, before there is a tokenizer."""

import json

import pytest

from rlnlp.data import records
from rlnlp.data.sources import data_sources
from rlnlp.errors import Failure
from support.data import prompt_data, text_data


def checked(data, heldout=1, most=10**6):
    return {source.key: source.checked(most).records for source in data_sources(data, heldout)}


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_held_out_data_is_read_where_a_run_reads_it(tmp_path):
    (tmp_path / "a.jsonl").write_text(lines({"prompt": "x", "text": "x"}))
    file = str(tmp_path / "a.jsonl")
    assert list(checked(prompt_data(file, "nowhere.jsonl"), heldout=0)) == ["data.prompts"]
    assert list(checked(prompt_data(file, file))) == ["data.prompts", "data.heldout"]
    assert list(checked(prompt_data(file, None))) == ["data.prompts"]
    assert list(checked(prompt_data("embedded/review", None))) == ["data.prompts", "data.heldout"]
    assert list(checked(text_data(file, 1.0, file), heldout=0)) == ["data.texts", "data.heldout"]


def test_of_the_grammar_s_texts_one_is_made():
    assert len(checked(text_data("embedded", 1.0, None))["data.texts"]) == 1
    with pytest.raises(Failure, match=r"data\.best_fraction needs a number 'score'"):
        checked(text_data("embedded", 0.5, None))


@pytest.mark.parametrize(
    ("data", "row", "fault"),
    [
        (prompt_data, {"text": "x"}, r"a.jsonl:2: no field 'prompt' \(it has: text\)"),
        (prompt_data, {"prompt": 1}, "a.jsonl:2: 'prompt' must be text, got int"),
        (prompt_data, {"prompt": "x", "reference": 1}, "a.jsonl:2: 'reference' must be text, got int"),
        (text_data, {"prompt": "x"}, r"a.jsonl:2: no field 'text' \(it has: prompt\)"),
        (text_data, {"completion": "x"}, r"a.jsonl:2: no field 'prompt' \(it has: completion\)"),
        (text_data, {"prompt": "x", "response": 1}, "a.jsonl:2: 'completion' must be text, got int"),
    ],
)
def test_a_bad_record_is_told_with_its_line(data, row, fault, tmp_path):
    (tmp_path / "a.jsonl").write_text(lines({"prompt": "x", "text": "x"}, row))
    asked = data(str(tmp_path / "a.jsonl"))
    with pytest.raises(Failure, match=fault) as failure:
        checked(asked)
    assert failure.value.code == 3


@pytest.mark.parametrize("end", ["jsonl", "csv", "txt"])
def test_of_a_large_file_the_beginning_is_read_wherever_it_is_cut(end, tmp_path, monkeypatch):
    rows = [f"{i} é, '" for i in range(100)]
    text = {
        "jsonl": lines(*({"prompt": row} for row in rows)),
        "csv": "prompt\n" + "".join(f'"{row}\n"\n' for row in rows),
        "txt": "".join(f"{row}\n" for row in rows),
    }[end]
    path = tmp_path / f"a.{end}"
    path.write_text(text)
    (source,) = data_sources(prompt_data(str(path), None), 1)
    assert (source.checked(500).total, source.checked(10**6).total) == (None, 100)
    for sample in range(60, 120):
        monkeypatch.setattr(records, "SAMPLE", sample)
        read = [record["prompt"].strip() for _, record in source.checked(500).records]
        assert 0 < len(read) < 20
        assert read == rows[: len(read)]
    assert len(source.checked(10**6).records) == 100
