"""``rlnlp feedback``: files in and out, the audit, and what to type where something is missing."""

import json
import os
import signal
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from rlnlp.cli.main import main
from rlnlp.data.records import ASSETS
from rlnlp.feedback.records import NewItem
from rlnlp.feedback.store import Store
from support import runs
from support.small import ROOT, rlnlp


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """The command in this process, in a directory of its own: exit status, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def feedback(*words):
        try:
            status = main(["feedback", *map(str, words)])
        except SystemExit as left:
            status = left.code
        out, err = capsys.readouterr()
        return status, out, err

    return feedback


@pytest.fixture
def hh(tmp_path):
    """Two hundred pairs as whole dialogues, without a prompt beside them."""
    path = tmp_path / "hh.jsonl"
    rows = [json.loads(line) for line in (ASSETS / "preferences.jsonl").read_text().splitlines()[:200]]
    whole = [{name: f"\n\nHuman: {row['prompt']}\n\nAssistant: {row[name]}" for name in ("chosen", "rejected")}
             for row in rows]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in whole))
    return path


def test_two_hundred_hh_pairs_are_imported_audited_exported_and_read_back_without_loss(run, hh, tmp_path):
    status, out, err = run("my.sqlite", "--import", hh)
    assert (status, err) == (0, "")
    assert out == f"{hh} (pairs, 200 records): 200 judgements and 200 items added\n"
    assert run("my.sqlite", "--import", hh)[1].endswith("0 judgements and 0 items added\n")
    status, out, _ = run("my.sqlite", "--audit")
    assert out.startswith("200 judgements, 200 comparisons among them, by 1 annotator\n")
    record = json.loads(run("my.sqlite", "--audit", "--json")[1])
    assert (record["comparisons"], record["annotators"][0]["name"], record["krippendorff"]) == (200, "hh", None)

    assert run("my.sqlite", "--export", "all.jsonl")[1] == "200 judgements written to all.jsonl\n"
    assert run("copy.sqlite", "--import", "all.jsonl")[0] == 0
    status, out, err = run("copy.sqlite", "--export", "-")
    assert out == (tmp_path / "all.jsonl").read_text()
    assert err == ""

    assert run("my.sqlite", "--export", "out.pairs.jsonl")[1] == "200 pairs written to out.pairs.jsonl\n"
    run("my.sqlite", "--export", "same.jsonl", "--pairs")
    assert (tmp_path / "same.jsonl").read_text() == (tmp_path / "out.pairs.jsonl").read_text()
    rows = [json.loads(line) for line in (tmp_path / "out.pairs.jsonl").read_text().splitlines()]
    original = [json.loads(line) for line in hh.read_text().splitlines()]
    assert [(row["prompt"] + row["chosen"], row["prompt"] + row["rejected"]) for row in rows] == [
        (row["chosen"], row["rejected"]) for row in original
    ]


@pytest.mark.slow
def test_two_hundred_hh_pairs_are_trained_on_and_what_was_read_is_what_was_exported(run, hh, tmp_path):
    run("my.sqlite", "--import", hh)
    run("my.sqlite", "--export", "hh.pairs.jsonl")
    more = ["algo.total_steps=2", "data.too_long=cut", "heldout.size=40", "algo.learning_curve=[]"]
    data = f"data.preferences={tmp_path / 'hh.pairs.jsonl'}"
    words = runs.words("reward-model", tmp_path, data, *more)
    settings = runs.settings([word for word in words if "preferences=" not in word or "hh.pairs" in word])
    place = runs.run(settings, tmp_path / "trained")
    exported = lines_of(tmp_path / "hh.pairs.jsonl")
    assert len(exported) == 200
    heldout = lines_of(place / "heldout.jsonl")
    assert {row["prompt"] for row in heldout} <= {row["prompt"] for row in exported}
    assert len(heldout) == json.loads((place / "run.json").read_text())["result"]["n"] > 5
    run("again.sqlite", "--import", "hh.pairs.jsonl")
    run("again.sqlite", "--export", "again.pairs.jsonl")
    assert (tmp_path / "again.pairs.jsonl").read_text() == (tmp_path / "hh.pairs.jsonl").read_text()


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_pairs_that_nobody_has_judged_are_put_up_to_be_judged_by_as_many_as_are_wanted(run, tmp_path):
    rows = [
        {"prompt": "Say hi", "text1": "hi", "text2": "hello"}, {"prompt": "Say hi", "text1": "hi", "text2": "hi"},
        {"prompt": "Rate", "responses": ["a fine one"]}, {"text1": "a", "text2": "b", "preference": None},
        {"text1": "a", "text2": "c", "preference": 1},
    ]  # fmt: skip
    (tmp_path / "open.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    status, out, _ = run("my.sqlite", "--import", "open.jsonl", "--overlap", "3", "--seed", "5")
    assert (status, out.split("\n")[:2]) == (0, [
        "open.jsonl (pairs, 5 records): 1 judgement and 4 items added, 3 to be judged",
        "1 record left out: the answers are identical"])  # fmt: skip
    with Store(tmp_path / "my.sqlite") as store:
        assert (store.seed, store.wanted()) == (5, 9)
        assert sorted(len(item.responses) for item in store.items()) == [1, 2, 2, 2]


def test_the_set_of_a_run_is_found_by_the_run(run, tmp_path):
    (tmp_path / "outputs" / "r").mkdir(parents=True)
    (tmp_path / "outputs" / "r" / "run.json").write_text("{}")
    with Store(tmp_path / "outputs" / "r" / "feedback.sqlite") as store:
        store.add([NewItem("q", ("a", "b"))])
    assert run("outputs/r", "--audit")[1] == "nothing has been judged yet\n"


@pytest.mark.parametrize(("words", "status", "said"), [
    (["none.sqlite"], 3, "to make one: rlnlp feedback none.sqlite --import PAIRS.jsonl"),
    (["none.sqlite", "--audit"], 3, "no feedback set none.sqlite"),
    ([".", "--audit"], 6, "neither a run nor a feedback set"),
    (["new.sqlite", "--import", "none.jsonl"], 3, "--import: no such file: none.jsonl"),
    (["text.jsonl", "--audit"], 3, "text.jsonl is no feedback set"),
    (["have.sqlite", "--export", "x.csv"], 2, "must end in .jsonl"),
    (["have.sqlite", "--export", "none/x.jsonl"], 5, "cannot be written"),
    (["have.sqlite", "--export", "x.pairs.jsonl"], 3, "no judged pair yet"),
    (["have.sqlite", "--wbe"], 2, "'--wbe' is not expected; did you mean '--web'?"),
    (["have.sqlite", "--aduit"], 2, "--audit"),
    (["have.sqlite", "other.sqlite"], 2, "'other.sqlite' is not expected\n"),
    (["have.sqlite", "--pairs"], 2, "--pairs goes with --export"),
    (["have.sqlite", "--items", "0"], 2, "at least 1"),
    (["have.sqlite", "--repeat", "2"], 2, "from 0 to 1"),
    (["have.sqlite", "--port", "99999"], 2, "from 0 to 65535"),
    (["have.sqlite", "--annotator", "a", "--annotator", "b"], 2, "several names go with --web"),
    (["have.sqlite"], 2, "rlnlp feedback have.sqlite --web"),
    (["have.sqlite", "--web", "--annotator", "a\nb"], 2, "is no name"),
])  # fmt: skip
def test_what_is_wrong_is_said_with_what_to_type(run, tmp_path, words, status, said):
    (tmp_path / "text.jsonl").write_text("no database " * 20)
    with Store(tmp_path / "have.sqlite") as store:
        store.add([NewItem("q", ("a", "b"))])
    found, _, err = run(*words)
    assert found == status
    assert said in err
    assert "Traceback" not in err
    assert not (tmp_path / "none.sqlite").exists()
    assert not (tmp_path / "new.sqlite").exists()


def test_without_the_package_of_the_page_it_says_how_to_install_it(run, tmp_path, monkeypatch):
    for name in list(sys.modules):
        if name.startswith("rlnlp.feedback.web"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with Store(tmp_path / "have.sqlite") as store:
        store.add([NewItem("q", ("a", "b"))])
    status, _, err = run("have.sqlite", "--web")
    assert status == 2
    assert "pip install 'rlnlp[web]'" in err


def test_it_starts_without_torch(tmp_path):
    with Store(tmp_path / "my.sqlite", repeated=0) as store:
        store.add([NewItem("q", ("a", "b"))])
        person = store.annotator("ann")
        question = store.next(person)
        store.judge(person, question, question.prefers(0))
    status, _, err = rlnlp("feedback", "my.sqlite", "--audit", cwd=tmp_path, env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert status == 0
    imported = {line.rpartition("|")[2].strip() for line in err.split("\n") if "|" in line}
    assert "rlnlp.feedback.audit" in imported
    assert not {"torch", "transformers", "matplotlib", "scipy", "uvicorn", "hydra"} & imported


@pytest.mark.slow
@pytest.mark.parametrize("ended_by", ["enough", "SIGINT", "SIGTERM"])
def test_the_page_is_served_until_enough_is_judged_or_until_it_is_told_to_end(tmp_path, ended_by):
    pytest.importorskip("uvicorn")
    from support.page import Served

    with Store(tmp_path / "my.sqlite", repeated=0) as store:
        store.add(NewItem(f"q{i}", ("a", "b")) for i in range(3))
    words = [
        "feedback",
        "my.sqlite",
        "--web",
        "--port",
        "0",
        "--annotator",
        "ann",
        "--annotator",
        "bob",
        "--items",
        "2",
    ]
    with subprocess.Popen(
        [sys.executable, "-m", "rlnlp", *words], cwd=tmp_path, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:  # fmt: skip
        assert "Ctrl-C ends it" in process.stdout.readline()
        links = dict(process.stdout.readline().strip().split(": ", 1) for _ in range(2))
        page = Served(urlsplit(links["bob"]).port, links)
        for name in ("ann", "bob")[: 2 if ended_by == "enough" else 1]:
            question = page.ask(name, "/question", {})[2]["question"]
            assert page.ask(name, "/judge", page.answer_of(question, "left", f"request-of-{name}"))[0] == 200
        if ended_by != "enough":
            process.send_signal(getattr(signal, ended_by))
        out, err = process.communicate(timeout=60)
    assert process.returncode == (143 if ended_by == "SIGTERM" else 0)
    assert "Traceback" not in err
    if ended_by == "enough":
        assert out == "2 judgements in my.sqlite, 1 wanted; to go on: rlnlp feedback my.sqlite\n"
    with Store(tmp_path / "my.sqlite") as store:
        assert store.answers() == (2 if ended_by == "enough" else 1)
