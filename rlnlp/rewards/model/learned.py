"""Reward from a reward model that has learned from judgements: its score of prompt and completion as one text."""

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Literal

import torch
from torch import Tensor

from rlnlp.device import DTYPES
from rlnlp.errors import Exit, Failure
from rlnlp.models.chat import Prompt, Unreadable
from rlnlp.models.locate import locate_reward_model
from rlnlp.models.reward_load import LoadedRewardModel, load_reward_model
from rlnlp.models.text_tokens import Answered, TextTokens
from rlnlp.rewards.sources import one_source
from rlnlp.rewards.terms import RewardContext, Term
from rlnlp.run.parts import weights_sha256
from rlnlp.types import Rollout, Texts

Asked = tuple[Prompt | None, Answered]  # an answer, and the prompt that it is to
ScoreTexts = Callable[[Sequence[Asked]], Tensor]


def learned(
    name: str, context: RewardContext, run: str | None = None, path: str | None = None,
    batch_size: Annotated[int, {"ge": 1}] = 16, allow_download: bool = False,
    dtype: Literal["float32", "bfloat16"] = "float32",
) -> Term:  # fmt: skip
    """The score that a reward model gives prompt and completion, of any size and sign; rollout -> (B,).

    ``run`` is a run of ``rlnlp reward-model``, whose scores are normalized. ``path`` may be any sequence-classification
    model with one label: its raw logit counts. The model reads the texts with its own tokenizer, and conversations with
    its own chat template. In ``dtype`` its body is held and computes; bfloat16 takes half of the memory.

    Raises:
        Failure: exit 2, for both of the two or neither; exit 4, for a model that is missing or unfit.
    """
    source = one_source(name, {"run": run, "path": path})
    score = scores_of(*source, context, batch_size, allow_download, DTYPES[dtype])

    def term(rollout: Rollout) -> Tensor:
        return score(list(with_prompts(context.texts_of(rollout))))

    return term


def scores_of(
    key: str, source: str, context: RewardContext, batch_size: int, allow_download: bool,
    dtype: torch.dtype = torch.float32,
) -> ScoreTexts:  # fmt: skip
    """The scores of the reward model that the setting ``key`` names as ``source``; its content is noted.

    Raises:
        Failure: exit 4, for a model that is missing or unfit.
    """
    loaded = load_reward_model(locate_reward_model(key, source, allow_download), not allow_download, context.device)
    context.note_content(key, weights_sha256({"reward model": loaded.model}))
    if dtype != torch.float32:
        loaded.model.hold_in(dtype)
    return scorer(key, loaded, batch_size)


def scorer(what: str, loaded: LoadedRewardModel, batch_size: int, max_tokens: int | None = None) -> ScoreTexts:
    """The scores (N,) of texts, equal ones of texts that the model reads alike; ``what`` names it in messages.

    They are without gradient, and do not depend on which texts are scored together: at most ``batch_size``, of at most
    ``max_tokens`` with padding.
    """
    reader = loaded.reader

    def tokens(prompt: Prompt | None, answer: Answered) -> TextTokens:
        spoken = not isinstance(answer, str)
        if spoken and reader.chat.template is None and not reader.chat.plainly:
            raise Failure(
                Exit.MODEL,
                f"{what}: the reward model has no chat template, and the texts are conversations\n"
                "train one on conversations; with data.template=none it reads them as people do",
                "no-chat-template",
            )
        try:
            return reader.tokens(prompt, answer)
        except Unreadable as fault:
            raise Failure(Exit.MODEL, f"{what}: a conversation cannot be scored: {fault}") from fault

    def score(texts: Sequence[Asked]) -> Tensor:
        read = [tokens(prompt, answer) for prompt, answer in texts]
        distinct = {each: i for i, each in enumerate(dict.fromkeys(read))}
        values = loaded.model.scores(list(distinct), batch_size, max_tokens)
        return values[torch.tensor([distinct[each] for each in read], device=values.device, dtype=torch.long)]

    return score


def without_prompts(texts: Texts) -> Iterator[Asked]:
    """The completions alone."""
    yield from ((None, completion) for completion in texts.completions)


def with_prompts(texts: Texts) -> Iterator[Asked]:
    """The completions with their prompts: as texts, or as messages where the prompt is a conversation."""
    for i, completion in enumerate(texts.completions):
        if texts.spoken and texts.spoken[i]:
            *before, last = texts.messages[i]
            yield before, last
        else:
            yield texts.prompts[i], completion
