"""The learning rate that a run has where its settings leave it open: what it is, where it is kept, that it stays."""

import json

import pytest

from rlnlp.commands.preflight import parse_run_config
from rlnlp.config import rates
from rlnlp.config.rates import by_size, open_rates, with_rates, with_stage_rates
from rlnlp.run.manifest import read_config
from support import runs


@pytest.mark.parametrize(
    ("parameters", "rate"),
    [
        (0, 1e-3),  # only the head of a reward model
        (1, 1e-3),
        (2_000_000, 1e-3),
        (14_142_136, 1e-4),  # halfway from 2 to 100 million, counted in factors: sqrt(2e6 x 1e8)
        (100_000_000, 1e-5),
        (134_515_008, 1e-5),
        (70_000_000_000, 1e-5),
    ],
)
def test_the_rate_falls_as_a_power_of_the_size_between_two_sizes(parameters, rate):
    assert by_size(parameters, 1e-3, 1e-5) == rate


@pytest.mark.parametrize(
    ("words", "small", "large"),
    [
        (["algo=sft"], {"learning_rate": 3e-4}, {"learning_rate": 2e-5}),
        (["algo=reinforce"], {"learning_rate": 6e-4}, {"learning_rate": 1e-5}),
        (
            ["algo=ppo"], {"learning_rate": 3e-4, "critic_learning_rate": 1e-3},
            {"learning_rate": 1e-5, "critic_learning_rate": 1e-5},
        ),
        (["algo=ppo", "algo.learning_rate=0"], {"critic_learning_rate": 1e-3}, {"critic_learning_rate": 1e-5}),
        (["algo=ppo", "algo.learning_rate=1", "algo.critic_learning_rate=2"], {}, {}),
    ],
)  # fmt: skip
def test_what_the_settings_leave_open_is_decided_and_nothing_else_changes(words, small, large):
    algo = parse_run_config(runs.settings(words)).algo
    assert set(open_rates(algo)) == set(small)
    for parameters, decided in ((1_152_000, small), (134_515_008, large)):
        got = with_rates(algo, parameters, {})
        assert vars(got) == {**vars(algo), **decided}
        assert open_rates(got) == []


@pytest.mark.parametrize(
    ("words", "decided"),
    [
        (
            [],
            {"policy.learning_rate": 3e-4, "policy.critic_learning_rate": 1e-3, "reward_model.learning_rate": 2e-5},
        ),
        (["algo.policy.critic_learning_rate=1"], {"policy.learning_rate": 3e-4, "reward_model.learning_rate": 2e-5}),
        (
            ["algo@algo.policy=reinforce", "algo.reward_model.learning_rate=1"], {"policy.learning_rate": 6e-4},
        ),
        (["algo@algo.policy=reinforce", "algo.reward_model.learning_rate=1", "algo.policy.learning_rate=0"], {}),
    ],
)  # fmt: skip
def test_each_stage_of_rlhf_has_the_rates_of_its_algorithm_and_of_the_model_that_it_fits(words, decided):
    algo = parse_run_config(runs.settings(["algo=rlhf", *words])).algo
    found, recorded = with_stage_rates(algo, 1_152_000, 134_515_008, {})
    assert recorded == decided
    for name in ("policy", "reward_model"):
        own = {key.partition(".")[2]: rate for key, rate in decided.items() if key.startswith(f"{name}.")}
        assert vars(vars(found)[name]) == {**vars(vars(algo)[name]), **own}
    again, recorded = with_stage_rates(algo, 1, 1, dict.fromkeys(decided, 0.5))
    assert recorded == dict.fromkeys(decided, 0.5), "what a run has recorded stays"
    assert again.policy.name == algo.policy.name


@pytest.mark.parametrize(
    ("words", "rates_of"),
    [
        (["algo=sft"], {"learning_rate": 2e-4}),
        (["algo=reinforce"], {"learning_rate": 1e-4}),
        (["algo=ppo", "algo.critic=adapter"], {"learning_rate": 1e-4, "critic_learning_rate": 1e-4}),
        (["algo=ppo", "algo.critic=shared"], {"learning_rate": 1e-4, "critic_learning_rate": 1e-4}),  # a new head
        (["algo=ppo", "algo.critic=separate"], {"learning_rate": 1e-4, "critic_learning_rate": 1e-5}),  # all weights
    ],
)
def test_an_adapter_has_ten_times_the_rate_of_its_base(words, rates_of):
    algo = parse_run_config(runs.settings([*words, "model.lora.rank=8"])).algo
    found = with_rates(algo, 134_515_008, {}, adapter=True)
    assert {key: vars(found)[key] for key in rates_of} == pytest.approx(rates_of)
    recorded = with_rates(algo, 134_515_008, dict.fromkeys(rates_of, 0.5), adapter=True)
    assert {key: vars(recorded)[key] for key in rates_of} == dict.fromkeys(rates_of, 0.5)


def test_of_rounds_the_policy_is_the_adapter_and_the_reward_model_is_not():
    algo = parse_run_config(runs.settings(["algo=rlhf", "model.lora.rank=8", "algo.policy.critic=adapter"])).algo
    plain, _ = with_stage_rates(algo, 134_515_008, 134_515_008, {})
    found, _ = with_stage_rates(algo, 134_515_008, 134_515_008, {}, adapter=True)
    assert found.policy.learning_rate == pytest.approx(10 * plain.policy.learning_rate)
    assert found.policy.critic_learning_rate == pytest.approx(10 * plain.policy.critic_learning_rate)
    assert found.reward_model == plain.reward_model


def test_a_small_reward_model_learns_faster_from_the_few_judgements_of_rounds_than_from_a_file_of_them():
    rounds = with_stage_rates(parse_run_config(runs.settings(["algo=rlhf"])).algo, 1, 1_152_000, {})[0]
    alone = with_rates(parse_run_config(runs.settings(["algo=reward-model"])).algo, 1_152_000, {})
    assert (rounds.reward_model.learning_rate, alone.learning_rate) == (4e-3, 2e-3)


@pytest.mark.parametrize("algo", [name for name in runs.ALGORITHMS if name != "rlhf"])
def test_the_decision_is_told_and_recorded_and_a_resumed_run_keeps_it(algo, tmp_path, monkeypatch, capsys):
    words = runs.settings(runs.words(algo, tmp_path, "algo.total_steps=3", "algo.learning_rate=null"))
    directory = runs.run(words, tmp_path / "run")
    rate = rates.RATES[algo][0]
    assert f"learning rate {rate:g}" in capsys.readouterr().err
    decided = json.loads((directory / "run.json").read_text())["decided"]
    assert decided["learning_rate"] == rate
    assert f"learning rate {rate:g}" in (directory / "summary.md").read_text()
    assert read_config(directory).algo.learning_rate is None, "what was asked for: a sweep knows its jobs by it"
    broken = runs.broken_off(directory, tmp_path / "again", 1)
    monkeypatch.setitem(rates.RATES, algo, (0.5, 0.5))
    monkeypatch.setattr(rates, "CRITIC", (0.5, 0.5))
    runs.go_on(broken)
    assert runs.difference(runs.outcome(broken), runs.outcome(directory)) == []
    assert json.loads((broken / "run.json").read_text())["decided"] == decided
    assert read_config(broken).algo.learning_rate is None
    assert f"learning rate {rate:g}" in capsys.readouterr().err
