"""The settings of the data: prompts to answer, or texts to be fitted to."""

from dataclasses import dataclass

from rlnlp.config.setting import setting


@dataclass(frozen=True)
class PromptData:
    """What the policy is asked."""

    prompts: str = setting(
        "'embedded' or 'embedded/DOMAIN', or a file of prompts: .jsonl, .csv or .txt",
        by_content=True, trl="dataset_name", verl="data.train_files",
    )  # fmt: skip
    heldout: str | None = setting(
        "a file of the same kind to measure on; null takes a seeded part of the training data",
        by_content=True, verl="data.val_files",
    )  # fmt: skip


@dataclass(frozen=True)
class TextData:
    """What a language model is fitted to."""

    texts: str = setting(
        "'embedded' or 'embedded/SET', or a file of texts: .jsonl, .csv or .txt",
        by_content=True, trl="dataset_name", verl="data.train_files",
    )  # fmt: skip
    best_fraction: float = setting(
        "only this fraction of the training texts, those with the highest score in their records", gt=0, le=1,
        resume="never",
    )  # fmt: skip
    heldout: str | None = setting(
        "a file of the same kind to measure on; null takes a seeded part of the training data",
        by_content=True, verl="data.val_files",
    )  # fmt: skip
