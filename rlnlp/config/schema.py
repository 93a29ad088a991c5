"""Every setting of every command: its type, and all that is declared of it. The values are in conf/.

The algorithms' own are in algos.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from rlnlp.config.algos import OnPolicy, Ppo, Reinforce, Sft
from rlnlp.config.observing import Checkpoint, Heldout, Samples
from rlnlp.config.setting import ACTOR, ROLLOUT, Problem, setting

REWARDS = {  # the built-in terms: the name that a config gives, and the function that it stands for
    **{
        name: f"rlnlp.rewards.text.{name}:{name}"
        for name in (
            "length", "diversity", "repetition", "similarity", "sentiment", "politeness", "keywords", "pattern",
        )
    },
    "coherence": "rlnlp.rewards.model.coherence:coherence_term",
    "classifier": "rlnlp.rewards.model.classifier:classifier",
    **{
        f"gold-{name}": f"rlnlp.rewards.text.gold:{name}"
        for name in ("sentiment", "politeness", "helpfulness", "harmless", "accepted")
    },
    "optimality": "rlnlp.embedded.randomwalks:optimality",
}  # fmt: skip


@dataclass(frozen=True)
class Fresh:
    """A Llama with random weights, for a language of one's own."""

    layers: int = setting("transformer layers", ge=1, resume="never")
    width: int = setting("width of the residual stream", ge=8, resume="never")
    heads: int = setting("attention heads; they divide the width into even parts", ge=1, resume="never")
    context: int = setting("maximum length of a text", "tokens", ge=8, resume="never")

    def problems(self) -> Iterator[Problem]:
        """Heads that do not divide the width."""
        if self.width % (2 * self.heads):
            yield "heads", f"must divide width {self.width} into even parts, got {self.heads}"


@dataclass(frozen=True)
class Model:
    """Any causal language model that transformers can load."""

    path: str | None = setting(
        "'embedded', a directory, or a hub id; null makes a fresh model",
        by_content=True, trl="model_name_or_path", verl="actor_rollout_ref.model.path",
    )  # fmt: skip
    tokenizer: str | None = setting(
        "where the tokenizer is; null means beside the model",
        by_content=True, verl="actor_rollout_ref.model.tokenizer_path",
    )  # fmt: skip
    allow_download: bool = setting("fetch a hub id from the network if it is not in the local cache", resume="free")
    fresh: Fresh = setting("the size of a fresh model; not read when path is set")
    gradient_checkpointing: bool = setting(
        "compute layers again in the backward pass: less memory, about a third slower",
        trl="gradient_checkpointing", verl="actor_rollout_ref.model.enable_gradient_checkpointing",
    )  # fmt: skip

    def problems(self) -> Iterator[Problem]:
        """A fresh model without a tokenizer."""
        if self.path is None and self.tokenizer is None:
            yield "tokenizer", "must be set when model.path is null: a fresh model has none of its own"


@dataclass(frozen=True)
class Device:
    """Where the work is done."""

    name: str = setting("auto, cpu, cuda, cuda:N or mps", verl="trainer.device")
    threads: int = setting("threads of torch on the CPU; fixed, because the count changes the last bits", ge=1)
    dtype: Literal["float32", "bfloat16"] = setting(
        "what is computed in; weights and optimizer stay float32",
        trl="bf16", verl=f"{ACTOR}.fsdp_config.mixed_precision.param_dtype",
    )  # fmt: skip


@dataclass(frozen=True)
class Sampler:
    """How responses are drawn from the policy."""

    temperature: float = setting("divides the logits", gt=0, trl="temperature", verl=f"{ROLLOUT}.temperature")
    top_k: int = setting(
        "only the k likeliest tokens; 0 means all", "tokens", ge=0, trl="top_k", verl=f"{ROLLOUT}.top_k"
    )
    top_p: float = setting(
        "only the likeliest tokens with this probability together; 1 means all", gt=0, le=1,
        trl="top_p", verl=f"{ROLLOUT}.top_p",
    )  # fmt: skip
    max_new_tokens: int = setting(
        "maximum response length", "tokens", ge=1,
        trl="max_completion_length, response_length", verl="data.max_response_length",
    )  # fmt: skip
    min_new_tokens: int = setting("the end token is not drawn before this", "tokens", ge=0)

    def problems(self) -> Iterator[Problem]:
        """A minimum length above the maximum."""
        if self.min_new_tokens > self.max_new_tokens:
            yield (
                "min_new_tokens",
                f"must be <= sampler.max_new_tokens {self.max_new_tokens}, got {self.min_new_tokens}",
            )


@dataclass(frozen=True)
class RewardTerm:
    """One term of the reward: weight times a function of the texts."""

    fn: str = setting(
        "a built-in term, or file.py:function, or package.module:function",
        code=True, trl="reward_funcs", verl="custom_reward_function.path",
    )  # fmt: skip
    weight: float = setting("factor of this term in the sum", default=1.0, trl="reward_weights")
    args: dict[str, Any] = setting("further arguments, by name", default={})
    scale: float = setting("multiplies the value before it is weighted", default=1.0)
    shift: float = setting("is added to the scaled value", default=0.0)
    clip: list[float] | None = setting("minimum and maximum of the scaled and shifted value", default=None)
    floor: float | None = setting("for a value below, the other terms add nothing: a veto", default=None)

    @property
    def highest(self) -> float | None:
        """The most that the term can add to the sum, as built-in values are in [0, 1]; None if that is not known."""
        ends = [self.shift, self.scale + self.shift]
        if self.fn not in REWARDS and self.weight != 0:
            if self.clip is None:
                return None
            ends = self.clip
        low, high = self.clip or (min(ends), max(ends))
        return max(self.weight * min(max(end, low), high) for end in ends)

    def problems(self) -> Iterator[Problem]:
        """A name that is neither a built-in term nor a path to a function; limits that do not rise."""
        if self.clip is not None and (len(self.clip) != 2 or self.clip[0] >= self.clip[1]):
            yield "clip", f"must be two numbers, the lower one first, got {self.clip}"
        if ":" not in self.fn and self.fn not in REWARDS:
            yield "fn", f"must be one of {', '.join(REWARDS)}, or file.py:function, got '{self.fn}'"
        if within_package(self.fn):
            name = built_in_name(self.fn) or f"one of {', '.join(REWARDS)}"
            yield "fn", f"must name a function of rlnlp by its short name: {name}, got '{self.fn}'"


def within_package(fn: str) -> bool:
    """True for a dotted name inside this package: it is no code of the user's."""
    return fn.startswith("rlnlp.") and ":" in fn


def built_in_name(fn: str) -> str | None:
    """The built-in term that a dotted name of this or an earlier version's package stands for, if any."""
    module, _, function = fn.partition(":")
    names = (f"{module.rpartition('.')[2]}-{function}", function)
    return next((name for name in names if within_package(fn) and name in REWARDS), None)


@dataclass(frozen=True)
class Reward:
    """The weighted sum that training makes large."""

    terms: dict[str, RewardTerm] = setting("the terms of the sum, by a name of one's own")

    @property
    def highest(self) -> float | None:
        """The most that the terms can sum to; None if that is not known."""
        each = [term.highest for term in self.terms.values()]
        return sum(most for most in each if most is not None) if None not in each else None

    def problems(self) -> Iterator[Problem]:
        """A reward without terms."""
        if not self.terms:
            yield "terms", "must have at least one term"


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


@dataclass(frozen=True)
class Seeded:
    """Whatever draws."""

    seed: int = setting("every random stream is derived from it", ge=0, resume="never", trl="seed", verl="data.seed")


@dataclass(frozen=True)
class Common(Seeded):
    """The keys beside the groups."""

    checkpoint: Checkpoint = setting("saving")
    heldout: Heldout = setting("measuring")
    samples: Samples = setting("keeping responses")

    @property
    def chosen_by_heldout(self) -> bool:
        """True if held-out data decide which weights are the result."""
        return self.checkpoint.result == "best" or self.heldout.patience > 0

    def problems(self) -> Iterator[Problem]:
        """What needs measurements where there are to be none."""
        wanted = {
            "checkpoint.result": self.checkpoint.result == "best",
            "checkpoint.keep_models": self.checkpoint.keep_models,
            "heldout.patience": self.heldout.patience,
        }
        for key in [key for key, value in wanted.items() if value] if self.heldout.every == 0 else []:
            yield key, "needs measurements in between: set heldout.every=N, or null for about ten"


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
class GenerateRun(Seeded):
    """`rlnlp generate`: the part of a run's settings that drawing needs."""

    model: Model = setting("the language model")
    sampler: Sampler = setting("drawing of responses")
    device: Device = setting("where to compute")


AnyRun = SftRun | ReinforceRun | PpoRun
RUNS: dict[str, type[AnyRun]] = {"sft": SftRun, "reinforce": ReinforceRun, "ppo": PpoRun}
