"""The parts of RLHF put together: two models, the feedback set, who judges, and what a checkpoint holds."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from rlnlp import build
from rlnlp.algos.ptx import pretraining_texts
from rlnlp.algos.rounds.asking import Asking
from rlnlp.algos.rounds.draws import heldout_draws
from rlnlp.algos.rounds.loop import DRAWS, Loop
from rlnlp.algos.rounds.model import RoundModel, round_model
from rlnlp.algos.rounds.observe import RoundObserver
from rlnlp.algos.rounds.policy import policy_optimization
from rlnlp.algos.rounds.state import Rounds
from rlnlp.algos.setup import learned_parameters, on_policy_setup
from rlnlp.config.rates import with_stage_rates
from rlnlp.config.schema import RlhfRun
from rlnlp.feedback.chosen import annotators_of
from rlnlp.feedback.taste import taste_of
from rlnlp.feedback.told import ToldStore
from rlnlp.processes.rows import process_count
from rlnlp.run.manifest import REWARD_MODEL
from rlnlp.run.parts import Parts
from rlnlp.run.run import Run

FEEDBACK = "feedback.sqlite"


def rlhf_loop(config: RlhfRun, run: Run) -> Loop:
    """Everything that the rounds need, as it is before the first of them.

    Raises:
        Failure: exit 2, 3, 4 or 7, for what the config, the data, a model or a reward function get wrong.
    """
    config, language, reading = loaded(config, run)
    setup = on_policy_setup(config.optimization, language, run)
    model, rounds = round_model(config, reading), Rounds()
    with run.display.waiting("drawing the first policy's responses to held-out prompts"):
        first = heldout_draws(
            setup, setup.collect_first, lambda r: torch.zeros_like(setup.kl(r)), lambda d: run.rng("heldout", d), DRAWS
        )
    observe = RoundObserver(config, setup, model.scores, first, rounds, run)
    optimization = policy_optimization(config.optimization, setup, model.reward(setup.table.texts), observe, run)
    path = run.directory / FEEDBACK if config.data.feedback is None else Path(config.data.feedback).expanduser()
    store = run.keep(ToldStore(path, config.seed, config.annotator.repeat_fraction))
    shared = config.data.feedback is not None
    asking = Asking(store, setup, model, config.algo, config.annotator, run, shared)
    taste = taste_of(setup.terms, build.shapings(config.reward), setup.given, *config.annotator.rating_range)
    annotators = annotators_of(config.annotator, taste, config.seed, run.display.log_message)
    texts = pretraining_texts(config, language)
    return Loop(
        config, run, setup, model, optimization, asking, annotators, observe, first, texts, rounds
    )  # fmt: skip


def loaded(config: RlhfRun, run: Run) -> tuple[RlhfRun, build.Language, build.Language | build.EncoderLanguage]:
    """The policy's model and the reward model's; and the config with the learning rates that follow from their sizes.

    Raises:
        Failure: exit 2 or 4, for what the config or a model gets wrong.
    """
    algo, (_, trunk) = config.algo, config.reward_model
    with run.display.waiting("loading the models"):
        language = build.loaded_language(config, run)
        reading = build.reading_language(trunk, config.device, config.seed)
    run.computes_on(language.device, config.device.threads, process_count())
    known: dict[str, Any] = run.facts.get("decided", {})
    algo, decided = with_stage_rates(
        algo,
        learned_parameters(algo.policy, language),
        learned_parameters(algo.reward_model, reading),
        known,
        config.model.lora.on,
    )
    config = replace(config, algo=algo)
    run.decide(config, decided)
    return config, language, reading


def parts_of(loop: Loop) -> Parts:
    """What a checkpoint holds."""
    model: RoundModel = loop.model
    fitting = {f"reward_model_{name}": part for name, part in model.optimizers.items()}
    return {**loop.optimization.parts, REWARD_MODEL: model.model, **fitting, "rounds": loop.rounds}
