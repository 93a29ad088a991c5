"""Comparisons drawn from the policy of a run: two responses each to some of the prompts that it was trained on."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from rlnlp import build
from rlnlp.config.schema import RlhfRun, SftRun
from rlnlp.data.answers import Answer, words
from rlnlp.data.order import rows_of_step
from rlnlp.data.prompts import prompt_table
from rlnlp.data.sources import check_context_length
from rlnlp.data.texts import text_table
from rlnlp.errors import Exit, Failure
from rlnlp.evaluate.before_after.evaluation import trained_model
from rlnlp.feedback.incoming import asked_sha256
from rlnlp.feedback.records import NewItem
from rlnlp.feedback.selection import candidates
from rlnlp.feedback.store import Store
from rlnlp.models.chat import Prompt
from rlnlp.models.tokenizer import Tokenizer
from rlnlp.rewards.model.learned import with_prompts
from rlnlp.rewards.terms import token_ids
from rlnlp.rng import stream
from rlnlp.rollout.sampling import Collect, sampler
from rlnlp.run.lock import owned
from rlnlp.run.manifest import read_config, read_facts
from rlnlp.types import Prompts, Rollout

RESPONSES = 4  # to each prompt, of which two are shown
PROMPTS = 16  # at once
PATIENCE = 4  # so many prompts are tried for each comparison: to some a policy may have one answer only
NUMBER = "drawn"  # what an item has beside its texts: the number of its draw


@dataclass(frozen=True)
class Source:
    """The prompts with the numbers ``rows``, those of the training part, and what a rollout of them says."""

    rows: Sequence[int]
    tokenizer: Tokenizer
    prompts: Callable[[Sequence[int], torch.device], Prompts]
    read: Callable[[Rollout], list[tuple[Prompt | None, Answer]]]


def draw(directory: Path, store: Store, count: int, overlap: int = 1) -> int:
    """Add ``count`` comparisons of the run in ``directory`` to ``store``; return how many there are, maybe fewer.

    ``overlap`` annotators are to judge each. They are a function of the run's seed and of how many were drawn before.
    None asks what an item asks already. While they are drawn nobody else can use the run.

    Raises:
        Failure: exit 6, for a run that is in use or without a policy; exit 2, 3 or 4, as its model and its data do;
            exit 3, if the policy gives one response only to each prompt.
    """
    config, facts = read_config(directory), read_facts(directory)
    model = trained_model(directory, config)
    with owned(directory):
        language = build.language(model, config.device, config.seed, config.sampler.stop_texts)
        check_context_length(config.sampler.max_new_tokens, language.policy.context)
        source = (_texts if isinstance(config, SftRun) else _prompts)(config, language)
        distribution, longest = build.distribution(config.sampler, source.tokenizer.end), config.sampler.max_new_tokens
        collect = sampler(language.policy, distribution, longest, source.tokenizer.pad, source.tokenizer.stopper)
        run, known = str(facts["id"]), store.items()
        first = 1 + max(
            (int(item.more[NUMBER]) for item in known if item.run == run and NUMBER in item.more), default=-1
        )
        round_ = 1 + int((facts.get("result") or {}).get("rounds") or 0) if isinstance(config, RlhfRun) else 0
        new = NewItem(None, ("", ""), run, int(facts.get("steps") or 0), round_, overlap)
        drawn = _drawn(source, collect, language.device, config.seed, range(first, first + PATIENCE * count))
        found = list(_comparisons(drawn, new, {asked_sha256(item.prompt, item.responses) for item in known}, count))
        if not found:
            raise Failure(Exit.DATA, "the policy gives one response only to each prompt: there is nothing to compare")
        store.add(found)
        return len(found)


def _drawn(
    source: Source, collect: Collect, device: torch.device, seed: int, numbers: range
) -> Iterator[tuple[int, Prompt | None, list[Answer]]]:
    """The responses of each draw, with its number and its prompt: the prompts follow each other in a seeded order."""
    rng = stream(seed, "feedback-draws", numbers.start)
    for start in range(0, len(numbers), PROMPTS):
        part = numbers[start : start + PROMPTS]
        rows = [source.rows[int(rows_of_step(len(source.rows), 1, i + 1, seed, "feedback")[0])] for i in part]
        said = source.read(collect(source.prompts(rows, device).repeat(RESPONSES), rng))
        for i, number in enumerate(part):
            own = said[i * RESPONSES : (i + 1) * RESPONSES]
            yield number, own[0][0], [answer for _, answer in own]


def _comparisons(
    drawn: Iterator[tuple[int, Prompt | None, list[Answer]]], new: NewItem, known: set[str], count: int
) -> Iterator[NewItem]:
    """Items like ``new``, ``count`` at most: the first two responses of a draw that differ and are not ``known``."""
    for number, prompt, answers in drawn:
        for one in candidates([[words(answer) for answer in answers]]):
            item = replace(new, prompt=prompt, responses=(answers[one.first], answers[one.second]))
            content = asked_sha256(item.prompt, item.responses)
            if content not in known:
                known.add(content)
                yield replace(item, uid=f"drawn:{new.step}:{number}:{content[:24]}", more={NUMBER: number})
                count -= 1
                break
        if count == 0:
            return


def _prompts(config: Any, language: build.Language) -> Source:
    """The prompts of a run that samples."""
    room = language.policy.context - config.sampler.max_new_tokens
    table = prompt_table(config.data, config.heldout.size, config.seed, language.tokenizer, room)

    def read(rollout: Rollout) -> list[tuple[Prompt | None, Answer]]:
        asked = with_prompts(table.texts(rollout))
        return [(prompt, answer[-1] if isinstance(answer, list) else answer) for prompt, answer in asked]

    return Source(table.train, table.tokenizer, table.batch, read)


def _texts(config: Any, language: build.Language) -> Source:
    """The prompts of the texts of a run that learns them; of a text without a prompt what its tokenizer begins with."""
    table = text_table(config.data, config.heldout.size, config.seed, language.tokenizer, language.policy.context)
    room = language.policy.context - config.sampler.max_new_tokens
    rows = [row for row in table.train if len(table.rows[row].prompt) <= room]
    if not rows:
        raise Failure(
            Exit.DATA, "no prompt of the run's texts leaves room for a response: lower sampler.max_new_tokens"
        )

    def read(rollout: Rollout) -> list[tuple[Prompt | None, Answer]]:
        found: list[tuple[Prompt | None, Answer]] = []
        for row, ids in zip(rollout.prompts.rows.tolist(), token_ids(rollout), strict=True):
            (asked, text), spoken = table.response(row, ids), table.rows[row].spoken
            message = {"role": "assistant", "content": text}
            found.append((asked or None, text) if spoken is None else (spoken.asked, message))
        return found

    return Source(rows, table.tokenizer, table.prompts, read)
