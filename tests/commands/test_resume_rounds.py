"""What a run of rounds may go on with, and what is told of the rest: by the full keys of its stages."""

import json

import pytest

from rlnlp.cli.main import main
from rlnlp.config.changes import ALLOWED, FREE, NEVER, resume_class
from rlnlp.config.parse import parse
from rlnlp.config.schema import RUNS
from rlnlp.run import manifest
from support import runs

ROUNDS = ["algo.rounds=2", "algo.reward_model.total_steps=200", "algo.policy.total_steps=60", "heldout.every=7"]
STAGES = {  # of settings that are those of algorithms elsewhere
    NEVER: ["algo.policy.total_steps", "algo.reward_model.total_steps", "algo.policy.critic", "algo.reward_model.head"],
    ALLOWED: [
        "algo.policy.kl_coef", "algo.decay", "annotator.comparisons_per_round", "annotator.name", "data.feedback",
    ],
    FREE: ["algo.rounds", "annotator.port"],
}  # fmt: skip


@pytest.mark.parametrize(("kind", "key"), [(kind, key) for kind, keys in STAGES.items() for key in keys])
def test_the_settings_of_rounds_have_a_class_of_their_own(kind, key):
    assert resume_class(key) == kind


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["algo.policy.name=reinforce"], "is a run with algo@algo.policy=ppo: this cannot change within a run"),
        (["algo@algo.policy=reinforce"], "is a run with algo@algo.policy=ppo: this cannot change within a run"),
        (["algo.policy.total_steps=9"], "algo.policy.total_steps 60 -> 9: this cannot change within a run"),
        (
            ["algo.policy.kl_coef=1", "annotator.error_rate=0"],
            "add: resume.allow=algo.policy.kl_coef,annotator.error_rate",
        ),
        (["algo.rounds=1"], "algo.rounds is 1, but DIR has reached round 2 already\n  give algo.rounds=2 or more"),
        (["algo.total_steps=9"], "did you mean 'algo.reward_model.total_steps=9' or 'algo.policy.total_steps=9'?"),
        (["resume.allow=algo.policy.total_steps"], "'algo.policy.total_steps' is of the class 'never'; it cannot be"),
        (["resume.allow=rounds"], "did you mean 'resume.allow=algo.rounds'?"),
    ],
)
def test_what_rounds_cannot_go_on_with_is_told_by_its_full_key(words, told, tmp_path, capsys):
    directory = tmp_path / "run"
    finished_rounds(directory, steps=261)
    assert main(["resume", str(directory), *words]) in (2, 6)
    assert told.replace("DIR", str(directory)) in capsys.readouterr().err


def test_a_run_whose_last_round_ended_early_is_complete_until_it_is_to_have_more_rounds(tmp_path, capsys):
    directory = tmp_path / "run"
    finished_rounds(directory, steps=500)
    assert main(["resume", str(directory)]) == 0
    assert capsys.readouterr().out == f"{directory} is complete: it has done 2 rounds\n"


def finished_rounds(directory, steps):
    """The record of a run of two rounds, of 260 steps each, as it is after the end."""
    directory.mkdir()
    config = parse(RUNS["rlhf"], runs.settings(["algo=rlhf", *ROUNDS]))
    manifest.write_config(directory, config, hidden=())
    found = manifest.facts(config, "train") | {"status": "done", "steps": steps, "result": {"rounds": 2}}
    (directory / "run.json").write_text(json.dumps(found))
