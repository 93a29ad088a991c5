"""The optimizer step that every algorithm shares."""

import math
from typing import Any

import torch

from rlnlp.algos.adamw_8bit import adamw_8bit, moment_bytes
from rlnlp.config.algos import Optimization
from rlnlp.processes.rows import sum_gradients
from rlnlp.processes.sharding import clip, total_norm

Optimizers = dict[str, torch.optim.Optimizer]  # parts of a checkpoint, by name


def optimizers(module: torch.nn.Module, algo: Optimization) -> Optimizers:
    """AdamW for all that learns; or Muon for the inner matrices, and AdamW for embeddings, head and vectors.

    AdamW: Loshchilov and Hutter 2019 (arXiv:1711.05101); only matrices decay. Muon: Jordan et al. 2024 ("Muon: An
    optimizer for hidden layers in neural networks"); a step is the orthogonal matrix nearest to the momentum. With 8
    bits: ``adamw_8bit``.
    """
    learning = [p for p in module.parameters() if p.requires_grad]
    inner = inner_matrices(module) if algo.optimizer == "muon" else []
    known = {id(p) for p in inner}
    rest = [p for p in learning if id(p) not in known]
    groups = [
        {"params": [p for p in rest if p.ndim >= 2], "weight_decay": algo.weight_decay},
        {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
    ]
    made: Optimizers = {}
    if rest:  # an adapter is inner matrices alone
        filled = [g for g in groups if g["params"]]
        eight = algo.optimizer == "adamw-8bit"
        made["optimizer"] = adamw_8bit(filled, algo.peak_rate) if eight else adamw(filled, algo.peak_rate)
    if inner:
        made["muon"] = torch.optim.Muon(inner, lr=algo.peak_rate, weight_decay=algo.weight_decay)
    return made


def adamw(groups: list[dict[str, Any]], lr: float) -> torch.optim.Optimizer:
    """AdamW of torch, all weights in one kernel."""
    return torch.optim.AdamW(groups, lr=lr, fused=True)


def state_bytes(module: torch.nn.Module, algo: Optimization) -> int:
    """Bytes of the state of the ``optimizers`` of ``module``: AdamW has two moments a weight, Muon one."""
    if algo.optimizer == "adamw-8bit":
        return sum(moment_bytes(p) for p in module.parameters() if p.requires_grad)
    inner = sum(p.nbytes for p in inner_matrices(module)) if algo.optimizer == "muon" else 0
    return 2 * sum(p.nbytes for p in module.parameters() if p.requires_grad) - inner


def inner_matrices(module: torch.nn.Module) -> list[torch.nn.Parameter]:
    """The matrices that learn, less those with a row for each token (embeddings, head): tokens are no directions."""
    tables = {m.num_embeddings for m in module.modules() if isinstance(m, torch.nn.Embedding)}
    return [p for p in module.parameters() if p.requires_grad and p.ndim == 2 and p.shape[0] not in tables]


def learning_rate(algo: Optimization, step: int) -> float:
    """The rate of ``step`` (1 to total_steps)."""
    return algo.peak_rate * rate_fraction(algo, step)


def rate_fraction(algo: Optimization, step: int) -> float:
    """The fraction of the peak rate: a linear rise over the warm-up, then constant, or down to 0.

    The first step after the warm-up has the full rate; a falling schedule would reach 0 one step after the last.
    """
    if step <= algo.warmup_steps:
        return step / (algo.warmup_steps + 1)
    done = (step - 1 - algo.warmup_steps) / max(1, algo.total_steps - algo.warmup_steps)
    fall = {"constant": 1.0, "linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done))}
    return fall[algo.lr_schedule]


def backward(loss: torch.Tensor) -> None:
    """Add the gradient of ``loss``; for a loss that is not finite, gradients that are not either: no step is made."""
    loss.backward(gradient=torch.where(loss.isfinite(), torch.ones_like(loss), math.nan))


def descend(optimizers: Optimizers, step: int, algo: Optimization) -> float:
    """One step down the gradients that ``backward`` has left; they are cleared. Returns their norm before clipping.

    Where there are several processes, it is the sum of their gradients.

    A norm that is not finite makes no step: weights, moments and gradients stay as they are, and ``Run.log``, which is
    given the norm, counts the step as skipped and names the tensor.
    """
    groups = [group for optimizer in optimizers.values() for group in optimizer.param_groups]
    parameters = [p for group in groups for p in group["params"]]
    sum_gradients(parameters)
    norm = total_norm([p.grad for p in parameters if p.grad is not None])
    if not bool(norm.isfinite()):
        return float(norm)
    if float(norm) > algo.max_grad_norm:
        clip(parameters, algo.max_grad_norm, norm)
    for optimizer in optimizers.values():
        for group in optimizer.param_groups:
            group["lr"] = optimizer.defaults["lr"] * rate_fraction(algo, step)  # a critic may have a rate of its own
        optimizer.step()
    clear(optimizers)
    return float(norm)


def clear(optimizers: Optimizers) -> None:
    """Clear the gradients."""
    for optimizer in optimizers.values():
        optimizer.zero_grad(set_to_none=True)


def forget(optimizers: Optimizers) -> None:
    """Drop moments and step counts, in place: the next step is as the first of new optimizers."""
    for optimizer in optimizers.values():
        optimizer.state.clear()
