"""The reward contract: what a user's function is given, what it may return, and how the terms are summed."""

import json
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch

from rlnlp import build
from rlnlp.cli.main import main
from rlnlp.config import schema as config
from rlnlp.errors import Failure
from rlnlp.rewards.shaping import Shape
from rlnlp.rewards.terms import numbers_of, text_term, weighted_sum
from rlnlp.rewards.user import load_function
from rlnlp.types import Rollout, Texts
from support import small

PROMPTS, ANSWERS, REFERENCES = ["p", "q", "r"], ["one", "two three", ""], ["x", None, "z"]
COLUMNS = {"topic": ["a", "b", "c"], "weight": [1.0, 2.0, 3.0]}


@pytest.fixture
def rollout():
    asked = small.prompts([1, 5], [1, 6], [1, 7])
    mask = torch.tensor([[True, True, False], [True, False, True], [True, False, False]])
    return Rollout(asked, torch.ones(3, 3).long(), mask, torch.cat([asked.mask, mask], 1), torch.ones(3).bool())


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    """User code is looked for in the current folder, and what it leaves in the interpreter is undone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    precision = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(precision)


def read(_):
    return Texts(list(PROMPTS), list(ANSWERS), list(REFERENCES), {k: list(v) for k, v in COLUMNS.items()})


def built(rollout, fn, args=None, text=read):
    made, code = build.reward_terms(config.Reward({"mine": config.RewardTerm(fn, 1.0, args or {})}), text, None)
    return made["mine"][0](rollout).tolist(), code


def fails(code, pattern, fn, *args, **kwargs):
    with pytest.raises(Failure, match=pattern) as failure:
        fn(*args, **kwargs)
    assert failure.value.code == code
    assert str(failure.value).count("\n") < 3
    return str(failure.value)


def test_the_reward_is_the_weighted_sum_on_the_last_token_that_the_policy_chose(rollout):
    one, two = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.5, 0.0, -1.0])
    scores = weighted_sum({"one": (lambda _: one, 0.1), "two": (lambda _: two, -2.0)})(rollout)
    assert scores.rewards.tolist() == [
        [0, pytest.approx(0.1 - 1), 0], [0, 0, pytest.approx(0.2)], [pytest.approx(0.3 + 2), 0, 0],
    ]  # fmt: skip
    assert scores.score.tolist() == pytest.approx([-0.9, 0.2, 2.3])
    assert {name: term.tolist() for name, term in scores.terms.items()} == {"one": [1, 2, 3], "two": [0.5, 0, -1]}


@pytest.mark.parametrize("values", [torch.ones(2), torch.ones(3, 1), torch.tensor([1.0, float("nan"), 0.0])])
def test_a_term_inside_the_package_is_checked_too(values, rollout):
    reward = weighted_sum({"bad": (lambda _: values, 1.0)})
    fails(7, "reward term 'bad' (has shape|returned nan for completion 1)", reward, rollout)


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


def test_a_function_written_for_trl_works_as_it_is(rollout):
    seen = {}

    def f(prompts, completions, **kwargs):
        seen.update(kwargs, prompts=prompts, completions=completions)
        return [float(len(c)) for c in completions]

    assert text_term("t", f, {"strict": True}, read)(rollout).tolist() == [3, 9, 0]
    assert seen == {
        "prompts": PROMPTS, "completions": ANSWERS, "completion_ids": [[1, 1], [1, 1], [1]],
        "references": REFERENCES, **COLUMNS, "strict": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    "values",
    [
        [1, 2.5, -3], (1, 2.5, -3), np.array([1, 2.5, -3]), torch.tensor([1, 2.5, -3], dtype=torch.float64),
        torch.tensor([1, 2.5, -3], requires_grad=True), [np.float32(1), Fraction(5, 2), np.int64(-3)],
        [torch.tensor(1.0), torch.tensor(2.5), torch.tensor(-3)],
    ],
)  # fmt: skip
def test_flat_lists_arrays_and_tensors_of_numbers_are_taken(values):
    found = numbers_of("t", values, 3)
    assert (found.tolist(), found.dtype, found.requires_grad) == ([1, 2.5, -3], torch.float32, False)


def test_a_list_per_completion_rewards_the_tokens_that_the_policy_chose(rollout):
    given = []

    def each(completion_ids, weight):
        given.append(completion_ids)
        return [[1.0, 2.0], np.array([3.0, weight[1]]), (5,)]

    scores = weighted_sum({"each": (text_term("each", each, {}, read), 10.0)})(rollout)
    assert given == [[[1, 1], [1, 1], [1]]]
    assert scores.rewards.tolist() == [[10, 20, 0], [30, 0, 20], [50, 0, 0]]
    assert scores.terms["each"].tolist() == [3, 5, 5]


def test_what_shapes_and_other_terms_change_of_a_per_token_reward_falls_on_the_last_token(rollout):
    each = text_term("each", lambda completions: [[1.0, 2.0], [3.0, 4.0], [5.0]], {}, read)
    whole = torch.tensor([0.5, 0.25, 0.125])
    shapes = {"each": Shape(scale=2.0, clip=(0.0, 10.0))}
    scores = weighted_sum({"each": (each, 1.0), "whole": (lambda _: whole, 1.0)}, shapes)(rollout)
    assert scores.rewards.tolist() == [[2, 4.5, 0], [6, 0, 4.25], [10.125, 0, 0]]
    assert scores.score.tolist() == [6.5, 10.25, 10.125]


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ([[1.0, 2.0], [1.0], [1.0]], "returned 1 numbers for the 2 tokens of completion 1"),
        ([[1.0, 2.0], 3.0, [1.0]], "returned 3.0 for completion 1, want a list"),
        ([3.0, [1.0, 2.0], [1.0]], r"returned \[1.0, 2.0\] for completion 1, want a number"),
        ([[1.0, 2.0], [1.0, float("nan")], [1.0]], "returned nan for completion 1"),
        ([[1.0, 2.0], [1.0, "x"], [1.0]], "returned 'x' for completion 1"),
        ([[1.0, 2.0]], "returned 1 values for 3 completions"),
    ],
)
def test_wrong_per_token_rewards_are_told(rollout, values, what):
    fails(7, what, text_term("t", lambda completions: values, {}, read), rollout)


def leave():
    sys.exit(0)


def tail(value):
    return lambda completions: [0.0] * (len(completions) - 1) + [value]


@pytest.mark.parametrize(
    ("fn", "what"),
    [
        (lambda completions: 1 / 0, "raised ZeroDivisionError: division by zero"),
        (lambda completions: leave(), "raised SystemExit: 0"),
        (lambda completions: completions[99], "raised IndexError"),
        (lambda completions: [1.0], "returned 1 values for 3 completions"),
        (lambda completions: [], "returned 0 values for 3 completions"),
        (tail(float("nan")), "returned nan for completion 2"),
        (tail(-float("inf")), "returned -inf for completion 2"),
        (tail(1e300), "for completion 2"),
        (tail(10**400), "for completion 2"),
        (tail(None), "returned None for completion 2, want a number"),
        (tail("1.0"), "returned '1.0' for completion 2, want a number"),
        (tail(1j), "returned 1j for completion 2, want a number"),
        (tail([1.0]), r"returned \[1.0\] for completion 2, want a number"),
        (lambda completions: "abc", "returned str, want a list of 3 numbers"),
        (lambda completions: None, "returned NoneType, want"),
        (lambda completions: 1.0, "returned float, want"),
        (lambda completions: torch.tensor(1.0), "returned float, want"),
        (lambda completions: (1.0 for _ in completions), "returned generator, want"),
        (lambda completions: dict.fromkeys(range(3), 1.0), "returned dict, want"),
        (lambda completions: torch.ones(3, 1), r"returned \[1.0\] for completion 0"),
        (lambda completions: np.array(["a", "b", "c"]), "returned 'a' for completion 0"),
    ],
)
def test_a_function_that_misbehaves_is_exit_7_with_its_term_and_what_it_did(fn, what, rollout):
    message = fails(7, f"reward term 'polite' .*{what}", text_term("polite", fn, {}, read), rollout)
    assert "reward.terms.polite.fn" in message


def test_a_person_who_interrupts_a_reward_function_is_not_taken_for_its_fault(rollout):
    def f(completions):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        text_term("t", f, {}, read)(rollout)


def test_a_function_that_changes_its_lists_changes_nothing_for_the_other_terms(rollout):
    def rude(prompts, completions, weight):
        for given in (prompts, completions, weight):
            given.reverse()
        completions.append("more")
        return [0.0, 0.0, 0.0]

    shared = read(None)
    terms = {"rude": (text_term("rude", rude, {}, lambda _: shared), 1.0)}
    terms["late"] = (text_term("late", lambda completions: [len(c) for c in completions], {}, lambda _: shared), 1.0)
    assert weighted_sum(terms)(rollout).terms["late"].tolist() == [3, 9, 0]


def test_an_argument_that_the_function_does_not_take_is_exit_2(rollout):
    fails(2, r"reward\.terms\.t\.args: no argument 'bonsu'; it takes: completions, bonus",
          text_term, "t", lambda completions, bonus=1: [], {"bonsu": 1}, read)  # fmt: skip


def test_a_column_that_the_data_does_not_have_is_exit_3_and_tells_what_there_is(rollout):
    term = text_term("t", lambda completions, label: [0.0] * 3, {}, read)
    assert "topic, weight" in fails(3, "reward term 't' needs 'label'", term, rollout)


@pytest.mark.parametrize(
    ("path", "code", "what"),
    [
        ("none.py:f", 2, "no such file: none.py"),
        ("mine.py:g", 2, "mine.py has no function 'g'"),
        ("mine.py:number", 2, "mine.py has no function 'number'"),
        ("mine.py:", 2, "mine.py"),
        ("mine.py:later", 2, "'later' is async; write a plain function"),
        ("no_such_package.rewards:f", 2, "no_such_package.rewards cannot be imported"),
        (":f", 2, "reward.terms.t.fn"),
        ("broken.py:f", 7, "broken.py cannot be imported: SyntaxError"),
        ("raising.py:f", 7, "raising.py cannot be imported: RuntimeError: at import"),
        ("needy.py:f", 7, "needy.py cannot be imported: ModuleNotFoundError"),
        ("leaving.py:f", 7, "leaving.py cannot be imported: SystemExit"),
    ],
)
def test_a_function_that_is_not_there_is_exit_2_and_a_file_that_fails_is_exit_7(path, code, what, tmp_path):
    (tmp_path / "mine.py").write_text("number = 1\n\n\nasync def later(completions):\n    return []\n")
    (tmp_path / "broken.py").write_text("def f(:\n")
    (tmp_path / "raising.py").write_text("raise RuntimeError('at import')\n")
    (tmp_path / "needy.py").write_text("import no_such_package\n")
    (tmp_path / "leaving.py").write_text("raise SystemExit(0)\n")
    assert "reward.terms.t.fn" in fails(code, what, load_function, "t", path)


def test_a_callable_without_a_signature_is_exit_2():
    fails(
        2, "mine", build.reward_terms, config.Reward({"mine": config.RewardTerm("builtins:max", 1.0, {})}), read, None
    )


def asked(model_dir, prompts_file):
    return [
        f"model.path={model_dir}", f"data.prompts={prompts_file}", "algo.total_steps=2", "algo.batch_size=4",
        "sampler.max_new_tokens=6", "device=cpu", "hydra.run.dir=run",
    ]  # fmt: skip


def test_the_command_tells_of_a_reward_function_that_raises_in_three_lines(model_dir, prompts_file, tmp_path, capsys):
    (tmp_path / "my_rewards.py").write_text("def polite(completions):\n    raise ValueError('too\\nrude')\n")
    assert main(["train", *asked(model_dir, prompts_file), "+reward.terms.polite={fn: my_rewards.py:polite}"]) == 7
    out, err = capsys.readouterr()
    assert out == ""
    assert err.split("\n")[1:] == [
        "rlnlp train: reward term 'polite' raised ValueError: too rude",
        "  mend the function (reward.terms.polite.fn) and run again",
        "",
    ]
    assert "Traceback" in (tmp_path / "run" / "train.log").read_text()


def test_the_command_tells_of_a_reward_function_that_returns_nan(model_dir, prompts_file, tmp_path, capsys):
    (tmp_path / "my_rewards.py").write_text("def f(completions):\n    return [float('nan')] * len(completions)\n")
    assert main(["train", *asked(model_dir, prompts_file), "+reward.terms.mine={fn: my_rewards.py:f}"]) == 7
    assert "rlnlp train: reward term 'mine' returned nan for completion 0\n" in capsys.readouterr().err
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (facts["status"], facts["exit_code"]) == ("failed", 7)


def test_terms_are_added_and_left_out_on_the_command_line(model_dir, tmp_path):
    rows = [{"prompt": f"the film {'is ' * i}", "topic": "film"} for i in range(1, 13)]
    (tmp_path / "bare.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "my_rewards.py").write_text(
        "def polite(completions, topic, price):\n    return [price * (t == 'film') for t in topic]\n"
    )
    words = ["+reward.terms.polite={fn: my_rewards.py:polite, weight: 0.5, args: {price: 3}}"]
    assert main(["train", *asked(model_dir, tmp_path / "bare.jsonl"), *words]) == 3, "similarity needs references"
    words += ["~reward.terms.similarity", "hydra.run.dir=second"]
    assert main(["train", *asked(model_dir, tmp_path / "bare.jsonl")[:-1], *words]) == 0
    for line in (tmp_path / "second" / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        assert row["score/polite"] == 3
        assert "score/similarity" not in row
        rest = 0.1 * row["score/length"] + 0.2 * (row["score/diversity"] + row["score/coherence"])
        assert row["score"] == pytest.approx(rest + 0.4 * row["score/sentiment"] + 1.5, rel=1e-5)
    facts = json.loads((tmp_path / "second" / "run.json").read_text())
    assert facts["result"]["before"]["terms"]["polite"] == 3
    assert set(facts["code"]) == {"reward.terms.polite.fn"}
