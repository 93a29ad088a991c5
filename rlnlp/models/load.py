"""Models and tokenizers from files, through transformers' ``from_pretrained``; and fresh ones."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from rlnlp.config.model import Fresh
from rlnlp.errors import Exit, Failure, one_line
from rlnlp.models.critic import Critic, ValueHead, fitted_to
from rlnlp.models.policy import Policy
from rlnlp.models.tokenizer import Tokenizer
from rlnlp.run.checksums import MANIFEST, faults


def pretrained(auto_class: Any, model_id: str, what: str, local_only: bool, device: torch.device) -> tuple[Any, Any]:
    """The model at ``model_id``, a directory or hub id, in float32; and transformers' record of how it was loaded.

    ``auto_class`` is one of transformers' ``AutoModelFor...``. The model stays on the CPU: ``device``
    is where it will be used. ``what`` names it in messages.

    Raises:
        Failure: exit 4, if it cannot be loaded.
    """
    try:
        model, record = auto_class.from_pretrained(
            model_id,
            local_files_only=local_only,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            attn_implementation=attention_kind(device),
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, ImportError, SafetensorError) as error:
        raise unloadable(what, error) from error
    return model, record


def load_policy(model_id: str, local_only: bool, device: torch.device) -> Policy:
    """The causal language model at ``model_id`` in float32.

    Raises:
        Failure: exit 4, if it cannot be loaded whole: every weight must come from the files, and those of a checkpoint
            must be as they were written.
    """
    folder = Path(model_id)
    of_checkpoint = folder.is_dir() and (folder.parent / MANIFEST).is_file()
    if of_checkpoint and (fault := next(faults(folder.parent, f"{folder.name}/"), None)) is not None:
        raise Failure(Exit.MODEL, f"model '{model_id}' is of a damaged checkpoint: {fault}\nuse another one")
    from transformers import AutoModelForCausalLM

    lm, record = pretrained(AutoModelForCausalLM, model_id, f"model '{model_id}'", local_only, device)
    missing = sorted(record["missing_keys"])
    if missing:
        raise Failure(Exit.MODEL, f"model '{model_id}' lacks {len(missing)} weights, such as {missing[0]}")
    return Policy(lm.to(device))


def load_critic(model_id: str, local_only: bool, policy: Policy) -> Critic:
    """A critic that starts from a reward model: a model for sequence classification with one label, and its head.

    Raises:
        Failure: exit 4, if it cannot be loaded whole, has another number of labels, or other tokens than the policy.
    """
    from transformers import AutoModelForSequenceClassification

    what = f"algo.critic_path: '{model_id}'"
    model, record = pretrained(AutoModelForSequenceClassification, model_id, what, local_only, policy.device)
    missing = sorted(record["missing_keys"])
    if missing or model.config.num_labels != 1 or not isinstance(vars(model)["_modules"].get("score"), nn.Linear):
        lacks = f"it lacks {len(missing)} weights, such as {missing[0]}" if missing else "it has no score of one label"
        raise Failure(Exit.MODEL, f"{what} is no reward model: {lacks}")
    rows = model.get_input_embeddings().num_embeddings
    if rows < policy.vocabulary:
        raise Failure(Exit.MODEL, f"{what} knows {rows} tokens, the policy {policy.vocabulary}")
    head = ValueHead(model.config.get_text_config().hidden_size)
    with torch.no_grad():
        head.linear.weight.copy_(model.score.weight)
        if model.score.bias is not None:
            head.linear.bias.copy_(model.score.bias)
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
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(model_id, local_files_only=local_only, trust_remote_code=False)
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        raise unloadable(what, error) from error


def load_tokenizer(model_id: str, local_only: bool) -> Tokenizer:
    """The tokenizer at ``model_id``, a directory or hub id.

    Raises:
        Failure: exit 4, if there is none, or it knows no end token.
    """
    raw = pretrained_tokenizer(model_id, f"the tokenizer of '{model_id}'", local_only)
    if raw.eos_token_id is None:
        raise Failure(Exit.MODEL, f"the tokenizer of '{model_id}' has no end token: responses could not end")
    pad = raw.eos_token_id if raw.pad_token_id is None else raw.pad_token_id
    start = () if raw.bos_token_id is None else (raw.bos_token_id,)
    return Tokenizer(raw, (raw.eos_token_id,), pad, start)


def unloadable(what: str, error: Exception) -> Failure:
    """Exit 4 with the first line of what transformers says."""
    return Failure(Exit.MODEL, f"{what} cannot be loaded: {one_line(str(error).strip().split(chr(10))[0])}")


def attention_kind(device: torch.device) -> str:
    """The implementation of attention that trains fastest on ``device``."""
    # On a CPU the backward of the fused kernels is about ten times slower than plain products at these lengths.
    return "eager" if device.type == "cpu" else "sdpa"
