"""Terms of the default reward that need what the data lack are left out and told; those asked for are an error."""

import json

import pytest

from rlnlp.commands.default_terms import left_out
from rlnlp.commands.preflight import checked_config
from rlnlp.commands.resume import start_or_resume
from rlnlp.errors import Failure
from support import runs, small

LINE = "reward.terms.similarity of the default reward is left out: not every prompt has a 'reference'; "
REST = ["length", "diversity", "coherence", "sentiment"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Prompts with references, without any, and with one that has none."""
    monkeypatch.chdir(tmp_path)
    rows = [json.loads(line) for line in small.write_prompts(tmp_path / "p.jsonl", 20).read_text().splitlines()]
    bare = [{"prompt": row["prompt"]} for row in rows]
    (tmp_path / "bare.jsonl").write_text("".join(json.dumps(row) + "\n" for row in bare))
    (tmp_path / "one.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows[:-1], bare[-1]]))
    return tmp_path


def terms(*words):
    return checked_config(runs.settings(list(words))).reward.terms


@pytest.mark.parametrize("words", [["data.prompts=bare.jsonl"], ["data.prompts=one.jsonl"],
                                   ["data.prompts=p.jsonl", "data.heldout=bare.jsonl"],
                                   ["data.prompts=bare.jsonl", "reward.terms.length.weight=1"]])  # fmt: skip
def test_a_default_term_that_needs_references_is_left_out_and_the_other_weights_stay(words, place):
    found, all_of_them = terms(*words), terms("data.prompts=p.jsonl", *(w for w in words if w.startswith("reward")))
    assert list(found) == REST
    assert found == {name: term for name, term in all_of_them.items() if name != "similarity"}


@pytest.mark.parametrize("words", [[], ["data.prompts=p.jsonl"], ["data=support"]])
def test_nothing_is_left_out_where_every_prompt_has_one(words, place):
    assert "similarity" in terms(*words)


@pytest.mark.parametrize(
    "asked",
    [
        ["reward=classic"],
        ["reward.terms.similarity.weight=0.3"],
        ["+reward.terms.similarity.args={measure: recall}"],
        ["+reward.terms.mine={fn: similarity, weight: 0.1}"],
    ],
)
def test_a_term_that_was_asked_for_is_an_error(asked, place):
    with pytest.raises(Failure, match="needs a 'reference' for every prompt") as failure:
        terms("data.prompts=bare.jsonl", *asked)
    assert failure.value.code == 3


def test_of_a_large_file_the_beginning_decides(place, monkeypatch):
    monkeypatch.setattr("rlnlp.commands.preflight.MOST", 500)
    monkeypatch.setattr("rlnlp.data.records.SAMPLE", 500)
    assert list(terms("data.prompts=bare.jsonl")) == REST


def test_the_run_tells_it_and_keeps_it_when_it_is_resumed(place, capsys):
    words = runs.words("reinforce", place, "heldout.every=0", "checkpoint.result=last", "checkpoint.keep_models=0")
    words = [*(w for w in words if "data.prompts" not in w and "total_steps" not in w), "data.prompts=bare.jsonl"]
    asked = runs.settings([*words, "algo.total_steps=1"])
    run = runs.run(asked, place / "run")
    assert capsys.readouterr().err.count(LINE) == 1
    runs.go_on(run, "algo.total_steps=2")
    assert LINE in (run / "train.log").read_text()
    assert LINE in (run / "summary.md").read_text().replace("\\", "")
    assert list(json.loads((run / "run.json").read_text())["left_out"]) == ["similarity"]
    assert "similarity" not in (run / "config.yaml").read_text()
    start_or_resume(runs.settings([*words, "algo.total_steps=2"]), run, "train", ())
    assert "is complete" in capsys.readouterr().out


def test_settings_without_a_reward_leave_nothing_out(place):
    settings = runs.settings(["algo=sft"])
    assert left_out(settings, checked_config(settings)) == {}
