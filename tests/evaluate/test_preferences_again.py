"""``rlnlp evaluate RUN`` of a reward model: the report of the run again, or on other pairs."""

import json

import pytest

from rlnlp.cli.main import main
from rlnlp.evaluate.preferences.again import keep_fits
from support import runs, small


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("rewards")


def judged(path, count, first):
    """``count`` pairs with prompts of their own, from number ``first`` on; the same word is always preferred."""
    words, rows = small.WORDS[2:12], []
    for i in range(first, first + count):
        texts = [f"the {words[6]} .", f"the {words[7 + i % 3]} ."]
        texts = texts if i % 2 == 0 else texts[::-1]
        prompt = f"the {words[i % 10]} {words[i // 10]}"
        rows.append({"prompt": prompt, "text1": texts[0], "text2": texts[1], "preference": i % 2})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def run(place):
    data, held = judged(place / "train.jsonl", 30, 0), judged(place / "held.jsonl", 24, 40)
    asked = runs.words("reward-model", place, f"data.heldout={held}", "heldout.size=64", "checkpoint.result=last")
    return runs.run(runs.settings([*asked, f"data.preferences={data}"]), place / "run")


@pytest.fixture
def evaluated(capsys):
    def call(*words):
        code = main(["evaluate", *map(str, words)])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def result(run):
    return json.loads((run / "run.json").read_text())["result"]


def test_the_report_is_the_one_of_the_run(run, evaluated):
    code, out, _ = evaluated(run, "--json")
    assert code == 0
    record, stored = json.loads(out), result(run)
    for name in ("n", "prompts", "accuracy", "accuracy_interval", "baselines", "learning_curve", "verdict", "missing"):
        assert record[name] == stored[name], name
    assert record["ece"] == pytest.approx(stored["ece"], abs=1e-5)
    assert record["report"] == str(run / "report.html")
    assert (run / "report.md").is_file()


def test_other_pairs_have_a_report_of_their_own(run, place, evaluated):
    other = judged(place / "other.jsonl", 4, 80)
    code, out, _ = evaluated(run, f"data.heldout={other}")
    assert code == 0
    assert "measured on 4 pairs of 4 prompts, none of them seen in training." in out
    found = list((run / "evaluations").glob("*other.jsonl/report.html"))
    assert len(found) == 1
    assert str(found[0]) in out
    assert "the models that were fitted for it are not kept" in found[0].read_text()
    assert "rlnlp evaluate" in found[0].read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--against", "references"], "--against is for runs that train a policy"),
        (["-n", "3"], "--samples is for runs that train a policy"),
        (["--judge", "length"], "rlnlp evaluate RUN --judge"),
        (["reward.workers=1"], "'reward.workers' is not used by an evaluation; it reads data, device and seed"),
    ],
)
def test_what_is_of_no_use_for_a_reward_model_is_refused(run, evaluated, words, said):
    code, _, err = evaluated(run, *words)
    assert code == 2
    assert said in err


def test_without_the_trained_model_it_is_said_what_is_missing(run, place, evaluated):
    bare = place / "bare"
    bare.mkdir(exist_ok=True)
    for name in ("config.yaml", "run.json"):
        (bare / name).write_bytes((run / name).read_bytes())
    code, _, err = evaluated(bare)
    assert code == 4
    assert "reward" in err


def test_what_the_run_found_with_other_models_is_kept_and_else_missing():
    shuffled = {"name": "shuffled labels", "accuracy": 0.0}
    empty = {"name": "shuffled labels", "accuracy": None}
    record = {"missing": {"calibration": "few"}, "baselines": [{"name": "longer"}, empty], "learning_curve": []}
    stored = {
        "learning_curve": [1], "twice_the_labels": None, "missing": {"twice_the_labels": "why"},
        "baselines": [shuffled],
    }  # fmt: skip
    kept = keep_fits(record, stored)
    assert kept["learning_curve"] == [1]
    assert kept["missing"] == {"calibration": "few", "twice_the_labels": "why"}
    assert kept["baselines"] == [{"name": "longer"}, shuffled]
    without = keep_fits(record, {})
    assert set(without["missing"]) == {"calibration", "learning_curve", "shuffled labels"}
    assert without["baselines"] == record["baselines"]
