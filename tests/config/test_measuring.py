"""How often held-out prompts are measured where nothing is set: by the settings alone, within a tenth of the time."""

from dataclasses import replace

import pytest

from config.test_parse import changed, composed
from rlnlp.commands.preflight import parse_run_config
from rlnlp.config.measuring import BUDGET, CURVE, MEASUREMENTS
from rlnlp.errors import Failure
from rlnlp.run import manifest
from rlnlp.run.run import Run

ROUND = [  # what a round costs, whatever the defaults are
    "algo.prompts_per_round=300", "algo.num_generations=2", "algo.reward_model.total_steps=200",
    "algo.reward_model.batch_size=16", "algo.policy.total_steps=60", "algo.policy.batch_size=64",
    "algo.policy.num_generations=1", "algo.policy.ppo_epochs=2", "algo.policy.critic=separate",
]  # fmt: skip


def config_of(*words):
    return parse_run_config(composed(*words))


def measured_steps(config):
    """The steps that a run measures, by the rule that the run goes by."""
    return [step for step in range(1, config.algo.total_steps + 1) if Run.due(None, config.heldout.every, step)]


@pytest.mark.parametrize(
    ("words", "every"),
    [
        (["algo=ppo"], 6),
        (["algo=reinforce"], 12),
        (["algo=sft"], 10),
        (["algo=ppo", "algo.total_steps=1000"], 100),
        (["algo=ppo", "algo.total_steps=1001"], 101),
        (["algo=ppo", "heldout.size=100000"], 9),
        (["algo=ppo", "heldout.every=7"], 7),
        (["algo=ppo", "heldout.every=0"], 0),
        (["algo=ppo", "algo.total_steps=2", "algo.batch_size=4"], 0),
        (["algo=ppo", "algo.total_steps=2", "algo.batch_size=4", "heldout.size=1"], 0),
        (["algo=ppo", "algo.total_steps=2", "algo.batch_size=4", "heldout.patience=1"], 1),
        (["algo=ppo", "algo.total_steps=2", "algo.batch_size=4", "checkpoint.result=best"], 1),
        (["algo=ppo", "algo.total_steps=2", "algo.batch_size=4", "checkpoint.keep_models=all"], 1),
    ],
)
def test_what_is_null_becomes_a_number(words, every):
    assert config_of(*words).heldout.every == every


@pytest.mark.parametrize("algo", ["ppo", "reinforce", "sft"])
@pytest.mark.parametrize("total", [1, 2, 7, 60, 100, 999])
@pytest.mark.parametrize("size", [0, 1, 20, 63, 64, 128, 4000])
def test_measurements_are_about_ten_at_most_and_take_a_tenth_of_the_time_at_most(algo, total, size):
    plain = changed("algo.total_steps", total, changed("heldout.size", size, composed(f"algo={algo}")))
    config = parse_run_config(plain)
    steps = measured_steps(config)
    prompts = size or 64
    prompts = min(prompts // 2, 128) if prompts >= 64 else prompts
    cost = (len(steps) + 2) * prompts  # and twice at the end: the best against the last
    time = config.algo.relative_cost * total * config.algo.responses
    assert len(steps) <= MEASUREMENTS + 1
    assert not steps or cost <= BUDGET * time
    assert steps or (min(total, 2) + 2) * prompts > BUDGET * time, "as few as can be would have been too many"


@pytest.mark.parametrize(
    ("words", "every"),
    [
        ([], 5),
        (["algo.rounds=1"], 5),
        (["algo.policy.total_steps=600"], 50),
        (["heldout.size=700"], 20),
        (["heldout.size=100000"], 0),
        (["heldout.size=100000", "checkpoint.keep_models=all"], 5),
        (["heldout.every=9"], 9),
        (["algo.reward_model.frozen_trunk=true", "heldout.size=300"], 7),
        (["algo.policy.ppo_epochs=1", "heldout.size=300"], 8),
    ],
)
def test_rounds_are_measured_in_a_sixth_of_their_time_and_the_first_twice_as_often(words, every):
    config = config_of("algo=rlhf", *ROUND, *words)
    assert config.heldout.every == every
    rounds, total = config.algo.rounds, config.algo.policy.total_steps
    first, later = (len([s for s in range(1, total + 1) if Run.due(None, n * every, s)]) for n in (1, 2))
    if every and not {"heldout.every=9", "checkpoint.keep_models=all"} & set(words):
        assert (first + (rounds - 1) * later) * config.heldout.size <= 0.17 * rounds * config.algo.round_cost
        assert first <= CURVE + 1


def test_the_cost_of_a_round_counts_its_draws_its_fit_and_its_optimization():
    words = ["algo.prompts_per_round=10", "algo.num_generations=3", "algo.reward_model.total_steps=5"]
    policy = ["algo.policy.total_steps=2", "algo.policy.batch_size=4", "algo.policy.ppo_epochs=1"]
    own = ["algo.reward_model.batch_size=2", "annotator.comparisons_per_round=9"]
    algo = config_of("algo=rlhf", *ROUND, *words, *own, *policy).algo
    drawn, fitted = 10 * 3 * 4, 5 * 4 * 3  # passes: a draw is about 4; two texts a pair, forward and backward
    optimized = 2 * 4 * (4 + 3 + 3 * 2 + 1)  # drawn, three passes, both models updated once, scored
    assert algo.round_cost == pytest.approx((drawn + fitted + optimized) / 7)


def test_a_run_s_config_shows_the_number_and_the_same_settings_give_the_same(tmp_path):
    config = config_of("algo=ppo")
    assert config == config_of("algo=ppo")
    manifest.write_config(tmp_path, config, hidden=())
    assert "  every: 6\n" in (tmp_path / "config.yaml").read_text()
    longer = replace(config, algo=replace(config.algo, total_steps=600))
    assert parse_run_config({**composed("algo=ppo"), "heldout": {"size": 128, "every": 6, "patience": 0}}) == config
    assert longer.heldout.every == 6, "a run that is resumed for longer goes on as it began"


def test_what_needs_measurements_is_refused_without():
    words = ["heldout.every=0", "checkpoint.result=best", "checkpoint.keep_models=2", "heldout.patience=3"]
    with pytest.raises(Failure) as failure:
        config_of("algo=ppo", *words)
    keys = [line.split()[0] for line in str(failure.value).split("\n")]
    assert keys == ["checkpoint.result", "checkpoint.keep_models", "heldout.patience"]
    assert str(failure.value).count("needs measurements in between: set heldout.every=N, or null for about ten") == 3


@pytest.mark.parametrize("value", ["-1", "some", "1.5", "true", "null"])
def test_policies_to_keep_are_a_number_or_all(value):
    with pytest.raises(Failure, match=r"^checkpoint.keep_models must be a whole number") as failure:
        config_of("algo=ppo", f"checkpoint.keep_models={value}")
    assert failure.value.code == 2
    for allowed in ("0", "3", "all"):
        config_of("algo=ppo", f"checkpoint.keep_models={allowed}")
