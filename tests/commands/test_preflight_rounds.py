"""What is wrong with rounds of RLHF is told before anything is loaded, by the keys that are to change."""

import json
import sqlite3

import pytest

from rlnlp.commands.preflight import with_faults
from rlnlp.errors import Exit
from rlnlp.feedback.store import Store
from support import runs


def told(*words):
    """Exit codes and texts of the faults."""
    _, found = with_faults(runs.settings(["algo=rlhf", *words]))
    return [(each.code, str(each)) for each in found]


def prompts(path, count):
    path.write_text("".join(json.dumps({"prompt": f"the food {'is ' * i}"}) + "\n" for i in range(count)))
    return path


def test_a_feedback_set_can_be_made_or_is_one_and_looking_changes_nothing(tmp_path):
    for made in ("other.sqlite", "later.sqlite"):
        with sqlite3.connect(tmp_path / made) as connection:
            connection.execute("CREATE TABLE t (x)")
    Store(tmp_path / "set.sqlite", seed=3).close()
    (tmp_path / "empty.sqlite").touch()
    (tmp_path / "text.sqlite").write_text("these are words and no database at all, which is longer than a header" * 9)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for sound in ("set.sqlite", "empty.sqlite", "new.sqlite"):
        assert told(f"data.feedback={tmp_path / sound}") == []
    ((code, text),) = told(f"data.feedback={tmp_path}")
    assert (code, text.startswith("data.feedback '"), "is a directory" in text) == (Exit.CONFIG, True, True)
    ((code, text),) = told(f"data.feedback={tmp_path}/no/x.sqlite")
    assert (code, text.endswith(f"there is no directory {tmp_path}/no")) == (Exit.CONFIG, True)
    for wrong, why in (("other.sqlite", "a database of another program"), ("text.sqlite", "not a database")):
        ((code, text),) = told(f"data.feedback={tmp_path / wrong}")
        assert (code, why in text) == (Exit.DATA, True)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["data.texts=./nope.jsonl"], Exit.DATA, "data.texts: no such file: ./nope.jsonl"),
        (["algo.reward_model.model=./nowhere"], Exit.MODEL, "algo.reward_model.model './nowhere' is not found"),
        (["algo.policy.critic_path=./nowhere"], Exit.MODEL, "algo.policy.critic_path './nowhere' is not found"),
    ],
)
def test_what_a_stage_names_is_looked_for_under_its_full_key(words, code, text):
    ((found, first),) = told(*words)
    assert (found, first.split("\n")[0].startswith(text.partition(" is not")[0])) == (code, True)
    assert told("algo@algo.policy=reinforce", "algo.reward_model.model=embedded", "data.texts=embedded") == []


def test_prompts_and_pairs_must_be_enough_for_a_round(tmp_path):
    file = prompts(tmp_path / "p.jsonl", 40)
    own = [f"data.prompts={file}", "reward=sentiment"]
    ((code, text),) = told(*own)
    assert (code, text.split("\n")) == (
        Exit.CONFIG,
        [
            "algo.prompts_per_round is 300, and there are 36 to train on",  # a tenth of 40 is held out
            "set algo.prompts_per_round=36 annotator.comparisons_per_round=36",
        ],
    )
    assert told(*own, "algo.prompts_per_round=36", "annotator.comparisons_per_round=36") == []
    four = ["algo.num_generations=4", "annotator.comparisons_per_round=200"]
    assert told(*own, *four)[0][1].endswith("set algo.prompts_per_round=36")
    assert told(*own, *four, "algo.prompts_per_round=36") == []
    held = prompts(tmp_path / "h.jsonl", 5)
    assert told(*own, *four, "algo.prompts_per_round=40", f"data.heldout={held}") == []
    assert told(*own, *four, "algo.prompts_per_round=41", f"data.heldout={held}") != []
    ((_, text),) = told("annotator.comparisons_per_round=301")
    assert text.startswith(
        "annotator.comparisons_per_round must be <= 300, the pairs of algo.num_generations responses"
    )
