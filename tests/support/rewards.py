"""Rollouts, texts and terms for the tests of rewards."""

from functools import cache

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from rlnlp import build
from rlnlp.config.choices import conf_dir
from rlnlp.config.reward import Reward, RewardTerm
from rlnlp.errors import Failure
from rlnlp.rewards.terms import function_term
from rlnlp.types import Rollout, Texts
from support import small

PROMPTS, COMPLETIONS, REFERENCES = ["p", "q", "r"], ["one", "two three", ""], ["x", None, "z"]
MESSAGES = [
    [{"role": "user", "content": prompt}, {"role": "assistant", "content": completion}]
    for prompt, completion in zip(PROMPTS, COMPLETIONS, strict=True)
]
COLUMNS = {"topic": ["a", "b", "c"], "weight": [1.0, 2.0, 3.0]}


def three_texts(_):
    """The texts of any rollout of three responses."""
    columns = {k: list(v) for k, v in COLUMNS.items()}
    return Texts(list(PROMPTS), list(COMPLETIONS), list(REFERENCES), columns, list(MESSAGES), [False] * 3)


def rollout_of(rows, ended=None):
    """A prompt of two tokens and a response of the given tokens per row."""
    prompts = small.prompts(*[[1, 4]] * len(rows))
    width = max(map(len, rows))
    responses = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    mask = torch.tensor([[i < len(row) for i in range(width)] for row in rows])
    attention, ended = torch.cat([prompts.mask, mask], 1), torch.tensor(ended or [True] * len(rows))
    return Rollout(prompts, responses, mask, attention, ended)


def make_texts(*completions, prompt="the"):
    """The given completions of one prompt, with a reference each."""
    count = len(completions)
    return Texts([prompt] * count, list(completions), ["x"] * count, {})


def term_values(terms, completions=("good", "bad bad"), coherence=None, name=None):
    """Name -> values of the built-in terms in ``terms`` (name -> args); with ``name``, all of them are that term."""
    each = {word: RewardTerm(word if name is None else name, 0.5, args) for word, args in terms.items()}
    found, _ = build.reward_terms(Reward(each), lambda _: make_texts(*completions), coherence)
    return {word: term(rollout_of([[5]] * len(completions))).tolist() for word, (term, _) in found.items()}


def fails(code, pattern, fn, *args, **kwargs):
    """The message of the Failure that ``fn`` raises; of at most three lines."""
    with pytest.raises(Failure, match=pattern) as failure:
        fn(*args, **kwargs)
    assert failure.value.code == code
    assert str(failure.value).count("\n") < 3
    return str(failure.value)


@cache
def composed(*overrides):
    """The settings of ``rlnlp train algo=reinforce`` with some overrides."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return OmegaConf.to_container(compose("train", ["algo=reinforce", *overrides]), resolve=True)


def user_term(function, **args):
    """The term of a user's function that is loaded, on three texts."""
    return function_term("t", function.callee, args, three_texts)
