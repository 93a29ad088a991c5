"""The settings of the model, of where it computes and of how it is sampled."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from rlnlp.config.setting import ACTOR, ROLLOUT, Problem, setting

ALL_LINEAR = "all-linear"  # as peft calls them


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
            yield "heads", f"must divide model.fresh.width {self.width} into even parts, got {self.heads}"


@dataclass(frozen=True)
class Lora:
    """Learning an adapter instead of the weights (LoRA): W + alpha / rank B A, of which only A and B learn."""

    rank: int | None = setting(
        "rows of A, columns of B: 8 to 64 as a rule; null trains the weights themselves", ge=1,
        resume="never", trl="lora_r", verl="actor_rollout_ref.model.lora_rank",
    )  # fmt: skip
    alpha: float = setting(
        "the product B A is scaled by alpha / rank", gt=0,
        resume="never", trl="lora_alpha", verl="actor_rollout_ref.model.lora_alpha",
    )  # fmt: skip
    target_modules: str | list[str] = setting(
        "the layers that have one: all-linear (all but the head), or names such as [q_proj, v_proj]",
        resume="never", trl="lora_target_modules", verl="actor_rollout_ref.model.target_modules",
    )  # fmt: skip
    merge: bool = setting(
        "policy/ holds whole weights with the adapter added in, not the adapter", resume="free",
        verl="actor_rollout_ref.model.lora.merge",
    )  # fmt: skip

    @property
    def on(self) -> bool:
        """True if an adapter learns."""
        return self.rank is not None

    @property
    def targets(self) -> tuple[str, ...] | None:
        """The names of the layers that have an adapter; None for all linear layers but the head."""
        named = [self.target_modules] if isinstance(self.target_modules, str) else self.target_modules
        return None if named == [ALL_LINEAR] else tuple(named)

    def problems(self) -> Iterator[Problem]:
        """No names, or empty ones."""
        if self.targets is not None and (not self.targets or "" in self.targets):
            yield "target_modules", "must be all-linear, or names of layers such as [q_proj, v_proj]"


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
    reference_dtype: Literal["same", "float32", "bfloat16"] = setting(
        "of the copy that the KL is taken to, its weights and what it computes in; same: as the policy",
        verl="actor_rollout_ref.ref.fsdp_config.model_dtype",
    )  # fmt: skip
    lora: Lora = setting("learning an adapter instead of the weights")
    resize_embeddings: bool = setting("add rows to the embedding for tokens that the model does not have")
    save_dtype: Literal["float32", "bfloat16"] = setting(
        "of the weights in policy/; bfloat16 is half as large and loses small updates", resume="free"
    )

    def problems(self) -> Iterator[Problem]:
        """A fresh model without a tokenizer; an adapter that would lack its base, or weights that are measured."""
        if self.path is None and self.tokenizer is None:
            yield "tokenizer", "must be set when model.path is null: a fresh model has none of its own"
        if self.lora.on and self.path is None:
            yield "lora.rank", f"needs model.path: a fresh model is no base that stays, got {self.lora.rank}"
        if self.lora.on and self.reference_dtype != "same":
            why = "must be same with model.lora.rank: the reference is the policy's own weights"
            yield "reference_dtype", f"{why}, got {self.reference_dtype!r}"
        if self.lora.on and self.resize_embeddings:
            yield "resize_embeddings", "must be false with model.lora.rank: an adapter does not keep rows of its base"
        if self.lora.on and self.lora.merge and self.save_dtype != "float32":
            why = "with model.lora.merge=true: the sum would be rounded after it was measured"
            yield "save_dtype", f"must be float32 {why}, got {self.save_dtype!r}"


@dataclass(frozen=True)
class Device:
    """Where the work is done."""

    name: str = setting("auto, cpu, cuda, cuda:N or mps", verl="trainer.device")
    threads: int = setting("threads of torch on the CPU; fixed, because the count changes the last bits", ge=1)
    share_prompts: Literal["auto", "never"] = setting(
        "auto: the prompt of several responses is computed once where that is less work, long texts in less memory; the"
        " same up to rounding"
    )
    parallel: Literal["none", "ddp", "fsdp"] = setting(
        "ddp or fsdp: processes that torchrun starts share the work; each has the weights, or a part of them",
        resume="free", verl=f"{ACTOR}.strategy",
    )  # fmt: skip
    dtype: Literal["auto", "float32", "bfloat16"] = setting(
        "what is computed in; auto: bfloat16 on a GPU that has it, else float32; weights and optimizer stay float32",
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
    stop: str | list[str] | None = setting(
        "a text, or several, at which a response ends too, and which is no part of it; \\n is a newline"
    )

    @property
    def stop_texts(self) -> tuple[str, ...]:
        r"""The texts at which a response ends; ``\n`` and ``\t`` in a setting are a newline and a tab."""
        named = [] if self.stop is None else [self.stop] if isinstance(self.stop, str) else self.stop
        return tuple(text.replace("\\n", "\n").replace("\\t", "\t") for text in named)

    def problems(self) -> Iterator[Problem]:
        """A minimum length above the maximum; an empty text to stop at."""
        if "" in self.stop_texts:
            yield "stop", "must not be an empty text: every response would end with its first token"
        if self.min_new_tokens > self.max_new_tokens:
            yield (
                "min_new_tokens",
                f"must be <= sampler.max_new_tokens {self.max_new_tokens}, got {self.min_new_tokens}",
            )
