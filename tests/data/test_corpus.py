"""Every file of the corpus is read as stated, wherever a file of prompts or texts is named."""

import csv
from pathlib import Path

import pytest

from data import corpus
from rlnlp.commands.preflight import MOST, faults
from rlnlp.data.prompts import prompt_table
from rlnlp.data.sources import data_sources, file_prompts
from rlnlp.data.texts import text_table
from rlnlp.errors import Exit, Failure
from rlnlp.models.tokenizer import Tokenizer
from support import small
from support.data import prompt_data, text_data

WORDS = Tokenizer(small.tokenizer(), (small.END,), 0, (1,))
READABLE = [*corpus.GOOD, *corpus.READ_AS_SAID]


def named(case: corpus.Case, folder: Path):
    """The files of ``case`` below ``folder``, as a setting names them."""
    files = case.content if isinstance(case.content, dict) else {case.name: case.content}
    for name, content in files.items():
        if content is not None:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    names = case.name if case.named is None else case.named
    return str(folder / names) if isinstance(names, str) else [str(folder / name) for name in names]


def told(read, *args) -> str:
    with pytest.raises(Failure) as failure:
        read(*args)
    assert failure.value.code == Exit.DATA
    assert str(failure.value).count("\n") < 3
    return str(failure.value)


def cases(*parts):
    return [pytest.param(case, id=case.name) for part in parts for case in part]


def test_the_corpus_is_large_and_no_name_is_there_twice():
    for part in (corpus.GOOD, corpus.READ_AS_SAID, corpus.ODD, corpus.BROKEN):
        assert len({case.name for case in part}) == len(part)
    assert sum(map(len, (corpus.GOOD, corpus.READ_AS_SAID, corpus.ODD, corpus.BROKEN))) >= 100


@pytest.mark.parametrize("case", cases(READABLE))
def test_a_file_that_can_be_read_gives_its_prompts_to_a_run_and_to_generate(case, tmp_path):
    data = prompt_data(named(case, tmp_path), **case.settings)
    table = prompt_table(data, 0, 0, WORDS, 64)
    assert [record["prompt"] for record in table.records] == case.gives
    (source,) = data_sources(data, 0)
    assert source.checked(MOST).total == len(case.gives)
    assert not list(faults({"data": data}))
    assert [record["prompt"] for _, record in file_prompts("--file", data.prompts, data)] == case.gives
    assert csv.field_size_limit() < len(corpus.LONG), "the limit of the process is what it was"


@pytest.mark.parametrize("case", cases(corpus.GOOD))
def test_a_good_file_gives_its_texts_to_sft(case, tmp_path):
    columns = {} if ".txt" in case.name else {"text": "prompt"}
    table = text_table(text_data(named(case, tmp_path), columns=columns), 0, 0, WORDS, 64)
    assert len(table.rows) == len(case.gives)


@pytest.mark.parametrize("case", cases(corpus.ODD))
def test_rows_that_do_not_fit_are_treated_as_the_setting_says(case, tmp_path):
    data = prompt_data(named(case, tmp_path), **case.settings)
    if isinstance(case.gives, str):
        assert case.gives in told(prompt_table, data, 0, 0, WORDS, 4)
    else:
        table = prompt_table(data, 0, 0, WORDS, 4)
        assert [record["prompt"] for record in table.records] == case.gives
        assert len(table.notes) == 1


@pytest.mark.parametrize("case", cases(corpus.BROKEN))
def test_a_broken_file_is_told_with_what_is_wrong_before_and_at_the_start(case, tmp_path):
    data = prompt_data(named(case, tmp_path), **case.settings)
    (early,) = faults({"data": data})
    message = told(prompt_table, data, 0, 0, WORDS, 64)
    assert case.gives in message
    assert case.gives in str(early)
    assert message.startswith(("data.prompts: ", "data.columns."))


def test_parquet_is_read_or_the_extra_is_named(tmp_path, monkeypatch):
    path = tmp_path / "p.parquet"
    path.write_bytes(b"PAR1")
    monkeypatch.setattr("rlnlp.data.parquet.find_spec", lambda name: None)
    assert "pip install 'rlnlp[hub]'" in told(prompt_table, prompt_data(str(path)), 0, 0, WORDS, 64)


def test_parquet_gives_its_rows(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = {"prompt": corpus.PAIR, "n": [1, 2], "tags": [["x"], []]}
    parquet.write_table(pyarrow.table(rows), tmp_path / "p.parquet")
    table = prompt_table(prompt_data(str(tmp_path / "p.parquet")), 0, 0, WORDS, 64)
    assert table.records == [{"prompt": "the film", "n": 1, "tags": ["x"]}, {"prompt": "a room", "n": 2, "tags": []}]
