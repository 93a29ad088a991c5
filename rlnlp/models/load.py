"""Models and tokenizers from files, through transformers' ``from_pretrained``; and fresh ones."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rlnlp.config.model import Fresh
from rlnlp.errors import Exit, Failure, one_line, out_of_memory
from rlnlp.models.adapter_weights import with_adapter
from rlnlp.models.check import Findings, check_policy
from rlnlp.models.critic import Critic, ValueHead, fitted_to
from rlnlp.models.files import SCORE_BIAS
from rlnlp.models.locate import base_of
from rlnlp.models.policy import Policy
from rlnlp.models.tokenizer import Tokenizer
from rlnlp.models.tokenizer_file import tokenizer_of_files, unloadable
from rlnlp.run.checksums import MANIFEST, faults


def pretrained(
    auto_class: Any, model_id: str, what: str, local_only: bool, device: torch.device, **settings: Any
) -> tuple[Any, Any]:
    """The model at ``model_id``, a directory or hub id, in float32; and transformers' record of how it was loaded.

    ``auto_class`` is one of transformers' ``AutoModelFor...``. The model stays on the CPU: ``device``
    is where it will be used. ``what`` names it in messages; ``settings`` go into its config.

    Raises:
        Failure: exit 4, if it cannot be loaded, or if a weight is not finite.
    """
    base = base_of(model_id, not local_only)
    try:
        model, record = auto_class.from_pretrained(
            base or model_id,
            local_files_only=local_only,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            attn_implementation=attention_kind(device),
            output_loading_info=True,
            **settings,
        )
        model = model if base is None else with_adapter(model, model_id)
    except Failure:
        raise
    except Exception as error:
        if out_of_memory(error):
            raise
        raise unusable(what, error, base or model_id, local_only) from error
    broken = [name for name, weight in model.named_parameters() if not finite(weight.detach())]
    if broken:
        more = f", the first of {len(broken)} such tensors" if len(broken) > 1 else ""
        raise Failure(
            Exit.MODEL,
            f"{what} has weights that are not finite: {broken[0]}{more}\nuse an earlier one, or download it again",
            "weights-not-finite",
        )
    return model, record


def finite(weight: torch.Tensor) -> bool:
    """True if no value is NaN or infinite."""
    return bool(weight.sum().isfinite()) or bool(weight.isfinite().all())  # a sum may overflow


def load_policy(
    model_id: str, local_only: bool, device: torch.device, known: Mapping[str, Any] | None = None
) -> tuple[Policy, Findings]:
    """The causal language model at ``model_id`` in float32, and what a check of it found.

    ``known`` are the findings of an earlier check: those of the same weights are taken over.

    Raises:
        Failure: exit 4, if it cannot be loaded whole: every weight must come from the files, and those of a checkpoint
            must be as they were written; or if it fails the check.
    """
    check_as_written(model_id)
    from transformers import AutoModelForCausalLM

    lm, record = pretrained(AutoModelForCausalLM, model_id, f"model '{model_id}'", local_only, device)
    missing = sorted(record["missing_keys"])
    if missing:
        raise Failure(Exit.MODEL, f"model '{model_id}' lacks {len(missing)} weights, such as {missing[0]}")
    policy = Policy(lm.to(device))
    policy.unused = tuple(sorted(record["unexpected_keys"]))
    return policy, check_policy(policy, f"model '{model_id}'", known)


def check_as_written(model_id: str) -> None:
    """Refuse the model of a checkpoint that is not as it was written.

    Raises:
        Failure: exit 4.
    """
    folder = Path(model_id)
    of_checkpoint = folder.is_dir() and (folder.parent / MANIFEST).is_file()
    if of_checkpoint and (fault := next(faults(folder.parent, f"{folder.name}/"), None)) is not None:
        raise Failure(Exit.MODEL, f"model '{model_id}' is of a damaged checkpoint: {fault}\nuse another one")


def load_critic(model_id: str, local_only: bool, policy: Policy, tokenizer: Tokenizer | None = None) -> Critic:
    """A critic that starts from a reward model: a model for sequence classification with one label, and its head.

    Its values are that model's scores: of one of rlnlp, normalized ones. ``tokenizer`` is the policy's.

    Raises:
        Failure: exit 4, if it cannot be loaded whole, has another number of labels, or other tokens than the policy.
    """
    from transformers import AutoModelForSequenceClassification

    what = f"algo.critic_path: '{model_id}'"
    model, record = pretrained(AutoModelForSequenceClassification, model_id, what, local_only, policy.device)
    missing = sorted(record["missing_keys"])
    if missing or model.config.num_labels != 1:
        lacks = f"it lacks {len(missing)} weights, such as {missing[0]}" if missing else "it has no score of one label"
        raise Failure(Exit.MODEL, f"{what} is no reward model: {lacks}")
    if not isinstance(dict(model.named_children()).get("score"), nn.Linear):
        raise Failure(Exit.MODEL, f"{what} is an encoder ({type(model).__name__}): a critic reads from left to right")
    rows = model.get_input_embeddings().num_embeddings
    if rows < policy.vocabulary:
        raise Failure(Exit.MODEL, f"{what} knows {rows} tokens, the policy {policy.vocabulary}")
    told = tokenizer is not None and (Path(model_id) / "tokenizer_config.json").is_file()
    if told and tokenizer is not None and not load_tokenizer(model_id, local_only).knows(tokenizer):
        raise Failure(Exit.MODEL, f"{what} has other tokens than the policy: a critic reads the policy's own")
    head = ValueHead(model.config.get_text_config().hidden_size)
    with torch.no_grad():
        head.linear.weight.copy_(model.score.weight)
        head.linear.bias.fill_(float(model.config.to_dict().get(SCORE_BIAS, 0.0)))
        if model.score.bias is not None:
            head.linear.bias.add_(model.score.bias)
    return fitted_to(policy, Critic(model.base_model, head, policy.dtype).to(policy.device))


def fresh_policy(size: Fresh, tokenizer: Tokenizer, rng_seed: int, device: torch.device) -> Policy:
    """A Llama of the given size with random weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer.raw),
        hidden_size=size.width,
        intermediate_size=-(-size.width * 8 // 3 // 8) * 8,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        max_position_embeddings=size.context,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.start[0] if tokenizer.start else None,
        eos_token_id=tokenizer.end[0],
        pad_token_id=tokenizer.pad,
        attn_implementation=attention_kind(device),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(rng_seed)
        lm = LlamaForCausalLM(config)
    return Policy(lm.to(device))


def pretrained_tokenizer(model_id: str, what: str, local_only: bool) -> Any:
    """The tokenizer of transformers at ``model_id``, a directory or hub id; ``what`` names it in messages.

    Raises:
        Failure: exit 4, if it cannot be loaded.
    """
    return tokenizer_of_files(model_id, what, local_only)[0]


def load_tokenizer(model_id: str, local_only: bool, ends: Sequence[int] = ()) -> Tokenizer:
    """The tokenizer at ``model_id``, a directory or hub id.

    ``ends`` are further tokens that end a response: those of the model's generation config.

    Raises:
        Failure: exit 4, if there is none, or no token is known to end a response.
    """
    raw, note = tokenizer_of_files(model_id, f"the tokenizer of '{one_line(model_id)}'", local_only)
    own = () if raw.eos_token_id is None else (raw.eos_token_id,)
    end = tuple(dict.fromkeys([*own, *(token for token in ends if 0 <= token < len(raw))]))
    if not end:
        raise Failure(Exit.MODEL, f"the tokenizer of '{model_id}' has no end token: responses could not end")
    pad = end[0] if raw.pad_token_id is None else raw.pad_token_id
    start = () if raw.bos_token_id is None else (raw.bos_token_id,)
    return Tokenizer(raw, end, pad, start, note=note)


def unusable(what: str, error: Exception, model_id: str, local_only: bool) -> Failure:
    """As ``unloadable``; says so if config.json alone is wrong."""
    from transformers import AutoConfig

    if (Path(model_id) / "config.json").is_file():
        try:
            AutoConfig.from_pretrained(model_id, local_files_only=local_only, trust_remote_code=False)
        except Exception as fault:
            return Failure(
                Exit.MODEL, f"{unloadable(what, fault)}\nits config.json is wrong or of a later transformers"
            )
    return unloadable(what, error)


def attention_kind(device: torch.device) -> str:
    """The implementation of attention that trains fastest on ``device``."""
    # On a CPU the backward of the fused kernels is about ten times slower than plain products at these lengths.
    return "eager" if device.type == "cpu" else "sdpa"
