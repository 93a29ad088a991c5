"""Seconds to a mean score of .85: RLOO of TRL and our REINFORCE on a story model of 260,000 weights, same settings.

``python tests/bench/stories.py --peer-python PYTHON --model DIR``. The reward is VADER's compound score of a story of
40 tokens, 16 stories to each of 4 beginnings a step; learning rate 1e-3, KL price 0.05. The mean is of five steps in a
row. Alternating processes, a seed a round.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BEGINNINGS = [
    "Once upon a time, there was a", "One day, a boy named Tim", "Lily and her mom went to", "There was a big dog who",
]  # fmt: skip
GROUP, NEW, RATE, KL_COEF, WANTED, WINDOW = 16, 40, 1e-3, 0.05, 0.85, 5


@cache
def analyzer():
    """VADER, whose word list is read once."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()


def compound(completions, **_):
    """VADER's compound score of each text."""
    return [analyzer().polarity_scores(text)["compound"] for text in completions]


def main() -> None:
    """Both on each seed, in alternating order."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-python", default=sys.executable, help="an interpreter that has trl and vaderSentiment")
    parser.add_argument("--model", type=Path, required=True, help="a folder with the story model")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60, help="at most")
    parser.add_argument("--attention", default="sdpa", help="of TRL")
    parser.add_argument("--side", choices=["both", "trl"], default="both")
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    if a.side == "trl":
        print("JSON " + json.dumps(trl(a)))
        return
    ratios, steps = [], []
    for seed in range(a.rounds):
        sides = {"trl": peer, "rlnlp": ours}
        found = {name: sides[name](a, seed) for name in list(sides)[:: 1 if seed % 2 == 0 else -1]}
        reached = {name: seconds_to(rows) for name, rows in found.items()}
        each = {name: statistics.median(s for s, _ in rows[1:]) for name, rows in found.items()}
        print(f"seed {seed}: " + "; ".join(
            f"{name} {reached[name][0]:.2f} s, {reached[name][1]} steps, {each[name]:.3f} s a step" for name in sides
        ), flush=True)  # fmt: skip
        ratios.append(reached["trl"][0] / reached["rlnlp"][0])
        steps.append(each["trl"] / each["rlnlp"])
    for what, those in (("seconds to .85", ratios), ("seconds a step", steps)):
        print(f"{what}: {statistics.median(those):.2f} x [{min(those):.2f} to {max(those):.2f}] (needed 2.5 in all)")


def seconds_to(rows: list[tuple[float, float]]) -> tuple[float, int]:
    """Seconds and steps until the mean score of the last steps is as wanted; ``rows`` are seconds and score of each."""
    for count in range(WINDOW, len(rows) + 1):
        if statistics.mean(score for _, score in rows[count - WINDOW : count]) >= WANTED:
            return sum(seconds for seconds, _ in rows[:count]), count
    return float("inf"), len(rows)


def ours(a: argparse.Namespace, seed: int) -> list[tuple[float, float]]:
    """Seconds and score of each step of ``rlnlp train``."""
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "prompts.txt").write_text("\n".join(BEGINNINGS))
        words = [
            "algo=reinforce", "algo.baseline=leave-one-out", f"model.path={a.model.resolve()}",
            "data.prompts=prompts.txt", "heldout.size=1", "heldout.every=0", "~reward.terms",
            f"+reward.terms={{vader: {{fn: '{Path(__file__).resolve()}:compound'}}}}",
            f"algo.batch_size={len(BEGINNINGS)}", f"algo.num_generations={GROUP}", f"algo.micro_batch_size={4 * GROUP}",
            f"sampler.max_new_tokens={NEW}", f"sampler.min_new_tokens={NEW}", f"algo.learning_rate={RATE}",
            f"algo.kl_coef={KL_COEF}", f"algo.total_steps={a.steps}", "samples.every=0", "checkpoint.every=0",
            "device=cpu", f"seed={seed}", "hydra.run.dir=run",
        ]  # fmt: skip
        run([sys.executable, "-m", "rlnlp", "train", *words], place)
        timing, metrics = (
            [json.loads(line) for line in (Path(place) / "run" / f"{name}.jsonl").read_text().splitlines()]
            for name in ("timing", "metrics")
        )
    scores = {row["step"]: row["score"] for row in metrics if "score" in row}
    return [(row["seconds"], scores[row["step"]]) for row in timing if row["step"] in scores]


def peer(a: argparse.Namespace, seed: int) -> list[tuple[float, float]]:
    """The same of TRL."""
    words = [a.peer_python, __file__, "--side", "trl", "--model", a.model.resolve(), "--seed", str(seed)]
    with tempfile.TemporaryDirectory() as place:
        out = run([*map(str, words), "--steps", str(a.steps), "--attention", a.attention], place)
    return json.loads([line for line in out.splitlines() if line.startswith("JSON ")][-1][5:])


def run(command: list[str], place: str) -> str:
    """What a command prints."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=place, env=env)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return done.stdout


def trl(a: argparse.Namespace) -> list[tuple[float, float]]:
    """RLOOTrainer with the same settings."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "ACCELERATE_MIXED_PRECISION": "no", "TRL_EXPERIMENTAL_SILENCE": "1"}
    import torch
    from datasets import Dataset
    from transformers import AutoTokenizer, TrainerCallback
    from trl import RLOOConfig, RLOOTrainer

    torch.set_num_threads(1)
    words = AutoTokenizer.from_pretrained(a.model, padding_side="left")
    words.pad_token = words.pad_token or words.eos_token
    ticks, scores = [], []

    def scored(completions, **named):
        values = compound(completions)
        scores.append(statistics.mean(values))
        return values

    class Tick(TrainerCallback):
        def on_step_end(self, *seen, **named):
            ticks.append(time.perf_counter())

    config = RLOOConfig(
        output_dir=tempfile.mkdtemp(), report_to="none", save_strategy="no", logging_strategy="no", disable_tqdm=True,
        use_cpu=True, seed=a.seed, learning_rate=RATE, lr_scheduler_type="constant", beta=KL_COEF, temperature=1.0,
        top_k=0, top_p=1.0, per_device_train_batch_size=4 * GROUP, num_generations=GROUP, max_steps=a.steps,
        max_completion_length=NEW, generation_kwargs={"min_new_tokens": NEW}, num_iterations=1, bf16=False,
        steps_per_generation=1, gradient_accumulation_steps=1, gradient_checkpointing=False, shuffle_dataset=False,
        model_init_kwargs={"dtype": "float32", "attn_implementation": a.attention},
    )  # fmt: skip
    trainer = RLOOTrainer(
        model=str(a.model), args=config, reward_funcs=scored, processing_class=words,
        train_dataset=Dataset.from_dict({"prompt": BEGINNINGS * a.steps}), callbacks=[Tick()],
    )  # fmt: skip
    ticks.append(time.perf_counter())
    trainer.train()
    return [(after - before, score) for before, after, score in zip(ticks, ticks[1:], scores, strict=False)]


if __name__ == "__main__":
    main()
