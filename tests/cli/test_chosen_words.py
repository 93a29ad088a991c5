"""Choices that do not fit: the algorithm of a stage by another key, the whole run of another algorithm."""

import pytest

from cli.test_words import advised, told


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("algo.policy=reinforce", ["algo@algo.policy=reinforce"]),
        ("algo.policy.name=reinforce", ["algo@algo.policy=reinforce"]),
        ("algo/policy=reinforce", ["algo@algo.policy=reinforce"]),
        ("policy=reinforce", ["algo@algo.policy=reinforce"]),
        ("algo.policy.name=ppo", ["algo@algo.policy=ppo"]),
        ("-m algo.policy.name=ppo,reinforce", ["algo@algo.policy=ppo,reinforce"]),
        ("algo@algo.policy=reinforc", ["algo@algo.policy=reinforce"]),
    ],
)
def test_the_algorithm_of_a_stage_is_chosen_by_one_word_that_is_told(typed, words, capsys):
    assert advised(told(capsys, "rlhf", *typed.split())) == words


def test_a_stage_takes_no_other_algorithm_than_those_that_it_can_have(capsys):
    for name in ("sft", "rlhf"):
        err = told(capsys, "rlhf", f"algo@algo.policy={name}")
        assert err == f"algo.policy must be one of ppo, reinforce, got '{name}'\n"
    err = told(capsys, "train", "algo=rlhf", "-m", "algo@algo.policy=ppo,sft")
    assert err == "algo.policy must be one of ppo, reinforce, got 'sft'\n"


@pytest.mark.parametrize("shown", [(), ("--cfg", "job")])
def test_a_setting_of_the_stage_s_other_algorithm_is_told_with_the_word_that_chooses_it(shown, capsys):
    err = told(capsys, "rlhf", "algo.policy.baseline=ema", *shown)
    assert err == "no setting 'algo.policy.baseline'; it is a setting of algo@algo.policy=reinforce\n"
    err = told(capsys, "rlhf", "algo@algo.policy=reinforce", "algo.policy.cliprange=0.1", *shown)
    assert err == "no setting 'algo.policy.cliprange'; it is a setting of algo@algo.policy=ppo\n"


@pytest.mark.parametrize(
    ("words", "what", "way"),
    [
        (
            ("rlhf", "experiment=sentiment", "seed=3"),
            "experiment=sentiment is a run of algo=ppo and sets what this algorithm does not have (algo.total_steps,"
            " algo.batch_size and 4 more)",
            "rlnlp train experiment=sentiment seed=3",
        ),
        (
            ("train", "algo=rlhf", "experiment=exploration"),
            "experiment=exploration is a run of algo=reinforce and sets what this algorithm does not have"
            " (algo.total_steps)",
            "rlnlp train experiment=exploration",
        ),
    ],
)
def test_the_whole_run_of_another_algorithm_is_told_with_what_runs_it(words, what, way, capsys):
    assert told(capsys, *words) == f"{what}; type: {way}\n"


def test_the_whole_run_of_another_algorithm_that_fits_is_none_of_these_faults(capsys):
    for words in (("reinforce", "experiment=sentiment"), ("rlhf", "experiment=polite"), ("rlhf", "experiment=zzz")):
        err = told(capsys, *words, "model.path=./nowhere") if words[-1] == "experiment=zzz" else ""
        assert "is a run of" not in err
