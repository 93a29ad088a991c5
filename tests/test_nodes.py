"""The recipes of the page on nodes give what other tools read: run as they stand there."""

import json
import re
import subprocess
import sys

import pytest

from rlnlp.commands.guide import PAGES
from rlnlp.commands.preflight import checked_config
from support import runs

PAGE = (PAGES / "nodes.md").read_text()
ROWS = [
    {"question": "1 + 1999?", "answer": "1 + 1999 = 2,000\n#### 2,000"},
    {"prompt": "how many?", "reference": "5"},
    {"messages": [{"role": "system", "content": "Count."}, {"role": "user", "content": "a b"}], "reference": "2"},
]


def recipe(name, place):
    """A program of the page, written to a file."""
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
