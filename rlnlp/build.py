"""From config to objects: the only module that knows both."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rlnlp import config
from rlnlp.data.prompts import PromptTable, check_room, prompt_table
from rlnlp.errors import Exit, Failure
from rlnlp.maths.distribution import Distribution
from rlnlp.models.locate import locate
from rlnlp.models.policy import Policy, context_length, fresh_policy, frozen, load_policy, remembered, scorer
from rlnlp.models.tokenizer import Tokenizer, load_tokenizer
from rlnlp.rewards.coherence import coherence
from rlnlp.rewards.diversity import diversity
from rlnlp.rewards.length import length
from rlnlp.rewards.sentiment import sentiment
from rlnlp.rewards.similarity import similarity
from rlnlp.rewards.terms import Reward, Term, TextFunction, text_term, weighted_sum
from rlnlp.rewards.user import load_function
from rlnlp.streams import stream
from rlnlp.types import Rollout, Texts

TEXT_REWARDS: dict[str, TextFunction] = {
    "length": length, "diversity": diversity, "similarity": similarity, "sentiment": sentiment,
}  # fmt: skip
Scorer = Callable[[Rollout], Tensor]


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
    logprobs: Scorer
    reference: Scorer
    reward: Reward
    reward_code: dict[str, str]


def language(model: config.Model, where: config.Device, seed: int) -> Language:
    """The model of the config, loaded or fresh.

    Raises:
        Failure: exit 2 for a device that is not there, exit 4 for a model that cannot be loaded.
    """
    device = compute_device(where)
    from transformers.utils import logging

    logging.disable_progress_bar()
    weights, words = locate(model)
    local = not model.allow_download
    tokenizer = load_tokenizer(words, local)
    if weights is None:
        fresh_seed = int(stream(seed, "init").integers(2**63))
        return Language(fresh_policy(model.fresh, tokenizer, fresh_seed, device), tokenizer, device)
    return Language(load_policy(weights, local, device), tokenizer, device)


def compute_device(where: config.Device) -> torch.device:
    """The device by name, with torch set up for it.

    Raises:
        Failure: exit 2, if this machine or this torch has no such device.
    """
    torch.set_num_threads(where.threads)
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


def task(c: config.ReinforceRun, language: Language) -> Task:
    """Everything around the policy; the reference is the policy as it is now.

    Raises:
        Failure: exit 2, 3 or 7, for what the config, the data or a reward function get wrong.
    """
    policy, tokenizer = language.policy, language.tokenizer
    context = context_length(policy)
    room = context - c.sampler.max_new_tokens
    check_room(room, c.sampler.max_new_tokens, context)
    table = prompt_table(c.data, c.heldout.prompts, c.seed, tokenizer, room)
    drawn = distribution(c.sampler, tokenizer.end)
    start, size = frozen(policy), c.algo.micro_batch_size
    reference = remembered(scorer(start, drawn.unfiltered(), size))
    untempered = Distribution(1.0, 0, 1.0, 0, tokenizer.end)
    likelihood = reference if drawn.temperature == 1 else remembered(scorer(start, untempered, size))
    terms, code = reward_terms(c.reward, remembered(table.texts), coherence(likelihood, len(tokenizer.raw)))
    logprobs = scorer(policy, drawn.unfiltered(), size)
    return Task(table, drawn, logprobs, reference, weighted_sum(terms), code)


def reward_terms(
    c: config.Reward, read: Callable[[Rollout], Texts], likely: Term
) -> tuple[dict[str, tuple[Term, float]], dict[str, str]]:
    """The terms with their weights; and the sha256 of each user function's source.

    Raises:
        Failure: exit 2, for a name or an argument that does not exist.
    """
    terms: dict[str, tuple[Term, float]] = {}
    code = {}
    for name, term in c.terms.items():
        if term.fn == "coherence":
            made = likely
        elif ":" in term.fn:
            function, code[name] = load_function(name, term.fn)
            made = text_term(name, function, term.args, read)
        else:
            made = text_term(name, TEXT_REWARDS[term.fn], term.args, read)
        terms[name] = (made, term.weight)
    return terms, code
