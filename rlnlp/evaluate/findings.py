"""What is wrong with a run, by its metrics and by its result: each finding comes with settings to try."""

from collections.abc import Iterator, Mapping
from typing import Any

from rlnlp.evaluate.advice import Settings, advised, own_key
from rlnlp.metrics import BY_NAME

KL_NOISE = 0.5  # nats per response: an estimate of a small KL from samples may be this far below 0
STD_ROUNDING = 1e-6  # of the score: the standard deviation of equal scores is 0 only up to rounding
GOAL = 0.95  # of the highest score: so near, nothing is left to explore or to explain
TITLES = {  # what a finding is about, for the message that it is over
    "kl": "the KL is out of its healthy range",
    "ratio": "the ratio is far from 1",
    "clip": "many tokens are clipped",
    "idle": "the updates do not move the policy",
    "critic": "the critic is worse than a constant",
    "reward": "every response scores the same",
    "entropy": "the entropy has collapsed",
    "unique": "the responses are the same",
    "length": "the responses have shrunk to almost nothing",
}
SMALLER_STEPS = ("lower algo.learning_rate", "lower algo.ppo_epochs", "set algo.target_kl")
NEAR_START = ("raise algo.kl_coef", "raise algo.entropy_coef", "lower algo.learning_rate")

Row = Mapping[str, float]
Finding = tuple[str, str]  # name, text


def findings(mean: Row, first: Row, settings: Settings, highest: float | None) -> Iterator[Finding]:
    """Name and text of each finding in ``mean``, the metrics of the last steps; ``first`` has the first of each.

    ``highest`` is the highest score that there is, if that is known.
    """
    yield from early_findings(mean, first, settings, highest)
    if "kl" in mean and mean["kl"] < BY_NAME["kl"].low - KL_NOISE:
        what = f"the KL estimate is {mean['kl']:.1f}: the responses are not drawn from the scored distribution"
        yield "kl", what + advised(settings, "sampler.top_k=0", "sampler.top_p=1", "raise algo.batch_size")
    if _constant(mean):
        if not _at_goal(mean, highest):
            what = f"every response scores {mean['score']:.3g}: there is nothing left to learn"
            advice = advised(settings, "raise sampler.temperature", joint=" and ")
            yield "reward", f"{what}; if that is not the best score, look at reward.terms{advice}"
        return
    if _below(mean, "approx_kl") and mean["learning_rate"] > 0:
        yield "idle", "the updates do not move the policy" + advised(settings, "raise algo.learning_rate")
    if _below(mean, "explained_variance") and not _at_goal(mean, highest):
        what = f"explained variance is {mean['explained_variance']:.2f}: the critic is worse than a constant"
        options = ("algo.critic=separate", "another algo.critic_learning_rate", "raise algo.critic_warmup_steps")
        yield "critic", what + advised(settings, *options)


def early_findings(mean: Row, first: Row, settings: Settings, highest: float | None) -> Iterator[Finding]:
    """Those that a few steps show, as the update or the policy has broken."""
    kl_coef, group = (settings[own_key(settings, f"algo.{name}")] for name in ("kl_coef", "num_generations"))
    if _above(mean, "kl") and kl_coef > 0:  # whoever sets 0 lets it go where it likes
        what = f"KL is {mean['kl']:.1f} nats per response (healthy: {BY_NAME['kl'].healthy})"
        yield "kl", what + advised(settings, "lower algo.kl_target", "raise algo.kl_coef", "lower algo.learning_rate")
    if _above(mean, "ratio") or _below(mean, "ratio"):
        what = f"the mean ratio of new to old probabilities is {mean['ratio']:.3g} (healthy: near 1)"
        yield "ratio", what + advised(settings, *SMALLER_STEPS)
    if _above(mean, "clip_fraction") and not _constant(mean):
        healthy = BY_NAME["clip_fraction"].healthy
        what = f"{mean['clip_fraction']:.0%} of the tokens are clipped (healthy: {healthy})"
        yield "clip", what + advised(settings, *SMALLER_STEPS)
    if _fell(mean, first, "entropy") and not _at_goal(mean, highest):
        what = f"entropy fell from {first['entropy']:.2f} to {mean['entropy']:.2f} nats per token"
        yield "entropy", what + advised(settings, *NEAR_START)
    if _fell(mean, first, "response_tokens") and not _at_goal(mean, highest):
        what = f"the responses shrank from {first['response_tokens']:.0f} to {mean['response_tokens']:.1f} tokens"
        yield "length", f"collapsed: {what}" + advised(settings, *NEAR_START)
    if "unique" in mean and mean["unique"] * group < BY_NAME["unique"].low:
        what = f"{1 - mean['unique']:.0%} of the responses repeat another one, even to other prompts"
        yield "unique", f"collapsed: {what}" + advised(settings, *NEAR_START, "raise sampler.temperature")


def result_findings(result: Mapping[str, Any], settings: Settings) -> Iterator[Finding]:
    """Findings in the result of a run: it ended worse than it began, or worse than it was."""
    difference = result["difference"]
    of_loss = "loss" in difference
    ends = difference["interval"] if of_loss else difference["score"]["interval"]
    if ends is not None and (ends[0] > 0 if of_loss else ends[1] < 0):
        mean, what = (difference["loss"], "loss") if of_loss else (difference["score"]["mean"], "score")
        verb = "rose" if of_loss else "fell"
        advice = advised(settings, "lower algo.learning_rate", "raise algo.kl_coef", "checkpoint.result=best")
        yield "worse", f"the held-out {what} {verb} by {abs(mean):.3f} [{ends[0]:+.3f}, {ends[1]:+.3f}]{advice}"
    better = result["best_over_last"]
    known = better is not None and better["interval"] is not None and result["policy_step"] != result["best_step"]
    if known and better["interval"][0] > 0:
        what = f"step {result['best_step']} was better than the last, which policy/ holds"
        where = f"checkpoints/step-{result['best_step']:08d} is a model too"
        yield "best", f"{what}: {where}" + advised(settings, "checkpoint.result=best", joint="; try ")


def _above(mean: Row, name: str) -> bool:
    return name in mean and mean[name] > BY_NAME[name].high


def _below(mean: Row, name: str) -> bool:
    return name in mean and mean[name] < BY_NAME[name].low


def _fell(mean: Row, first: Row, name: str) -> bool:
    return name in mean and mean[name] < BY_NAME[name].low * first[name]


def _constant(mean: Row) -> bool:
    """True if every response scores the same: there is nothing that updates or a critic could do."""
    if "score_std" not in mean:
        return False
    return mean["score_std"] <= BY_NAME["score_std"].low + STD_ROUNDING * max(1.0, abs(mean["score"]))


def _at_goal(mean: Row, highest: float | None) -> bool:
    return highest is not None and highest > 0 and "score" in mean and mean["score"] >= GOAL * highest
