"""From config to objects: the only module that knows both."""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from typing import Any, TypeVar

import torch

from rlnlp.config.conversations import Conversations
from rlnlp.config.data import Reading
from rlnlp.config.model import Device, Model, Sampler
from rlnlp.config.reward import Reward
from rlnlp.config.reward_model import RewardModelFit
from rlnlp.config.schema import GenerateRun, RewardModelRun, Trained
from rlnlp.device import compute_device, compute_dtype, importing
from rlnlp.errors import Exit, Failure, counted
from rlnlp.maths.distribution import Distribution
from rlnlp.models.adapter_weights import learn_adapter
from rlnlp.models.chat import chat_of
from rlnlp.models.check import Findings, recompute_layers
from rlnlp.models.load import check_as_written, fresh_policy, load_policy, load_tokenizer
from rlnlp.models.locate import base_of, locate, locate_tokenizer, locate_weights
from rlnlp.models.policy import Policy
from rlnlp.models.reward_encoder_load import (
    Encoder,
    encoder_tokenizer,
    is_encoder,
    load_encoder,
    reward_model_of_encoder,
)
from rlnlp.models.reward_model import RewardModel, reward_model_of
from rlnlp.models.reward_padding import padded_apart
from rlnlp.models.save import pretrained_files
from rlnlp.models.text_tokens import TextReader, reader_of
from rlnlp.models.tokenizer import Tokenizer
from rlnlp.models.vocabulary import fit_vocabulary
from rlnlp.rewards.builtin import built_in
from rlnlp.rewards.functions import Around, UserFunction, load_functions
from rlnlp.rewards.shaping import Shaping
from rlnlp.rewards.terms import RewardContext, Term, function_term
from rlnlp.rewards.workers import Setup, Workers, workers
from rlnlp.rng import stream
from rlnlp.rollout.generate import LoadedPolicy
from rlnlp.run.run import Run
from rlnlp.types import Rollout, Texts

CPU = torch.device("cpu")
LoadFunctions = Callable[[Mapping[str, str]], Mapping[str, UserFunction]]  # paths by term -> functions by term
IN_THIS_PROCESS: LoadFunctions = partial(load_functions, around=nullcontext)


@dataclass(frozen=True)
class Language:
    """A policy with its tokenizer, on its device; ``findings`` of its check, ``notes`` for the user."""

    policy: Policy
    tokenizer: Tokenizer
    device: torch.device
    findings: Findings | None
    notes: tuple[str, ...]

    def size(self) -> int:
        """How many weights the model has, without those of an adapter."""
        return sum(p.numel() for p in self.policy.lm.parameters())


@dataclass(frozen=True)
class EncoderLanguage:
    """An encoder, which reads texts and writes none, with its tokenizer, on its device; ``notes`` for the user."""

    encoder: Encoder
    tokenizer: Tokenizer
    device: torch.device
    dtype: torch.dtype
    notes: tuple[str, ...]

    def size(self) -> int:
        """How many weights learn."""
        return sum(p.numel() for p in self.encoder.trainable())


AnyLanguage = TypeVar("AnyLanguage", Language, Language | EncoderLanguage)


def language(
    model: Model, where: Device, seed: int, stop: Sequence[str] = (), known: Mapping[str, Any] | None = None
) -> Language:
    """The model of the config, loaded or fresh; a response ends at the texts ``stop`` too.

    ``known`` are the findings of an earlier check of this model, which is not repeated then.

    Raises:
        Failure: exit 2 for a device that is not there, exit 4 for a model that cannot be loaded or fails the check.
    """
    device = compute_device(where)
    with importing():
        from transformers.utils import logging

        logging.disable_progress_bar()
        weights, words = locate(model)
        local, findings = not model.allow_download, None
        if weights is None:
            tokenizer = load_tokenizer(words, local)
            policy = fresh_policy(model.fresh, tokenizer, int(stream(seed, "init").integers(2**63)), device)
        else:
            policy, findings = load_policy(weights, local, device, known)
            tokenizer = load_tokenizer(words, local, policy.ends)
    tokenizer = replace(tokenizer, stop=tuple(stop))
    notes = [*([tokenizer.note] if tokenizer.note else []), *(findings.notes() if findings else ())]
    if policy.unused:
        many = counted(len(policy.unused), "weight")
        notes.append(f"{many} of the files not used, such as {policy.unused[0]}: is config.json of this model?")
    notes += fit_vocabulary(policy, tokenizer, words, model.resize_embeddings)
    policy.files = pretrained_files(policy, tokenizer)
    policy.dtype = compute_dtype(where.dtype, device)
    if model.gradient_checkpointing:
        recompute_layers(policy, f"model '{model.path}'")
    return Language(policy, tokenizer, device, findings, tuple(notes))


def adapted_language(
    model: Model, where: Device, seed: int, stop: Sequence[str] = (), known: Mapping[str, Any] | None = None
) -> Language:
    """The same with an adapter that learns: a new one, or the one that ``model.path`` names.

    Raises:
        Failure: as ``language``; exit 2 or 4, for an adapter that does not fit the settings.
    """
    weights, words = locate(model)
    assert weights is not None, "the config refuses a fresh model with an adapter"
    base = base_of(weights, model.allow_download)
    if base is not None:
        check_as_written(weights)
    plain = replace(model, path=base or weights, tokenizer=words, gradient_checkpointing=False)
    found = language(plain, where, seed, stop, known)
    learn_adapter(found.policy, model.lora, weights, base, stream(seed, "adapter"))
    if model.gradient_checkpointing:
        recompute_layers(found.policy, f"model '{model.path}'")
    return found if base is None else replace(found, findings=None)  # they are not of what the run starts from


def loaded_language(config: Trained, run: Run) -> Language:
    """The model of a run: what its check found is recorded in ``run.json``, and not looked for again on resume.

    Raises:
        Failure: as ``language``.
    """
    load = adapted_language if config.model.lora.on else language
    return _recorded(load(config.model, config.device, config.seed, config.sampler.stop_texts, _known(run)), run)


def loaded_reading_language(config: RewardModelRun, run: Run) -> Language | EncoderLanguage:
    """The same of a run that fits a reward model, whose model may be an encoder.

    Raises:
        Failure: as ``language``.
    """
    return _recorded(reading_language(config.model, config.device, config.seed, _known(run)), run)


def _known(run: Run) -> dict[str, Any] | None:
    known = run.facts.get("model_check")
    return known if isinstance(known, dict) else None


def _recorded(loaded: AnyLanguage, run: Run) -> AnyLanguage:
    if isinstance(loaded, Language) and loaded.findings is not None:
        run.facts["model_check"] = asdict(loaded.findings)
    for note in loaded.notes:
        run.log_message(note)
    return loaded


def loaded_policy(settings: GenerateRun) -> LoadedPolicy:
    """The model of the config, sampled as the config says.

    Raises:
        Failure: as ``language``.
    """
    model, drawn = replace(settings.model, gradient_checkpointing=False), settings.sampler
    loaded = language(model, settings.device, settings.seed, drawn.stop_texts)
    loaded.policy.share_prompts(settings.device.share_prompts)
    sampled = distribution(drawn, loaded.tokenizer.end)
    chat = chat_of(settings.data, loaded.tokenizer)
    return LoadedPolicy(loaded.policy, chat, sampled, drawn.max_new_tokens, settings.seed, loaded.notes)


def reading_language(
    model: Model, where: Device, seed: int, known: Mapping[str, Any] | None = None
) -> Language | EncoderLanguage:
    """The model of the config for a reward model: an encoder, or a language model as ``language`` loads it.

    Raises:
        Failure: as ``language``.
    """
    weights = locate_weights(model)
    if weights is None or not is_encoder(weights, not model.allow_download):
        return language(model, where, seed, known=known)
    device, local = compute_device(where), not model.allow_download
    tokenizer = encoder_tokenizer(locate_tokenizer(model), local)
    encoder = load_encoder(weights, local, device)
    if model.gradient_checkpointing:
        encoder.recompute_layers()
    notes = (tokenizer.note,) if tokenizer.note else ()
    return EncoderLanguage(encoder, tokenizer, device, compute_dtype(where.dtype, device), notes)


def text_reader(data: Conversations, language: Language | EncoderLanguage) -> TextReader:
    """How a reward model of this language reads prompts and answers: by its own chat template."""
    context = language.policy.context if isinstance(language, Language) else language.encoder.context
    return reader_of(chat_of(data, padded_apart(language.tokenizer)), context)


def reward_model(algo: RewardModelFit, language: Language | EncoderLanguage, seed: int) -> RewardModel:
    """A reward model on the body of a language model, which it takes over, with fresh heads.

    An encoder keeps the head of its class.

    Raises:
        Failure: exit 2, for an mlp on an encoder; exit 4, if the score of a text would depend on anything else.
    """
    if isinstance(language, EncoderLanguage):
        if algo.head != "linear":
            raise Failure(
                Exit.CONFIG, f"algo.head={algo.head} is for causal models: an encoder has the head of its class\n"
                "use algo.head=linear, or another model.path",
            )  # fmt: skip
        return reward_model_of_encoder(
            language.encoder, padded_apart(language.tokenizer), algo.ensemble_size, algo.ensemble, algo.ensemble_score,
            algo.uncertainty_coef, algo.frozen_trunk, seed, language.device, language.dtype,
        )  # fmt: skip
    return reward_model_of(
        language.policy, padded_apart(language.tokenizer), algo.head, algo.ensemble_size, algo.ensemble,
        algo.ensemble_score, algo.uncertainty_coef, algo.frozen_trunk, seed,
    )  # fmt: skip


def sampled_model(config: RewardModelRun, path: str) -> LoadedPolicy:
    """The model at ``path``, sampled as the config says.

    Raises:
        Failure: as ``language``.
    """
    model = replace(config.model, path=path, tokenizer=None)
    reading = Reading(**{f.name: vars(config.data)[f.name] for f in fields(Reading)})
    return loaded_policy(GenerateRun(config.seed, model, config.sampler, config.device, reading))


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
    """The terms with their weights; and by setting the sha256 of what they are made of.

    That is the source of each function of the user's, which ``load`` loads, and the weights of each reward model.

    Raises:
        Failure: exit 2, for a name or an argument that does not exist; exit 4, for a model that is missing or unfit.
    """
    paths = {name: term.fn for name, term in reward.terms.items() if ":" in term.fn}
    functions = load(paths) if paths else {}
    content = {f"reward.terms.{name}.fn": function.sha256 for name, function in functions.items()}
    terms: dict[str, tuple[Term, float]] = {}
    for name, term in reward.terms.items():
        if name in functions:
            made = function_term(name, functions[name].callee, term.args, read, term.conversational)
        else:
            made = built_in(name, term.fn, term.args, RewardContext(read, likely, device, content.__setitem__))
        terms[name] = (made, term.weight)
    return terms, content


def shapings(reward: Reward) -> dict[str, Shaping]:
    """How each term's value enters the sum."""
    return {
        name: Shaping(term.scale, term.shift, None if term.clip is None else (term.clip[0], term.clip[1]), term.floor)
        for name, term in reward.terms.items()
    }
