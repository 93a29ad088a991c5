"""A check of rounds of RLHF: both models, the first policy's responses by the gold reward, what it all takes."""

import time
from dataclasses import replace
from pathlib import Path
from statistics import median

from rlnlp.algos.opening import modules_of
from rlnlp.algos.rounds.draws import heldout_draws
from rlnlp.algos.rounds.loop import Loop
from rlnlp.algos.rounds.opening import seconds_left, time_text
from rlnlp.algos.rounds.parts import loaded, parts_of, rlhf_loop
from rlnlp.commands.check.costs import Loading, device_of, look_at_room, tried_steps
from rlnlp.commands.check.findings import Report
from rlnlp.commands.check.look import look_at_language, look_at_rates, look_at_rows, seconds_of_responses
from rlnlp.commands.check.peak import peak, restart_peak
from rlnlp.config.rounds_text import judgements
from rlnlp.config.schema import RlhfRun
from rlnlp.errors import counted
from rlnlp.run.run import Run

FITS = 3  # trials of a step of the reward model


def stages(config: RlhfRun, directory: Path, run: Run, report: Report) -> None:
    """Look at all of it; a feedback set that the settings name is left alone."""
    begun = time.monotonic()
    asked = config.algo
    config, language, reading = loaded(config, run)
    look_at_language(language, report)
    look_at_rates("algo.policy", asked.policy, config.algo.policy, language, config.model.lora.on, report)
    look_at_rates("algo.reward_model", asked.reward_model, config.algo.reward_model, reading, False, report)
    with run.display.waiting("reading the data"):
        loop = rlhf_loop(replace(config, data=replace(config.data, feedback=None)), run)
    look_at_rows(loop.setup, report)
    loading = Loading(time.monotonic() - begun, peak(language.device))
    seconds_of_responses(loop.setup, config.optimization, run, report)
    with run.display.waiting("trying steps"):
        _look_at_costs(loop, config, directory, loading, report)


def _look_at_costs(loop: Loop, config: RlhfRun, directory: Path, loading: Loading, report: Report) -> None:
    """Try steps of each stage that change nothing, and say what the rounds take."""
    modules = modules_of(parts_of(loop))
    restart_peak(device_of(modules))
    tried = tried_steps(loop.optimization.trial, config.algo.policy.total_steps)
    policy, fit = median(tried), median(loop.model.trial(loop.first.asked[0]) for _ in range(FITS))
    begun = time.monotonic()
    heldout_draws(loop.setup, loop.setup.collect, loop.setup.kl, lambda d: loop.run.rng("trial", d), 1)
    draw = time.monotonic() - begun
    report.figures |= {"seconds": loading.seconds + seconds_left(loop, fit, policy, draw), "step_seconds": policy}
    report.takes["time"] = time_text(loop, fit, policy, draw)
    annotator = config.annotator
    if annotator.name != "simulated":
        whole = counted(judgements(config.algo, annotator), "judgement")
        report.takes["people"] = f"{whole} in all, {counted(annotator.comparisons_per_round, 'comparison')} a round"
    look_at_room(config, directory, modules, loading.memory, report)
