"""From config to objects: the only module that knows both."""

import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

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
from rlnlp.rewards.functions import Around, UserFunction, load_functions
from rlnlp.rewards.shaping import Shaping
from rlnlp.rewards.terms import RewardContext, Term, function_term
from rlnlp.rewards.workers import Setup, Workers, workers
from rlnlp.rng import stream
from rlnlp.rollout.generate import LoadedPolicy
from rlnlp.types import Rollout, Texts

CPU = torch.device("cpu")
LoadFunctions = Callable[[Mapping[str, str]], Mapping[str, UserFunction]]  # paths by term -> functions by term
IN_THIS_PROCESS: LoadFunctions = partial(load_functions, around=nullcontext)


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


def function_loader(
    reward: Reward, around: Around, keep: Callable[[AbstractContextManager[Workers]], Workers]
) -> LoadFunctions:
    """How the user's functions are loaded: inside the block ``around``, or in workers that ``keep`` keeps."""
    if not reward.workers:
        return partial(load_functions, around=around)

    def load(paths: Mapping[str, str]) -> Mapping[str, UserFunction]:
        setup = Setup(paths, sys.path, torch.get_num_threads(), torch.get_float32_matmul_precision())
        return keep(workers(reward.workers, setup)).load()

    return load


def reward_terms(
    reward: Reward, read: Callable[[Rollout], Texts], likely: Term, device: torch.device = CPU,
    load: LoadFunctions = IN_THIS_PROCESS,
) -> tuple[dict[str, tuple[Term, float]], dict[str, str]]:  # fmt: skip
    """The terms with their weights; and the sha256 of each user function's source, which ``load`` loads.

    Raises:
        Failure: exit 2, for a name or an argument that does not exist; exit 4, for a model that is missing or unfit.
    """
    paths = {name: term.fn for name, term in reward.terms.items() if ":" in term.fn}
    functions = load(paths) if paths else {}
    terms: dict[str, tuple[Term, float]] = {}
    for name, term in reward.terms.items():
        if name in functions:
            made = function_term(name, functions[name].callee, term.args, read, term.conversational)
        else:
            made = built_in(name, term.fn, term.args, RewardContext(read, likely, device))
        terms[name] = (made, term.weight)
    code = {f"reward.terms.{name}.fn": function.sha256 for name, function in functions.items()}
    return terms, code


def shapings(reward: Reward) -> dict[str, Shaping]:
    """How each term's value enters the sum."""
    return {
        name: Shaping(term.scale, term.shift, None if term.clip is None else (term.clip[0], term.clip[1]), term.floor)
        for name, term in reward.terms.items()
    }
