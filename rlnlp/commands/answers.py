"""The responses of one or several policies to the same prompts, with what a reward gives for them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlnlp.build import Language, language, loaded_policy
from rlnlp.commands.scoring import Scorer
from rlnlp.config.schema import GenerateRun, ScoreRun
from rlnlp.data.formats import Record
from rlnlp.evaluate.before_after.evaluation import first_language
from rlnlp.rollout.generate import LoadedPolicy
from rlnlp.run.live import display
from rlnlp.run.manifest import changed_content, read_config

NUMBER = "number"  # of the prompt, in records that are not printed yet


def loaded(config: GenerateRun) -> LoadedPolicy:
    """The policy that the settings name; what is special about it is told.

    Raises:
        Failure: exit 2 or 4.
    """
    with display().waiting("loading the model"):
        policy = loaded_policy(config)
    for note in policy.notes:
        display().log_message(note)
    return policy


def drawn(
    sources: Mapping[str, GenerateRun], records: Sequence[Record], n: int, scored: ScoreRun | None, run: Path | None
) -> list[dict[str, Any]]:
    """``n`` responses of each source to each prompt: of a prompt one source after the other, or the best first.

    ``scored`` are the settings that the responses are scored by; ``run`` is the run whose reward it is, if any.

    Raises:
        Failure: exit 2, 3, 4 or 7.
    """
    found: list[dict[str, Any]] = []
    scorer: Scorer | None = None
    with ExitStack() as kept:
        for source, config in sources.items():
            policy = loaded(config)
            if scorer is None and scored is not None:
                scorer = _scorer(scored, run, kept)
            found += _of_one(policy, source, records, n, scorer)
            del policy  # the next one needs its memory
    return sorted(found, key=lambda record: (record[NUMBER], -record["score"] if "score" in record else 0))


def _of_one(
    policy: LoadedPolicy, source: str, records: Sequence[Record], n: int, scorer: Scorer | None
) -> Iterator[dict[str, Any]]:
    for note in policy.notes_on(records):
        display().log_message(note)
    for table, rollout in policy.draws(records, n):
        numbers = rollout.prompts.rows.tolist()
        scores: Sequence[Mapping[str, Any]] = [{}] * len(numbers)
        if scorer is not None:
            with display().waiting("calling the reward"):
                scores = scorer(rollout, table.texts(rollout), table.tokenizer)
        for number, response, score in zip(numbers, policy.responses(table, rollout), scores, strict=True):
            yield {NUMBER: number, **response, "model": source, **score}


def _scorer(settings: ScoreRun, run: Path | None, kept: ExitStack) -> Scorer:
    def first() -> Language:
        if run is not None:
            config = read_config(run)
            return first_language(run, replace(config, model=replace(config.model, gradient_checkpointing=False)))
        return language(replace(settings.model, gradient_checkpointing=False), settings.device, settings.seed)

    scorer = Scorer(settings, first, kept)
    for key in [] if run is None else changed_content(run, scorer.content):
        display().log_message(f"warning: {key}: its content differs from what the run was rewarded with")
    return scorer
