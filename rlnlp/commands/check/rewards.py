"""What a few responses tell of the reward: whether it tells any of them apart, and which terms do."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from rlnlp.commands.check.findings import Finding
from rlnlp.config.reward import Reward
from rlnlp.errors import Exit, counted, one_line
from rlnlp.rewards.shaping import Shaping
from rlnlp.types import Scores

ROUNDING = 1e-6  # of the largest value: what equal numbers may differ by
DOMINANT = 0.9  # of the spread of all terms together
LOOK = "rlnlp check-reward shows each response with the value of every term"


def reward_findings(scores: Scores, config: Reward, shapings: Mapping[str, Shaping]) -> Iterator[Finding]:
    """The score that is constant; and terms that are, that abstain, veto everything, or outweigh all others."""
    count = len(scores.score)
    if count > 1 and constant(scores.score):
        what = f"every one of {counted(count, 'response')} scores {float(scores.score[0]):.4g}: nothing can be learned"
        fix = (
            f"look at reward.terms: {LOOK}; for a reward that is rarely given, fit the model to good texts first"
            " (rlnlp sft), or add a term that is given earlier"
        )
        yield Finding("constant-reward", "error", what, fix, Exit.REWARD)
    spreads = {}
    for name, term in config.terms.items():
        values, given = scores.terms[name].cpu(), scores.given.get(name)
        said = values if given is None else values[given.cpu()]
        shown, key = one_line(name, 40), f"reward.terms.{one_line(name, 40)}"
        if not len(said):
            what = f"term '{shown}' abstains from all of {counted(count, 'response')}: it adds nothing"
            yield Finding("term-abstains", "warning", what, f"look at its function, or leave it out: ~{key}")
            continue
        vetoed = shapings[name].vetoes(said)
        if len(said) > 1 and bool(vetoed.all()):
            what = f"term '{shown}' vetoes all of {counted(len(said), 'response')}: the other terms add nothing"
            yield Finding("term-vetoes", "warning", what, f"lower {key}.floor, which is {term.floor:.4g}")
        if term.weight == 0:
            continue
        added = term.weight * shapings[name].transform(said)
        spreads[name] = float(added.std(correction=0)) if len(said) > 1 else 0.0
        if len(said) > 1 and constant(added) and len(config.terms) > 1:
            what = f"term '{shown}' adds {float(added[0]):.4g} to every one of {counted(len(said), 'response')}"
            fix = f"see whether that is meant: {LOOK}; {key}.scale, shift and clip say how its value enters"
            yield Finding("term-constant", "warning", what, fix)
    yield from _dominant(spreads)


def _dominant(spreads: Mapping[str, float]) -> Iterator[Finding]:
    total = sum(spreads.values())
    moving = [name for name, spread in spreads.items() if spread > 0]
    for name in moving if len(moving) > 1 else []:
        if spreads[name] > DOMINANT * total:
            shown = one_line(name, 40)
            what = f"term '{shown}' makes {spreads[name] / total:.0%} of the terms' spread: the others hardly count"
            fix = f"if they are to count, lower reward.terms.{shown}.weight, or raise the others'"
            yield Finding("term-dominates", "warning", what, fix)


def constant(values: Tensor) -> bool:
    """True if all ``values`` are one number, up to rounding."""
    apart = float(values.max() - values.min())
    return apart <= ROUNDING * max(1.0, float(values.abs().max()))


def range_text(scores: Tensor) -> str:
    """The scores of a few responses in words."""
    spread = float(scores.std(correction=0))
    ends = f"{float(scores.min()):.3g} to {float(scores.max()):.3g}"
    mean = f"mean {float(scores.mean()):.3g}, standard deviation {spread:.2g}"
    return f"{counted(len(scores), 'response')} score {ends} ({mean})"


def end_findings(ended: Tensor, probability: Tensor, mask: Tensor, penalty: float, least: int) -> Iterator[Finding]:
    """Whether responses end by themselves. ``ended`` (B,); the ``probability`` of an end at each token, (B, T).

    ``penalty`` is what a response without an end loses, ``least`` the tokens before which none may end.
    """
    if bool(ended.any()):
        return
    mean, longest = float(probability[mask].mean()), int(mask.sum(1).max())
    what = f"none of {counted(len(ended), 'response')} ends within {counted(longest, 'token')}"
    what += f" (an end token's mean probability is {mean:.2g})"
    what += f", and each loses {penalty:.3g} for it (algo.missing_eos_penalty)" if penalty else ""
    lower = "lower sampler.min_new_tokens, or " if least else ""
    fix = f"{lower}raise sampler.max_new_tokens, fit the model to texts that end (rlnlp sft), or give sampler.stop"
    yield Finding("end-not-reached", "warning", what, f"{fix}; nothing if responses of one length are meant")


def length_findings(texts: list[str], tokens: Tensor) -> Iterator[Finding]:
    """Responses without a word; ``tokens`` (B,) are how many each has."""
    empty = sum(not text.strip() for text in texts)
    if 2 * empty > len(texts):
        mean = float(tokens.float().mean())
        what = f"{empty} of {counted(len(texts), 'response')} are empty ({mean:.1f} tokens on average)"
        fix = "raise sampler.min_new_tokens, or look whether the prompts are read as they are meant: rlnlp generate"
        yield Finding("empty-responses", "warning", what, fix)


def alike_findings(top_k: int) -> Iterator[Finding]:
    """Sampling that leaves nothing to choose."""
    if top_k == 1:
        what = "sampler.top_k=1 (sampler=greedy) draws one response of a prompt and no other: nothing is explored"
        yield Finding("greedy-sampling", "warning", what, "set sampler=default")


def probabilities_differ(drawn: Tensor, scored: Tensor, mask: Tensor) -> dict[str, float]:
    """Two sets of log-probabilities (B, T) of the same tokens: mean ratio, mean approx_kl, largest difference, nats."""
    log_ratio = (scored - drawn)[mask]
    return {
        "ratio": float(log_ratio.exp().mean()),
        "approx_kl": float(log_ratio.square().mean() / 2),
        "largest": float(torch.zeros(()) if not len(log_ratio) else log_ratio.abs().max()),
    }
