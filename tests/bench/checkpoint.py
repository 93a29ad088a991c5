"""What it costs that a run cannot be lost: ``python tests/bench/checkpoint.py [MIB ...]``, as ratios.

A checkpoint (staged, hashed, synced, renamed) against the plainest save of the same bytes to the same disk, new files
and synced as well; the lines of a step against the step.
"""

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file

from rlnlp.run import checkpoint
from rlnlp.run.checksums import name_of
from rlnlp.run.disk import sync
from rlnlp.run.jsonl import JsonlFile
from rlnlp.run.parts import Part, tensor_files

ROUNDS = 7
SIZES = (8, 64, 256)  # MiB of weights; AdamW's moments are twice that


def parts(mib: int) -> dict[str, Part]:
    """A model of so many MiB of float32 in matrices of one MiB, and its optimizer after a step."""
    model = torch.nn.Sequential(*(torch.nn.Linear(512, 512, bias=False) for _ in range(mib)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    return {"policy": model, "optimizer": optimizer}


def plain(place: Path, held: dict[str, Part]) -> None:
    """The same bytes in two safetensors files, synced so that both ways end with the bytes on the disk."""
    for name, tensors in tensor_files(held).items():
        save_file(tensors, place / name)
        sync(place / name)


def seconds(work: Callable[[], object]) -> float:
    """Wall seconds of ``work``."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def main(sizes: list[int]) -> None:
    """Take the two ways in turn, so that a busy machine slows both; print the median of the rounds' ratios."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        place = Path(folder)
        for mib in sizes:
            held, ratios, ours = parts(mib), [], []
            for name in ("ours", "plain"):
                (place / name).mkdir(exist_ok=True)
            for step in range(ROUNDS + 1):
                (place / "plain" / str(step)).mkdir()
                alone = seconds(lambda held=held, step=step: plain(place / "plain" / str(step), held))
                shutil.rmtree(place / "plain" / str(step - 1), ignore_errors=True)
                taken = seconds(lambda held=held, step=step: checkpoint.save(place / "ours", step, held, {}))
                checkpoint.retain(place / "ours", 1, best=None, verified={name_of(step)})
                if step:  # the first round takes memory from the machine for the first time
                    ratios.append(taken / alone)
                    ours.append(taken)
            shutil.rmtree(place / "plain")
            shutil.rmtree(place / "ours")
            print(
                f"checkpoint of {3 * mib} MiB: {statistics.median(ratios):.2f} x a plain save of the same bytes"
                f" ({min(ratios):.2f} to {max(ratios):.2f}; {statistics.median(ours):.3f} s)"
            )
        lines(place)


def lines(place: Path) -> None:
    """Seconds of a step's two lines; a step of the smallest useful run takes a tenth of a second."""
    metrics, timing = JsonlFile(place / "metrics.jsonl"), JsonlFile(place / "timing.jsonl")
    row = {"step": 1, **{f"figure {i}": 1 / (i + 3) for i in range(20)}}
    count = 2000
    whole = seconds(lambda: [each.append(row) for _ in range(count) for each in (metrics, timing)])
    print(f"the lines of a step: {1e6 * whole / count:.0f} microseconds, {100 * whole / count / 0.1:.3f} % of 0.1 s")


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or list(SIZES))
