"""Reward functions of the user: how they are found, and how the command reports their errors."""

import json

import pytest

from rlnlp import build
from rlnlp.cli.main import main
from rlnlp.config.reward import Reward, RewardTerm
from rlnlp.rewards.user import Loader
from support import runs
from support.rewards import fails, three_texts


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    """User code is looked for in the current folder."""
    monkeypatch.chdir(tmp_path)


def built(rollout, fn, args=None, texts_of=three_texts):
    made, code = build.reward_terms(Reward({"mine": RewardTerm(fn, 1.0, args or {})}), texts_of, None)
    return made["mine"][0](rollout).tolist(), code


def test_a_function_of_a_file_is_given_what_its_signature_names(rollout, tmp_path):
    (tmp_path / "mine.py").write_text(
        "def f(completions, topic, bonus, references, scale=2.0):\n"
        "    rows = zip(completions, topic, references, strict=True)\n"
        "    return [scale * len(c.split()) + bonus * (t == 'b') + (r is None) for c, t, r in rows]\n"
    )
    values, code = built(rollout, "mine.py:f", {"bonus": 10})
    assert values == [2, 15, 0]
    assert len(code["reward.terms.mine.fn"]) == 64
    assert built(rollout, "./mine.py:f", {"bonus": 0, "scale": 1})[0] == [1, 3, 0]
    (tmp_path / "mine.py").write_text("def f(completions):\n    return [0] * len(completions)\n")
    assert built(rollout, "mine.py:f")[1] != code


def test_a_function_of_a_module_in_the_current_folder_is_found(rollout, tmp_path):
    (tmp_path / "own_rewards").mkdir()
    (tmp_path / "own_rewards" / "kind.py").write_text("def f(prompts):\n    return [len(p) for p in prompts]\n")
    assert built(rollout, "own_rewards.kind:f")[0] == [1, 1, 1]


@pytest.mark.parametrize(
    ("path", "code", "what"),
    [
        ("none.py:f", 2, "no such file: none.py"),
        ("mine.py:g", 2, "mine.py has no function 'g'"),
        ("mine.py:number", 2, "mine.py has no function 'number'"),
        ("mine.py:", 2, "mine.py"),
        ("no_such_package.rewards:f", 2, "no_such_package.rewards cannot be imported"),
        (":f", 2, "reward.terms.t.fn"),
        ("broken.py:f", 7, "broken.py cannot be imported: SyntaxError"),
        ("raising.py:f", 7, "raising.py cannot be imported: RuntimeError: at import"),
        ("needy.py:f", 7, "needy.py cannot be imported: ModuleNotFoundError"),
        ("leaving.py:f", 7, "leaving.py cannot be imported: SystemExit"),
    ],
)
def test_a_function_that_is_not_there_is_exit_2_and_a_file_that_fails_is_exit_7(path, code, what, tmp_path):
    (tmp_path / "mine.py").write_text("number = 1\n")
    (tmp_path / "broken.py").write_text("def f(:\n")
    (tmp_path / "raising.py").write_text("raise RuntimeError('at import')\n")
    (tmp_path / "needy.py").write_text("import no_such_package\n")
    (tmp_path / "leaving.py").write_text("raise SystemExit(0)\n")
    assert "reward.terms.t.fn" in fails(code, what, Loader().function, "t", path)


def test_a_callable_without_a_signature_is_exit_2():
    reward = Reward({"mine": RewardTerm("builtins:max", 1.0, {})})
    fails(2, "mine", build.reward_terms, reward, three_texts, None)


def overrides(model_dir, prompts_file):
    return [
        f"model.path={model_dir}", f"data.prompts={prompts_file}", "algo.total_steps=2", "algo.batch_size=4",
        "sampler.max_new_tokens=6", "device=cpu", "hydra.run.dir=run",
    ]  # fmt: skip


def test_the_command_reports_a_reward_function_that_raises_in_three_lines(model_dir, prompts_file, tmp_path, capsys):
    (tmp_path / "my_rewards.py").write_text("def polite(completions):\n    raise ValueError('too\\nrude')\n")
    assert main(["train", *overrides(model_dir, prompts_file), "+reward.terms.polite={fn: my_rewards.py:polite}"]) == 7
    out, err = capsys.readouterr()
    assert out == ""
    first, where, *rest = err[err.index("rlnlp train:") :].split("\n")
    assert first == "rlnlp train: reward term 'polite' raised ValueError: too rude"
    assert where.startswith(f"  {tmp_path / 'my_rewards.py'}:2, given 4 completions, the first '")
    assert rest == ["  fix the function (reward.terms.polite.fn) and run again; run/train.log has the traceback", ""]
    log = (tmp_path / "run" / "train.log").read_text()
    assert "in polite\n    raise ValueError('too\\nrude')" in log


def test_the_command_reports_a_reward_function_that_returns_nan(model_dir, prompts_file, tmp_path, capsys):
    (tmp_path / "my_rewards.py").write_text("def f(completions):\n    return [float('nan')] * len(completions)\n")
    assert main(["train", *overrides(model_dir, prompts_file), "+reward.terms.mine={fn: my_rewards.py:f}"]) == 7
    assert "rlnlp train: reward term 'mine' returned nan for completion 0\n" in capsys.readouterr().err
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (facts["status"], facts["exit_code"]) == ("failed", 7)


def test_terms_are_added_and_removed_on_the_command_line(model_dir, tmp_path):
    rows = [{"prompt": f"the film {'is ' * i}", "topic": "film"} for i in range(1, 13)]
    (tmp_path / "bare.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "my_rewards.py").write_text(
        "def polite(completions, topic, price):\n    return [price * (t == 'film') for t in topic]\n"
    )
    words = ["+reward.terms.polite={fn: my_rewards.py:polite, weight: 0.5, args: {price: 3}}"]
    asked = [*words, "reward.terms.similarity.weight=0.2"]
    assert main(["train", *overrides(model_dir, tmp_path / "bare.jsonl"), *asked]) == 3, "similarity needs references"
    words += ["~reward.terms.similarity", "hydra.run.dir=second"]
    with runs.without_pictures():
        assert main(["train", *overrides(model_dir, tmp_path / "bare.jsonl")[:-1], *words]) == 0
    for line in (tmp_path / "second" / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        assert row["score/polite"] == 3
        assert "score/similarity" not in row
        rest = 0.1 * row["score/length"] + 0.2 * (row["score/diversity"] + row["score/coherence"])
        assert row["score"] == pytest.approx(rest + 0.4 * row["score/sentiment"] + 1.5, rel=1e-5)
    facts = json.loads((tmp_path / "second" / "run.json").read_text())
    assert facts["result"]["before"]["terms"]["polite"] == 3
    assert set(facts["code"]) == {"reward.terms.polite.fn"}
