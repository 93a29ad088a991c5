"""What a setting of data names, before there is a tokenizer."""

import gzip
import json

import pytest

from rlnlp.config.reward import RESERVED
from rlnlp.data import records
from rlnlp.data.sources import data_sources
from rlnlp.errors import Failure
from rlnlp.run import manifest
from rlnlp.run.manifest import data_id
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


@pytest.mark.parametrize("end", ["jsonl", "csv", "txt", "tsv", "json", "json.gz", "txt.gz"])
def test_of_a_large_file_the_beginning_is_read_wherever_it_is_cut(end, tmp_path, monkeypatch):
    rows = [f"{i} é, '" for i in range(100)]
    text = {
        "jsonl": lines(*({"prompt": row} for row in rows)),
        "csv": "prompt\n" + "".join(f'"{row}\n"\n' for row in rows),
        "txt": "".join(f"{row}\n" for row in rows),
        "tsv": "prompt\tn\n" + "".join(f"{row}\t1\n" for row in rows),
        "json": json.dumps([{"prompt": row} for row in rows]),
    }[end.removesuffix(".gz")]
    path = tmp_path / f"a.{end}"
    path.write_bytes(gzip.compress(text.encode()) if end.endswith(".gz") else text.encode())
    (source,) = data_sources(prompt_data(str(path), None), 1)
    assert (source.checked(500).total, source.checked(10**6).total) == (None, 100)
    for sample in range(60, 120):
        monkeypatch.setattr(records, "SAMPLE", sample)
        read = [record["prompt"].strip() for _, record in source.checked(500).records]
        assert 0 < len(read) < 20
        assert read == rows[: len(read)]
    assert len(source.checked(10**6).records) == 100


def prompts(named, **changes):
    (source, *_) = data_sources(prompt_data(named, **changes), 0)
    return [record["prompt"] for _, record in source.checked(10**6).records]


def told(code, read, *args, **changes):
    with pytest.raises(Failure) as failure:
        read(*args, **changes)
    assert failure.value.code == code
    return str(failure.value)


def test_several_sets_are_read_one_after_the_other_and_held_out_likewise(tmp_path):
    sets = ["embedded/support", "embedded/review"]
    each = [checked(prompt_data(name)) for name in sets]
    both = checked(prompt_data(sets))
    for key in ("data.prompts", "data.heldout"):
        assert both[key] == each[0][key] + each[1][key]
    (tmp_path / "a.txt").write_text("x\n")
    mixed = checked(prompt_data([*sets, str(tmp_path / "a.txt")]))
    assert list(mixed) == ["data.prompts"], "the held-out part is of them all"
    assert len(mixed["data.prompts"]) == len(both["data.prompts"]) + 1
    texts = checked(text_data(["embedded/20", "embedded/randomwalks"]))["data.texts"]
    assert len(texts) == 1001, "of the grammar's texts one is made for a check"


def test_how_many_there_are_is_known_without_making_the_texts_and_not_of_a_part(tmp_path):
    (source,) = data_sources(text_data(["embedded/5000", "embedded/randomwalks"]), 0)
    assert source.read(10**6).total == 6000
    (source,) = data_sources(text_data(str(tmp_path / "a.jsonl"), best_fraction=0.25), 0)
    (tmp_path / "a.jsonl").write_text(lines(*({"text": "x", "score": i} for i in range(8))))
    assert (source.read(10**6).total, source.read(20).total) == (2, None)


def test_all_files_that_cannot_be_read_are_told_at_once(tmp_path):
    (tmp_path / "a.csv").write_text("prompt\nx,y\n")
    message = told(3, prompts, [f"{tmp_path}/a.csv", f"{tmp_path}/b.jsonl", "embedded/review"])
    assert "1 bad line in" in message
    assert "no such file" in message
    assert told(2, prompts, ["embedded/nowhere", f"{tmp_path}/b.jsonl"]).count("\n") == 1


@pytest.mark.parametrize("name", RESERVED)
def test_no_column_stands_in_for_what_a_reward_function_is_given(name, tmp_path):
    (tmp_path / "a.jsonl").write_text(lines({"prompt": "x"}, {"prompt": "y", name: "please"}))
    message = told(3, prompts, str(tmp_path / "a.jsonl"))
    assert f"a.jsonl has a column '{name}'" in message
    assert prompts(str(tmp_path / "a.jsonl"), columns={f"my_{name}": name}) == ["x", "y"], "as the message says"


def test_a_column_is_looked_for_in_all_files_and_held_out_data_may_have_our_name_for_it(tmp_path):
    (tmp_path / "a.jsonl").write_text(lines({"q": "x", "prompt": "not this"}))
    (tmp_path / "b.jsonl").write_text(lines({"prompt": "y"}))
    a, b = str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")
    columns = {"prompt": "q"}
    assert prompts([a, b], columns=columns) == ["x", "y"]
    assert "data.columns.prompt: data.prompts has no column 'q'" in told(3, prompts, b, columns=columns)
    held = checked(prompt_data(a, b, columns=columns))
    assert [record for _, record in held["data.heldout"]] == [{"prompt": "y"}]
    (tmp_path / "b.jsonl").write_text(lines({"text": "y"}))
    assert "data.columns.prompt: data.heldout has no column 'q'" in told(3, checked, prompt_data(a, b, columns=columns))


def test_the_columns_of_embedded_sets_can_be_renamed_too():
    (source, *_) = data_sources(prompt_data("embedded/review", columns={"topic": "domain"}), 0)
    assert source.checked(10**6).records[0][1]["topic"] == "review"


def test_what_a_setting_of_data_names_is_identified_by_the_content_of_every_file(tmp_path):
    for name in ("a1.txt", "a2.txt"):
        (tmp_path / name).write_text(name)
    one, two, pattern = str(tmp_path / "a1.txt"), str(tmp_path / "a2.txt"), str(tmp_path / "a*.txt")
    before = data_id(pattern)
    assert before == data_id([one, two]) != data_id([two, one])
    assert data_id(one) == data_id([one]) == manifest.content_id(one), "as runs of one file have stored it"
    assert data_id(["embedded/review", one]) != data_id(["embedded/support", one])
    assert data_id("embedded/review") == "embedded/review"
    (tmp_path / "a3.txt").write_text("")
    assert data_id(pattern) != before
    (tmp_path / "a3.txt").unlink()
    (tmp_path / "a2.txt").write_text("other")
    assert data_id(pattern) != before


def test_a_column_may_be_in_what_was_not_read_of_a_large_file(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "SAMPLE", 40)
    path = tmp_path / "a.jsonl"
    path.write_text(lines(*({"prompt": "x"} for _ in range(9)), {"prompt": "y", "q": "z"}))
    (source,) = data_sources(prompt_data(str(path), columns={"answer": "q"}), 0)
    assert source.checked(50).total is None
    (other,) = data_sources(prompt_data(str(path), columns={"answer": "nowhere"}), 0)
    assert "no column 'nowhere'" in told(3, other.checked, 10**6)


@pytest.mark.parametrize(
    ("rows", "advice"),
    [
        ([{"answer": "x", "question": "y"}] * 2, "{prompt: question}"),
        ([{"my words": "x", "words": "y"}], "{prompt: words}"),
        ([{"n": 3}], None),
        ([{"question": "x"}, {"query": "y"}], None),
        ([{"question": "x"}, {"prompt": "y"}], None),
    ],
)
def test_where_no_row_has_the_field_the_column_to_name_is_told(rows, advice, tmp_path):
    (tmp_path / "a.jsonl").write_text(lines(*rows))
    message = told(3, prompts, str(tmp_path / "a.jsonl"))
    assert "no field 'prompt'" in message
    assert (f"\nto read another column as it: data.columns={advice}" in message) == (advice is not None)
    assert ("data.columns" in message) == (advice is not None)
