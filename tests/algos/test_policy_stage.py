"""The optimization of the policy in each round: where ``algo.kl_budget`` ends it, and the texts that are mixed in."""

import json

import pytest

from rlnlp.algos.ptx import PretrainingTexts
from support import runs, small

FIT, OPTIMIZE = 1, 3
SETTINGS = [
    f"algo.reward_model.total_steps={FIT}", f"algo.policy.total_steps={OPTIMIZE}", "algo.policy.learning_rate=0.02",
    "annotator.ratings_per_round=0", "samples.every=0", "heldout.every=0", "heldout.size=4",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("budget")


def run_of(folder, name, *more):
    """A run of two rounds: its facts, and its steps of the policy by round."""
    prompts = folder / "prompts.jsonl"
    if not prompts.exists():
        small.write_prompts(prompts, 60)
    asked = runs.words("rlhf", folder, *SETTINGS, f"data.prompts={prompts}", *more)
    directory = runs.run(runs.settings(asked), folder / name)
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    rounds = [[row for row in rows if (row["round"], row["stage"]) == (r, "policy")] for r in (1, 2)]
    return directory, json.loads((directory / "run.json").read_text()), rounds


@pytest.fixture(scope="module")
def free(folder):
    """The steps of a run without a budget."""
    rounds = run_of(folder, "free")[2]
    assert [len(steps) for steps in rounds] == [OPTIMIZE, OPTIMIZE]
    return rounds


@pytest.mark.slow
def test_a_round_ends_with_the_step_that_passes_the_budget_and_the_run_is_done(folder, free):
    kls = [row["kl"] for row in free[0]]
    assert kls[0] < 1e-6 < kls[1] < kls[2], "the second step passes a budget between it and the first"

    directory, facts, rounds = run_of(folder, "held", f"algo.kl_budget={kls[1] / 2}")
    assert [row["step"] for row in rounds[0]] == [FIT + 1, FIT + 2]
    assert rounds[0] == free[0][:2], "until then nothing is another"
    first = 2 * FIT + OPTIMIZE + 1
    assert [row["step"] for row in rounds[1]] == [first], "the numbers of the steps that were not taken are left out"
    assert rounds[1][0]["kl"] > kls[1] / 2, "the policy of the last round is where it was"
    history = facts["result"]["history"]
    assert [record["ended_early"] for record in history] == [False, True, True]
    assert [record["step"] for record in history] == [0, FIT + 2, first]
    assert (facts["status"], facts["exit_code"]) == ("done", 0)
    summary = (directory / "summary.md").read_text()
    assert f"round 1 ended early, after step {FIT + 2}: its KL passed" in summary

    again = runs.broken_off(directory, folder / "again", FIT + 2)
    runs.go_on(again)
    assert runs.difference(runs.outcome(again), runs.outcome(directory)) == []


@pytest.mark.slow
def test_a_round_whose_last_step_passes_the_budget_had_all_its_steps(folder, free):
    kls = [row["kl"] for row in free[0]]
    assert kls[1] < kls[2]
    _, facts, (steps, _) = run_of(folder, "last", "algo.rounds=1", f"algo.kl_budget={(kls[1] + kls[2]) / 2}")
    assert steps == free[0]
    assert [record["ended_early"] for record in facts["result"]["history"]] == [False, False]


@pytest.mark.slow
def test_a_round_goes_on_with_the_texts_where_the_last_one_ended_and_records_their_perplexity(folder, monkeypatch):
    real, numbers = PretrainingTexts.batch, []

    def batch(self, number, size):
        numbers.append((number, size))
        return real(self, number, size)

    monkeypatch.setattr(PretrainingTexts, "batch", batch)
    _, facts, _ = run_of(folder, "texts", "algo.policy.mini_batch_size=8", "algo.policy.ppo_epochs=1")
    assert numbers == [(number, 8) for number in range(1, 2 * OPTIMIZE + 1)]
    first, *rounds = facts["result"]["history"]
    assert "perplexity" not in first
    assert len({record["perplexity"]["first"] for record in rounds}) == 1
    assert len({record["perplexity"]["now"] for record in rounds}) == 2
    assert all(record["perplexity"]["texts"] == 1 for record in rounds)


@pytest.mark.slow
def test_texts_that_are_only_measured_change_no_step(folder):
    measured, without = (
        run_of(folder, name, "algo.rounds=1", "algo.policy.ptx_coef=0", *more)
        for name, more in (("measured", []), ("without", ["data.texts=null"]))
    )
    assert measured[2] == without[2]
    assert len({(each[0] / "policy" / "model.safetensors").read_bytes() for each in (measured, without)}) == 1
    assert "perplexity" in measured[1]["result"]["history"][1]
    assert "perplexity" not in without[1]["result"]["history"][1]
