"""Pairs to fit a reward model to: the better answer of each has more of one half of the words than of the other."""

import json
import random
from dataclasses import dataclass
from pathlib import Path

from workload import made, tokenizer

HELDOUT = 64


@dataclass(frozen=True)
class Pairs:
    """``batch`` pairs a step, for the model of workload ``model``; prompts of ``shortest`` to ``longest`` tokens."""

    model: str
    batch: int
    shortest: int
    longest: int
    answer: int
    rate: float
    count: int = 1024


# S and T as for the other benches; P has long prompts, as dialogues do.
PAIRS = {
    "S": Pairs("S", 8, 20, 24, 24, 2e-5),
    "T": Pairs("T", 64, 12, 12, 24, 1e-3),
    "P": Pairs("S", 8, 120, 136, 32, 2e-5),
}


def made_pairs(place: Path, name: str, smollm2: Path | None) -> tuple[Path, Path]:
    """The folder of the model, and that of pairs.jsonl and heldout.jsonl; made if they are not there."""
    work = PAIRS[name]
    model, folder = made(place, work.model, smollm2) / "policy", place / f"pairs-{name}"
    if not (folder / "heldout.jsonl").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        rows = [json.dumps(row) + "\n" for row in _rows(work, model)]
        (folder / "pairs.jsonl").write_text("".join(rows[HELDOUT:]))
        (folder / "heldout.jsonl").write_text("".join(rows[:HELDOUT]))
    return model, folder


def _rows(work: Pairs, model: Path) -> list[dict[str, str]]:
    words = tokenizer(model)
    plain = sorted(word for word in words.get_vocab() if word.lstrip("Ġ").isascii() and word.lstrip("Ġ").isalnum())
    spaced = [word for word in plain if word.startswith("Ġ") and len(word) > 4] or plain
    pool = [word.lstrip("Ġ") for word in spaced]
    rng = random.Random(0)
    liked, others = pool[::2], pool[1::2]

    def text(length: int, share: float) -> str:
        return " ".join(rng.choice(liked if rng.random() < share else others) for _ in range(length))

    return [
        {
            "prompt": text(rng.randint(work.shortest, work.longest), 0.5),
            "chosen": " " + text(work.answer, 0.7),
            "rejected": " " + text(work.answer, 0.3),
        }
        for _ in range(work.count + HELDOUT)
    ]


if __name__ == "__main__":
    import sys

    made_pairs(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]) if len(sys.argv) > 3 else None)
