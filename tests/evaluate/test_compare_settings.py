"""What differs between runs, which runs are one group, and the conditions and orders that are typed."""

import pytest

from rlnlp.errors import Failure
from rlnlp.evaluate.compare.comparison import compare, gather
from rlnlp.evaluate.compare.settings import differing, full_key, short_names
from rlnlp.evaluate.stored import read_run
from support.stored import stored_run


def stored(tmp_path, *runs):
    """Each of ``runs``: its settings as typed, ``algo=...`` among them."""
    found = []
    for number, words in enumerate(runs):
        algo = [word.partition("=")[2] for word in words.split() if word.startswith("algo=")]
        rest = [word for word in words.split() if not word.startswith("algo=")]
        found.append(read_run(stored_run(tmp_path / str(number), 0.6, *rest, algo=(algo or ["ppo"])[0])))
    return found


def groups(runs, **more):
    (section,) = compare(runs, [], **more).sections
    return [dict(group.where) for group in section.groups]


def test_what_only_an_algorithm_has_as_its_default_is_told_by_its_name_alone(tmp_path):
    runs = stored(tmp_path, "algo=ppo seed=0", "algo=reinforce seed=1")
    assert differing(runs) == ["algo.name", "seed"]


def test_a_setting_that_differs_from_one_algorithm_s_default_is_told(tmp_path):
    runs = stored(tmp_path, "algo=ppo algo.cliprange=0.1", "algo=reinforce")
    assert differing(runs) == ["algo.name", "algo.cliprange"]
    assert [group.get("algo.cliprange") for group in groups(runs)] == [0.1, None]


def test_a_setting_that_all_share_is_not_told(tmp_path):
    assert differing(stored(tmp_path, "algo.learning_rate=1e-3", "algo.learning_rate=0.001")) == []


def test_the_algorithm_comes_first_and_the_seed_last(tmp_path):
    runs = stored(tmp_path, "seed=1 algo.kl_coef=0.1", "algo=reinforce seed=2 algo.kl_coef=0.2")
    assert differing(runs) == ["algo.name", "algo.kl_coef", "seed"]


def test_runs_that_differ_in_what_has_no_effect_are_one_group(tmp_path):
    words = ["checkpoint.every=3", "samples.show=0", "heldout.every=2", "device.threads=7", "seed=4"]
    runs = stored(tmp_path, "seed=1", *(f"seed={i + 2} {word}" for i, word in enumerate(words)))
    assert len(groups(runs)) == 1
    assert differing(runs) == ["seed"]


def test_when_to_measure_has_an_effect_where_it_chooses_the_step(tmp_path):
    best = "checkpoint.result=best"
    runs = stored(tmp_path, f"{best} heldout.every=2 seed=0", f"{best} heldout.every=3 seed=1")
    assert [group["heldout.every"] for group in groups(runs)] == [2, 3]


def test_what_a_reward_term_leaves_as_it_is_makes_no_difference(tmp_path):
    runs = stored(tmp_path, "seed=0", "seed=1 reward.terms.length.scale=1.0 reward.terms.length.clip=null")
    assert len(groups(runs)) == 1


def test_of_runs_of_the_same_settings_and_seed_the_newest_counts_and_the_other_is_named(tmp_path):
    old = stored_run(tmp_path / "old", 0.9, started="2026-11-01T00:00:00+00:00")
    new = stored_run(tmp_path / "new", 0.6, started="2026-11-02T00:00:00+00:00")
    found = compare([read_run(new), read_run(old)], [])
    assert [str(run.directory) for run in found.runs] == [str(new)]
    assert found.left == ((old, f"has the settings and the seed of {new}, which is newer"),)


def test_short_names_stay_apart():
    assert short_names(["algo.name", "algo.lr", "model.path", "data.path"]) == ["algo", "lr", "model.path", "data.path"]


@pytest.mark.parametrize(
    ("conditions", "left"),
    [
        (["algo=ppo"], [0, 1]), (["algo.name=reinforce"], [2]), (["learning_rate=1e-3"], [1, 2]),
        (["lr=0.001"], [1, 2]),
        (["seed=0,2"], [0, 2]), (["algo=ppo", "lr=1e-3"], [1]), (["cliprange=0.2"], [0, 1]),
    ],
)  # fmt: skip
def test_conditions_choose_runs_by_value_whatever_way_it_is_typed(conditions, left, tmp_path):
    runs = stored(
        tmp_path, "algo.learning_rate=0.0001 seed=0", "algo.learning_rate=0.001 seed=1",
        "algo=reinforce algo.learning_rate=0.001 seed=2",
    )  # fmt: skip
    found = compare(runs, [], conditions)
    assert [int(run.directory.name) for run in found.runs] == left


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ("algo=dpo", "no run has algo=dpo; algo.name is ppo"),
        ("nothing=1", "no setting 'nothing' of these runs; what differs: seed"),
        ("=1", "want key=value"),
        ("weight=1", "'weight' may be reward.terms.coherence.weight or"),
    ],
)
def test_a_condition_that_means_nothing_is_answered_with_what_there_is(condition, told, tmp_path):
    runs = stored(tmp_path, "seed=0", "seed=1")
    with pytest.raises(Failure) as failure:
        compare(runs, [], [condition])
    assert told in str(failure.value)


def test_an_end_of_several_keys_is_the_one_that_differs(tmp_path):
    runs = stored(tmp_path, "reward.terms.length.weight=0.3", "seed=1")
    assert full_key("weight", runs) == "reward.terms.length.weight"


def test_groups_are_sorted_by_score_best_first_or_by_a_setting_as_numbers(tmp_path):
    for number, (rate, score) in enumerate([("1e-3", 0.7), ("1e-5", 0.6), ("2e-4", 0.8)]):
        stored_run(tmp_path / str(number), score, f"algo.learning_rate={rate}", kl=float(number))
    runs, _ = gather([tmp_path])
    assert [g["algo.learning_rate"] for g in groups(runs)] == [1e-3, 1e-5, 2e-4]
    assert [g["algo.learning_rate"] for g in groups(runs, sort="score")] == [2e-4, 1e-3, 1e-5]
    assert [g["algo.learning_rate"] for g in groups(runs, sort="lr")] == [1e-5, 2e-4, 1e-3]
    assert [g["algo.learning_rate"] for g in groups(runs, sort="kl")] == [1e-3, 1e-5, 2e-4]


def test_of_losses_the_lowest_comes_first(tmp_path):
    for number, loss in enumerate([2.0, 1.0]):
        stored_run(tmp_path / str(number), loss, f"algo.batch_size={number + 1}", algo="sft")
    runs, _ = gather([tmp_path])
    assert [g["algo.batch_size"] for g in groups(runs, sort="score")] == [2, 1]
