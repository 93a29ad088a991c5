"""The table of a sweep: of what the figures are, the best job where there can be one."""

import io

import pytest
from rich.console import Console

from rlnlp.cli.sweep_progress import JobOutput, SweepProgress
from rlnlp.cli.sweep_table import best_job, sweep_table
from rlnlp.evaluate.outcome import in_words


def job(number, overrides, after, before=0.5, metric="score", status="done", **more):
    difference = {"mean": after - before, "interval": [after - before - 0.05, after - before + 0.05]}
    changed = {metric: difference}
    if metric == "loss":
        changed = {"loss": after - before, "interval": difference["interval"]}
    result = {"n": 64, "heldout": True, "before": {metric: before}, "after": {metric: after}, "difference": changed}
    return {"job": number, "overrides": overrides.split(), "status": status, "seconds": 61.4, "result": result, **more}


def failed(number, overrides):
    return {"job": number, "overrides": overrides.split(), "status": "failed", "seconds": None, "result": {}}


def printed(jobs, width=200):
    console = Console(file=io.StringIO(), width=width)
    console.print(sweep_table(jobs, width))
    return [line.rstrip() for line in console.file.getvalue().split("\n")]


RATES = [
    job(0, "algo.learning_rate=1e-4 seed=1", 0.6), job(1, "algo.learning_rate=1e-4 seed=2", 0.8),
    job(2, "algo.learning_rate=1e-3 seed=1", 0.9), job(3, "algo.learning_rate=1e-3 seed=2", 0.4),
]  # fmt: skip


def test_the_table_says_of_what_the_figures_are_with_their_differences_and_intervals():
    lines = printed(RATES)
    assert lines[0] == "score of responses to held-out prompts (64)"
    assert lines[1].split("  ")[0] == "job"
    assert "before  after  difference  95 % interval" in lines[1]
    assert lines[1].split()[:3] == ["job", "learning_rate", "seed"]
    assert lines[2].split() == [
        "0", "1e-4", "1", "0.500", "0.600", "+0.100", "[+0.050,", "+0.150]", "61",
    ]  # fmt: skip


def test_the_job_with_the_highest_score_after_training_is_marked():
    assert best_job(RATES)["job"] == 2
    assert [line.split()[0] for line in printed(RATES)[2:6] if line.endswith("best")] == ["2"]


def test_of_losses_the_lowest_is_the_best():
    losses = [job(0, "seed=1", 3.0, 4.0, "loss"), job(1, "seed=2", 2.0, 4.0, "loss"), failed(2, "seed=3")]
    assert best_job(losses)["job"] == 1
    assert printed(losses)[0] == "loss on held-out texts, nats per token (64)"


def test_of_accuracies_the_highest_is_the_best():
    models = [job(0, "seed=1", 0.8, metric="accuracy"), job(1, "seed=2", 0.9, metric="accuracy")]
    assert best_job(models)["job"] == 1
    assert printed(models)[0] == "accuracy on held-out pairs (64)"
    assert in_words(models[1]["result"]) == "accuracy 0.500 -> 0.900, +0.400 [+0.350, +0.450]"
    assert "an accuracy and a loss cannot be compared" in printed([models[0], job(1, "seed=2", 3.0, 4.0, "loss")])[-2]


def test_a_reward_model_without_a_decided_pair_is_judged_by_its_loss():
    result = job(0, "seed=1", 0.6, 0.7, "loss")["result"]
    for side in ("before", "after"):
        result[side]["accuracy"] = None
    result["difference"]["accuracy"] = {"mean": None, "interval": None}
    assert in_words(result) == "loss 0.700 -> 0.600, -0.100 [-0.150, -0.050]"


@pytest.mark.parametrize("key", ["reward.terms.length.weight", "reward", "data.prompts", "heldout.size"])
def test_figures_of_different_measures_have_no_best_and_the_table_says_why(key):
    jobs = [job(0, f"{key}=1", 0.6), job(1, f"{key}=2", 0.8)]
    assert best_job(jobs) is None
    lines = printed(jobs)
    assert f"no job is marked as the best: {key} changes what is measured" in lines
    assert not [line for line in lines if line.endswith("  best")]


def test_a_score_and_a_loss_are_not_compared():
    jobs = [job(0, "algo=ppo", 0.6), job(1, "algo=sft", 2.0, 3.0, "loss")]
    assert best_job(jobs) is None
    assert "no job is marked as the best: a score and a loss cannot be compared" in printed(jobs)


def test_the_status_is_shown_where_a_job_failed():
    lines = printed([RATES[0], failed(1, "algo.learning_rate=1e-4 seed=2")])
    assert "status" in lines[1]
    assert [line.split()[2] for line in lines[2:4]] == ["done", "failed"]


def test_keys_whose_ends_are_alike_stay_whole():
    jobs = [job(0, "algo.weight=1 data.weight=3", 0.6), job(1, "algo.weight=2 data.weight=4", 0.7)]
    assert printed(jobs)[1].split()[1:3] == ["algo.weight", "data.weight"]


def test_in_eighty_columns_no_figure_is_broken():
    path = "model.path=/home/someone/models/a-rather-long-name"
    jobs = [job(i, f"{path}-{i} algo.learning_rate=1e-{i} seed={i}", 0.6 + i / 100) for i in range(3)]
    lines = printed(jobs, 80)
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert all(f"+0.1{i}0" in text and f"[+0.0{i + 5}0, +0.1{i + 5}0]" in text for i in range(3))
    assert text.count("best") == 1


def test_a_single_result_is_not_the_best_of_anything():
    assert best_job([RATES[0], failed(1, "algo.learning_rate=1e-4 seed=2")]) is None


def test_text_from_settings_is_never_markup():
    lines = printed([job(0, "data.prompts=[red]x[/red]", 0.6), job(1, "data.prompts=[/nothing]", 0.7)])
    assert any("[red]x[/red]" in line for line in lines)
    assert any("[/nothing]" in line for line in lines)


def test_a_result_in_words():
    assert in_words(RATES[0]["result"]) == "score 0.500 -> 0.600, +0.100 [+0.050, +0.150]"
    assert in_words({}) == ""


def test_the_time_left_is_that_of_the_remaining_jobs_at_the_mean_time_of_those_done(tmp_path):
    progress = SweepProgress(total=4)
    assert progress.left() == ""
    progress.seconds, progress.jobs = [100.0, 200.0], 2
    assert progress.left() == "; about 5 minutes left"
    assert progress.label(2, tmp_path, "seed=3").startswith(f"job 3 of 4 in {tmp_path}: seed=3")
    progress.jobs = 3
    assert progress.left() == "; about 2 minutes left"
    progress.jobs = 4
    assert progress.left() == ""
    assert SweepProgress().left() == ""


def test_a_job_that_was_complete_counts_for_none_of_the_time(tmp_path, capsys):
    progress = SweepProgress(total=3)
    with JobOutput("job 1 of 3", tmp_path) as output:
        pass
    progress.ended(output, 0, "score 0.5 -> 0.6", before=True)
    assert (progress.jobs, progress.seconds) == (1, [])
    progress.ended(output, 2, "")
    assert (progress.jobs, len(progress.seconds)) == (2, 1)
    lines = capsys.readouterr().err.split("\n")
    assert lines[:2] == ["job 1 of 3", "  complete already: score 0.5 -> 0.6"]
    assert lines[2].startswith("  exit 2; about ")
