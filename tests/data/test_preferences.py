"""Files of judged answers: every row is used, left out with its line, or refused; what is told of them is true."""

import gzip
import json
import os
from collections import Counter
from pathlib import Path

import pytest

from data import judgements
from rlnlp.config.data import Reading
from rlnlp.data.preferences import read_judgements
from rlnlp.data.sources import preference_records
from rlnlp.data.units import parts_of
from rlnlp.errors import Exit, Failure
from support.data import READING

DATA = Path(os.environ.get("RLNLP_CHAT_DATA", ""))
ARGUMENTS = {"columns": {"text1": "a1", "text2": "a2", "preference": "label"}}


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def pair(chosen, rejected, prompt="p", **more):
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, **more}


def read(named, values=None, group=None, fewest=2, **settings):
    reading = Reading(**{**READING, **settings})
    return read_judgements("data.preferences", named, reading, values or {}, group, fewest)


def written(folder, **files):
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(folder / next(iter(files)).replace("__", "."))


def refused(*args, **settings):
    with pytest.raises(Failure) as failure:
        read(*args, **settings)
    assert failure.value.code == Exit.DATA
    message = str(failure.value)
    assert message.startswith(("data.preferences: ", "data.columns."))
    assert message.count("\n") < 3
    return message


FORMATS = {
    "p.jsonl": lines(pair("a", "b"), pair("c", "d", "q", margin=2)),
    "p.json": json.dumps([pair("a", "b"), pair("c", "d", "q", margin=2)], indent=1),
    "p.jsonl.gz": gzip.compress(lines(pair("a", "b"), pair("c", "d", "q", margin=2)).encode()),
    "p.csv": "prompt,chosen,rejected,margin\np,a,b,\nq,c,d,2\n",
    "p.tsv": "prompt\tchosen\trejected\tmargin\np\ta\tb\t\nq\tc\td\t2\n",
    "labels.csv": b"\xef\xbb\xbfprompt;text1;text2;preference;margin\r\np;a;b;0;\r\nq;d;c;1;2\r\n",
}


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_says_the_same(name, tmp_path):
    found = read(written(tmp_path, **{name: FORMATS[name]}))
    chosen = [[(row.texts[p.chosen], row.texts[p.rejected], p.margin) for p in row.pairs] for row in found.rows]
    assert chosen == [[("a", "b", 0.0)], [("c", "d", 2.0)]]
    assert ([row.prompt for row in found.rows], found.units, found.told) == (["p", "q"], [0, 1], {})
    assert [row.location.rpartition(":")[0] for row in found.rows] == [name] * 2


def test_several_files_of_several_forms_and_encodings_are_one(tmp_path):
    written(tmp_path, a__jsonl=lines(pair("a", "b")), b__csv="text1,text2,preference\né,b,0\n")
    (tmp_path / "c.json").write_text(json.dumps({"responses": ["a", "b"], "ratings": [1, 2]}))
    found = read([f"{tmp_path}/a*", f"{tmp_path}/[bc].*"])
    assert [row.location for row in found.rows] == ["a.jsonl:1", "b.csv:2", "c.json:1"]
    written(tmp_path, d__csv="frage,gut,schlecht\nü,b,c\n".encode("cp1252"))
    columns = {"prompt": "frage", "chosen": "gut", "rejected": "schlecht"}
    assert read(f"{tmp_path}/d.csv", columns=columns, encoding="cp1252").rows[0].prompt == "ü"


def test_rows_that_say_nothing_are_counted_with_their_lines_and_left_out(tmp_path):
    rows = [case.record for case in judgements.LEFT_OUT]
    written(tmp_path, a__jsonl=lines(pair("a", "b"), *rows), b__jsonl=lines(*rows[:1], pair("a", "b", "q")))
    found = read(f"{tmp_path}/*.jsonl")
    assert [row.location for row in found.rows] == ["a.jsonl:1", "b.jsonl:2"]
    expected = [(f"a.jsonl:{i}", case.gives) for i, case in enumerate(judgements.LEFT_OUT, 2)]
    assert [(out.location, out.reason) for out in found.left_out] == [*expected, ("b.jsonl:1", expected[0][1])]
    total = len(rows) + 3
    assert found.told["pairs-prompts-differ"] == (
        f"7 of {total} rows left out: the prompts differ before the last turn;"
        " a.jsonl: lines 2, 3, 4, 5, 6, 7; b.jsonl: line 1"
    )
    assert found.told["pairs-alone"] == f"1 of {total} rows left out: only one answer; a.jsonl: line {total - 2}"
    counts = Counter(out.reason for out in found.left_out)
    assert [int(line.split()[0]) for line in found.notes] == [counts[line.split("out: ")[1].split(";")[0]]
                                                              for line in found.notes]  # fmt: skip
    assert set(found.told) == {f"pairs-{n}" for n in ("prompts-differ", "unanswered", "identical", "empty", "alone")}


def test_of_many_lines_the_first_are_told_and_the_others_counted(tmp_path):
    found = read(written(tmp_path, p__jsonl=lines(pair("a", "b"), *[pair("a", "a")] * 1230)))
    shown = ", ".join(str(i) for i in range(2, 22))
    assert found.notes == [f"1,230 of 1,231 rows left out: the answers are identical; p.jsonl: lines {shown}"
                           " (+1,210 more)"]  # fmt: skip
    assert len(found.left_out) == 1230


def test_nothing_left_is_an_error_that_says_why(tmp_path):
    message = refused(written(tmp_path, p__jsonl=lines(pair("a", "a"), pair("a", ""))))
    assert "p.jsonl can be used\n1 of 2 rows left out: the answers are identical; p.jsonl: line 1; 1 of 2" in message
    assert "is empty" in refused(written(tmp_path, p__jsonl=""))


def test_rows_that_are_no_judgements_are_refused_with_their_lines(tmp_path):
    rows = [case.record for case in judgements.BROKEN if not case.settings]
    message = refused(written(tmp_path, p__jsonl=lines(pair("a", "b"), *rows)))
    assert f"{len(rows)} bad lines in " in message
    assert "p.jsonl:2: no fields 'chosen' and 'rejected'" in message


def test_columns_and_labels_of_other_names_are_told_how_to_be_read(tmp_path):
    table = written(tmp_path, p__csv="good,bad\na,b\nc,d\n")
    assert refused(table).endswith(
        "(it has: good, bad)\nto read other columns so: data.columns={chosen: COLUMN, rejected: COLUMN}"
    )
    assert "data.columns.chosen: data.preferences has no column 'best' in " in refused(
        table, columns={"chosen": "best", "rejected": "bad"}
    )
    arguments = written(tmp_path, q__csv="label,a1,a2\na1,x,y\na2,x,z\na1,z,y\nnone,z,y\n")
    found = read(arguments, {"a1": 0, "a2": 1, "none": 0.5}, **ARGUMENTS)
    assert [(row.texts[p.chosen], p.target) for row in found.rows for p in row.pairs] == [
        ("x", 1), ("z", 1), ("z", 1), ("z", 0.5)
    ]  # fmt: skip
    assert refused(arguments, {"a1": 0}, **ARGUMENTS).endswith(
        "\nto say what labels mean (0: text1 is better, 1: text2, .5: neither): data.values={a2: NUMBER, none: NUMBER}"
    )
    lacking = {"columns": {"text1": "a1", "text2": "a2"}}
    assert refused(arguments, **lacking).endswith("data.columns={preference: COLUMN}")


def test_control_characters_of_data_do_not_reach_the_terminal(tmp_path):
    message = refused(written(tmp_path, p__jsonl=lines({"text1": "a", "text2": "b", "preference": "\x1b[2J"})))
    assert "\x1b" not in message


def test_pairs_that_say_the_opposite_or_the_same_again_are_counted(tmp_path):
    rows = [
        pair("a", "b"), pair("a", "b"), pair("b", "a", " p\n"), pair("b", "a", "other"), pair("a", "c", annotator="x"),
        pair("a", "c", annotator="y"), {"prompt": "p", "text1": "b", "text2": "a", "preference": 0.5},
        {"prompt": "p", "text1": "a", "text2": "b", "preference": 0.5},
        {"prompt": "p", "responses": ["c", "a", "d"], "ratings": [3, 2, 1]}, pair("a", "b", "tied"),
        {"prompt": "tied", "text1": "b", "text2": "a", "preference": 0.5},
    ]  # fmt: skip
    told = read(written(tmp_path, p__jsonl=lines(*rows))).told
    assert told == {
        "pairs-repeated": "2 of 13 pairs the same as one before; first p.jsonl:2",
        "pairs-opposed": "6 of 13 pairs say the opposite of another; first p.jsonl:1 and p.jsonl:3",
    }


def test_what_is_the_same_after_cutting_joins_what_was_left_out(tmp_path):
    rows = [pair("same a", "same b"), pair("a", "b"), pair("a", "a"), pair("same c", "d", "q")]
    found = read(written(tmp_path, p__jsonl=lines(*rows))).told_apart_by(lambda prompt, answer: answer[:4])
    assert [row.location for row in found.rows] == ["p.jsonl:2", "p.jsonl:4"]
    assert found.units == [0, 1]
    assert found.told == {
        "pairs-identical": "1 of 4 rows left out: the answers are identical; p.jsonl: line 3",
        "pairs-cut": "1 of 4 rows left out: both sides are the same after cutting; p.jsonl: line 1",
    }
    with pytest.raises(Failure, match="3 of 4 rows left out: both sides"):
        found.told_apart_by(lambda prompt, answer: 0)


def test_a_column_or_the_file_of_a_row_says_what_belongs_together(tmp_path):
    rows = [pair("a", "b", topic=1), pair("a", "c", "q", topic="1"), pair("a", "d", topic="x")]
    written(tmp_path, a__jsonl=lines(*rows), b__jsonl__gz=gzip.compress(lines(*rows).encode()))
    assert read(f"{tmp_path}/a.jsonl").units == [0, 1, 0]
    assert read(f"{tmp_path}/a.jsonl", group="topic").units == [0, 0, 1]
    by_file = read(f"{tmp_path}/*", group="file")
    assert by_file.units == [0, 0, 0, 1, 1, 1]
    assert [row.group for row in by_file.rows] == ["a"] * 3 + ["b"] * 3
    named = read(f"{tmp_path}/*", group="file", columns={"prompt": "file"})
    assert [row.prompt for row in named.rows] == ["a"] * 3 + ["b"] * 3
    assert "no 'none' to split by (it has: prompt, chosen" in refused(f"{tmp_path}/a.jsonl", group="none")
    own = read(written(tmp_path, c__jsonl=lines(pair("a", "b", file="mine"))), group="file")
    assert own.rows[0].group == "mine"


def test_of_a_large_file_a_part_is_read_where_that_is_enough(tmp_path):
    name = written(tmp_path, p__jsonl=lines(*[pair("a", f"b{i}" * 100) for i in range(10_000)]))
    found = preference_records("k", name, Reading(**READING), most=2**20)
    assert 1000 < len(found.records) < 10_000
    assert found.total is None
    assert len(preference_records("k", name, Reading(**READING)).records) == 10_000


def test_the_embedded_preferences_are_there_as_a_whole_and_by_domain():
    found = read("embedded")
    assert (len(found.rows), found.told) == (4000, {})
    parts = parts_of(found.units, 400, 0, grouped=False)
    assert len(parts.heldout) >= 380
    assert 0 < len(read("embedded/support").rows) < 4000


def brute_force(pairs):
    """How many pairs there are with another of the same prompt the other way round."""
    return sum(any((p, b, w) == (q, w2, b2) for q, b2, w2 in pairs) for p, b, w in pairs)


@pytest.mark.nightly
@pytest.mark.skipif(not (DATA / "hh-rlhf-helpful-base").is_dir(), reason="RLNLP_CHAT_DATA names no folder with hh-rlhf")
def test_the_dirty_rows_of_real_dialogues_are_those_that_people_found():
    found = read(f"{DATA}/hh-rlhf-helpful-base/test.jsonl.gz")
    rows = {}
    for out in found.left_out:
        rows.setdefault(out.reason, []).append(int(out.location.rpartition(":")[2]) - 1)
    assert list(rows.values()) == [
        [120, 740, 1214, 2063], [168, 354, 567, 743, 960, 1011, 1166, 1307, 1450], [721, 2168]
    ]  # fmt: skip
    assert len(found.rows) == 2354 - 15
    longer = [len(row.texts[0]) > len(row.texts[1]) for row in found.rows]
    assert sum(longer) / len(longer) == pytest.approx(0.594, abs=0.01)


@pytest.mark.nightly
@pytest.mark.skipif(not (DATA / "ukpconvarg").is_dir(), reason="RLNLP_CHAT_DATA names no folder with ukpconvarg")
def test_real_arguments_are_split_by_topic_with_or_without_being_told_so():
    name = f"{DATA}/ukpconvarg/*.csv"
    found = read(name, {"a1": 0, "a2": 1}, "file", **ARGUMENTS)
    assert (len(found.rows), len(set(found.units)), found.left_out) == (8670, 24, [])
    assert read(name, {"a1": 0, "a2": 1}, **ARGUMENTS).units == found.units, "topics share no argument"
    longer = [len(row.texts[p.chosen]) > len(row.texts[p.rejected]) for row in found.rows for p in row.pairs]
    assert sum(longer) / len(longer) == pytest.approx(0.77, abs=0.005)
    some = [(None, row.texts[p.chosen], row.texts[p.rejected]) for row in found.rows for p in row.pairs]
    assert found.told["pairs-opposed"].startswith(f"{brute_force(some)} of 8,670 pairs say the opposite of another")
