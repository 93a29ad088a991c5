"""From config to objects: the only module that knows both."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from rlnlp.config.model import Device, Model, Sampler
from rlnlp.config.reward import Reward
from rlnlp.config.schema import GenerateRun
from rlnlp.device import DTYPES, compute_device, importing
from rlnlp.errors import Exit, Failure
from rlnlp.maths.distribution import Distribution
from rlnlp.models.chat import chat_of
from rlnlp.models.load import fresh_policy, load_policy, load_tokenizer
from rlnlp.models.locate import locate
from rlnlp.models.policy import Policy
from rlnlp.models.save import pretrained_files
from rlnlp.models.tokenizer import Tokenizer
from rlnlp.rewards.builtin import built_in
from rlnlp.rewards.shaping import Shaping
from rlnlp.rewards.terms import RewardContext, Term, text_term
from rlnlp.rewards.user import load_function
from rlnlp.rng import stream
from rlnlp.rollout.generate import LoadedPolicy
from rlnlp.types import Rollout, Texts

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Language:
    """A policy with its tokenizer, on its device."""

    policy: Policy
    tokenizer: Tokenizer
    device: torch.device


def language(model: Model, where: Device, seed: int) -> Language:
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
    if len(tokenizer.raw) > policy.vocabulary:
        sizes = f"has {len(tokenizer.raw)} tokens, the model only {policy.vocabulary}"
        raise Failure(Exit.MODEL, f"the tokenizer of '{words}' {sizes}")
    policy.files = pretrained_files(policy, tokenizer)
    policy.dtype = DTYPES[where.dtype]
    if model.gradient_checkpointing:
        policy.recompute_layers()
    return Language(policy, tokenizer, device)


def loaded_policy(settings: GenerateRun) -> LoadedPolicy:
    """The model of the config, sampled as the config says.

    Raises:
        Failure: as ``language``.
    """
    loaded = language(settings.model, settings.device, settings.seed)
    sampled = distribution(settings.sampler, loaded.tokenizer.end)
    chat = chat_of(settings.data, loaded.tokenizer)
    return LoadedPolicy(loaded.policy, chat, sampled, settings.sampler.max_new_tokens, settings.seed)


def distribution(sampler: Sampler, end: tuple[int, ...]) -> Distribution:
    """The distribution that responses are drawn from."""
    return Distribution(sampler.temperature, sampler.top_k, sampler.top_p, sampler.min_new_tokens, end)


def reward_terms(
    reward: Reward, read: Callable[[Rollout], Texts], likely: Term, device: torch.device = CPU
) -> tuple[dict[str, tuple[Term, float]], dict[str, str]]:
    """The terms with their weights; and the sha256 of each user function's source.

    Raises:
        Failure: exit 2, for a name or an argument that does not exist; exit 4, for a model that is missing or unfit.
    """
    terms: dict[str, tuple[Term, float]] = {}
    code = {}
    for name, term in reward.terms.items():
        if ":" in term.fn:
            function, code[f"reward.terms.{name}.fn"] = load_function(name, term.fn)
            made = text_term(name, function, term.args, read, term.conversational)
        else:
            made = built_in(name, term.fn, term.args, RewardContext(read, likely, device))
        terms[name] = (made, term.weight)
    return terms, code


def shapings(reward: Reward) -> dict[str, Shaping]:
    """How each term's value enters the sum."""
    return {
        name: Shaping(term.scale, term.shift, None if term.clip is None else (term.clip[0], term.clip[1]), term.floor)
        for name, term in reward.terms.items()
    }
