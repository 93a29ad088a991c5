"""A run in words from its settings: every algorithm, every part, and text of the user's that is safe to print."""

import pytest

from rlnlp.commands.preflight import parse_run_config
from rlnlp.config.description import block, description, measurements, saves
from rlnlp.config.schema import RUNS
from rlnlp.errors import counted
from support import runs

ROUNDS = [  # whatever the defaults are
    "algo.rounds=3", "algo.prompts_per_round=300", "algo.num_generations=2", "algo.selection=random", "algo.decay=1.0",
    "algo.kl_budget=null", "algo.reward_model.total_steps=200", "algo.reward_model.batch_size=16",
    "algo.reward_model.head=linear", "algo.reward_model.ensemble_size=1", "algo.reward_model.frozen_trunk=false",
    "algo.reward_model.learning_rate=null", "algo.reward_model.lr_schedule=linear", "algo.policy.total_steps=60",
    "algo.policy.learning_rate=null", "algo.policy.lr_schedule=constant", "algo.policy.kl_coef=0.02",
    "sampler.max_new_tokens=32", "annotator.comparisons_per_round=300", "annotator.ratings_per_round=25",
    "annotator.overlap=1", "annotator.repeat_fraction=0.05", "annotator.raters=1", "annotator.temperature=0",
    "annotator.tie_width=0", "annotator.error_rate=0.1",
]  # fmt: skip
BY_PPO = ["algo.policy.num_generations=1", "algo.policy.ppo_epochs=2", "algo.policy.mini_batch_size=null"]
BY_REINFORCE = ["algo@algo.policy=reinforce", "algo.policy.num_generations=4", "algo.policy.batch_size=16"]


def said(*words):
    return description(parse_run_config(runs.settings(list(words))))


@pytest.mark.parametrize("algo", RUNS)
def test_every_algorithm_is_described_by_every_label(algo):
    found = said(f"algo={algo}")
    data = {
        "sft": ["texts", "responses"], "reward-model": ["preferences", "scores"],
        "rlhf": ["prompts", "responses", "annotator", "reward", "rounds"],
    }  # fmt: skip
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


def test_rounds_are_described_stage_by_stage_with_all_that_is_asked():
    stages = ["algo.policy.total_steps=12", "algo.policy.batch_size=4", "algo.reward_model.total_steps=30"]
    found = said(
        "algo=rlhf",
        *ROUNDS,
        *BY_PPO,
        *stages,
        "algo.rounds=2",
        "heldout.every=5",
        "checkpoint.every=0",
        "checkpoint.keep=1",
    )
    assert found["annotator"].split("\n") == [
        "a simulated rater, wrong in 10 % of what is decided",
        "each round 300 comparisons and 25 ratings (as many before the first): 675 judgements in all; 5 % again for the"
        " audit",
        "kept in feedback.sqlite in the run directory",
    ]
    assert found["reward"].split("\n")[0] == "the reward model's, fitted to these judgements"
    assert found["reward"].split("\n")[1].startswith("gold, by which the annotator judges: 0.4 sentiment")
    assert found["rounds"].split("\n") == [
        "2 rounds of 42 steps: 84 in all",
        "responses to compare: 2 to each of 300 prompts, pairs at random",
        "reward model: 30 steps of 16 comparisons, anew on all comparisons so far",
        "policy, by ppo: 12 steps of 4 prompts x 1 = 4 responses: 48 responses, at most 1,536 new tokens",
        "each step 2 epochs x 1 minibatch of 4: 2 updates, 24 in all",
        "KL coefficient 0.02 to the first policy",
    ]
    assert found["optimizer"].split("\n") == [
        "reward model: adamw, learning rate by the size of the model, linear",
        "policy: adamw, learning rate by the size of the model, constant",
    ]
    assert found["schedule"].split("\n")[1] == (
        "measured on held-out prompts before and after each round, and every 5 steps of the policy"
        " in the first round, later half as often"
    )


def test_what_differs_from_plain_rounds_is_told():
    words = [*ROUNDS, *BY_REINFORCE, "algo.rounds=1", "algo.selection=disagreement", "algo.decay=0.5"]
    ensemble = ["algo.reward_model.ensemble_size=4", "algo.reward_model.head=mlp", "algo.reward_model.model=rm"]
    people = ["annotator=web", "annotator.names=[anna,ben]", "annotator.overlap=2", "annotator.repeat_fraction=0"]
    policy = ["algo.kl_budget=8", "algo.policy.ptx_coef=27.8", "data.texts=embedded", "data.feedback=shared.sqlite"]
    found = said("algo=rlhf", *words, *ensemble, *people, *policy, "annotator.ratings_per_round=0", "heldout.every=0")
    assert found["annotator"].split("\n") == [
        "people, in browsers: anna, ben", "each round 300 comparisons by 2 each: 600 judgements in all",
        "kept in shared.sqlite",
    ]  # fmt: skip
    assert found["reward"].split("\n")[1].startswith("gold, only measured: ")
    assert found["rounds"].split("\n") == [
        "1 round of 260 steps",
        "responses to compare: 2 to each of 300 prompts, the pairs that the reward models disagree about most (at"
        " random in the first round)",
        "reward model: 200 steps of 16 comparisons, anew on all comparisons so far, of which each counts 0.5 times as"
        " much a round later",
        "on rm, three layers on a mean, 4 heads (mean)",
        "policy, by reinforce: 60 steps of 16 prompts x 4 = 64 responses: 3,840 responses, at most 122,880 new tokens",
        "KL coefficient 0.02 to the first policy; a round ends above 8 nats a response",
        "texts of data.texts mixed in with weight 27.8",
    ]
    assert found["schedule"].split("\n")[1] == "measured on held-out prompts before and after each round"


@pytest.mark.parametrize(
    ("words", "end"),
    [
        ([], None),
        (["data.prompts=embedded"], None),
        (["data.prompts=mine.jsonl"], "the annotator would judge by chance; choose another reward= for it to judge by"),
        (["data.prompts=[embedded/review,mine.jsonl]"], "the annotator would judge by chance; choose another reward= "),
        (["data.prompts=embedded/randomwalks", "annotator=web"], "of these prompts gold is not measured"),
        (["data.prompts=mine.jsonl", "reward=sentiment"], None),
        (["data.prompts=mine.jsonl", "reward=sentiment", "+reward.terms.g={fn: gold-accepted, weight: 0}"], None),
    ],
)
def test_the_gold_taste_of_a_language_that_is_not_there_is_warned_of(words, end):
    lines = said("algo=rlhf", *words)["reward"].split("\n")
    lines = [line for line in lines if line.startswith("warning: ")]
    assert len(lines) == (end is not None)
    if end is not None:
        known = "warning: sentiment, politeness, helpfulness read the embedded language alone: "
        assert lines[0].startswith(known + end)


@pytest.mark.parametrize(
    ("words", "said_first"),
    [
        (["annotator.error_rate=0", "annotator.tie_width=0"], "a simulated rater, never wrong"),
        (
            ["annotator.raters=3", "annotator.spread=0.2", "annotator.temperature=0.1", "annotator.position_bias=-1"],
            "3 simulated raters, differing by 0.2, at temperature 0.1, leaning to the first by -1, wrong in 10 % of"
            " what is decided",
        ),
        (["annotator.tie_width=0.05", "annotator.error_rate=0"], "a simulated rater, a tie up to a difference of 0.05"),
        (["annotator=terminal"], "people, at this terminal"),
        (["annotator=file", "annotator.path=a.jsonl"], "a file, a.jsonl"),
    ],
)
def test_who_judges_is_told_with_what_is_known_of_them(words, said_first):
    assert said("algo=rlhf", *ROUNDS, *words)["annotator"].split("\n")[0] == said_first


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


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["heldout.every=0", "checkpoint.every=0"], (2, 5)),  # saved after steps 0, 2, 10, 12, 20
        (["heldout.every=4", "checkpoint.every=4"], (7, 8)),  # measured after 3, 6, 10, 13, 20; saved: 4, 8, 16 too
        (["heldout.every=99", "checkpoint.every=99"], (4, 5)),
    ],
)
def test_measurements_and_checkpoints_of_rounds_are_counted_as_they_are_made(words, expected):
    stages = ["algo.rounds=2", "algo.reward_model.total_steps=2", "algo.policy.total_steps=8"]
    config = parse_run_config(runs.settings(["algo=rlhf", *stages, *words]))
    assert (measurements(config), saves(config)) == expected


def test_numbers_and_nouns_agree():
    assert [counted(1, "step"), counted(1000, "step"), counted(2, "batch", "batches"), counted(0, "core")] == [
        "1 step", "1,000 steps", "2 batches", "0 cores",
    ]  # fmt: skip
