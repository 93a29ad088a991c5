"""What is told of a word that is no setting: the setting that was meant, in words that a shell reads back."""

import dataclasses
import re
import shlex
from typing import Any

import pytest

from config.test_parse import composed
from rlnlp.config.hints import COMMON, COUNTED_OTHERWISE, keys_of, meant, word
from rlnlp.config.parse import parse
from rlnlp.config.reward import REWARDS
from rlnlp.config.schema import RUNS, GenerateRun
from rlnlp.config.setting import NAME
from rlnlp.errors import Failure

HINT = re.compile(r"; did you mean (.*)\?")


def put(tree: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """``tree`` with a value at a dotted key, which need not be there."""
    first, _, rest = key.partition(".")
    return {**tree, first: put(tree.get(first, {}), rest, value) if rest else value}


def line(typed: str, value: Any, algo: str = "ppo") -> str:
    with pytest.raises(Failure) as told:
        parse(RUNS[algo], put(composed(f"algo={algo}"), typed, value))
    assert "\n" not in str(told.value)
    return str(told.value)


def advised(told: str) -> list[str]:
    """The words that a line gives to type, as a shell reads them."""
    found = HINT.search(told)
    return [each for each in shlex.split(found[1]) if each != "or"] if found else []


@pytest.mark.parametrize(
    ("typed", "value", "words"),
    [
        ("learning_rate", 1e-4, ["algo.learning_rate=0.0001"]),
        ("lr", 1e-4, ["algo.learning_rate=0.0001"]),
        ("LR", 1e-4, ["algo.learning_rate=0.0001"]),
        ("algo.lr", 1, ["algo.learning_rate=1"]),
        ("algo.temperature", 0.5, ["sampler.temperature=0.5"]),
        ("gamma", 0.9, ["algo.gamma=0.9"]),
        ("every", 5, ["checkpoint.every=5", "heldout.every=5", "samples.every=5"]),
        ("path", "a b", ["model.path=a b"]),
        ("path", "it's", ["model.path=it's"]),
        ("allow_download", True, ["model.allow_download=true", "data.allow_download=true"]),
        ("target_kl", None, ["algo.target_kl=null"]),
        ("modl", "gpt2", ["model=gpt2"]),
        ("modl.path", "x", ["model.path=x"]),
        ("samplr.topk", 3, ["sampler.top_k=3"]),
        ("batchsize", 3, ["algo.batch_size=3"]),
        ("max_new_tokns", 3, ["sampler.max_new_tokens=3"]),
        ("num_train_epochs", 3, ["algo.total_steps=..."]),
        ("clip", 0.1, ["algo.cliprange=0.1"]),
        ("weight", 2.0, ["reward.terms.NAME.weight=..."]),
        ("reward.terms.sentiment.wieght", 2.0, ["reward.terms.sentiment.weight=2"]),
    ],
)
def test_a_key_without_its_group_or_nearly_right_is_told_in_full_with_the_value(typed, value, words):
    told = line(typed, value)
    assert told.startswith(f"no setting '{typed}'; ")
    assert advised(told) == words


@pytest.mark.parametrize(
    ("typed", "value", "library", "words"),
    [
        ("per_device_train_batch_size", 8, "TRL", ["algo.micro_batch_size=8"]),
        ("num_ppo_epochs", 4, "TRL", ["algo.ppo_epochs=4"]),
        ("beta", 0.1, "TRL", ["algo.kl_coef=0.1"]),
        ("total_episodes", 1000, "TRL", ["algo.total_steps=..."]),
        ("bf16", True, "TRL", ["device.dtype=..."]),
        ("lr_scheduler_type", "cosine", "TRL", ["algo.lr_schedule=cosine"]),
        ("lr_scheduler_type", "polynomial", "TRL", ["algo.lr_schedule=..."]),
        ("reward_funcs", "f.py:f", "TRL", ["reward.terms.NAME.fn=..."]),
        ("actor_rollout_ref.actor.optim.lr", 1e-6, "verl", ["algo.learning_rate=1e-06"]),
        ("optim.lr", 1e-6, "verl", ["algo.learning_rate=1e-06", "algo.critic_learning_rate=1e-06"]),
        ("data.train_batch_size", 8, "verl", ["algo.batch_size=8"]),
    ],
)
def test_a_name_of_trl_or_verl_is_told_with_ours_its_meaning_and_a_value_only_if_it_means_the_same(
    typed, value, library, words
):
    told = line(typed, value)
    assert advised(told) == words
    first = keys_of(RUNS["ppo"])[words[0].partition("=")[0].replace("NAME", NAME)].metadata
    assert f"({library}'s name; here: {first['help']}" in told
    assert first["unit"] in told


@pytest.mark.parametrize("algo", RUNS)
def test_every_setting_is_found_by_itself_and_by_its_last_part_and_by_its_names_elsewhere(algo):
    keys = keys_of(RUNS[algo])
    for key, f in keys.items():
        names = [
            key,
            key.rpartition(".")[2],
            *", ".join(filter(None, (f.metadata["trl"], f.metadata["verl"]))).split(", "),
        ]
        for name in filter(None, names):
            assert meant(name, keys), (key, name)
        assert [one.key for one in meant(key, keys)] == [key]


def test_every_common_name_stands_for_a_setting_and_is_none_itself():
    known = {key for schema in RUNS.values() for key in keys_of(schema)}
    assert set(COMMON.values()) <= known
    assert not {*COMMON, *COUNTED_OTHERWISE} & (known | {key.rpartition(".")[2] for key in known if NAME not in key})
    assert all(name == name.lower() for name in COMMON)
    assert [one.key for one in meant("num_train_epochs", keys_of(GenerateRun))] == []


@pytest.mark.parametrize(
    ("algo", "typed", "told"),
    [
        ("sft", "gamma", "; 'algo.gamma' is a setting of algo=ppo"),
        ("sft", "algo.kl_coef", "; it is a setting of algo=reinforce or algo=ppo"),
        ("reinforce", "num_ppo_epochs", "; 'algo.ppo_epochs' is a setting of algo=ppo"),
        ("ppo", "best", "; 'data.best_fraction' is a setting of algo=sft"),
        ("ppo", "annotator.error_rate", "; it is a setting of algo=rlhf"),
        ("sft", "baseline", "; 'algo.baseline' is a setting of algo=reinforce"),
        ("rlhf", "algo.policy.baseline", "; it is a setting of algo@algo.policy=reinforce"),
        ("rlhf", "baseline", "; 'algo.policy.baseline' is a setting of algo@algo.policy=reinforce"),
    ],
)
def test_a_setting_of_other_algorithms_is_told_with_them(algo, typed, told):
    assert line(typed, 1, algo) == f"no setting '{typed}'{told}"


@pytest.mark.parametrize(
    ("typed", "keys"),
    [
        ("algo.learning_rate", ["algo.reward_model.learning_rate", "algo.policy.learning_rate"]),
        ("lr", ["algo.reward_model.learning_rate", "algo.policy.learning_rate"]),
        ("algo.policy.lr", ["algo.policy.learning_rate"]),
        ("algo.reward_model.lr", ["algo.reward_model.learning_rate"]),
        ("algo.total_steps", ["algo.reward_model.total_steps", "algo.policy.total_steps"]),
        ("algo.kl_coef", ["algo.policy.kl_coef"]),
        ("clip", ["algo.policy.cliprange"]),
        ("temperature", ["sampler.temperature", "annotator.temperature"]),
        ("annotator.eror_rate", ["annotator.error_rate"]),
        ("algo.policy.learnin_rate", ["algo.policy.learning_rate"]),
    ],
)
def test_what_ppo_has_at_algo_is_found_in_the_stages_of_rlhf(typed, keys):
    assert advised(line(typed, 1, "rlhf")) == [f"{key}=1" for key in keys]


def test_the_chosen_algorithm_of_a_stage_decides_which_settings_are_advised():
    whole = composed("algo=rlhf", "algo@algo.policy=reinforce")
    with pytest.raises(Failure) as told:
        parse(RUNS["rlhf"], {**whole, "cliprange": 0.1, "baselin": "ema"})
    assert str(told.value).split("\n") == [
        "no setting 'cliprange'; 'algo.policy.cliprange' is a setting of algo@algo.policy=ppo",
        "no setting 'baselin'; did you mean 'algo.policy.baseline=ema'?",
    ]


def test_the_parts_of_an_unknown_group_are_told_one_by_one_unless_they_are_many():
    with pytest.raises(Failure) as told:
        parse(RUNS["ppo"], {**composed("algo=ppo"), "trainer": {"total_training_steps": 3, "save_freq": 2}})
    assert [advised(each) for each in str(told.value).split("\n")] == [["algo.total_steps=3"], ["checkpoint.every=2"]]
    assert line("foo", {str(i): i for i in range(99)}).startswith("no setting 'foo'; the groups are: ")
    assert line("foo", {}).startswith("no setting 'foo'; the groups are: ")


@pytest.mark.parametrize(
    ("name", "below", "told"),
    [
        ("sentimnt", {"weight": 1.0}, "; did you mean 'reward.terms.sentiment.weight=1'?"),
        ("lenght", {"args": {"low": 1}}, "; did you mean 'reward.terms.length.args.low=1'?"),
        ("politeness", {"weight": 1.0}, "; did you mean 'reward.terms.politeness.fn=politeness'?"),
        ("xyz", {"weight": 1.0}, "; reward.terms has: length, diversity, coherence, similarity, sentiment"),
    ],
)
def test_a_term_without_a_function_is_told_with_the_term_that_was_meant(name, below, told):
    assert line(f"reward.terms.{name}", below) == f"reward.terms.{name}.fn is missing{told}"
    assert "politeness" in REWARDS


def test_what_else_is_wrong_of_a_term_without_a_function_is_told_too():
    with pytest.raises(Failure) as told:
        parse(RUNS["ppo"], put(composed("algo=ppo"), "reward.terms.sentimnt", {"weight": "x", "wait": 1}))
    assert len(str(told.value).split("\n")) == 3


@pytest.mark.parametrize("value", ["\x1b[2J", "a\nb", "x" * 500, [1], {"a": 1}, ["\u202e"]])
def test_an_odd_value_or_key_is_told_on_one_safe_line(value):
    told = line("algo.learning_rte", value)
    assert told.isprintable()
    assert len(told) < 700


def test_a_value_is_written_as_it_is_typed():
    words = [word("k", value) for value in (True, None, 1e-6, 3, 0.1 + 0.2, "a b", [1, 2], "x" * 61)]
    assert words == ["k=true", "k=null", "k=1e-06", "k=3", "k=0.3", "k=a b", "k=...", "k=..."]


@pytest.mark.parametrize("schema", [*RUNS.values(), GenerateRun])
def test_the_name_of_the_algorithm_is_never_advised(schema):
    assert "algo.name" not in keys_of(schema)
    assert {f.name for f in dataclasses.fields(schema)} >= {key.partition(".")[0] for key in keys_of(schema)}
