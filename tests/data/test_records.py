"""Data files: every line is a record, or is reported with its number."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlnlp.data.records import read_records, text_fault
from rlnlp.errors import Failure

ENDINGS = [".json", ".jsonl", ".csv", ".tsv", ".txt", ".parquet", ".jsonl.gz"]
ENCODINGS = ["utf-8", "utf-8", "utf-16", "utf-16-le", "cp1252", "shift_jis", "gb18030", "utf-7", "idna", "punycode"]
PIECES = [
    b'{"prompt": "a"}', b'{"prompt": "\\ud800"}', b"[1]", b"null", b"\xff", b"\x00", b"\xef\xbb\xbf", b"\r", b'"', b",",
    b"{", b"prompt,topic", b"a,b,c", b"[" * 5000, b"9" * 5000, b'{"prompt": 1e999}', "\u2028".encode(), b"\n", b" ",
]  # fmt: skip


def error(path, key="data.prompts"):
    with pytest.raises(Failure) as failure:
        read_records(str(path), key, "prompt")
    assert failure.value.code == 3
    assert str(failure.value).startswith(f"{key}: ")
    assert str(failure.value).count("\n") < 3
    return str(failure.value)


def written(folder, content, name="p.jsonl"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(folder, content, name="p.jsonl"):
    return [record for _, record in read_records(str(written(folder, content, name)), "data.prompts", "prompt").records]


def test_records_keep_their_order_and_blank_lines_are_left_out(tmp_path):
    assert read(tmp_path, '{"prompt": "b", "n": 1}\n\n  \n{"prompt": "a"}') == [
        {"prompt": "b", "n": 1},
        {"prompt": "a"},
    ]


@pytest.mark.parametrize(
    ("name", "content", "locations"),
    [
        ("p.jsonl", b'\xef\xbb\xbf{"a": 1}\n\n\n{"a": 2}\n', ["p.jsonl:1", "p.jsonl:4"]),
        ("p.txt", b"\n a\n\nb", ["p.txt:2", "p.txt:4"]),
        ("p.csv", b'prompt\n"a\nb"\n\nc\n', ["p.csv:3", "p.csv:5"]),
    ],
)
def test_each_record_comes_with_its_file_and_line(name, content, locations, tmp_path):
    found = read_records(str(written(tmp_path, content, name)), "k", "prompt").records
    assert [location for location, _ in found] == locations


def test_a_byte_order_mark_and_line_ends_of_windows_are_no_part_of_a_record(tmp_path):
    expected = [{"prompt": "é"}, {"prompt": "b"}]
    assert read(tmp_path, b'\xef\xbb\xbf{"prompt": "\xc3\xa9"}\r\n{"prompt": "b"}\r\n') == expected
    assert read(tmp_path, b"\xef\xbb\xbf\xc3\xa9\r\nb\r\n", "p.txt") == expected
    assert read(tmp_path, b"\xef\xbb\xbfprompt\r\n\xc3\xa9\r\nb\r\n", "p.csv") == expected


@pytest.mark.parametrize("odd", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\r"])
def test_only_a_newline_ends_a_line(odd, tmp_path):
    text = f"one{odd}two"
    assert read(tmp_path, json.dumps({"prompt": text}, ensure_ascii=False)) == [{"prompt": text}]
    assert read(tmp_path, f"{text}\nb", "p.txt") == [{"prompt": text}, {"prompt": "b"}]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{'prompt': 'a'}", "not valid JSON"),
        ('{"prompt": "a"', "not valid JSON"),
        ('{"prompt": "a\x00b"}', "not valid JSON"),
        ("\x00", "not valid JSON"),
        ('{"n": ' + "9" * 5000 + "}", "not valid JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ('["prompt"]', "must be an object, got list"),
        ('"prompt"', "must be an object, got str"),
        ("3", "must be an object, got int"),
        ("null", "must be an object, got NoneType"),
        ("true", "must be an object, got bool"),
        ('\ufeff{"prompt": "a"}', "not valid JSON"),
    ],
)
def test_a_bad_line_is_reported_with_file_and_number(line, fault, tmp_path):
    raw = line if isinstance(line, bytes) else line.encode()
    path = written(tmp_path, b'{"prompt": "a"}\n\n' + raw + b'\n{"prompt": "b"}\n')
    assert f"\np.jsonl:3: {fault}" in error(path)


def test_the_first_bad_lines_are_reported_and_the_others_counted(tmp_path):
    message = error(written(tmp_path, '{"prompt": "a"}\n' + "x\n" * 12))
    assert f"12 bad lines in {tmp_path}/p.jsonl\n" in message
    assert [f"p.jsonl:{n}:" in message for n in range(1, 9)] == [False, *[True] * 5, False, False]
    assert message.endswith("(+7 more)")


@pytest.mark.parametrize(
    ("content", "line", "fault"),
    [
        ("prompt,topic\na,b\na\n", 3, "does not have as many fields as the header"),
        ("prompt,topic\na,b,c\n", 2, "does not have as many fields as the header"),
        ('prompt\n"a"b\n', 2, "not valid CSV"),
        ('prompt\n"a\nb', 3, "not valid CSV"),
        ('prompt\n"a\nb"\nc,d\n', 4, "does not have as many fields as the header"),
    ],
)
def test_a_bad_row_of_a_table_is_reported_with_its_line(content, line, fault, tmp_path):
    assert f"\np.csv:{line}: {fault}" in error(written(tmp_path, content, "p.csv"))


def test_a_table_gives_a_record_for_each_row(tmp_path):
    content = 'prompt,topic\n"a, ""b""\nc",x\n\né,\n'
    assert read(tmp_path, content, "p.csv") == [{"prompt": 'a, "b"\nc', "topic": "x"}, {"prompt": "é", "topic": ""}]


@pytest.mark.parametrize("name", ["p.jsonl", "p.csv", "p.txt"])
@pytest.mark.parametrize("content", [b"", b"\n\n", b" \r\n", b"\xef\xbb\xbf"])
def test_a_file_without_records_is_refused(name, content, tmp_path):
    assert "is empty" in error(written(tmp_path, content, name))


def test_a_table_of_a_header_alone_is_refused(tmp_path):
    assert "is empty" in error(written(tmp_path, "prompt,topic\n", "p.csv"))


def test_what_is_no_readable_file_of_a_known_kind_is_refused(tmp_path):
    assert error(tmp_path / "none.jsonl") == f"data.prompts: no such file: {tmp_path}/none.jsonl"
    (tmp_path / "d.jsonl").mkdir()
    assert "is a folder; name its files: data.prompts=" in error(tmp_path / "d.jsonl")
    os.mkfifo(tmp_path / "f.jsonl")
    assert "not a regular file" in error(tmp_path / "f.jsonl")
    for name in ("p.xlsx", "p", "p.gz", "p.jsonl.bz2"):
        assert "must end in .json, .jsonl, .csv, .tsv, .txt or .parquet" in error(written(tmp_path, "x", name))
    error("")
    error("a\x00b.jsonl")
    error("x" * 5000 + ".jsonl")


def test_a_file_beyond_all_measure_is_refused_unread(tmp_path):
    with (tmp_path / "p.jsonl").open("wb") as file:
        file.truncate(2**30 + 1)
    assert "larger than 1024 MiB" in error(tmp_path / "p.jsonl")


def test_the_ending_may_be_in_capitals_and_the_path_may_begin_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    written(tmp_path, "a", "P.TXT")
    assert read_records("~/P.TXT", "k", "text").records == [("P.TXT:1", {"text": "a"})]


@pytest.mark.parametrize(
    ("record", "fault"),
    [
        ({"prompt": "a"}, None),
        ({"prompt": ""}, None),
        ({"text": "a", "b": 1}, "no field 'prompt' (it has: text, b)"),
        ({}, "no field 'prompt' (it has: none)"),
        ({"prompt": None}, "'prompt' must be text, got NoneType"),
        ({"prompt": 3}, "'prompt' must be text, got int"),
        ({"prompt": ["a"]}, "'prompt' must be text, got list"),
        ({"prompt": "\ud800"}, "'prompt' has half a surrogate pair, which is not valid text"),
    ],
)
def test_a_field_that_is_not_text_is_reported(record, fault):
    assert text_fault(record, "prompt") == fault


@given(
    st.sampled_from(ENDINGS),
    st.sampled_from(ENCODINGS),
    st.lists(st.sampled_from(PIECES) | st.binary(max_size=20), max_size=12).map(b"".join),
)
def test_any_bytes_give_records_or_a_failure_3(tmp_path_factory, ending, encoding, content):
    path = tmp_path_factory.getbasetemp() / f"any{ending}"
    path.write_bytes(content)
    try:
        found = read_records(str(path), "data.prompts", "prompt", encoding).records
    except Failure as failure:
        raised = failure
    else:
        assert found
        assert all(location.startswith(f"any{ending}:") and isinstance(record, dict) for location, record in found)
        return
    assert raised.code == 3
    assert f"any{ending}" in str(raised)
