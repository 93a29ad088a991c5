"""What a setting of data names, before there is a tokenizer."""

import json

import pytest

from rlnlp.config.data import PromptData, TextData
from rlnlp.data import records
from rlnlp.data.sources import data_files
from rlnlp.errors import Failure


def checked(data, heldout=1, most=10**6):
    return {file.key: file.checked(most) for file in data_files(data, heldout)}


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_held_out_data_is_read_where_a_run_reads_it(tmp_path):
    (tmp_path / "a.jsonl").write_text(lines({"prompt": "x", "text": "x"}))
    file = str(tmp_path / "a.jsonl")
    assert list(checked(PromptData(file, "nowhere.jsonl"), heldout=0)) == ["data.prompts"]
    assert list(checked(PromptData(file, file))) == ["data.prompts", "data.heldout"]
    assert list(checked(PromptData(file, None))) == ["data.prompts"]
    assert list(checked(PromptData("embedded/review", None))) == ["data.prompts", "data.heldout"]
    assert list(checked(TextData(file, 1.0, file), heldout=0)) == ["data.texts", "data.heldout"]


def test_of_the_grammar_s_texts_one_is_made():
    assert len(checked(TextData("embedded", 1.0, None))["data.texts"]) == 1
    with pytest.raises(Failure, match=r"data\.best_fraction needs a number 'score'"):
        checked(TextData("embedded", 0.5, None))


@pytest.mark.parametrize(
    ("data", "row", "fault"),
    [
        (PromptData, {"text": "x"}, r"a.jsonl:2: no field 'prompt' \(it has: text\)"),
        (PromptData, {"prompt": 1}, "a.jsonl:2: 'prompt' must be text, got int"),
        (PromptData, {"prompt": "x", "reference": 1}, "a.jsonl:2: 'reference' must be text, got int"),
        (TextData, {"prompt": "x"}, r"a.jsonl:2: no field 'text' \(it has: prompt\)"),
        (TextData, {"completion": "x"}, r"a.jsonl:2: no field 'prompt' \(it has: completion\)"),
        (TextData, {"prompt": "x", "response": 1}, "a.jsonl:2: 'completion' must be text, got int"),
    ],
)
def test_a_bad_record_is_told_with_its_line(data, row, fault, tmp_path):
    (tmp_path / "a.jsonl").write_text(lines({"prompt": "x", "text": "x"}, row))
    asked = data(str(tmp_path / "a.jsonl"), None) if data is PromptData else data(str(tmp_path / "a.jsonl"), 1.0, None)
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
    (file,) = data_files(PromptData(str(path), None), 1)
    assert (file.whole(500), file.whole(10**6)) == (False, True)
    for sample in range(60, 120):
        monkeypatch.setattr(records, "SAMPLE", sample)
        read = [record["prompt"].strip() for record in file.checked(500)]
        assert 0 < len(read) < 20
        assert read == rows[: len(read)]
    assert len(file.checked(10**6)) == 100
