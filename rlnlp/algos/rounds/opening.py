"""What RLHF prints before its first round: what is trained on what, how long it takes and what it writes."""

import time

from rlnlp.algos.opening import FILTERED, WHOLE_CRITIC, disk_text, known, modules_of
from rlnlp.algos.rounds.draws import heldout_draws
from rlnlp.algos.rounds.loop import DRAWS, Loop
from rlnlp.algos.rounds.parts import parts_of
from rlnlp.config.algos import Ppo
from rlnlp.config.description import duration
from rlnlp.errors import counted


def tell(loop: Loop) -> None:
    """Print the settings; try a step of each stage, and print how long the rest takes."""
    config, run, setup = loop.config, loop.run, loop.setup
    modules = modules_of(parts_of(loop))
    run.describe(known(config, setup.policy.device, setup.rows, modules))
    if config.model.lora.on and isinstance(config.algo.policy, Ppo) and config.algo.policy.critic == "separate":
        run.log_message(WHOLE_CRITIC)
    if setup.distribution.filtered:
        run.log_message(FILTERED)
    with run.display.waiting("trying a step"):
        fit = loop.model.trial(loop.first.asked[0])
        policy = run.signals.estimate = loop.optimization.trial(1)
        begun = time.monotonic()
        heldout_draws(setup, setup.collect, setup.kl, lambda d: run.rng("trial", d), 1)
        draw = time.monotonic() - begun
    run.describe({"time": time_text(loop, fit, policy, draw), "disk": disk_text(config, run.directory, modules)})


def rounds_left(loop: Loop) -> float:
    """The rounds that are not done, parts of them too."""
    algo, done = loop.config.algo, loop.run.progress.saved_step()
    return max(0, algo.total_steps - done) / algo.round_steps


def seconds_left(loop: Loop, fit: float, policy: float, draw: float) -> float:
    """What the rounds that are left take, from the seconds of a step of each stage, and of drawing and measuring a
    response to each held-out prompt.
    """
    algo, every = loop.config.algo, loop.config.heldout.every
    measured = (algo.policy.total_steps // every + 1 if every else 0) + DRAWS
    drawn = algo.prompts_per_round * algo.num_generations / max(1, len(loop.setup.table.heldout))
    steps = algo.reward_model.total_steps * fit + algo.policy.total_steps * policy
    return rounds_left(loop) * (steps + (measured + drawn) * draw)


def time_text(loop: Loop, fit: float, policy: float, draw: float) -> str:
    """The same in words."""
    config, algo, left = loop.config, loop.config.algo, rounds_left(loop)
    done, total = loop.run.progress.saved_step(), duration(seconds_left(loop, fit, policy, draw))
    people = "" if config.annotator.name == "simulated" else ", and what people take"
    rest = "" if not done else f" {left:.1f} rounds are left:"
    return (
        f"about {total}{people}:{rest} {counted(algo.reward_model.total_steps, 'step')} of {fit:.2g} s and"
        f" {counted(algo.policy.total_steps, 'step')} of {policy:.2g} s a round (from trials)"
    )
