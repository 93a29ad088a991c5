"""Runs that measure different things are told apart by name, and those that measure the same are not."""

import json

import pytest

from rlnlp.evaluate.compare.comparison import compare
from rlnlp.evaluate.compare.measured import measures
from rlnlp.evaluate.compare.pages import opening
from rlnlp.evaluate.compare.sheets import run_sheet
from rlnlp.evaluate.stored import read_run
from support.stored import PROMPTS, stored_run


def parts(*directories):
    """The names of the runs that measure the same, and what tells them from the others."""
    found = measures([read_run(directory) for directory in directories])
    return [[run.directory.name for run in each.runs] for each in found], [each.apart for each in found]


def test_another_weight_of_the_reward_is_another_measure(tmp_path):
    one = stored_run(tmp_path / "one", 0.6)
    other = stored_run(tmp_path / "other", 0.9, "reward.terms.length.weight=0.3")
    assert parts(one, other) == (
        [["one"], ["other"]],
        ["reward.terms.length.weight 0.1", "reward.terms.length.weight 0.3"],
    )


def test_a_term_that_is_only_logged_is_no_part_of_the_measure(tmp_path):
    words = ["reward.terms.mine.fn=length", "reward.terms.mine.weight=0"]
    one, other = stored_run(tmp_path / "one", 0.6), stored_run(tmp_path / "other", 0.9, *words)
    assert parts(one, other)[0] == [["one", "other"]]
    veto = stored_run(tmp_path / "veto", 0.9, *words, "reward.terms.mine.floor=0.5")
    assert parts(one, other, veto)[0] == [["one", "other"], ["veto"]]


def test_another_content_of_the_same_reward_function_is_another_measure(tmp_path):
    words = ["reward.terms.mine.fn=my.py:f", "reward.terms.mine.weight=1"]
    runs = [stored_run(tmp_path / sha, 0.6, *words, code={"reward.terms.mine.fn": sha * 32}) for sha in ("ab", "cd")]
    assert parts(*runs)[1] == ["the code of reward.terms.mine.fn " + 6 * sha for sha in ("ab", "cd")]


def test_other_training_prompts_with_the_same_held_out_ones_are_the_same_measure(tmp_path):
    one = stored_run(tmp_path / "one", 0.6, "data.heldout=h.jsonl")
    other = stored_run(tmp_path / "other", 0.7, "data.heldout=h.jsonl", "data.prompts=more.jsonl")
    assert len(parts(one, other)[0]) == 1


def test_other_held_out_prompts_are_another_measure_named_by_their_data(tmp_path):
    one = stored_run(tmp_path / "one", 0.6, "data.heldout=a.jsonl")
    other = stored_run(tmp_path / "other", 0.7, "data.heldout=b.jsonl", prompts=("it is cold",))
    assert parts(one, other)[1] == ["held-out data a.jsonl, 3", "held-out data b.jsonl, 1"]


def test_reward_models_are_compared_by_their_accuracy_on_the_same_pairs(tmp_path):
    one, other = (
        stored_run(tmp_path / name, 0.6 + i / 10, f"seed={i}", algo="reward-model") for i, name in enumerate("ab")
    )
    found = measures([read_run(one), read_run(other)])
    assert [(each.metric, each.title) for each in found] == [("accuracy", "accuracy on 3 held-out pairs")]
    (note,) = compare([read_run(one)], []).notes
    assert note.startswith("One seed of each")
    assert "--against" not in note, "which is for policies"
    section = compare([read_run(one), read_run(other)], []).sections[0]
    assert run_sheet(section).rows[1][-1] == "best", "the higher one"
    rows = [{"prompt": prompt, "responses": ["x", "y"], "pairs": [[1, 0, 1.0]]} for prompt in PROMPTS]
    third = stored_run(tmp_path / "c", 0.8, "seed=0", "algo.batch_size=8", algo="reward-model")
    assert len(parts(one, third)[0]) == 1
    (third / "heldout.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert len(parts(one, third)[0]) == 2, "other answers to the same prompts"
    loss = stored_run(tmp_path / "loss", 2.0, algo="sft")
    assert parts(one, loss)[1] == ["an accuracy", "a loss"]


def test_runs_of_rlhf_are_compared_by_their_win_rates_if_one_taste_judged_them(tmp_path):
    more = ("algo.rounds=2", "algo.reward_model.total_steps=3", "algo.policy.total_steps=4")
    one, other = (
        read_run(stored_run(tmp_path / name, 0.7 + i / 10, f"seed={i}", *more, algo="rlhf"))
        for i, name in enumerate("ab")
    )
    assert one.total_steps == 14
    (found,) = measures([one, other])
    assert (found.metric, found.title) == ("win_rate", "win rate against the first policy on 3 held-out prompts")
    section = compare([one, other], []).sections[0]
    assert run_sheet(section).rows[1][-1] == "best", "the higher one"
    facts = json.loads((tmp_path / "a" / "run.json").read_text())
    facts["result"]["judge"] = "reward model"
    (tmp_path / "a" / "run.json").write_text(json.dumps(facts))
    assert len(measures([read_run(tmp_path / "a"), other])) == 2


def test_prompts_that_the_seed_holds_out_are_one_measure(tmp_path):
    runs = [stored_run(tmp_path / str(i), 0.6, f"seed={i}", prompts=(*PROMPTS[:2], f"seed {i}")) for i in range(3)]
    assert len(parts(*runs)[0]) == 1


def test_other_prompts_of_the_same_seed_and_settings_are_not(tmp_path):
    runs = [stored_run(tmp_path / str(i), 0.6, prompts=(*PROMPTS[:2], f"now {i}")) for i in range(2)]
    assert len(parts(*runs)[0]) == 2


def test_without_its_held_out_records_a_run_is_known_by_its_settings(tmp_path):
    runs = [stored_run(tmp_path / str(i), 0.6, f"seed={i}") for i in range(2)]
    for run in runs:
        (run / "heldout.jsonl").unlink()
    assert len(parts(*runs)[0]) == 1


def test_a_score_and_a_loss_are_told_as_such_and_no_group_has_both(tmp_path):
    runs = [read_run(stored_run(tmp_path / algo, 0.6, algo=algo)) for algo in ("ppo", "sft")]
    found = compare(runs, [])
    assert [section.measure.apart for section in found.sections] == ["a score", "a loss"]
    assert [section.pairs for section in found.sections] == [(), ()]
    text = "\n".join(opening(found))
    assert "not compared with each other, as they measure different things (2):" in text
    assert f"{tmp_path / 'sft'}: a loss" in text


def test_losses_per_token_of_other_tokenizers_are_other_measures(tmp_path):
    runs = [stored_run(tmp_path / str(i), 2.0, f"seed={i}", algo="sft") for i in range(3)]
    for run, words in zip(runs, ("one", "one", "two"), strict=True):
        (run / "policy").mkdir()
        (run / "policy" / "tokenizer.json").write_text(json.dumps(words))
    assert parts(*runs)[0] == [["0", "1"], ["2"]]


@pytest.mark.parametrize("measured_on", ["other prompts", "all"])
def test_what_was_measured_on_other_prompts_than_chose_the_step_is_told(measured_on, tmp_path):
    one, other = stored_run(tmp_path / "one", 0.6), stored_run(tmp_path / "other", 0.7, prompts=PROMPTS[:2])
    facts = json.loads((other / "run.json").read_text())
    facts["result"]["measured_on"] = measured_on
    (other / "run.json").write_text(json.dumps(facts))
    assert len(parts(one, other)[0]) == 2
