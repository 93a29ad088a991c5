"""Reward from a sequence-classification model: the probability of one of its labels."""

import inspect
from typing import Annotated, Any, Literal

import torch
from torch import nn

from rlnlp.errors import Exit, Failure, one_line
from rlnlp.models.load import pretrained, pretrained_tokenizer
from rlnlp.models.locate import resolve, saved_reward_model
from rlnlp.rewards.model.learned import scores_of, with_prompts, without_prompts
from rlnlp.rewards.terms import RewardContext, Term, text_term

MAX_TOKENS = 2**20  # some tokenizers use a huge number for "no limit", which others cannot handle


def classifier(
    name: str, context: RewardContext, path: str, label: int | str | None = None,
    batch_size: Annotated[int, {"ge": 1}] = 16,
    of: Literal["completion", "both"] = "completion", allow_download: bool = False,
) -> Term:  # fmt: skip
    """Probability of ``label`` (its name or index; by default the last), in [0, 1]; rollout -> (B,).

    Softmax over the labels; for a model with one logit or for multi-label classification, the sigmoid of the label's
    own logit; for a reward model of rlnlp, the sigmoid of its score. ``of`` both: prompt and completion as one text. A
    text that is too long for the model is truncated at its end, or, if it includes the prompt, at its start.

    Raises:
        Failure: exit 2, for a label that the model does not have; exit 4, for a model that is missing or unfit.
    """
    key = f"reward.terms.{name}.args"
    if saved_reward_model(path) is not None:
        _column(f"{key}.label", label, ["LABEL_0"])
        score = scores_of(f"{key}.path", path, context, batch_size, allow_download)
        asked = with_prompts if of == "both" else without_prompts
        return lambda rollout: score(list(asked(context.texts_of(rollout)))).sigmoid()
    model_path = resolve(f"{key}.path", path, "config.json", allow_download)
    tokenizer, model = _load(model_path, not allow_download, context.device)
    column = _column(f"{key}.label", label, [str(model.config.id2label[i]) for i in range(model.config.num_labels)])
    tokenizer.truncation_side = "left" if of == "both" else "right"
    max_tokens = _max_tokens(tokenizer, model)

    def values_of(prompts: list[str], completions: list[str]) -> list[float]:
        texts = completions
        if of == "both":
            texts = [prompt + completion for prompt, completion in zip(prompts, completions, strict=True)]
        rows = tokenizer(texts, truncation=True, max_length=max_tokens, split_special_tokens=True)["input_ids"]
        rows = [row or [tokenizer.pad_token_id] for row in rows]
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))  # similar lengths together: less padding
        values = [0.0] * len(rows)
        for start in range(0, len(order), batch_size):
            part = order[start : start + batch_size]
            for i, value in zip(part, _probabilities(tokenizer, model, [rows[i] for i in part], column), strict=True):
                values[i] = value
        return values

    return text_term(name, values_of, {}, context.texts_of)


@torch.no_grad()
def _probabilities(tokenizer: Any, model: Any, rows: list[list[int]], column: int) -> list[float]:
    padded = tokenizer.pad({"input_ids": rows}, return_tensors="pt").to(model.device)
    accepted = inspect.signature(model.forward).parameters
    logits = model(**{word: value for word, value in padded.items() if word in accepted}).logits.float()
    independent = model.config.num_labels == 1 or model.config.problem_type == "multi_label_classification"
    probabilities: list[float] = (logits.sigmoid() if independent else logits.softmax(-1))[:, column].tolist()
    return probabilities


def _load(found: str, local_only: bool, device: torch.device) -> tuple[Any, Any]:
    from transformers import AutoModelForSequenceClassification

    what = f"classifier '{found}'"
    tokenizer = pretrained_tokenizer(found, what, local_only)
    model, info = pretrained(AutoModelForSequenceClassification, found, what, local_only, device)
    if missing := sorted(info["missing_keys"]):
        raise Failure(
            Exit.MODEL,
            f"classifier '{found}' lacks {len(missing)} weights, such as {missing[0]}\n"
            "it must be a trained sequence-classification model",
        )
    tokenizer.padding_side = "right"  # positions count from the left; a decoder uses the last token's logits
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if tokenizer.pad_token_id is None:
        raise Failure(Exit.MODEL, f"the tokenizer of classifier '{found}' has no padding token")
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    return tokenizer, model.eval().requires_grad_(False).to(device)


def _column(key: str, label: int | str | None, names: list[str]) -> int:
    if label is None:
        return len(names) - 1
    if isinstance(label, int) and 0 <= label < len(names):
        return label
    matches = [i for i, word in enumerate(names) if word == label]
    matches = matches or [i for i, word in enumerate(names) if word.lower() == str(label).lower()]
    if len(matches) != 1:
        labels = ", ".join(f"{i} {one_line(word, 40)}" for i, word in enumerate(names[:50]))
        raise Failure(Exit.CONFIG, f"{key}: no label {label!r}; the model has: {labels}")
    return matches[0]


def _max_tokens(tokenizer: Any, model: Any) -> int:
    """The maximum length of a text, in tokens."""
    longest = min(tokenizer.model_max_length, MAX_TOKENS)
    if hasattr(model.config, "max_position_embeddings") and model.config.max_position_embeddings > 0:
        longest = min(longest, model.config.max_position_embeddings)
        for name, table in model.named_modules():  # RoBERTa's positions start after the padding index
            if "position" in name and isinstance(table, nn.Embedding) and table.padding_idx is not None:
                longest = min(longest, table.num_embeddings - table.padding_idx - 1)
    return int(longest)
