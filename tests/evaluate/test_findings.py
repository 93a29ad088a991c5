"""Findings know the settings, the goal and the result; advice names what can still be changed."""

import re

import pytest

from config.test_parse import composed
from evaluate.test_health import HEALTHY
from rlnlp.config.changes import declarations
from rlnlp.config.parse import parse
from rlnlp.config.reward import Reward
from rlnlp.config.schema import RUNS
from rlnlp.evaluate.advice import advised, settings_of
from rlnlp.evaluate.findings import early_findings, findings, result_findings
from support.small import ROOT


def of(*words):
    (algo,) = [word.partition("=")[2] for word in words if word.startswith("algo=")] or ["ppo"]
    return settings_of(parse(RUNS[algo], composed("algo.learning_rate=3e-4", *words)))


def found(metrics, *words, highest=None, first=HEALTHY):
    return dict(findings({**HEALTHY, **metrics}, first, of(*words), highest))


CRITIC = {"explained_variance": -1.0}


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (
            ["algo.critic=separate", "algo.critic_learning_rate=1e-3"],
            "another algo.critic_learning_rate (now 0.001) or raise algo.critic_warmup_steps (now 0)",
        ),
        (
            ["algo.critic=shared", "algo.critic_learning_rate=3e-4", "algo.critic_warmup_steps=4"],
            "algo.critic=separate, another algo.critic_learning_rate (now 0.0003) or"
            " raise algo.critic_warmup_steps (now 4)",
        ),
    ],
)
def test_what_is_set_is_not_advised(words, advice):
    assert (
        found(CRITIC, *words)["critic"] == f"explained variance is -1.00: the critic is worse than a constant: {advice}"
    )


@pytest.mark.parametrize(
    ("options", "words", "advice"),
    [
        (["sampler.top_k=0", "sampler.top_p=1"], ["sampler.top_k=5"], ": sampler.top_k=0"),
        (["sampler.top_k=0", "sampler.top_p=1"], [], ""),
        (["algo.critic=separate"], ["algo=reinforce"], ""),
        (["set algo.target_kl"], [], ": set algo.target_kl"),
        (["set algo.target_kl"], ["algo.target_kl=0.1"], ""),
        (["lower algo.kl_target", "raise algo.kl_coef"], ["algo.kl_target=6"], ": lower algo.kl_target (now 6)"),
        (["lower algo.kl_target", "raise algo.kl_coef"], [], ": raise algo.kl_coef (now 0.02)"),
        (["lower algo.learning_rate"], ["algo.learning_rate=0"], ""),
        (["checkpoint.result=best"], ["checkpoint.result=best"], ""),
        (["raise algo.batch_size"], [], ": raise algo.batch_size (now 64)"),
    ],
)
def test_advice_is_what_can_still_be_done(options, words, advice):
    assert advised(of(*words), *options) == advice


def test_every_setting_that_is_advised_exists():
    text = "".join((ROOT / "rlnlp" / "evaluate" / f"{name}.py").read_text() for name in ("findings", "advice"))
    keys = re.findall(r"\"(?:raise |lower |set |another )?((?:algo|sampler|checkpoint|heldout)\.\w+)", text)
    assert len(keys) > 15
    assert set(keys) - set(declarations()) == set()


def test_a_kl_that_costs_nothing_is_no_finding():
    assert "kl" in found({"kl": 50.0}, "algo=reinforce")
    assert found({"kl": 50.0}, "algo=reinforce", "algo.kl_coef=0") == {}


def test_at_the_goal_nothing_is_left_to_explore_or_to_explain():
    spent = {"score": 0.97, "entropy": 0.01, "explained_variance": -80.0, "response_tokens": 1.0}
    assert found(spent, highest=1.0) == {}
    assert list(found(spent, highest=None)) == ["entropy", "length", "critic"]
    assert list(found({**spent, "score": 0.9}, highest=1.0)) == ["entropy", "length", "critic"]
    assert found({"score": 1.0, "score_std": 0.0}, highest=1.0) == {}
    hacked = {"score": 1.0, "kl": 60.0, "unique": 0.02}
    assert list(found(hacked, highest=1.0)) == ["kl", "unique"], "a goal that was reached at any price"


def test_responses_to_one_prompt_may_be_the_same():
    assert found({"unique": 0.09}, "algo=reinforce", "algo.num_generations=8") == {}
    assert list(found({"unique": 0.03}, "algo=reinforce", "algo.num_generations=8")) == ["unique"]
    assert list(found({"unique": 0.09}, "algo=ppo")) == ["unique"]


def term(**settings):
    return {"fn": "length", **settings}


@pytest.mark.parametrize(
    ("terms", "highest"),
    [
        ([term()], 1.0),
        ([term(weight=0.25), term(weight=0.5)], 0.75),
        ([term(weight=-2.0), term()], 1.0),
        ([term(weight=-2.0, shift=1.0)], -2.0),
        ([term(scale=4.0, shift=-1.0)], 3.0),
        ([term(scale=4.0, shift=-1.0, clip=[-0.5, 2.0])], 2.0),
        ([term(scale=-1.0)], 0.0),
        ([term(), {"fn": "mine.py:f"}], None),
        ([term(), {"fn": "mine.py:f", "weight": 0.0}], 1.0),
        ([term(), {"fn": "mine.py:f", "clip": [-1.0, 3.0], "weight": 2.0}], 7.0),
        ([{"fn": "mine.py:f", "clip": [-1.0, 3.0], "weight": -2.0}], 2.0),
    ],
)
def test_the_highest_score_is_known_where_the_terms_have_limits(terms, highest):
    assert parse(Reward, {"terms": {str(i): each for i, each in enumerate(terms)}}).highest == highest


def result(low, high, better=None, policy_step=9, best_step=4):
    over = None if better is None else {"mean": 0.1, "interval": better, "n": 20, "measured_on": "other prompts"}
    return {
        "difference": {"score": {"mean": (low + high) / 2, "interval": [low, high]}, "terms": {}},
        "best_over_last": over, "policy_step": policy_step, "best_step": best_step,
    }  # fmt: skip


def test_a_score_that_fell_beyond_its_interval_is_a_finding():
    (worse,) = dict(result_findings(result(-0.284, -0.030), of())).items()
    assert worse[0] == "worse"
    assert worse[1].startswith(
        "the held-out score fell by 0.157 [-0.284, -0.030]: lower algo.learning_rate (now 0.0003), raise algo.kl_coef"
    )
    assert worse[1].endswith(" or checkpoint.result=best")
    assert "checkpoint.result" not in dict(result_findings(result(-0.3, -0.1), of("checkpoint.result=best")))["worse"]
    for low, high in ((-0.3, 0.01), (0.0, 0.0), (0.1, 0.2)):
        assert not dict(result_findings(result(low, high), of()))
    loss = {"difference": {"loss": 0.5, "interval": [0.1, 0.9]}, "best_over_last": None}
    (worse,) = result_findings(loss, of("algo=sft"))
    advice = "lower algo.learning_rate (now 0.0003) or checkpoint.result=best"
    assert worse[1] == f"the held-out loss rose by 0.500 [+0.100, +0.900]: {advice}"
    assert not dict(result_findings({**loss, "difference": {"loss": -0.5, "interval": [-0.9, -0.1]}}, of("algo=sft")))
    assert not dict(result_findings({**loss, "difference": {"loss": 5.0, "interval": None}}, of("algo=sft")))


def test_a_last_step_that_was_worse_than_the_best_beyond_its_interval_is_a_finding():
    (best,) = result_findings(result(0.1, 0.2, better=[0.01, 0.2]), of())
    assert best == (
        "best",
        "step 4 was better than the last, which policy/ holds: checkpoints/step-00000004 is a model too;"
        " try checkpoint.result=best",
    )
    for ends in ([-0.01, 0.2], None):
        assert not dict(result_findings(result(0.1, 0.2, better=ends), of()))
    assert not dict(result_findings(result(0.1, 0.2, better=[0.01, 0.2], policy_step=4), of()))


def test_the_first_steps_are_judged_by_what_all_steps_are_judged_by():
    bad = {
        **HEALTHY,
        "kl": 99.0,
        "ratio": 9.0,
        "clip_fraction": 0.9,
        "entropy": 0.0,
        "unique": 0.0,
        "response_tokens": 0.1,
    }
    early = dict(early_findings(bad, HEALTHY, of(), None))
    assert len(early) == 6
    assert early.items() <= dict(findings(bad, HEALTHY, of(), None)).items()
