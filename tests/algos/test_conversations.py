"""Whole small runs on conversations: what is rewarded, kept, learned and drawn from afterwards."""

import json

import pytest

import rlnlp
from support import chat, runs

REWARD = """
def brief(prompts, completions, messages):
    for prompt, completion, whole in zip(prompts, completions, messages, strict=True):
        assert [turn["role"] for turn in prompt] == ["system", "user"]
        assert [turn["role"] for turn in completion] == ["assistant"]
        assert whole == prompt + completion
    return [1.0 / (1 + len(completion[0]["content"])) for completion in completions]
"""


@pytest.fixture
def words(tmp_path):
    """The settings of a small run on conversations, without those of its data and reward."""
    model = chat.save_model(tmp_path / "model")

    def settings(algo, *more):
        return runs.settings([
            f"algo={algo}", f"model.path={model}", "algo.total_steps=2", "algo.batch_size=4", "algo.learning_rate=1e-2",
            "sampler.max_new_tokens=5", "heldout.size=1", "heldout.every=0", "samples.every=1", "samples.show=0",
            "checkpoint.every=1", "checkpoint.keep=9", "device=cpu", *more,
        ])  # fmt: skip

    return settings


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def written(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("algo", ["reinforce", "ppo"])
def test_a_policy_is_trained_on_conversations_and_its_run_knows_how_they_are_shown(algo, words, tmp_path):
    (tmp_path / "mine.py").write_text(REWARD)
    rows = [{"messages": chat.turns(f"Say {i} the", "Yes.")} for i in range(12)]
    data = written(tmp_path / "data.jsonl", rows)
    own = f"{{fn: {tmp_path}/mine.py:brief, conversational: true}}"
    asked = words(
        algo, f"data.prompts={data}", "data.system=be kind", "algo.num_generations=2",
        "~reward.terms", f"+reward.terms={{own: {own}}}",
    )  # fmt: skip
    run = runs.run(asked, tmp_path / "run")
    sample = lines(run / "samples.jsonl")[0]
    assert sample["prompt"].startswith("System: be kind\n\nUser: Say ")
    assert sample["messages"][-1] == {"role": "assistant", "content": sample["response"]}
    assert lines(run / "heldout.jsonl")[0]["prompt"].endswith(" the\n\nAssistant: ")
    (drawn,) = rlnlp.load(run, ["device=cpu"]).generate("Hi")
    assert drawn["prompt"] == "System: be kind\n\nUser: Hi\n\nAssistant: "
    left = runs.broken_off(run, tmp_path / "left", 1)
    runs.go_on(left, f"reward.terms.own.fn={tmp_path}/mine.py:brief")
    assert runs.difference(runs.outcome(run), runs.outcome(left)) == []


def test_sft_learns_the_samples_of_a_run_as_conversations(words, tmp_path):
    rows = [
        {
            "step": 1,
            "prompt": "User: a\n\nAssistant: ",
            "response": "b",
            "messages": chat.turns(f"a{i}", "b"),
            "score": i,
        }
        for i in range(20)
    ]
    data = written(tmp_path / "samples.jsonl", rows)
    run = runs.run(words("sft", f"data.texts={data}", "data.best_fraction=0.5"), tmp_path / "run")
    sample = lines(run / "samples.jsonl")[0]
    assert sample["prompt"].startswith("User: a1")
    held = lines(run / "heldout.jsonl")[0]
    assert (held["prompt"][:7], held["completion"]) == ("User: a", "b")
    tokens = json.loads((run / "run.json").read_text())["tokens"]
    assert tokens == 2 * 4 * 2, "of two steps of four texts the answer and its end"
