"""The stages of a check that need the model: each looks at one thing, and says what is wrong or that it is sound."""

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from rlnlp import build
from rlnlp.algos.opening import FILTERED, Prepared
from rlnlp.algos.ppo import same_policy, sampling_mismatch
from rlnlp.algos.reward_model import RewardModelSetup
from rlnlp.algos.setup import OnPolicySetup, learned_parameters, load_language, load_reading_language
from rlnlp.algos.sft import written
from rlnlp.commands.check import rewards
from rlnlp.commands.check.costs import Loading, costs
from rlnlp.commands.check.findings import Finding, Report, row_findings
from rlnlp.commands.check.judgements import look_at_judgements
from rlnlp.commands.check.peak import peak
from rlnlp.config.algos import OnPolicy, Ppo
from rlnlp.config.rates import with_rates
from rlnlp.config.schema import RewardModelRun
from rlnlp.data.order import rows_of_step
from rlnlp.errors import Exit, Failure, Stopped, counted, one_line, out_of_memory
from rlnlp.maths.masked import masked_mean
from rlnlp.models.policy import Policy, logprob_fn
from rlnlp.models.tokenizer import Tokenizer
from rlnlp.rollout.drawn import as_drawn
from rlnlp.run.display import Display, PlainDisplay
from rlnlp.run.ending import LESS_MEMORY
from rlnlp.run.run import Run
from rlnlp.types import Prompts, Rollout, take

SAMPLES = 32
BOLD = 10.0  # times the learning rate that is decided by the model's size


class Quiet(PlainDisplay):
    """Shows what is waited for, and nothing else."""

    def __init__(self, shown: Display) -> None:
        super().__init__(sys.stderr)
        self.shown = shown

    def waiting(self, what: str) -> AbstractContextManager[object]:
        """What the display of the check shows."""
        return self.shown.waiting(what)

    def log_message(self, text: str) -> None:
        """Print nothing."""


Stages = Callable[[Any, Path, Run, Report], None]  # what is looked at of some settings


def look(config: Any, directory: Path, display: Display, report: Report, stages: Stages) -> None:
    """Load what the settings name, draw responses, and try steps that change nothing; what is found goes to ``report``.

    A run would be made in ``directory``: here one is made in a temporary one. ``stages`` are those of the algorithm.

    Raises:
        KeyboardInterrupt: a signal has arrived.
    """
    stopped: KeyboardInterrupt | None = None
    with TemporaryDirectory(prefix="rlnlp-check-") as folder:
        run = Run(Path(folder), config, "check")
        run.display = Quiet(display)
        with run:
            try:
                stages(config, directory, run, report)
            except Failure as failure:
                report.fail(failure)
            except KeyboardInterrupt as error:
                stopped = error
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                report.fail(memory_failure(error))
    arrived = run.signals.arrived
    if stopped is None and arrived is not None:  # someone's ``except`` has swallowed it
        stopped = Stopped(arrived)
    if stopped is not None:
        raise stopped


def memory_failure(error: BaseException) -> Failure:
    """Memory that ran out in the check as it would in the run."""
    key, more = LESS_MEMORY.get("", ("algo.micro_batch_size", ""))
    return Failure(Exit.MEMORY, f"out of memory: {one_line(str(error), 120)}\nlower {key}{more}")


@dataclass(frozen=True)
class Drawn:
    """Responses to look at, and the seconds that they took; ``logprobs`` and ``ends`` are those of ``as_drawn``."""

    rollout: Rollout
    texts: list[str]
    seconds: float
    logprobs: Tensor
    ends: Tensor


def stages(config: Any, directory: Path, run: Run, report: Report) -> None:
    """Look at all of an algorithm that has one loop."""
    begun = time.monotonic()
    load = load_reading_language if isinstance(config, RewardModelRun) else load_language
    asked, (config, language) = config, load(config, run)
    look_at_language(language, report)
    look_at_rates("algo", asked.algo, config.algo, language, config.model.lora.on, report)
    with run.display.waiting("reading the data"):
        prepared: Prepared[Any, Any] = import_module(
            f"rlnlp.algos.{config.algo.name.replace('-', '_')}"
        ).prepare(config, language, run)  # fmt: skip
    around = prepared.around
    look_at_rows(around, report)
    loaded = Loading(time.monotonic() - begun, peak(language.device))
    if isinstance(around, RewardModelSetup):
        with run.display.waiting("scoring answers"):
            measured = look_at_judgements(around, SAMPLES, run.rng("check"), report)
        measured -= prepared.once.spent if prepared.once else 0
    else:
        measured = seconds_of_responses(around, config, run, report)
    with run.display.waiting("trying steps"):
        costs(config, directory, prepared, loaded, measured / SAMPLES, report)


def look_at_language(language: build.Language | build.EncoderLanguage, report: Report) -> None:
    """What the model is, what is to be noted of it, and its tokenizer."""
    report.sound["model"] = _kind(language)
    for note in language.notes:
        report.warn("model-note", note, "nothing if that is meant; else name another model with model.path=")
    _look_at_tokenizer(language.tokenizer, report)


def _kind(language: build.Language | build.EncoderLanguage) -> str:
    if isinstance(language, build.EncoderLanguage):
        return "it is an encoder"
    if language.findings is None:
        return "a fresh one, with random weights"
    return "it is causal, and reads a text alone, in a padded batch and token by token as the same text"


def seconds_of_responses(around: Any, config: Any, run: Run, report: Report) -> float:
    """Draw ``SAMPLES`` responses and look at them; the seconds of measuring as many."""
    with run.display.waiting("drawing responses"):
        drawn = _draw(around, config, run)
    _look_at_probabilities(around, config, drawn, report)
    _look_at_end(around, config, drawn, report)
    if not isinstance(around, OnPolicySetup):
        return _seconds_of_texts(around, config)
    with run.display.waiting("calling the reward"):
        return drawn.seconds + _look_at_reward(around, config, drawn, report)


def _seconds_of_texts(around: Any, config: Any) -> float:
    """Seconds of scoring ``SAMPLES`` texts, as a measurement does; a text may be there more than once."""
    held = around.table.heldout
    batch = around.table.batch([held[i % len(held)] for i in range(SAMPLES)], around.policy.device)
    begun = time.monotonic()
    logprob_fn(around.policy, around.distribution, config.algo.micro_batch_size)(batch)
    return time.monotonic() - begun


def look_at_rates(
    group: str, asked: Any, algo: Any, language: build.Language | build.EncoderLanguage, adapter: bool, report: Report
) -> None:
    """Find a learning rate far above what a model of this size learns with, among the settings ``asked`` of ``group``.

    ``algo`` are these settings with all rates; ``adapter`` as in ``with_rates``.
    """
    learning = learned_parameters(algo, language)
    for key in ("learning_rate", "critic_learning_rate"):
        given = vars(asked).get(key)
        if given is None:
            continue
        usual = vars(with_rates(replace(algo, **{key: None}), learning, {}, adapter))[key]
        if given > BOLD * usual:
            full = f"{group}.{key}"
            what = f"{full} is {given:.2g}; a model of {learning:,} parameters is trained with about {usual:.2g}"
            report.warn("learning-rate", what, f"leave it out, or set {full}={usual:.2g}")


def _look_at_tokenizer(tokenizer: Tokenizer, report: Report) -> None:
    names = ", ".join(one_line(repr(tokenizer.raw.convert_ids_to_tokens(i)), 40) for i in tokenizer.end)
    if tokenizer.pad in tokenizer.end:
        word = one_line(repr(tokenizer.raw.convert_ids_to_tokens(tokenizer.pad)), 40)
        report.warn(
            "pad-is-eos", f"the tokenizer fills up with {word}, which ends responses too",
            "nothing here, where masks come from lengths; a trainer that masks by the pad token would never learn to"
            " end: there, give the tokenizer a pad token of its own",
        )  # fmt: skip
    report.sound["tokenizer"] = f"{counted(len(tokenizer.raw), 'token')}; a response ends with {names}"


def look_at_rows(around: Any, report: Report) -> None:
    """How many rows are for what, and what was done with those that do not fit."""
    told, rows = around.table.told, around.rows
    report.add(*row_findings(told))
    held = f"{rows.heldout:,} held out" if rows.separate else f"none held out, {rows.heldout:,} of them measured on"
    fitting = "" if any(name.endswith(("dropped", "cut")) for name in told) else "; all of them fit"
    report.sound["data"] = f"{rows.train:,} to train on, {held}{fitting}"


def _draw(around: Any, config: Any, run: Run) -> Drawn:
    """A response to each of up to ``SAMPLES`` prompts of those that are trained on."""
    table, device = around.table, around.policy.device
    rows = [table.train[i] for i in rows_of_step(len(table.train), SAMPLES, 1, config.seed)]
    on_policy = isinstance(around, OnPolicySetup)
    prompts: Prompts = table.batch(rows, device) if on_policy else table.prompts(rows, device)
    begun = time.monotonic()
    rollout = around.collect(prompts, run.rng("check"))
    seconds = time.monotonic() - begun
    texts = table.texts(rollout).completions if on_policy else [text for _, text in written(table, rollout)]
    distribution = build.distribution(config.sampler, around.tokenizer.end)
    return Drawn(rollout, texts, seconds, *as_drawn(around.policy, rollout, distribution))


def _look_at_probabilities(around: Any, config: Any, drawn: Drawn, report: Report) -> None:
    """Compare what tokens were drawn with, what they are scored with, and what the first update scores them with."""
    policy: Policy = around.policy
    rollout = drawn.rollout
    drawn_from = build.distribution(config.sampler, around.tokenizer.end)
    size = config.algo.micro_batch_size
    scored = logprob_fn(policy, drawn_from.unfiltered(), size)(rollout)
    found = rewards.probabilities_differ(drawn.logprobs, scored, rollout.mask)
    if same_policy(found, policy.dtype):
        report.sound["sampling"] = f"a token is scored as it was drawn: within {found['largest']:.1g} nats"
    else:
        what = f"tokens are scored otherwise than they were drawn: the ratio is {found['ratio']:.4f}, not 1"
        fix = "set device.dtype=float32, or use another model: its code gives other logits token by token"
        report.add(Finding("drawn-is-not-scored", "error", what, fix, Exit.MODEL))
    if isinstance(config.algo, Ppo) and drawn_from.filtered:
        gap = sampling_mismatch(policy, drawn_from, config.algo)(rollout, scored)["sampling_mismatch"]
        what = FILTERED.removeprefix("warning: ").partition(";")[0]
        off = "sampler.top_k=0 sampler.top_p=1 sampler.min_new_tokens=0"
        fix = f"set {off}, or use algo=reinforce, which scores with it"
        report.warn("filtered-sampling", f"{what}: {gap:.2g} nats a token", fix)
    if isinstance(around, OnPolicySetup):
        part = take(rollout, torch.arange(min(size, len(rollout.mask))))
        again = policy(part, drawn_from.unfiltered()).logprobs.detach()
        first = rewards.probabilities_differ(scored[: len(again)], again, part.mask)
        _look_at_first_update(first, policy, report)


def _look_at_first_update(figures: dict[str, float], policy: Policy, report: Report) -> None:
    if same_policy(figures, policy.dtype):
        shown = f"ratio {figures['ratio']:.6f}, approx_kl {figures['approx_kl']:.1g}"
        report.sound["first update"] = f"begins at the policy that was sampled from: {shown}"
        return
    what = f"before the first update the ratio is {figures['ratio']:.4f}, not 1"
    fix = "usual causes: dropout or noise in the model's own code, a layer that depends on the rest of the batch"
    report.add(Finding("ratio-not-one", "error", what, fix, Exit.MODEL))


def _look_at_end(around: Any, config: Any, drawn: Drawn, report: Report) -> None:
    rollout, mask = drawn.rollout, drawn.rollout.mask
    ended, mean = int(rollout.ended.sum()), float(masked_mean(drawn.ends, mask))
    report.add(*rewards.length_findings(drawn.texts, mask.sum(1)))
    if isinstance(config.algo, OnPolicy):
        report.add(*rewards.alike_findings(config.sampler.top_k))
        penalty, least = config.algo.missing_eos_penalty, config.sampler.min_new_tokens
        report.add(*rewards.end_findings(rollout.ended, drawn.ends, mask, penalty, least))
    if ended:
        what = f"{ended} of {counted(len(mask), 'response')} ended by themselves"
        report.sound["end"] = f"{what}; an end token's mean probability is {mean:.2g}"


def _look_at_reward(setup: OnPolicySetup, config: Any, drawn: Drawn, report: Report) -> float:
    """Seconds of the reward and of the KL for the responses.

    Raises:
        Failure: exit 7, as a reward function does.
    """
    begun = time.monotonic()
    scores = setup.reward(drawn.rollout)
    kl: Tensor = setup.kl(drawn.rollout)
    seconds = time.monotonic() - begun
    report.add(*rewards.reward_findings(scores, config.reward, build.shapings(config.reward)))
    if not rewards.constant(scores.score):
        report.sound["reward"] = rewards.range_text(scores.score)
    apart = float(kl.abs().max())
    report.sound["reference"] = f"the policy as it is now: KL {apart:.1g} nats a token at most"
    return seconds
