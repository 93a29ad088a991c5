"""The best checkpoint: it is kept whenever it is measured, is a model like any other, and can be the result."""

import json
import re
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from rlnlp.algos import setup
from rlnlp.cli.main import main
from rlnlp.run import checksums
from rlnlp.run.checksums import name_of
from support import runs, small

DIVERGING = ("algo.optimizer=adamw", "algo.lr_schedule=constant", "algo.learning_rate=2", "heldout.patience=0")
BEST = ("heldout.every=1", "checkpoint.every=0", "checkpoint.keep=1", "heldout.size=4")
MODELS = ("heldout.every=2", "checkpoint.keep_models=1", "checkpoint.result=last", "sampler.temperature=0.5")
WEIGHTS = "policy/model.safetensors"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("best")


@pytest.fixture(scope="module")
def trained(place):
    """Runs of an algorithm with some words, each made once."""
    made = {}

    def run(algo, *words):
        if (algo, words) not in made:
            directory = place / f"run{len(made)}"
            made[algo, words] = runs.run(runs.settings(runs.words(algo, place, *words)), directory)
        return made[algo, words]

    return run


def rows(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def result(directory):
    return json.loads((directory / "run.json").read_text())["result"]


def steps(directory):
    return sorted(int(path.name.partition("-")[2]) for path in directory.glob("step-*"))


def best_of(directory):
    """The step with the lowest loss, or the highest score, of those measured; the first of several."""
    worth = [-row["heldout/loss"] if "heldout/loss" in row else row["heldout/score"] for row in measured(directory)]
    return measured(directory)[worth.index(max(worth))]["step"]


def measured(directory):
    return [row for row in rows(directory) if "heldout/loss" in row or "heldout/score" in row]


ONE_REWARD = [algo for algo in runs.ALGORITHMS if algo != "rlhf"]  # each round has another: tests/algos/test_rlhf.py


@pytest.mark.parametrize("algo", ONE_REWARD)
def test_the_best_step_is_saved_though_no_checkpoint_is_due_and_is_what_a_run_of_so_many_steps_ends_with(algo, trained):
    fitted = algo in ("sft", "reward-model")
    words = [*BEST, *(DIVERGING if fitted else ["algo.learning_rate=0.3", "algo.lr_schedule=constant"])]
    directory = trained(algo, *words)
    best = best_of(directory)
    assert steps(directory / "checkpoints") == sorted({best, runs.STEPS})
    assert result(directory)["best_step"] == best < runs.STEPS, "a run that is best at its end tests nothing"
    short = trained(algo, *words, f"algo.total_steps={best}")
    weights = "reward_model.safetensors" if algo == "reward-model" else WEIGHTS  # its result is normalized
    end = short / "checkpoints" / name_of(best) if algo == "reward-model" else short
    assert (directory / "checkpoints" / name_of(best) / weights).read_bytes() == (end / weights).read_bytes()


@pytest.mark.parametrize("every", [0, 5])
def test_the_best_stays_whatever_steps_are_due(every, trained):
    directory = trained("sft", *DIVERGING, "heldout.every=1", f"checkpoint.every={every}", "checkpoint.keep=1")
    assert steps(directory / "checkpoints") == sorted({best_of(directory), runs.STEPS})
    assert not [fault for path in (directory / "checkpoints").iterdir() for fault in checksums.faults(path)]


@pytest.mark.parametrize("algo", ["sft", "reinforce"])
def test_policy_is_the_best_or_the_last_as_it_is_asked_for_and_the_report_says_which(algo, trained, capsys):
    words = [*BEST, *(DIVERGING if algo == "sft" else ["algo.learning_rate=0.3"])]
    found = {}
    for asked in ("last", "best"):
        capsys.readouterr()
        directory = trained(algo, *words, f"checkpoint.result={asked}", "samples.show=0")
        said, facts, best = capsys.readouterr().out, result(directory), best_of(directory)
        step = best if asked == "best" else runs.STEPS
        assert (facts["best_step"], facts["policy_step"], facts["last_step"]) == (best, step, runs.STEPS)
        policy = (directory / WEIGHTS).read_bytes()
        assert policy == (directory / "checkpoints" / name_of(step) / WEIGHTS).read_bytes()
        assert (
            f"policy/ has the weights of step {step}: the {'best on held-out data' if step == best else 'last'}" in said
        )
        assert f"step {best}, the best, against the last: " in said
        found[asked] = facts
    assert found["last"]["best_over_last"] == found["best"]["best_over_last"]
    assert found["last"]["measured_on"] == "all" != found["best"]["measured_on"]
    assert ("best" in found["last"]["health"], "best" in found["best"]["health"]) == (
        (found["last"]["best_over_last"]["interval"] or [0])[0] > 0, False,
    )  # fmt: skip


@pytest.mark.parametrize(("algo", "step"), [("sft", 1), ("sft", 3), ("reinforce", 2), ("reinforce", 5)])
def test_a_run_that_is_resumed_has_the_same_best_and_the_same_policies(algo, step, trained, tmp_path):
    words = ["heldout.every=1", "checkpoint.result=best", "checkpoint.keep_models=2", "checkpoint.every=1"]
    whole = trained(algo, *words, *(DIVERGING if algo == "sft" else ["algo.learning_rate=0.3"]))
    directory = runs.broken_off(whole, tmp_path / "again", step)
    runs.go_on(directory)
    assert runs.difference(runs.outcome(directory), runs.outcome(whole)) == []


def test_policies_of_the_newest_and_the_best_measurements_stay_and_are_those_of_the_checkpoints(trained):
    words = ["heldout.every=1", "checkpoint.every=1", *DIVERGING]
    directory = trained("sft", *words, "checkpoint.keep_models=2")
    best = best_of(directory)
    assert best < runs.STEPS - 1
    assert steps(directory / "models") == [best, runs.STEPS - 1, runs.STEPS]
    for step in steps(directory / "models"):
        snapshot, checkpoint = (directory / name / name_of(step) for name in ("models", "checkpoints"))
        files = {p.relative_to(snapshot / "policy"): p.read_bytes() for p in (snapshot / "policy").iterdir()}
        assert files == {
            p.relative_to(checkpoint / "policy"): p.read_bytes() for p in (checkpoint / "policy").iterdir()
        }
        assert sorted(p.name for p in snapshot.iterdir()) == ["manifest.json", "policy", "state.json"]
        assert not list(checksums.faults(snapshot))
    every = trained("sft", *words, "checkpoint.keep_models=all", "heldout.every=2")
    assert steps(every / "models") == [row["step"] for row in measured(every)] == [1, 2, 4, 6]
    assert not (trained("sft", *words) / "models").exists()


def test_what_a_killed_run_measured_beyond_its_checkpoint_is_gone_when_it_resumes(trained, tmp_path):
    whole = trained("sft", "heldout.every=1", "checkpoint.every=2", "checkpoint.keep_models=all", *DIVERGING)
    directory = runs.broken_off(whole, tmp_path / "again", 2)
    assert steps(directory / "models") == [1, 2, 3, 4, 5, 6]
    runs.go_on(directory, "algo.total_steps=3")
    assert steps(directory / "models") == [1, 2, 3]


def test_a_checkpoint_and_a_policy_in_models_are_models_for_training_and_generate(trained, place, tmp_path, capsys):
    directory = trained("reinforce", *MODELS)
    said = []
    for source in (directory, directory / "checkpoints" / name_of(6), directory / "models" / name_of(6)):
        capsys.readouterr()
        assert main(["generate", str(source), "the film is", "-n", "4", "--json"]) == 0
        said.append([{**each, "model": ""} for each in json.loads(capsys.readouterr().out)])
    assert said[0] == said[1] == said[2], "the settings are those of the run"
    assert main(["generate", str(directory / "checkpoints" / name_of(2)), "the film is", "-n", "4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) != said[0]
    for name in ("checkpoints", "models"):
        start = directory / name / name_of(6)
        words = runs.words("sft", place, f"model.path={start}", "algo.total_steps=1", "algo.learning_rate=0")
        again = runs.run(runs.settings(words), tmp_path / name)
        assert (again / WEIGHTS).read_bytes() == (directory / WEIGHTS).read_bytes()


def test_a_checkpoint_that_is_damaged_is_no_model(trained, tmp_path, capsys):
    whole = trained("reinforce", *MODELS)
    directory = runs.broken_off(whole, tmp_path / "again", 6) / "checkpoints" / name_of(6)
    moved = directory.rename(directory.with_name("mine"))
    assert main(["generate", str(moved), "the film is"]) == 0, "wherever it has been moved to"
    path = moved / WEIGHTS
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    path.write_bytes(content)
    capsys.readouterr()
    assert main(["generate", str(moved), "the film is"]) == 4
    assert (
        "is of a damaged checkpoint: policy/model.safetensors is not as it was written (sha256)"
        in capsys.readouterr().err
    )


def test_a_best_checkpoint_that_is_lost_leaves_the_last_and_says_so(trained, tmp_path, capsys):
    whole = trained("sft", "heldout.every=1", "checkpoint.result=best", "checkpoint.every=1", *DIVERGING)
    best = best_of(whole)
    directory = runs.broken_off(whole, tmp_path / "again", 6)
    (directory / "checkpoints" / name_of(best) / "policy" / "config.json").write_text("{}")
    runs.go_on(directory)
    assert (
        f"the checkpoint of the best step, {best}, cannot be used: policy/config.json has 2 bytes"
        in capsys.readouterr().err
    )
    assert (result(directory)["policy_step"], result(directory)["best_step"]) == (runs.STEPS, best)
    assert (directory / WEIGHTS).read_bytes() == (directory / "checkpoints" / name_of(6) / WEIGHTS).read_bytes()


def test_checkpoints_of_earlier_versions_with_their_policy_in_one_file_are_resumed(trained, tmp_path):
    """Before, all weights of the policy were in policy.safetensors, under the names of the module around it."""
    whole = trained("reinforce", "checkpoint.every=2")
    directory = runs.broken_off(whole, tmp_path / "again", 2)
    old = directory / "checkpoints" / name_of(2)
    flat(old)
    assert not list(checksums.faults(old))
    runs.go_on(directory)
    assert (directory / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()


def flat(directory: Path):
    """A checkpoint as earlier versions laid it out."""
    weights = load_file(directory / "policy" / "model.safetensors")
    save_file({f"lm.{name}": tensor for name, tensor in weights.items()}, directory / "policy.safetensors")
    shutil.rmtree(directory / "policy")
    state = json.loads((directory / "state.json").read_text())
    del state["since_best"]
    (directory / "state.json").write_text(json.dumps(state))
    files = {
        p.name: (p.stat().st_size, checksums.file_sha256(p)) for p in directory.iterdir() if p.name != "manifest.json"
    }
    (directory / "manifest.json").write_text(checksums.manifest_text(state["step"], files))


def stopped_at(losses, patience):
    """The step after which so many measurements in a row were no better than the best before; None if none is."""
    best, since = float("inf"), 0
    for step, loss in enumerate(losses, 1):
        best, since = (loss, 0) if loss < best else (best, since + 1)
        if since == patience:
            return step
    return None


@pytest.mark.parametrize("patience", [1, 2])
def test_training_ends_when_nothing_is_better_for_so_many_measurements(patience, trained, capsys):
    words = ["heldout.every=1", "checkpoint.every=0", *DIVERGING]
    losses = [row["heldout/loss"] for row in rows(trained("sft", *words))]
    expected = stopped_at(losses, patience)
    assert expected in range(1, runs.STEPS), losses
    directory = trained("sft", *words, f"heldout.patience={patience}")
    told, facts = capsys.readouterr(), json.loads((directory / "run.json").read_text())
    assert len(rows(directory)) == expected == facts["steps"]
    assert (facts["status"], facts["exit_code"], facts["result"]["stopped_early"]) == ("done", 0, True)
    best = best_of(directory)
    assert f"stopped early after step {expected} of 6: step {best} is still the best" in told.err
    assert f"training stopped early after step {expected}: nothing better since step {best}" in told.out
    assert steps(directory / "checkpoints") == sorted({best, expected})


def test_a_run_that_stopped_early_is_complete_and_goes_on_if_it_is_asked_to(trained, tmp_path, capsys):
    words = ["heldout.every=1", "checkpoint.every=1", *DIVERGING]
    whole, early = trained("sft", *words), trained("sft", *words, "heldout.patience=1")
    directory = runs.broken_off(early, tmp_path / "again", 99)
    (directory / "run.json").write_bytes((early / "run.json").read_bytes())
    before = (directory / "run.json").read_bytes()
    capsys.readouterr()
    for more in ([], ["algo.total_steps=9"]):
        runs.go_on(directory, *more)
        done = re.search(
            r"is complete: it stopped early after step \d\nto go on: (rlnlp resume .*)", capsys.readouterr().out
        )
        assert done is not None
        assert (directory / "run.json").read_bytes() == before
    runs.go_on(directory, done[1].split()[-1])
    assert (directory / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()
    assert (directory / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    assert result(directory)["stopped_early"] is False


@pytest.mark.parametrize("step", [1, 3])
def test_patience_is_counted_across_a_resume(step, trained, tmp_path):
    swings = ["algo.learning_rate=0.5", "heldout.patience=2"]  # worse in steps 4 and 5 than in step 3
    whole = trained("sft", "heldout.every=1", "checkpoint.every=1", *DIVERGING, *swings)
    assert step + 2 <= result(whole)["last_step"] < runs.STEPS
    directory = runs.broken_off(whole, tmp_path / "again", step)
    runs.go_on(directory)
    assert runs.difference(runs.outcome(directory), runs.outcome(whole)) == []


@pytest.mark.parametrize("count", [70, 20])
@pytest.mark.parametrize("asked", ["last", "best"])
def test_what_chose_a_step_does_not_report_on_it(asked, count, place, tmp_path, monkeypatch, capsys):
    heldout, seen, real = small.write_prompts(tmp_path / "heldout.jsonl", count), [], setup.measure

    def measure(table, rows, *rest):
        stream = rest[3].bit_generator.state["state"]["key"].tolist()
        seen.append((tuple(rows), stream))
        return real(table, rows, *rest)

    monkeypatch.setattr(setup, "measure", measure)
    words = ["heldout.every=2", f"checkpoint.result={asked}", f"data.heldout={heldout}", f"heldout.size={count}"]
    words += ["algo.learning_rate=0.3", "checkpoint.keep_models=0"]
    directory = runs.run(runs.settings(runs.words("reinforce", place, *words)), tmp_path / "run")
    choosing, facts = seen[1:5], result(directory)  # after steps 1, 2, 4 and 6
    assert len(set(map(str, choosing))) == 1
    assert facts["best_step"] < runs.STEPS, "a run that is best at its end tests nothing"
    first, *last = [seen[0], *seen[5:]]
    if asked == "last":
        assert (len(first[0]), first, facts["n"]) == (count, last.pop(0), count), "of all, as nothing was chosen"
        first = last[0]
    assert last == [first, first], "the last and the best"
    assert first[1] != choosing[0][1], "other draws"
    apart = count >= 64
    assert bool(set(first[0]) & set(choosing[0][0])) is not apart
    assert len(first[0]) == (count // 2 if apart else count) == facts["best_over_last"]["n"]
    what = "other prompts" if apart else "other draws"
    assert facts["best_over_last"]["measured_on"] == what
    assert f"on {what} than chose it ({len(first[0])})" in " ".join(capsys.readouterr().out.split())
    assert facts["measured_on"] == ("all" if asked == "last" else what)
