"""Two sides compared: the figures of texts, the record by hand, and whole evaluations of small runs."""

import json
import math
import shutil

import numpy as np
import pytest
import torch

from rlnlp.cli.main import main
from rlnlp.config.choices import choice
from rlnlp.config.data import PromptData
from rlnlp.config.parse import parse
from rlnlp.config.reward import Reward, RewardTerm
from rlnlp.data.prompts import prompt_table, same_prompts
from rlnlp.evaluate.before_after import short
from rlnlp.evaluate.before_after.draws import Draws
from rlnlp.evaluate.before_after.frontier import best_of_n_rows
from rlnlp.evaluate.before_after.limits import trained_on
from rlnlp.evaluate.before_after.paired import Resampling, compared, pairs_for
from rlnlp.evaluate.before_after.sides import same_tokens
from rlnlp.evaluate.before_after.text_measures import distinct, repeated, rouge_l
from rlnlp.models.load import load_tokenizer
from support import reward_models, runs, small


def draws(score, length=None, kl=0.0, **terms):
    """Draws with these scores, (P, S), and responses that say them."""
    score = np.array(score, dtype=float)
    length = np.ones_like(score) if length is None else np.array(length, dtype=float)
    texts = [[f"good {value:g}" for value in row] for row in score]
    return Draws(
        [f"prompt {i}" for i in range(len(score))], texts, score,
        {name: np.array(value, dtype=float) for name, value in terms.items()}, {}, np.full_like(score, kl), length,
        np.ones_like(score), np.full_like(score, math.log(2)),
    )  # fmt: skip


def record(before, after):
    return compared(before, after, [None] * len(before.prompts), pairs_for(before, after), Resampling(0))


def test_distinct_repeated_and_rouge_l_by_hand():
    texts = [["the cat the cat", "a cat"], ["one", ""]]
    assert distinct(texts, 1).tolist() == [3 / 6, 1.0]
    assert distinct(texts, 2).tolist()[0] == 3 / 4
    assert math.isnan(distinct(texts, 2)[1])
    assert repeated([["a b c a b c", "a b"]]).tolist() == [[1 / 4, 0.0]]
    found = rouge_l(texts, ["the cat sat", None])
    assert found[0].tolist() == [2 * 2 / 7, 2 * 1 / 5]
    assert np.isnan(found[1]).all()


def test_the_difference_is_the_mean_of_the_means_of_the_prompts():
    before = draws([[0, 1], [2, 2], [0, 0]], term=[[1, np.nan], [np.nan, np.nan], [1, 1]])
    after = draws([[1, 1], [2, 4], [0, 6]], term=[[2, 4], [1, 1], [1, 1]], kl=3.0)
    found = record(before, after)
    assert found["score"]["before"] == pytest.approx((0.5 + 2 + 0) / 3)
    assert found["score"]["difference"] == pytest.approx((0.5 + 1 + 3) / 3)
    term = found["terms"]["term"]  # the second prompt has no value before
    assert (term["n"], term["before"], term["after"], term["difference"]) == (2, 1.0, 2.0, 1.0)
    assert term["p_holm"] == term["p"]
    assert (found["kl"], found["kl_interval"]) == (3.0, [3.0, 3.0])
    assert found["measures"]["perplexity"]["before"] == pytest.approx(2)
    # of each prompt one pair of different draws is a tie and one is won
    assert found["win_rate"] == pytest.approx(((1 + 0.5) / 2 + (0.5 + 1) / 2 + (0.5 + 1) / 2) / 3)


def test_win_rates_pair_different_draws_only():
    found = record(draws([[0, 1]] * 20), draws([[0, 3]] * 20))  # 3 beats 0, and 0 loses against 1
    assert found["win_rate"] == 0.5


def test_an_interval_around_0_shows_no_difference():
    gain = np.tile([[1.0, 1.0], [-1.0, -1.0]], (15, 1))
    found = record(draws(np.zeros((30, 2))), draws(gain))
    low, high = found["score"]["difference_interval"]
    assert low < -0.2 < 0.2 < high
    assert found["verdict"] == "no difference shown"


def test_equal_sides_show_no_difference_and_the_interval_is_a_point():
    side = draws(np.linspace(0, 1, 60).reshape(30, 2), term=np.ones((30, 2)))
    found = record(side, side)
    assert found["verdict"] == "no difference shown"
    assert found["score"]["difference_interval"] == [0.0, 0.0]
    assert found["score"]["p"] == found["terms"]["term"]["p"] == 1.0
    assert found["regressions"] == found["improvements"] == []
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(("sign", "verdict"), [(1, "better"), (-1, "worse")])
def test_the_verdict_and_the_extremes_follow_the_sign(sign, verdict):
    gain = np.linspace(0.5, 1.5, 40).reshape(20, 2)
    before = draws(np.zeros((20, 2)))
    found = record(before, draws(sign * gain))
    assert found["verdict"] == verdict
    key, other = ("improvements", "regressions") if sign > 0 else ("regressions", "improvements")
    assert found[other] == []
    assert [pair["prompt"] for pair in found[key]] == [f"prompt {i}" for i in (19, 18, 17, 16, 15)]
    assert found[key][0]["after"] == f"good {sign * 1.5:g}"


def test_a_reference_is_compared_with_every_response():
    found = record(draws([[1], [1]]), draws([[0, 2], [1, 2]]))
    assert found["win_rate"] == pytest.approx((0.5 + 0.75) / 2)
    assert "distinct_1" not in found["measures"]


def test_the_best_of_n_of_two_samples_by_hand():
    rows = best_of_n_rows(draws([[0, 1], [3, 3]]), 2, Resampling(0))
    assert [(row["n"], row["score"]) for row in rows] == [(1, 1.75), (2, 2.0)]
    assert rows[1]["kl"] == pytest.approx(math.log(2) - 0.5)


def prompt_data(path):
    return parse(PromptData, choice("data", "prompts") | {"prompts": str(path)}, "data.")


def test_texts_become_the_rollout_that_a_policy_would_have_drawn(model_dir, prompts_file):
    tokenizer = load_tokenizer(str(model_dir), True)
    table = prompt_table(prompt_data(prompts_file), 0, 0, tokenizer, 40)
    texts = [["is very good", "was not bad ."], ["was okay", "is"]]
    rollout = table.as_rollout([3, 5], texts, torch.device("cpu"))
    said = [text.strip() for text in table.texts(rollout).completions]
    assert said == ["is very good", "was not bad .", "was okay", "is"]
    assert rollout.prompts.rows.tolist() == [3, 3, 5, 5]
    assert rollout.mask.sum(1).tolist() == [4, 5, 3, 2]  # with the end token
    last = rollout.responses[torch.arange(4), rollout.mask.sum(1) - 1]
    assert set(last.tolist()) == {small.END}


def test_the_prompts_for_another_model_keep_references_and_columns(model_dir, prompts_file):
    tokenizer = load_tokenizer(str(model_dir), True)
    table = prompt_table(prompt_data(prompts_file), 0, 0, tokenizer, 40)
    other = same_prompts(table, [7, 2], prompt_data(prompts_file), tokenizer, 40)
    assert other.records == [table.records[7], table.records[2]]
    assert other.tokens == [table.tokens[7], table.tokens[2]]
    assert same_tokens(tokenizer, load_tokenizer(str(model_dir), True))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("evaluated")


@pytest.fixture(scope="module")
def ppo(place):
    """A small run of ppo with a policy in models/ and several held-out prompts."""
    asked = runs.words(
        "ppo", place, "heldout.size=64", f"data.heldout={place / 'held.jsonl'}", "checkpoint.keep_models=1",
        "heldout.every=3",
    )  # fmt: skip
    texts = [f"the {a} {b}" for a in small.WORDS[2:5] for b in ("is", "was", "is very", "was not")]
    (place / "held.jsonl").write_text("".join(json.dumps({"prompt": t, "reference": "good ."}) + "\n" for t in texts))
    return runs.run(runs.settings(asked), place / "ppo")


@pytest.fixture
def evaluated(capsys):
    """The command in this process: exit status, stdout, stderr. It draws where the figures are asked for."""

    def run(*words, figures=False):
        capsys.readouterr()
        with pytest.MonkeyPatch.context() as patch:
            if not figures:
                patch.setattr(short, "draw_figures", lambda record, directory: [])
            code = main(["evaluate", *map(str, words)])
        return code, *capsys.readouterr()

    return run


def test_an_evaluation_of_a_run_gives_its_record_and_its_report(ppo, evaluated):
    code, out, err = evaluated(ppo, "--json", "-n", 2, "--judge", "gold-sentiment", "--best-of", 4, figures=True)
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["n"], found["prompts"], found["samples"], found["streams"]) == (24, 12, 2, "same")
    assert set(found["score"]) >= {"before", "after", "difference", "difference_interval", "p"}
    assert set(found["judges"]) == {"gold-sentiment"}
    assert found["measures"]["rouge_l"]["n"] == 12
    assert [row["n"] for row in found["best_of_n"]] == [1, 2, 4]
    assert {row["measured"] for row in found["frontier"]} == {"anew"}
    assert found["seen_in_training"] == 0
    assert any("Student" in note for note in found["notes"])
    assert "values" not in found
    assert (ppo / "report.html").read_text().count("data:image/png;base64,") == len(list(ppo.glob("report-*.png"))) > 3
    again = json.loads(evaluated(ppo, "--json", "-n", 2, "--judge", "gold-sentiment", "--best-of", 4)[1])
    assert again == found


def test_a_reward_model_judges_and_a_run_without_one_is_told(ppo, place, evaluated):
    judge = reward_models.as_run(reward_models.save(place / "judge", place / "model"))
    code, out, err = evaluated(ppo, "--json", "-n", 2, "--judge", judge, "--judge", judge / "reward_model")
    assert (code, err) == (0, "")
    found = json.loads(out)
    one, same = found["judges"].values()
    assert one == same
    assert one["before"] != one["after"]
    assert 0 <= found["win_rates"][str(judge)]["win_rate"] <= 1
    assert not any("no held-out judge was asked" in sentence for sentence in found["not_shown"])
    assert evaluated(ppo, "--judge", ppo)[::2] == (
        2, f"rlnlp evaluate: --judge {ppo}: a run of ppo holds no reward model\n"
    )  # fmt: skip


def test_a_judge_that_goes_by_what_training_rewarded_has_been_seen(model_dir, tmp_path):
    run = reward_models.save(tmp_path / "RM", model_dir)
    learned = Reward({"a": RewardTerm("learned", 0.5, {"run": str(run), "path": None}), "b": RewardTerm("diversity")})
    for args, seen in (({"run": str(run)}, True), ({"path": str(run / "reward_model")}, True), ({"path": "o"}, False)):
        assert trained_on(Reward({"learned": RewardTerm("learned", 1.0, args)}), learned) is seen
    assert trained_on(Reward({"diversity": RewardTerm("diversity")}), learned)
    assert not trained_on(Reward({"x": RewardTerm("diversity"), "y": RewardTerm("sentiment")}), learned)
    assert not trained_on(Reward({"x": RewardTerm("sentiment")}), Reward({"s": RewardTerm("sentiment", 0.0)}))


def test_a_policy_against_itself_shows_no_difference_but_other_draws_differ(ppo, evaluated):
    same = json.loads(evaluated(ppo, "--json", "-n", 2, "--against", ppo)[1])
    assert same["verdict"] == "no difference shown"
    assert same["score"]["difference_interval"] == [0.0, 0.0]
    apart = json.loads(evaluated(ppo, "--json", "-n", 2, "--against", ppo, "--independent")[1])
    assert apart["score"]["difference"] != 0
    assert (ppo / "evaluations").is_dir()


def test_references_stand_as_a_side(ppo, evaluated):
    found = json.loads(evaluated(ppo, "--json", "-n", 2, "--against", "references", "seed=3")[1])
    assert found["measures"]["rouge_l"]["before"] == 1.0
    assert (found["streams"], found["seed"]) == ("independent", 3)


def test_prompts_that_were_trained_on_are_counted(ppo, place, evaluated):
    found = json.loads(evaluated(ppo, "--json", "-n", 2, "--prompts", place / "data.jsonl")[1])
    assert found["seen_in_training"] == found["prompts"] == 12
    assert any("of these, 12 were seen in training" in sentence for sentence in found["not_shown"])


def test_what_cannot_be_evaluated_is_told(ppo, place, evaluated, tmp_path):
    def told(*words):
        code, out, err = evaluated(*words)
        assert out == ""
        return code, err

    assert told(tmp_path)[0] == 6
    assert told(ppo, "algo.total_steps=3") == (
        2, "rlnlp evaluate: 'algo.total_steps' is not used by an evaluation; it reads model, sampler, data, reward,"
        " device and seed\n",
    )  # fmt: skip
    assert "no judge 'gold-sentimnt'; did you mean 'gold-sentiment'?" in told(ppo, "--judge", "gold-sentimnt")[1]
    assert told(ppo, "--judge", "length") == (
        2, "rlnlp evaluate: --judge length: reward.terms.length.args.low is missing\n"
        "  --judge length: reward.terms.length.args.high is missing\n",
    )  # fmt: skip
    with pytest.raises(SystemExit, match="2"):
        told(ppo, "-n", 1)
    unfinished = shutil.copytree(ppo, tmp_path / "unfinished")
    shutil.rmtree(unfinished / "policy")
    code, err = told(unfinished)
    assert code == 6
    assert "has no policy/ yet" in err


def test_a_model_that_is_not_the_one_of_the_start_is_refused(ppo, place, evaluated, tmp_path):
    code, _, err = evaluated(ppo, f"model.path={ppo / 'policy'}", "-n", 2)
    assert code == 6
    assert "has changed since" in err


def test_a_run_of_ones_own_reward_asks_for_it_again(place, evaluated, tmp_path):
    (tmp_path / "mine.py").write_text(
        "def vowels(completions):\n    return [float(c.count('o')) for c in completions]\n"
    )
    fn = f"{tmp_path / 'mine.py'}:vowels"
    asked = runs.words("reinforce", place, "~reward.terms", f"+reward.terms={{mine: {{fn: '{fn}'}}}}")
    directory = runs.run(runs.settings(asked), tmp_path / "run")
    code, _, err = evaluated(directory)
    assert code == 6
    assert f"rlnlp evaluate {directory} reward.terms.mine.fn={fn}" in err
    code, out, _ = evaluated(directory, f"reward.terms.mine.fn={fn}", "--json", "-n", 2)
    assert code == 0
    assert set(json.loads(out)["terms"]) == {"mine"}


def test_an_sft_run_is_measured_by_its_loss_and_by_judges(place, evaluated, tmp_path):
    directory = runs.run(runs.settings(runs.words("sft", place, "algo.learning_rate=3e-2")), tmp_path / "sft")
    code, out, _ = evaluated(directory, "--json", "--judge", "gold-sentiment", "--judge", "gold-politeness", "-n", 2)
    assert code == 0
    found = json.loads(out)
    facts = json.loads((directory / "run.json").read_text())["result"]
    assert found["loss"]["before"] == pytest.approx(facts["before"]["loss"], abs=1e-6)
    assert set(found["judges"]) == set(found["win_rates"]) == {"gold-sentiment", "gold-politeness"}
    code, out, _ = evaluated(directory)
    assert code == 0
    assert "loss, nats per token" in out
    assert "1 text (none of them seen in training);" in out
    assert evaluated(directory, "--against", "references")[0] == 2
