"""From config to objects: the only module that knows both."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rlnlp.config import schema as config
from rlnlp.data.prompts import PromptTable, check_room, prompt_table
from rlnlp.device import importing, keep_freed
from rlnlp.errors import Exit, Failure
from rlnlp.maths.distribution import Distribution
from rlnlp.models.locate import locate
from rlnlp.models.policy import (
    Policy,
    checkpointed,
    context_length,
    forward_fn,
    fresh_policy,
    frozen,
    load_policy,
    logprob_fn,
    remembered,
)
from rlnlp.models.tokenizer import Tokenizer, load_tokenizer
from rlnlp.rewards.builtin import built_in
from rlnlp.rewards.model.coherence import coherence
from rlnlp.rewards.shaping import Shape
from rlnlp.rewards.terms import Reward, RewardContext, Term, text_term, weighted_sum
from rlnlp.rewards.user import load_function
from rlnlp.rng import stream
from rlnlp.types import Rollout, Texts

LogprobFn = Callable[[Rollout], Tensor]
CPU = torch.device("cpu")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Language:
    """A policy with its tokenizer, on its device."""

    policy: Policy
    tokenizer: Tokenizer
    device: torch.device


@dataclass(frozen=True)
class Task:
    """What a policy is trained on: prompts, how it is drawn from, what it is compared with, what is rewarded."""

    table: PromptTable
    distribution: Distribution
    logprobs: LogprobFn
    reference: LogprobFn
    reward: Reward
    code: dict[str, str]  # the sha256 of each function of the user's, by its setting


def language(model: config.Model, where: config.Device, seed: int) -> Language:
    """The model of the config, loaded or fresh.

    Raises:
        Failure: exit 2 for a device that is not there, exit 4 for a model that cannot be loaded.
    """
    device = compute_device(where)
    with importing():
        from transformers.utils import logging

        logging.disable_progress_bar()
        weights, words = locate(model)
        local = not model.allow_download
        tokenizer = load_tokenizer(words, local)
        if weights is None:
            policy = fresh_policy(model.fresh, tokenizer, int(stream(seed, "init").integers(2**63)), device)
        else:
            policy = load_policy(weights, local, device)
    rows = policy.lm.get_input_embeddings().num_embeddings
    if len(tokenizer.raw) > rows:
        raise Failure(Exit.MODEL, f"the tokenizer of '{words}' has {len(tokenizer.raw)} tokens, the model only {rows}")
    return Language(_computing(policy, model, where), tokenizer, device)


def _computing(policy: Policy, model: config.Model, where: config.Device) -> Policy:
    """``policy``, computing in the precision and with the memory that the config says."""
    policy.dtype = DTYPES[where.dtype]
    policy.recomputed = checkpointed(policy.lm) if model.gradient_checkpointing else []
    return policy


def compute_device(where: config.Device) -> torch.device:
    """The device by name, with torch set up for it.

    Raises:
        Failure: exit 2, if this machine or this torch has no such device.
    """
    torch.set_num_threads(where.threads)
    keep_freed()
    if not torch.cpu._is_amx_tile_supported():
        # oneDNN instead of MKL: the same float32 at 2.4 times the speed on AMD. Where AMX is, it would mean bfloat16.
        torch.set_float32_matmul_precision("medium")
    name = where.name
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    kind, _, index = name.partition(":")
    have = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if kind not in have or (index and not index.isdecimal()):
        raise Failure(Exit.CONFIG, f"device.name must be auto, cpu, cuda, cuda:N or mps, got '{where.name}'")
    if int(index or 0) >= have[kind]:
        raise Failure(
            Exit.CONFIG, f"device '{where.name}' is not there ({have[kind]} of {kind}); use device=cpu or device=auto"
        )
    return torch.device(name)


def distribution(c: config.Sampler, end: tuple[int, ...]) -> Distribution:
    """The distribution that responses are drawn from."""
    return Distribution(c.temperature, c.top_k, c.top_p, c.min_new_tokens, end)


def task(c: config.OnPolicyRun, language: Language) -> Task:
    """Everything around the policy; the reference is the policy as it is now.

    Raises:
        Failure: exit 2, 3 or 7, for what the config, the data or a reward function get wrong.
    """
    policy, tokenizer = language.policy, language.tokenizer
    context = context_length(policy)
    room = context - c.sampler.max_new_tokens
    check_room(room, c.sampler.max_new_tokens, context)
    table = prompt_table(c.data, c.heldout.size, c.seed, tokenizer, room)
    drawn = distribution(c.sampler, tokenizer.end)
    start, size = frozen(policy), c.algo.micro_batch_size
    reference = remembered(logprob_fn(start, drawn.unfiltered(), size))
    untempered = Distribution(1.0, 0, 1.0, 0, tokenizer.end)
    likelihood = reference if drawn.temperature == 1 else remembered(logprob_fn(start, untempered, size))
    coherent = coherence(likelihood, len(tokenizer.raw))
    terms, code = reward_terms(c.reward, remembered(table.texts), coherent, language.device)
    logprobs = forward_fn(policy, drawn.unfiltered(), size)
    return Task(table, drawn, logprobs, reference, weighted_sum(terms, shapes(c.reward)), code)


def reward_terms(
    c: config.Reward, read: Callable[[Rollout], Texts], likely: Term, device: torch.device = CPU
) -> tuple[dict[str, tuple[Term, float]], dict[str, str]]:
    """The terms with their weights; and the sha256 of each user function's source.

    Raises:
        Failure: exit 2, for a name or an argument that does not exist; exit 4, for a model that is missing or unfit.
    """
    terms: dict[str, tuple[Term, float]] = {}
    code = {}
    for name, term in c.terms.items():
        if ":" in term.fn:
            function, code[f"reward.terms.{name}.fn"] = load_function(name, term.fn)
            made = text_term(name, function, term.args, read)
        else:
            made = built_in(name, term.fn, term.args, RewardContext(read, likely, device))
        terms[name] = (made, term.weight)
    return terms, code


def shapes(c: config.Reward) -> dict[str, Shape]:
    """How each term's value enters the sum."""
    return {
        name: Shape(term.scale, term.shift, None if term.clip is None else (term.clip[0], term.clip[1]), term.floor)
        for name, term in c.terms.items()
    }
