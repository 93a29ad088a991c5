"""Weights and gradients that are not finite: the first such tensor, and the message about a skipped step."""

from collections.abc import Iterator

from torch import Tensor, nn

from rlnlp.errors import Exit, Failure
from rlnlp.processes.sharding import local
from rlnlp.run.parts import Parts

BUDGET = 3  # steps in a row without an update, after which a run ends
ADVICE = "lower algo.learning_rate or algo.max_grad_norm, or look for huge rewards in samples.jsonl"


def broken_weight(parts: Parts) -> str | None:
    """The name of the first weight that is not finite."""
    return next((name for name, tensor in _weights(parts) if not bool(local(tensor).isfinite().all())), None)


def broken_gradient(parts: Parts) -> str | None:
    """The name of the first weight whose gradient is not finite."""
    gradients = ((name, tensor.grad) for name, tensor in _weights(parts))
    return next((name for name, g in gradients if g is not None and not bool(local(g).isfinite().all())), None)


def skip_message(step: int, names: list[str], parts: Parts) -> str:
    """Why ``step`` was skipped: the metrics ``names`` that are not finite, and the tensor where it begins."""
    tensor = broken_gradient(parts) or broken_weight(parts)
    where = f"first in {tensor}" if tensor else "in no tensor: the sum is too large"
    return f"step {step}: {', '.join(names)} not finite ({where}); the update was skipped"


def skipped(step: int, names: list[str], parts: Parts, in_a_row: int) -> str:
    """The same, for a step that was the last of so many ``in_a_row``; their gradients are cleared.

    Raises:
        Failure: exit 8, if these are ``BUDGET``.
    """
    message = skip_message(step, names, parts)
    clear_gradients(parts)
    if in_a_row >= BUDGET:
        raise Failure(Exit.NONFINITE, f"{message}, for {BUDGET} steps in a row now\n{ADVICE}")
    return message


def clear_gradients(parts: Parts) -> None:
    """Leave no gradient."""
    for part in parts.values():
        if isinstance(part, nn.Module):
            part.zero_grad(set_to_none=True)


def _weights(parts: Parts) -> Iterator[tuple[str, Tensor]]:
    for part, module in parts.items():
        if isinstance(module, nn.Module):
            yield from ((f"{part}.{name}", tensor) for name, tensor in module.named_parameters())
