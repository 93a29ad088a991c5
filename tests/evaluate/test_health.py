"""When the warnings of a run are given, when they are over, and what holds at its end."""

import json

import pytest

from config.test_parse import changed, composed
from rlnlp.config.parse import parse
from rlnlp.config.schema import RUNS
from rlnlp.evaluate.advice import settings_of
from rlnlp.evaluate.findings import TITLES, early_findings, findings
from rlnlp.evaluate.health import WINDOW, Health
from rlnlp.metrics import BY_NAME

MINE = {"mine": {"fn": "mine.py:f"}}  # nobody knows how high its score can be
CONFIG = parse(RUNS["ppo"], changed("reward.terms", MINE, composed("algo=ppo", "algo.learning_rate=3e-4")))
SETTINGS = settings_of(CONFIG)
HEALTHY = {
    "score": 0.5, "score_std": 0.2, "kl": 3.0, "entropy": 1.0, "unique": 0.9, "explained_variance": 0.4, "ratio": 1.0,
    "clip_fraction": 0.1, "approx_kl": 1e-3, "learning_rate": 1e-4, "response_tokens": 20.0,
}  # fmt: skip
FINDINGS = [  # metrics, the finding, its text, metrics at the border that are none
    (
        {"kl": 12.5},
        "kl",
        "KL is 12.5 nats per response (healthy: 0 to 10): raise algo.kl_coef (now 0.02)",
        {"kl": 10.0},
    ),
    ({"kl": -2.0}, "kl", "the KL estimate is -2.0: the responses are not drawn from the scored", {"kl": -0.4}),
    ({"ratio": 196.0}, "ratio", "the mean ratio of new to old probabilities is 196 (healthy: near 1)", {"ratio": 2.0}),
    ({"ratio": 0.1}, "ratio", "the mean ratio of new to old probabilities is 0.1", {"ratio": 0.5}),
    ({"clip_fraction": 0.55}, "clip", "55% of the tokens are clipped (healthy: 0 to 0.3)", {"clip_fraction": 0.3}),
    ({"approx_kl": 1e-10}, "idle", "the updates do not move the policy: raise algo.learning_rate", {"approx_kl": 1e-7}),
    ({"approx_kl": 0.0}, "idle", "the updates do not move the policy", {"approx_kl": 0.0, "learning_rate": 0.0}),
    ({"explained_variance": -0.3}, "critic", "explained variance is -0.30: the critic is", {"explained_variance": 0.0}),
    ({"entropy": 0.05}, "entropy", "entropy fell from 1.00 to 0.05 nats per token", {"entropy": 0.11}),
    ({"unique": 0.2}, "unique", "collapsed: 80% of the responses repeat another one, even to other", {"unique": 0.25}),
    ({"response_tokens": 1.0}, "length", "collapsed: the responses shrank from 20 to 1.0", {"response_tokens": 2.1}),
    ({"score_std": 0.0}, "reward", "every response scores 0.5: there is nothing", {"score_std": 1e-5}),
    ({"score_std": 2e-6, "score": 100.0}, "reward", "every response scores 100", {"score_std": 1e-3}),
]
EARLY = ("ratio", "clip", "entropy", "unique", "length")


def health(warnings=None, config=CONFIG):
    return Health([].append if warnings is None else warnings.append, config)


def watched(*rows):
    """A Health that has seen the rows, and its messages."""
    told = []
    made = health(told)
    for row in rows:
        made({**HEALTHY, **row})
    return made, told


def test_healthy_metrics_are_no_finding():
    for count in (1, 2, 5, 20):
        made, told = watched(*[{}] * count)
        assert (made.verdict(), told) == ({}, [])


@pytest.mark.parametrize(("metrics", "name", "words", "border"), FINDINGS)
def test_metrics_out_of_range_for_a_while_are_a_finding_until_they_are_back(metrics, name, words, border):
    bad, good = [metrics] * 30, [{}] * 30
    made, told = watched({}, *bad)
    assert list(made.verdict()) == [name]
    assert made.verdict()[name].startswith(words)
    assert [line[:9] for line in told] == ["warning: "], "a warning is given once, when it begins"
    assert watched({}, *[border] * 30)[0].verdict() == {}
    made, told = watched({}, *bad, *good)
    assert made.verdict() == {}
    assert told[1:] == [f"no longer: {TITLES[name]}"]
    made, told = watched({}, *bad, *good, *bad)
    assert [line.split(":")[0] for line in told] == ["warning", "no longer", "warning"]
    assert list(made.verdict()) == [name]


def test_a_finding_that_comes_and_goes_within_a_window_is_told_once():
    kl = [{"kl": 200.0}] + [{}] * 9
    swings = [row for _ in range(6) for row in [*kl, *[{}] * 4]]  # above the range for ten steps, below for four
    _, told = watched(*[{}] * WINDOW, *swings)
    assert [line.split(":")[0] for line in told] == ["warning"]


def test_one_bad_step_is_no_finding_and_the_mean_of_the_window_is():
    assert watched(*[{}] * WINDOW, {"kl": 30.0}, *[{}] * 2)[0].verdict() == {}
    assert watched(*[{}] * WINDOW, {"kl": 100.0})[0].verdict() != {}


@pytest.mark.parametrize(("metrics", "name", "words", "border"), FINDINGS)
def test_a_short_run_is_judged_by_what_needs_no_long_trend(metrics, name, words, border):
    early = name in EARLY or metrics.get("kl", 0) > 0
    made, told = watched({}, metrics, metrics)
    assert list(made.verdict()) == ([name] if early else [])
    assert [line[: 9 + len(words)] for line in told] == ([f"warning: {words}"] if early else [])
    assert watched({}, border, border)[0].verdict() == {}
    assert watched({}, *[metrics] * (WINDOW - 2))[1] == told, "once only"


def test_metrics_that_are_not_logged_are_not_judged():
    made = health()
    for _ in range(30):
        made({"score": 0.5, "score_std": 0.1})
    assert made.verdict() == {}


def test_entropy_is_compared_with_the_first_that_was_seen_though_the_critic_may_learn_alone_before():
    made = health()
    for step in range(30):
        acting = {"entropy": 2.0 if step < 5 else 0.1} if step >= 3 else {}
        made({"score": 0.5, "kl": 0.0, **acting})
    assert made.verdict()["entropy"].startswith("entropy fell from 2.00 to 0.10 nats")


@pytest.mark.parametrize("cut", [3, WINDOW + 1, WINDOW + 14, WINDOW + 22])
def test_health_resumes_from_its_saved_state(cut):
    rows = [{}, *[{"kl": 14.0}] * (WINDOW - 1), *[{"entropy": 0.01}] * WINDOW, *[{}] * (2 * WINDOW)]
    whole, expected = watched(*rows)
    half, told = watched(*rows[:cut])
    again = health(told)
    again.load_state_dict(json.loads(json.dumps(half.state_dict())))
    for row in rows[cut:]:
        again({**HEALTHY, **row})
    assert (again.verdict(), told) == (whole.verdict(), expected)
    assert len(expected) == 4, "two warnings, and their ends"
    assert again.state_dict() == whole.state_dict()


def test_the_state_of_a_checkpoint_of_an_earlier_version_is_read():
    made, _ = watched(*[{}] * 3)
    state = json.loads(json.dumps(made.state_dict()).replace("score_std", "score_deviation"))
    del state["absent"]
    again = health()
    again.load_state_dict(state)
    assert again.state_dict() == made.state_dict() != state


@pytest.mark.parametrize(
    ("metrics", "name"),
    [
        ({"kl": BY_NAME["kl"].high}, "kl"),
        ({"clip_fraction": BY_NAME["clip_fraction"].high}, "clip_fraction"),
        ({"ratio": BY_NAME["ratio"].high}, "ratio"),
        ({"explained_variance": BY_NAME["explained_variance"].low}, "explained_variance"),
        ({"unique": BY_NAME["unique"].low}, "unique"),
        ({"entropy": BY_NAME["entropy"].low * HEALTHY["entropy"]}, "entropy"),
        ({"response_tokens": BY_NAME["response_tokens"].low * HEALTHY["response_tokens"]}, "response_tokens"),
        ({"approx_kl": BY_NAME["approx_kl"].low}, "approx_kl"),
    ],
)
def test_the_thresholds_are_the_ends_of_the_healthy_ranges(metrics, name):
    assert not list(findings({**HEALTHY, **metrics}, HEALTHY, SETTINGS, None))
    low = metrics[name] == BY_NAME[name].low or name in ("entropy", "response_tokens")
    assert list(findings({**HEALTHY, name: metrics[name] + (-1e-9 if low else 1e-9)}, HEALTHY, SETTINGS, None))


@pytest.mark.parametrize(("metrics", "name"), [(metrics, name) for metrics, name, *_ in FINDINGS])
def test_every_finding_has_a_title(metrics, name):
    found = dict(findings({**HEALTHY, **metrics}, HEALTHY, SETTINGS, None))
    assert list(found) == [name]
    assert name in TITLES
    assert dict(early_findings({**HEALTHY, **metrics}, HEALTHY, SETTINGS, None)).items() <= found.items()
