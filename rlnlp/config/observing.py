"""The settings of what is saved, measured and kept of a run: no byte of its steps depends on them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from rlnlp.config.setting import Problem, setting


@dataclass(frozen=True)
class Checkpoint:
    """When the state of training is saved."""

    every: int = setting(
        "a checkpoint each so many steps; 0 means only the best and the last", "steps", ge=0,
        resume="free", trl="save_steps", verl="trainer.save_freq",
    )  # fmt: skip
    keep: int = setting(
        "how many checkpoints stay; the best on held-out data stays too", ge=1,
        resume="free", trl="save_total_limit", verl="trainer.max_actor_ckpt_to_keep",
    )  # fmt: skip
    keep_models: int | str = setting(
        "how many policies stay in models/, the newest and the best, one saved at each held-out measurement; or 'all'",
        resume="free",
    )  # fmt: skip
    result: Literal["last", "best"] = setting(
        "what policy/ is at the end: the policy after the last step, or at its best on held-out data",
        resume="free", trl="load_best_model_at_end",
    )  # fmt: skip

    @property
    def models_kept(self) -> int | None:
        """The number of policies that stay; None for all."""
        return self.keep_models if isinstance(self.keep_models, int) else None

    def problems(self) -> Iterator[Problem]:
        """A number of policies that is none."""
        if self.keep_models != "all" and (isinstance(self.keep_models, str) or self.keep_models < 0):
            yield "keep_models", f"must be a whole number >= 0, or all, got {self.keep_models!r}"


@dataclass(frozen=True)
class Heldout:
    """What is measured before and after training, on prompts that training never sees."""

    size: int = setting(
        "how many (texts, for sft); at most a tenth of the data; 0 measures on the training data", ge=0,
        resume="never",  # it decides which prompts are trained on
    )  # fmt: skip
    every: int | None = setting(
        "measured in between, each so many steps (rlhf: of the policy in each round); 0 means never, null about ten"
        " times, in a tenth of the time at most",
        "steps", ge=0, resume="free", trl="eval_steps", verl="trainer.test_freq",
    )  # fmt: skip
    patience: int = setting(
        "training ends early after so many measurements without a better one; 0 means never", "measurements", ge=0,
        resume="free",
    )  # fmt: skip


@dataclass(frozen=True)
class Samples:
    """Which responses are kept and shown."""

    every: int = setting("samples.jsonl gets responses each so many steps; 0 means never", "steps", ge=0, resume="free")
    show: int = setting(
        "how many of them are shown while training", ge=0, resume="free", trl="num_completions_to_print"
    )
