"""Every setting of every command: its type, meaning, unit and limits. The values live in conf/.

The algorithms' own are in config_algos.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rlnlp.config.algos import OnPolicy, Ppo, Reinforce, Sft
from rlnlp.config.setting import Problem, setting
from rlnlp.errors import Exit, Failure

REWARDS = (
    "length", "diversity", "repetition", "coherence", "similarity", "sentiment", "politeness", "keywords", "pattern",
    "classifier",
)  # fmt: skip


def conf_dir() -> Path:
    """Where the YAML lies: inside the package in a wheel, beside it in a checkout.

    Raises:
        Failure: exit 2, if it is in neither folder.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "train.yaml").is_file():
            return folder
    raise Failure(Exit.CONFIG, "the conf folder is missing from this installation; install rlnlp again")


@dataclass(frozen=True)
class Fresh:
    """A Llama with random weights, for a language of one's own."""

    layers: int = setting("transformer layers", ge=1)
    width: int = setting("width of the residual stream", ge=8)
    heads: int = setting("attention heads; they divide the width into even parts", ge=1)
    context: int = setting("longest text", "tokens", ge=8)

    def problems(self) -> Iterator[Problem]:
        """Heads that do not divide the width."""
        if self.width % (2 * self.heads):
            yield "heads", f"must divide width {self.width} into even parts, got {self.heads}"


@dataclass(frozen=True)
class Model:
    """Any causal language model that transformers can load."""

    path: str | None = setting("'embedded', a directory, or a hub id; null makes a fresh model")
    tokenizer: str | None = setting("where the tokenizer lies; null means beside the model")
    allow_download: bool = setting("fetch a hub id from the network if it is not in the local cache")
    fresh: Fresh = setting("the size of a fresh model; not read when path is set")
    gradient_checkpointing: bool = setting(
        "compute layers again in the backward pass: less memory, about a third slower"
    )

    def problems(self) -> Iterator[Problem]:
        """A fresh model without a tokenizer."""
        if self.path is None and self.tokenizer is None:
            yield "tokenizer", "must be set when model.path is null: a fresh model has none of its own"


@dataclass(frozen=True)
class Device:
    """Where the work is done."""

    name: str = setting("auto, cpu, cuda, cuda:N or mps")
    threads: int = setting("threads of torch on the CPU; fixed, because the count changes the last bits", ge=1)
    dtype: Literal["float32", "bfloat16"] = setting("what is computed in; weights and optimizer stay float32")


@dataclass(frozen=True)
class Sampler:
    """How responses are drawn from the policy."""

    temperature: float = setting("divides the logits", gt=0)
    top_k: int = setting("only the k likeliest tokens; 0 means all", "tokens", ge=0)
    top_p: float = setting("only the likeliest tokens with this mass; 1 means all", gt=0, le=1)
    max_new_tokens: int = setting("longest response", "tokens", ge=1)
    min_new_tokens: int = setting("the end token is not drawn before this", "tokens", ge=0)

    def problems(self) -> Iterator[Problem]:
        """A least length above the longest."""
        if self.min_new_tokens > self.max_new_tokens:
            yield (
                "min_new_tokens",
                f"must be <= sampler.max_new_tokens {self.max_new_tokens}, got {self.min_new_tokens}",
            )


@dataclass(frozen=True)
class RewardTerm:
    """One term of the reward: weight times a function of the texts."""

    fn: str = setting("a built-in term, or file.py:function, or package.module:function")
    weight: float = field(default=1.0, metadata={"meaning": "factor of this term in the sum", "unit": ""})
    args: dict[str, Any] = field(default_factory=dict, metadata={"meaning": "further arguments, by name", "unit": ""})
    scale: float = field(default=1.0, metadata={"meaning": "multiplies the value before it is weighed", "unit": ""})
    shift: float = field(default=0.0, metadata={"meaning": "is added to the scaled value", "unit": ""})
    clip: list[float] | None = field(
        default=None, metadata={"meaning": "lowest and highest of the scaled and shifted value", "unit": ""}
    )
    floor: float | None = field(
        default=None, metadata={"meaning": "for a value below, the other terms add nothing: a veto", "unit": ""}
    )

    def problems(self) -> Iterator[Problem]:
        """A name that is neither a built-in term nor a path to a function; limits that do not rise."""
        if self.clip is not None and (len(self.clip) != 2 or self.clip[0] >= self.clip[1]):
            yield "clip", f"must be two numbers, the lower one first, got {self.clip}"
        if ":" not in self.fn and self.fn not in REWARDS:
            yield "fn", f"must be one of {', '.join(REWARDS)}, or file.py:function, got '{self.fn}'"


@dataclass(frozen=True)
class Reward:
    """The weighted sum that training makes large."""

    terms: dict[str, RewardTerm] = setting("the terms of the sum, by a name of one's own")

    def problems(self) -> Iterator[Problem]:
        """A reward without terms."""
        if not self.terms:
            yield "terms", "must have at least one term"


@dataclass(frozen=True)
class PromptData:
    """What the policy is asked."""

    prompts: str = setting("'embedded' or 'embedded/DOMAIN', or a file of prompts: .jsonl, .csv or .txt")
    heldout: str | None = setting(
        "a file of the same kind to measure on; null takes a seeded part of the training data"
    )


@dataclass(frozen=True)
class TextData:
    """What a language model is fitted to."""

    texts: str = setting("'embedded' or 'embedded/SET', or a file of texts: .jsonl, .csv or .txt")
    best: float = setting(
        "only this share of the training texts, those with the highest score in their records", gt=0, le=1
    )
    heldout: str | None = setting(
        "a file of the same kind to measure on; null takes a seeded part of the training data"
    )


@dataclass(frozen=True)
class Checkpoint:
    """When the state of training is saved."""

    every: int = setting("a checkpoint each so many steps; 0 means only at the end", "steps", ge=0)
    keep: int = setting("how many checkpoints stay", ge=1)


@dataclass(frozen=True)
class Heldout:
    """What is measured before and after training, on prompts that training never sees."""

    prompts: int = setting(
        "how many (texts, for sft); at most a tenth of the data; 0 measures on the training data", ge=0
    )
    every: int = setting("measured in between, each so many steps; 0 means never", "steps", ge=0)


@dataclass(frozen=True)
class Samples:
    """Which responses are kept and shown."""

    every: int = setting("samples.jsonl gets responses each so many steps; 0 means never", "steps", ge=0)
    show: int = setting("how many of them are shown while training", ge=0)


@dataclass(frozen=True)
class Common:
    """The keys beside the groups."""

    seed: int = setting("every random stream is derived from it", ge=0)
    checkpoint: Checkpoint = setting("saving")
    heldout: Heldout = setting("measuring")
    samples: Samples = setting("keeping responses")


@dataclass(frozen=True)
class SftRun(Common):
    """`rlnlp train algo=sft`."""

    algo: Sft = setting("the algorithm's settings")
    model: Model = setting("the language model")
    data: TextData = setting("the texts")
    sampler: Sampler = setting("drawing of samples to show")
    device: Device = setting("where to compute")


@dataclass(frozen=True)
class OnPolicyRun(Common):
    """What reinforce and ppo run on."""

    algo: OnPolicy = setting("the algorithm's settings")
    model: Model = setting("the language model")
    data: PromptData = setting("the prompts")
    sampler: Sampler = setting("drawing of responses")
    reward: Reward = setting("what is rewarded")
    device: Device = setting("where to compute")


@dataclass(frozen=True)
class ReinforceRun(OnPolicyRun):
    """`rlnlp train algo=reinforce`."""

    algo: Reinforce = setting("the algorithm's settings")


@dataclass(frozen=True)
class PpoRun(OnPolicyRun):
    """`rlnlp train algo=ppo`."""

    algo: Ppo = setting("the algorithm's settings")


@dataclass(frozen=True)
class GenerateRun:
    """`rlnlp generate`: the part of a run's settings that drawing needs."""

    seed: int = setting("every random stream is derived from it", ge=0)
    model: Model = setting("the language model")
    sampler: Sampler = setting("drawing of responses")
    device: Device = setting("where to compute")


AnyRun = SftRun | ReinforceRun | PpoRun
RUNS: dict[str, type[AnyRun]] = {"sft": SftRun, "reinforce": ReinforceRun, "ppo": PpoRun}
