"""Reward models of real judgements, through the command: what is left out, how far they can be trusted, what is said.

RLNLP_CHAT_MODEL names the folder of SmolLM2-135M-Instruct, RLNLP_CHAT_DATA that of Anthropic's dialogues
(hh-rlhf-helpful-base) and of arguments that people compared (ukpconvarg).
"""

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from support import small

MODEL = os.environ.get("RLNLP_CHAT_MODEL", "")
DATA = Path(os.environ.get("RLNLP_CHAT_DATA", small.ROOT.parent / "shared" / "data"))
DIALOGUES, ARGUMENTS = DATA / "hh-rlhf-helpful-base", DATA / "ukpconvarg"
HOURS = 4 * 3600  # seconds; on two idle cores it takes well below one hour
DIRTY = {  # lines, from 1
    "the prompts differ before the last turn": [169, 355, 568, 744, 961, 1012, 1167, 1308, 1451],
    "the answers are identical": [722, 2169],
    "an answer is empty": [121, 741, 1215, 2064],
}
FROZEN = ["algo.frozen_trunk=true", "algo.folds=5", "algo.learning_curve=[]", "algo.shuffled_labels=false"]
pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(not MODEL, reason="RLNLP_CHAT_MODEL names no folder of a language model"),
]


def fitted(place, *words):
    """A run of reward-model with two threads: its record and all that it printed and logged."""
    status, out, err = small.rlnlp(
        "train", "algo=reward-model", f"model.path={MODEL}", *FROZEN, *words, "device.threads=2", "hydra.run.dir=run",
        cwd=place, timeout=HOURS, env={"OMP_NUM_THREADS": "2"},
    )  # fmt: skip
    assert status == 0, err
    facts = json.loads((place / "run" / "run.json").read_text())
    return facts["result"], out, (place / "run" / "train.log").read_text()


def says_whether_it_beats_length(found):
    """The verdict on all rows names the rule that it was held against, and agrees with the intervals."""
    (longer,) = [each for each in found["baselines"] if each["name"] == "longer"]
    low, high = longer["gain_interval"]
    assert low <= longer["gain"] <= high
    assert longer["beaten"] is (True if low > 0 else False if longer["gain"] <= 0 else None)
    assert found["verdict"].startswith("yes: it beats" if longer["beaten"] else ("no: it does not beat", "not shown: "))
    assert longer["beaten"] or "'longer wins'" in found["verdict"]
    return longer


@pytest.mark.skipif(not DIALOGUES.is_dir(), reason="there are no dialogues: RLNLP_CHAT_DATA")
def test_dialogues_that_people_compared_are_told_apart_better_than_by_a_coin(tmp_path):
    found, out, log = fitted(tmp_path, f"data.preferences={DIALOGUES / 'test.jsonl.gz'}")
    told = re.findall(r"(\d+) of 2,354 rows left out: ([^;]+); (.*)", log)
    assert {reason: [int(n) for n in re.findall(r"\d+", lines)] for _, reason, lines in told} == DIRTY
    assert {reason: int(count) for count, reason, _ in told} == {name: len(rows) for name, rows in DIRTY.items()}
    whole = found["cross_validation"]
    assert whole["n"] == 2354 - 15
    assert whole["accuracy"] >= 0.57
    assert whole["accuracy_interval"][0] > 0.5
    longer = says_whether_it_beats_length(whole)
    assert longer["accuracy"] == pytest.approx(0.594, abs=0.02)  # of tokens here; of characters 59.4 %
    assert f"{100 * whole['accuracy']:.1f} %" in out


@pytest.mark.skipif(not ARGUMENTS.is_dir(), reason="there are no arguments: RLNLP_CHAT_DATA")
def test_of_arguments_split_by_topic_it_is_said_plainly_whether_the_model_beats_length(tmp_path):
    for path in sorted(ARGUMENTS.glob("*.csv"))[::4]:  # a quarter of the topics in a quarter of the time
        shutil.copy(path, tmp_path / path.name)
    columns = "data.columns={text1: a1, text2: a2, preference: label}"
    words = [f"data.preferences={tmp_path}/*.csv", columns, "data.values={a1: 0, a2: 1}", "data.group=file"]
    found, out, _ = fitted(tmp_path, *words)
    assert found["unit"] == "file"
    longer = says_whether_it_beats_length(found["cross_validation"])
    assert 0.7 < longer["accuracy"] < 0.85
    assert "'longer wins'" in out
