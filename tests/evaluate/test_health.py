"""Health findings: metrics that are a finding, metrics that are none, and when the warning is given."""

import json

import pytest

from rlnlp.evaluate.health import WINDOW, Health, findings
from rlnlp.metrics import BY_NAME

HEALTHY = {
    "score": 0.5, "score_std": 0.2, "kl": 3.0, "entropy": 1.0, "unique": 0.9, "explained_variance": 0.4,
    "clip_fraction": 0.1, "approx_kl": 1e-3, "learning_rate": 1e-4,
}  # fmt: skip
FINDINGS = [  # metrics, the finding, its text, metrics at the border that are none
    ({"kl": 12.5}, "kl", "KL is 12.5 nats per response (healthy: 0 to 10): raise algo.kl_coef", {"kl": 10.0}),
    ({"kl": -2.0}, "kl", "the KL estimate is -2.0: the responses are not drawn from the scored", {"kl": -0.4}),
    ({"clip_fraction": 0.55}, "clip", "55% of the tokens are clipped (healthy: 0 to 0.3)", {"clip_fraction": 0.3}),
    ({"approx_kl": 1e-10}, "clip", "the updates do not move the policy: raise algo.learning_rate", {"approx_kl": 1e-7}),
    ({"approx_kl": 0.0}, "clip", "the updates do not move the policy", {"approx_kl": 0.0, "learning_rate": 0.0}),
    ({"explained_variance": -0.3}, "critic", "explained variance is -0.30: the critic is", {"explained_variance": 0.0}),
    ({"entropy": 0.05}, "entropy", "entropy fell from 1.00 to 0.05 nats per token", {"entropy": 0.11}),
    ({"unique": 0.2}, "unique", "80% of the responses repeat another one", {"unique": 0.25}),
    ({"score_std": 0.0}, "reward", "every response scores 0.5: there is nothing", {"score_std": 1e-5}),
    ({"score_std": 2e-6, "score": 100.0}, "reward", "every response scores 100", {"score_std": 1e-3}),
]


def watched(*rows):
    """A Health that has seen the rows, and its warnings."""
    warnings = []
    health = Health(warnings.append)
    for row in rows:
        health({**HEALTHY, **row})
    return health, warnings


def test_healthy_metrics_are_no_finding():
    health, warnings = watched(*[{}] * 20)
    assert (health.verdict(), warnings) == ({}, [])


@pytest.mark.parametrize(("metrics", "name", "words", "border"), FINDINGS)
def test_metrics_out_of_range_for_a_while_are_a_finding_until_they_are_back(metrics, name, words, border):
    bad = [metrics] * 30
    health, warnings = watched({}, *bad)
    assert list(health.verdict()) == [name]
    assert health.verdict()[name].startswith(words)
    assert [line[:9] for line in warnings] == ["warning: "], "a warning is given once, when it begins"
    assert watched({}, *[border] * 30)[0].verdict() == {}
    health, warnings = watched({}, *bad, *[{}] * 30)
    assert (health.verdict(), len(warnings)) == ({}, 1)
    health, warnings = watched({}, *bad, *[{}] * 30, *bad)
    assert (list(health.verdict()), len(warnings)) == ([name], 1), "a run that swings is warned once"


def test_one_bad_step_is_no_finding_and_the_mean_of_the_window_is():
    assert watched(*[{}] * WINDOW, {"kl": 30.0}, *[{}] * 2)[0].verdict() == {}
    assert watched(*[{}] * WINDOW, {"kl": 100.0})[0].verdict() != {}
    assert watched(*[{"kl": 99.0}] * (WINDOW - 1))[0].verdict() == {}, "too few steps to judge"


def test_metrics_that_are_not_logged_are_not_judged():
    health = Health(print)
    for _ in range(30):
        health({"score": 0.5, "score_std": 0.1})
    assert health.verdict() == {}


def test_entropy_is_compared_with_the_first_that_was_seen_though_the_critic_may_learn_alone_before():
    health = Health(print)
    for step in range(30):
        acting = {"entropy": 2.0 if step < 5 else 0.1} if step >= 3 else {}
        health({"score": 0.5, "kl": 0.0, **acting})
    assert health.verdict()["entropy"].startswith("entropy fell from 2.00 to 0.10 nats")


def test_health_resumes_from_its_saved_state():
    rows = [{}, *[{"kl": 14.0}] * (WINDOW - 1), *[{"entropy": 0.01}] * WINDOW]
    whole, _ = watched(*rows)
    half, _ = watched(*rows[: WINDOW + 1])
    warnings = []
    again = Health(warnings.append)
    again.load_state_dict(json.loads(json.dumps(half.state_dict())))
    for row in rows[WINDOW + 1 :]:
        again({**HEALTHY, **row})
    assert again.verdict() == whole.verdict() != {}
    assert len(warnings) == 1, "a warning is not repeated after a resume"


def test_the_state_of_a_checkpoint_of_version_0_1_is_read():
    health, _ = watched(*[{}] * 3)
    state = json.loads(json.dumps(health.state_dict()).replace("score_std", "score_deviation"))
    again = Health(print)
    again.load_state_dict(state)
    assert again.state_dict() == health.state_dict() != state


@pytest.mark.parametrize(
    ("metrics", "name"),
    [
        ({"kl": BY_NAME["kl"].high}, "kl"),
        ({"clip_fraction": BY_NAME["clip_fraction"].high}, "clip_fraction"),
        ({"explained_variance": BY_NAME["explained_variance"].low}, "explained_variance"),
        ({"unique": BY_NAME["unique"].low}, "unique"),
        ({"entropy": BY_NAME["entropy"].low * HEALTHY["entropy"]}, "entropy"),
        ({"approx_kl": BY_NAME["approx_kl"].low}, "approx_kl"),
    ],
)
def test_the_thresholds_are_the_ends_of_the_healthy_ranges(metrics, name):
    assert not list(findings({**HEALTHY, **metrics}, HEALTHY))
    outside = -1e-9 if metrics[name] == BY_NAME[name].low or name == "entropy" else 1e-9
    assert list(findings({**HEALTHY, name: metrics[name] + outside}, HEALTHY))
