"""Which weights a run hands over, those of its last step or of its best on held-out data, and how the two compare.

What chose a step does not report on it: a figure that was the best of many is too good. The report has other prompts,
or where there are few of them other draws.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from rlnlp.maths.statistics import mean_interval
from rlnlp.models.policy import Policy
from rlnlp.models.save import round_weights, save_policy
from rlnlp.models.tokenizer import Tokenizer
from rlnlp.run.manifest import POLICY
from rlnlp.run.run import Run

M = TypeVar("M")


@dataclass(frozen=True)
class Views(Generic[M]):
    """Measurements of the policy as it is when they are called.

    ``choosing`` finds the best step while training, ``reporting`` tells how good what was chosen is, and ``whole`` has
    all held-out data, for weights that nothing chose. ``reports_on`` names what ``reporting`` is measured on.
    """

    reports_on: str
    whole: Callable[[], M]
    choosing: Callable[[], M]
    reporting: Callable[[], M]


@dataclass(frozen=True)
class Result:
    """What a run hands over: ``module``, by its ``name`` in checkpoints and in the run directory.

    ``settle`` is called once its weights are decided and before they are measured, ``save`` after that.
    """

    name: str
    module: nn.Module
    device: torch.device
    settle: Callable[[], None]
    save: Callable[[], None]


def policy_result(run: Run, policy: Policy, tokenizer: Tokenizer) -> Result:
    """The policy, with its weights rounded to those that are saved."""
    model, directory = run.config.model, run.directory / POLICY
    settle, save = partial(round_weights, policy, model), partial(save_policy, directory, policy, tokenizer, model)
    return Result(POLICY, policy, policy.device, settle, save)


@dataclass(frozen=True)
class Outcome(Generic[M]):
    """``after`` was measured of the weights that are handed over, those of ``step``, on ``measured_on``.

    ``gain`` (N,) is how much better the best step is than the last, for each held-out prompt or text that reports on
    it; None if they are one step, or none was measured.
    """

    after: M
    step: int
    best_step: int | None
    gain: Tensor | None
    reports_on: str
    device: torch.device


def measure_result(run: Run, views: Views[M]) -> M:
    """A measurement as the result is measured: by what did not choose it."""
    return views.reporting() if run.config.chosen_by_heldout else views.whole()


def save_result(run: Run, result: Result, views: Views[M], gain: Callable[[M, M], Tensor]) -> Outcome[M]:
    """Save what ``checkpoint.result`` asks for; ``gain`` of two measurements is what the first has more.

    The weights are those of the last step when this is called; afterwards they may be those of the best.
    """
    last, best = run.progress.done, _other_step(run)

    def saved(after: M, step: int, gained: Tensor | None) -> Outcome[M]:
        with run.display.waiting("saving the model"):
            result.save()
        return Outcome(after, step, run.progress.best_step, gained, views.reports_on, result.device)

    with run.display.waiting("measuring after training"):
        result.settle()
        after = measure_result(run, views)
        if best is None:
            return saved(after, last, None)
        of_last = after if run.config.chosen_by_heldout else views.reporting()
    if run.config.checkpoint.result == "best":
        of_best = _measured_best(run, result, views)
        return saved(of_best, best, gain(of_best, of_last))
    outcome = saved(after, last, None)
    return replace(outcome, gain=gain(_measured_best(run, result, views), of_last))


def _other_step(run: Run) -> int | None:
    """The best step if it is not the last one; None if nothing was measured, or its checkpoint cannot be used."""
    best = run.progress.best_step
    if best is None or best == run.progress.done:
        return None
    fault = run.progress.fault_of_best()
    if fault is not None:
        run.log_message(f"warning: the checkpoint of the best step, {best}, cannot be used: {fault}")
    return best if fault is None else None


def _measured_best(run: Run, result: Result, views: Views[M]) -> M:
    with run.display.waiting("measuring the best checkpoint"):
        run.progress.load_best(result.name, result.module)
        result.settle()
        return views.reporting()


def outcome_facts(run: Run, outcome: Outcome[Any]) -> dict[str, Any]:
    """The part of the result in ``run.json`` that says which weights policy/ holds, and how they were chosen."""
    facts: dict[str, Any] = {
        "policy_step": outcome.step, "best_step": outcome.best_step, "last_step": run.progress.done,
        "stopped_early": run.stopped_early and run.progress.done < run.config.algo.total_steps,
        "measured_on": outcome.reports_on if run.config.chosen_by_heldout else "all", "best_over_last": None,
    }  # fmt: skip
    if outcome.gain is not None:
        mean, low, high = mean_interval(outcome.gain)
        interval = [low, high] if len(outcome.gain) > 1 else None
        on = {"n": len(outcome.gain), "measured_on": outcome.reports_on}
        facts["best_over_last"] = {"mean": mean, "interval": interval, **on}
    return facts


def outcome_lines(result: Mapping[str, Any], folder: str = POLICY) -> Iterator[str]:
    """The same in words; ``folder`` is where the weights are."""
    step, best, gain = result["policy_step"], result["best_step"], result["best_over_last"]
    names = [
        name
        for name, named in (("the best on held-out data", best), ("the last", result["last_step"]))
        if named == step
    ]
    yield f"{folder}/ has the weights of step {step}: {' and '.join(names)}"
    if result["stopped_early"]:
        yield f"training stopped early after step {result['last_step']}: nothing better since step {best}"
    if gain is not None:
        ends = gain["interval"]
        shown = f"{gain['mean']:+.3f}" + (f" [{ends[0]:+.3f}, {ends[1]:+.3f}]" if ends else "")
        yield f"step {best}, the best, against the last: {shown} on {gain['measured_on']} than chose it ({gain['n']})"
    if result["measured_on"] != "all":
        yield f"what is reported is measured on {result['measured_on']} than those that chose the step"
