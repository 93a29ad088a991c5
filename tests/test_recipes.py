"""The recipes of the handbook give what they say: run as they stand there, and the experiments that need them."""

import gzip
import json
import re
import subprocess
import sys

import pytest

from rlnlp.commands.guide import PAGES
from rlnlp.commands.preflight import checked_config
from support import chat, runs, small
from support.inside import rlnlp

PAGE = "".join((PAGES / f"{name}.md").read_text() for name in ("nodes", "experiments"))
HH = [  # dialogues as HH-RLHF has them, the last three of no use
    ("Human: is the food good ?\n\nAssistant: the food is very good .", "the food is cold ."),
    ("Human: is the film slow ?\n\nAssistant: it is .\n\nHuman: very ?\n\nAssistant: very slow .", "it was good ."),
    ("Human: is the room cold ?\n\nAssistant: the room is cold .", "the room is cold ."),
    ("Human: is the room cold ?\n\nAssistant: the room is cold .", " "),
    ("Human: is the room cold ?\n\nAssistant: " + "the room is cold . " * 30, "no ."),
]
SMALL = (
    "algo.total_steps=1", "algo.batch_size=2", "sampler.max_new_tokens=4", "device.threads=1", "heldout.size=4",
    "device.dtype=float32",
)  # fmt: skip
ROWS = [
    {"question": "1 + 1999?", "answer": "1 + 1999 = 2,000\n#### 2,000"},
    {"prompt": "how many?", "reference": "5"},
    {"messages": [{"role": "system", "content": "Count."}, {"role": "user", "content": "a b"}], "reference": "2"},
]


def recipe(name, place):
    """A program of these pages, written to a file."""
    (source,) = [block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if f"# {name}\n" in block]
    (place / name).write_text(source)
    return place / name


def test_prompts_become_the_parquet_that_verl_reads_and_are_read_back(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    source, target = tmp_path / "gsm8k.jsonl", tmp_path / "train.parquet"
    source.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    words = [sys.executable, recipe("to_verl.py", tmp_path), source, target, "openai/gsm8k"]
    subprocess.run(words, check=True)
    rows = parquet.read_table(target).to_pylist()
    assert [row["reward_model"] for row in rows] == [
        {"style": "rule", "ground_truth": answer} for answer in ("2000", "5", "2")
    ]
    assert [row["prompt"][-1] for row in rows] == [
        {"role": "user", "content": text} for text in ("1 + 1999?", "how many?", "a b")
    ]
    assert {row["data_source"] for row in rows} == {"openai/gsm8k"}
    checked_config(runs.settings([f"data.prompts={target}", "data.template=none"]))


def test_one_reward_function_is_called_as_verl_and_openrlhf_call_theirs(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_rewards.py").write_text(
        "def polite(completions):\n    return [float('please' in c) for c in completions]\n"
    )
    monkeypatch.delitem(sys.modules, "my_rewards", raising=False)
    score = {}
    exec(compile(recipe("score.py", tmp_path).read_text(), "score.py", "exec"), score)
    assert score["compute_score"]("openai/gsm8k", "please wait", "2") == 1
    found = score["reward_func"](["say please: no", "hi: please"], ["say please:", "hi:"], ["", ""])
    assert found["rewards"].tolist() == found["scores"].tolist() == [0, 1]
    sys.modules.pop("my_rewards")


def hh_pairs(place):
    """Pairs in the form of HH-RLHF, and what the recipe makes of them."""
    dialogues = [(f"\n\n{one}", f"\n\n{one.rpartition('Assistant:')[0]}Assistant: {other}") for one, other in HH]
    asked = [f"\n\nHuman: is it {word} ?\n\nAssistant:" for word in small.WORDS[:10]]
    dialogues += [(f"{each} it is .", f"{each} no .") for each in asked]
    with gzip.open(place / "pairs.jsonl.gz", "wt") as file:
        file.writelines(json.dumps({"chosen": one, "rejected": other}) + "\n" for one, other in dialogues)
    words = [sys.executable, recipe("hh.py", place), place / "pairs.jsonl.gz", "300"]
    for name in ("hh.jsonl", "short.jsonl"):
        (place / name).write_bytes(subprocess.run(words, check=True, capture_output=True).stdout)
    return [json.loads(line) for line in (place / "hh.jsonl").read_text().splitlines()]


def test_dialogues_of_hh_rlhf_become_pairs_behind_conversations(tmp_path):
    first, second, *others = hh_pairs(tmp_path)
    assert first == {
        "prompt": [{"role": "user", "content": "is the food good ?"}],
        "chosen": "the food is very good .", "rejected": "the food is cold .",
    }  # fmt: skip
    assert [turn["role"] for turn in second["prompt"]] == ["user", "assistant", "user"]
    assert (second["chosen"], second["rejected"]) == ("very slow .", "it was good .")
    assert len(others) == 10


@pytest.mark.slow
def test_a_chat_model_learns_from_pairs_by_a_reward_model_with_the_two_commands_of_the_page(tmp_path):
    hh_pairs(tmp_path)
    model = f"model.path={chat.save_model(tmp_path / 'model')}"
    pairs = "data.preferences=hh.jsonl"
    fit = ("reward-model", "model=smollm2", model, pairs, "algo.frozen_trunk=true", "hydra.run.dir=RM", *SMALL)
    code, _, err = rlnlp(*fit, cwd=tmp_path)
    assert code == 0, err
    learn = ("train", "experiment=smollm2-helpful", model, "reward.terms.learned.args.run=RM", "hydra.run.dir=RUN")
    code, _, err = rlnlp(*learn, *SMALL, "algo.mini_batch_size=null", cwd=tmp_path)
    assert code == 0, err
    assert json.loads((tmp_path / "RUN" / "run.json").read_text())["result"]["after"]["terms"].keys() == {
        "learned", "coherence",
    }  # fmt: skip
    assert (tmp_path / "RUN" / "policy" / "adapter_config.json").exists()


@pytest.mark.slow
def test_a_chat_model_is_asked_the_questions_of_the_package_and_measured_on_the_held_out_ones(tmp_path):
    model = f"model.path={chat.save_model(tmp_path / 'model')}"
    words = ("train", "experiment=smollm2-sentiment", model, "hydra.run.dir=RUN", *SMALL, "algo.mini_batch_size=null")
    code, _, err = rlnlp(*words, cwd=tmp_path)
    assert code == 0, err
    assert json.loads((tmp_path / "RUN" / "run.json").read_text())["result"]["after"]["terms"].keys() == {
        "sentiment", "coherence",
    }  # fmt: skip
