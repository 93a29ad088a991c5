"""Whether a reward model's score is a function of the text alone: not of padding, of other texts, or of their order.

A few short texts are read alone and in batches, as the models of policies are.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from rlnlp.device import exact_products
from rlnlp.errors import Exit, Failure, describe, out_of_memory
from rlnlp.models.reward_trunk import CausalTrunk
from rlnlp.models.text_tokens import TextBatch, TextTokens, text_batch

LENGTHS = ((7, 5), (7, 2), (7, 3), (4, 3), (0, 6))  # tokens of prompt and answer; the first three share their prompt
TOLERANCE = 1e-3  # of the vectors' deviation between texts; rounding is below 1e-4 of it, a fault above 1e-2
EXTRA = 3  # columns of padding that no text needs


@torch.no_grad()
def check_trunks(trunks: Iterable[Any], pad: int, device: torch.device, what: str) -> None:
    """Check that each trunk gives a text the same vector wherever it stands; let it share prompts where it can.

    ``pad`` fills up, ``what`` names the model in messages.

    Raises:
        Failure: exit 4 with the difference, if one does not.
    """
    with exact_products():
        for trunk in trunks:
            computes_in, trunk.dtype = trunk.dtype, torch.float32  # a fault must stand out from rounding
            _check_trunk(trunk, pad, device, what)
            trunk.dtype = computes_in


def check_texts(vocabulary: int, most: int) -> list[TextTokens]:
    """Texts of tokens from the middle of a vocabulary, each of at most ``most``."""
    first, step = vocabulary // 4, max(1, vocabulary // 64)
    ids = [first + (7 * i % 29) * step % max(1, vocabulary - first) for i in range(40)]
    texts = [TextTokens(tuple(ids[:p]), tuple(ids[7 + 5 * i : 7 + 5 * i + r])) for i, (p, r) in enumerate(LENGTHS)]
    return [
        TextTokens(text.prompt[: max(0, most - 2)], text.answer[:2]) if len(text) > most else text for text in texts
    ]


def _check_trunk(trunk: Any, pad: int, device: torch.device, what: str) -> None:
    texts = check_texts(trunk.vocabulary, trunk.context)
    if isinstance(trunk, CausalTrunk):
        trunk.shares = False

    def read(batch: TextBatch) -> Tensor:
        return _tried(lambda: trunk(batch), what).float()

    alone = torch.cat([read(text_batch([text], pad, device)) for text in texts])
    if not bool(alone.isfinite().all()):
        raise _refusal(what, "finite", "a score is not finite", "look for broken weights")
    scale = float(alone.std(0, correction=0).square().mean().sqrt())
    for name, got in (
        ("a batch", read(text_batch(texts, pad, device))),
        ("a batch in another order", read(text_batch(texts[::-1], pad, device)).flip(0)),
        ("a batch with other padding", read(_widened(text_batch(texts, texts[0].answer[0], device)))),
    ):
        apart = _apart(got, alone, scale)
        if not apart <= TOLERANCE:
            raise _refusal(
                what, "padding", f"in {name} a text has another score, by {apart:.2g} of what texts differ by",
                "its code counts padding as text, or its rows depend on each other; use another model",
            )  # fmt: skip
    if isinstance(trunk, CausalTrunk):
        trunk.shares = _shares(trunk, text_batch(texts, pad, device), alone, scale)


def _shares(trunk: CausalTrunk, batch: TextBatch, alone: Tensor, scale: float) -> bool:
    """True if answers that stand behind one prompt get the vectors that they have alone."""
    try:
        return _apart(trunk.shared(batch, len(LENGTHS)).float(), alone, scale) <= TOLERANCE
    except Exception as error:  # a model that has no place for such a mask may raise anything
        if out_of_memory(error):
            raise
        return False


def _apart(got: Tensor, alone: Tensor, scale: float) -> float:
    return float((got - alone).abs().max()) / max(scale, 1e-30)


def _widened(batch: TextBatch) -> TextBatch:
    """The same with columns of padding on both sides, of tokens that are words elsewhere."""
    left, right = batch.prompts[:, :1].expand(-1, EXTRA), batch.answers[:, :1].expand(-1, EXTRA)
    no_left, no_right = torch.zeros_like(left, dtype=torch.bool), torch.zeros_like(right, dtype=torch.bool)
    return TextBatch(
        torch.cat([left, batch.prompts], 1), torch.cat([no_left, batch.prompt_mask], 1),
        torch.cat([batch.answers, right], 1), torch.cat([batch.answer_mask, no_right], 1), batch.group,
    )  # fmt: skip


def _tried(call: Callable[[], Tensor], what: str) -> Tensor:
    try:
        return call()
    except Exception as error:
        if out_of_memory(error):
            raise
        advice = "its config.json does not fit its code, or it needs more than text"
        raise _refusal(what, "forward", f"a short text cannot be read: {describe(error)}", advice) from error


def _refusal(what: str, finding: str, problem: str, advice: str) -> Failure:
    return Failure(Exit.MODEL, f"{what} cannot be used ({finding}): {problem}\n{advice}", f"model-{finding}")


def same_scores(got: Sequence[Tensor], want: Sequence[Tensor]) -> bool:
    """True if two ways give the same scores of texts, up to rounding."""
    one, other = torch.cat(list(got)), torch.cat(list(want))
    return float((one - other).abs().max()) <= TOLERANCE * max(float(other.std(correction=0)), 1e-30)
