"""Whole runs on several files: what they tell of the data, and that they are resumed on the same content only."""

import json

import pytest

from rlnlp.commands import resume
from rlnlp.errors import Failure
from support import runs


def lines(*prompts):
    return "".join(json.dumps({"question": prompt, "completions": "draft"}) + "\n" for prompt in prompts)


@pytest.fixture
def finished(tmp_path):
    """A run of two steps on the files of a pattern, of which one row is too long."""
    (tmp_path / "p1.jsonl").write_text(lines("the film is", "the food is", "the room is " * 20))
    (tmp_path / "p2.jsonl").write_text(lines("a film was", "a film was"))
    words = runs.words(
        "reinforce", tmp_path, f"data.prompts={tmp_path}/p*.jsonl", "algo.total_steps=2", "heldout.every=0",
        "heldout.size=0", "checkpoint.result=last", "checkpoint.keep_models=0", "samples.every=1", "~reward.terms",
        "+reward.terms.diversity={fn: diversity}", "+data.columns={prompt: question, draft: completions}",
    )  # fmt: skip
    return runs.run(runs.settings(words), tmp_path / "run")


def refused(*words):
    with pytest.raises(Failure) as failure:
        resume.main([str(word) for word in words])
    return failure.value.code, str(failure.value)


def test_a_run_tells_once_what_became_of_its_rows_and_goes_on_with_the_same_content(finished, tmp_path):
    log = (finished / "train.log").read_text()
    assert "p*.jsonl: 4 to train on, none held out" in log
    assert log.count("1 of 5 prompts left out (data.too_long=drop): ") == 1
    assert log.count("1 of 5 prompts the same as one before; first p2.jsonl:2") == 1
    (tmp_path / "p3.jsonl").write_text(lines("food"))
    code, message = refused(finished, "algo.total_steps=3")
    assert (code, "data.prompts: its content differs" in message) == (6, True)
    (tmp_path / "p3.jsonl").unlink()
    code, message = refused(finished, "algo.total_steps=3", "data.columns={prompt: completions}")
    assert (code, "data.columns.prompt question -> completions" in message) == (6, True)
    runs.go_on(finished, "algo.total_steps=3", f"data.prompts=[{tmp_path}/p1.jsonl,{tmp_path}/p2.jsonl]")
    samples = [json.loads(line) for line in (finished / "samples.jsonl").read_text().splitlines()]
    assert {sample["step"] for sample in samples} == {1, 2, 3}
    assert {sample["prompt"] for sample in samples} <= {"the film is", "the food is", "a film was"}
