"""A run in words from its settings: every algorithm, every part, and text of the user's that is safe to print."""

import pytest

from rlnlp.commands.preflight import parse_run_config
from rlnlp.config.description import block, description, measurements, saves
from rlnlp.config.schema import RUNS
from rlnlp.errors import counted
from support import runs


def said(*words):
    return description(parse_run_config(runs.settings(list(words))))


@pytest.mark.parametrize("algo", RUNS)
def test_every_algorithm_is_described_by_every_label(algo):
    found = said(f"algo={algo}")
    data = {"sft": ["texts", "responses"], "reward-model": ["preferences", "scores"]}
    middle = data.get(algo, ["prompts", "reward", "responses"])
    assert list(found) == ["algorithm", "model", "device", *middle, "optimizer", "schedule"]
    assert found["algorithm"].endswith(f" ({algo})")
    assert all(found.values())


def test_the_schedule_counts_responses_tokens_updates_checkpoints_and_measurements():
    words = ["algo.batch_size=4", "algo.num_generations=2", "algo.mini_batch_size=4", "algo.total_steps=12"]
    schedule = said("algo=ppo", *words, "sampler.max_new_tokens=5", "heldout.every=3", "checkpoint.every=5")["schedule"]
    assert schedule.split("\n") == [
        "12 steps of 4 prompts x 2 = 8 responses: 96 responses, at most 480 new tokens",
        "each step 2 epochs x 2 minibatches of 4: 4 updates, 48 in all",
        "a checkpoint every 5 steps, the last 2 and the best are kept",
        "measured on held-out prompts before and after, and every 3 steps in between",
    ]
    one = ["algo.total_steps=1", "algo.batch_size=1", "algo.ppo_epochs=1", "sampler.max_new_tokens=1"]
    schedule = said("algo=ppo", *one, "heldout.every=0", "heldout.size=0", "checkpoint.every=1")["schedule"]
    assert schedule.split("\n") == [
        "1 step of 1 prompt x 1 = 1 response: 1 response, at most 1 new token",
        "each step 1 epoch x 1 minibatch of 1: 1 update, 1 in all",
        "a checkpoint at the end",
        "measured on training prompts before and after",
    ]
    texts = said("algo=sft", "algo.total_steps=3", "algo.batch_size=2", "checkpoint.every=1", "checkpoint.keep=1")
    assert texts["schedule"].split("\n")[:2] == [
        "3 steps of 2 texts: 6 texts",
        "a checkpoint each step, the last one is kept",
    ]


def test_the_reward_is_a_sum_with_its_weights_its_vetoes_and_what_is_only_logged():
    terms = (
        "+reward.terms={length: {fn: length, weight: 0.25}, mine: {fn: 'mine.py:f', weight: -2}, "
        "seen: {fn: sentiment, weight: 0}, no: {fn: pattern, weight: 0, floor: 0.5, args: {pattern: x}}}"
    )
    assert said("~reward.terms", terms)["reward"].split("\n") == [
        "0.25 length - 2 mine (mine.py:f)", "veto: no (pattern) below 0.5", "logged, with weight 0: seen (sentiment)",
    ]  # fmt: skip
    only = said("~reward.terms", "+reward.terms={length: {fn: length, weight: 0}}")["reward"]
    assert only.startswith("nothing: every weight is 0")


def test_what_a_user_named_is_shown_without_control_characters():
    path = "a\x1b[2Jb\nc"
    settings = runs.settings(["algo=ppo"])
    found = parse_run_config(settings | {"data": settings["data"] | {"prompts": path, "heldout": path}})
    shown = block(description(found))
    assert "\x1b" not in shown
    assert r"a\x1b[2Jb c" in shown


def test_a_block_has_its_texts_in_one_column():
    assert block({"one": "a\nb", "other": "c"}) == "one         a\n            b\nother       c"


def test_what_held_out_data_decide_is_told():
    words = ["algo=reinforce", "heldout.every=4", "checkpoint.result=best", "heldout.patience=1", "checkpoint.every=0"]
    assert said(*words)["schedule"].split("\n")[-4:] == [
        "a checkpoint at the end, and of the best step",
        "measured on held-out prompts before and after, and every 4 steps in between",
        "the best step is the result",
        "ends early after 1 measurement without a better one",
    ]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["heldout.every=0", "checkpoint.every=0"], (2, 1)),
        (["heldout.every=4", "checkpoint.every=4"], (5, 4)),  # at steps 1, 4, 8; saved at these, and 10
        (["heldout.every=99", "checkpoint.every=99"], (3, 2)),
        (["heldout.every=1", "checkpoint.every=5"], (12, 10)),
    ],
)
def test_measurements_and_checkpoints_are_counted_as_they_are_made(words, expected):
    config = parse_run_config(runs.settings(["algo=reinforce", "algo.total_steps=10", *words]))
    assert (measurements(config), saves(config)) == expected


def test_numbers_and_nouns_agree():
    assert [counted(1, "step"), counted(1000, "step"), counted(2, "batch", "batches"), counted(0, "core")] == [
        "1 step", "1,000 steps", "2 batches", "0 cores",
    ]  # fmt: skip
