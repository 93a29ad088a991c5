"""Tokens of the tokenizer and rows of the model: rows are added if asked for, those without a token never drawn."""

from collections.abc import Iterator

import torch

from rlnlp.errors import Exit, Failure, counted
from rlnlp.models.policy import Policy
from rlnlp.models.tokenizer import Tokenizer


def fit_vocabulary(policy: Policy, tokenizer: Tokenizer, words: str, resize: bool) -> Iterator[str]:
    """Let ``policy`` draw the tokens of ``tokenizer`` and no others; what the user should know of that.

    ``words`` names the tokenizer; ``resize`` adds rows for tokens that the model lacks.

    Raises:
        Failure: exit 4, if the model lacks tokens and no rows are to be added.
    """
    tokens, rows = token_count(tokenizer), policy.vocabulary
    if tokens > rows and not resize:
        raise Failure(
            Exit.MODEL,
            f"the tokenizer of '{words}' has {counted(tokens, 'token')}, the model only {rows}\n"
            f"model.resize_embeddings=true adds {counted(tokens - rows, 'row')}, which start as the mean of the others",
        )
    if tokens > rows:
        add_rows(policy, tokens)
        yield f"{counted(tokens - rows, 'row')} added to the embedding, for tokens that the model did not have"
    spare = policy.logit_count - tokens
    if spare > 0:
        policy.drawable = tokens
        yield f"{counted(spare, 'row')} of the model's {tokens + spare:,} have no token: they are never drawn"


def token_count(tokenizer: Tokenizer) -> int:
    """The highest id of a token, and one more."""
    return max(len(tokenizer.raw), 1 + max(tokenizer.raw.get_vocab().values(), default=-1))


@torch.no_grad()
def add_rows(policy: Policy, tokens: int) -> None:
    """Give the embedding and the head ``tokens`` rows; each new one is the mean of the old ones."""
    lm, old = policy.lm, policy.vocabulary
    with torch.random.fork_rng(devices=[]):  # transformers draws the new rows first
        lm.resize_token_embeddings(tokens, mean_resizing=False)
    for part in (lm.get_input_embeddings(), lm.get_output_embeddings()):
        for weight in () if part is None else part.parameters():
            if len(weight) == tokens:
                weight[old:] = weight[:old].mean(0)
