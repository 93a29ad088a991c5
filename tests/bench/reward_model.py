"""TRL's RewardTrainer (1.16 is the newest) and our reward models on workloads S, T and P.

``python tests/bench/reward_model.py --peer-python PYTHON --workload P``. P has prompts of about 128 tokens and answers
of 32. Every process trains alone on the machine; ``--cpu`` counts seconds of the processor instead, for a machine that
has other work. ``--accuracy`` compares held-out accuracy after ``--steps`` steps.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import side_by_side as bench
from pairs import PAIRS

NEEDED = {"S": 1.2, "T": 1.3, "P": 1.5}


def main() -> None:
    """Measure, and tell each ratio with what is asked of it."""
    parser = bench.options(__doc__, sorted(PAIRS))
    parser.add_argument("--cpu", action="store_true", help="seconds of the processor, from two runs of each tool")
    parser.add_argument("--accuracy", action="store_true", help="held-out accuracy after the steps")
    a = parser.parse_args()
    print(f"workload {a.workload}, {a.threads} threads, {a.rounds} rounds of {a.steps} steps")
    found = bench.alternated(tools(a), a.rounds)
    bench.table(found, PAIRS[a.workload].batch, {})
    peers = [name for name in found if name.startswith("trl")]
    fastest = min((name for name in found if name not in peers), key=lambda name: _seconds(found[name]))
    bench.verdict(found, fastest, peers, NEEDED[a.workload])
    bench.verdict(found, "float32", ["trl-plain", "trl-tuned"], NEEDED[a.workload])
    bench.verdict(found, "bfloat16", ["trl-bf16", "trl-default"], NEEDED[a.workload])


def tools(a: argparse.Namespace) -> dict[str, bench.Tool]:
    """TRL's configurations and ours, by name; ``trl-default`` is what its own defaults are."""
    every = {
        "trl-default": peer(a, "sdpa", "highest", "--bf16", "--recompute"),
        "trl-plain": peer(a, "sdpa", "highest"),
        "trl-tuned": peer(a, "eager", "highest"),
        "trl-bf16": peer(a, "eager", "highest", "--bf16"),
        "float32": ours(a),
        "bfloat16": ours(a, "device.dtype=bfloat16"),
    }
    return {name: every[name] for name in (a.only.split(",") if a.only else every)}


def folders(a: argparse.Namespace) -> tuple[Path, Path]:
    """The model and the pairs, made in a process of its own."""
    place = a.models / f"pairs-{a.workload}"
    if not (place / "heldout.jsonl").is_file():
        words = [str(a.models), a.workload, *([str(a.smollm2)] if a.smollm2 else [])]
        subprocess.run([a.peer_python, bench.HERE / "pairs.py", *words], check=True, stderr=subprocess.DEVNULL)
    return a.models / PAIRS[a.workload].model / "policy", place


def peer(a: argparse.Namespace, attention: str, matmul: str, *flags: str) -> bench.Tool:
    """TRL's trainer with the given switches."""
    model, data = folders(a)

    def run(steps: int) -> tuple[list[float], float, str]:
        command = [
            a.peer_python, str(bench.HERE / "peer_reward.py"), str(model), str(data), "--workload", a.workload,
            "--steps", str(steps), "--threads", str(a.threads), "--attention", attention, "--matmul", matmul, *flags,
            *(["--accuracy"] if a.accuracy else []),
        ]  # fmt: skip
        out, megabytes, _ = bench.finished(command, a.threads)
        said = json.loads([line for line in out.splitlines() if line.startswith("JSON ")][-1][5:])
        live = ", ".join(f"{name} {value}" for name, value in said["effective"].items())
        return said["seconds"], megabytes, f"{said['version']}: {live}{told(said['accuracy'])}"

    return lambda: measured(a, run)


def ours(a: argparse.Namespace, *settings: str) -> bench.Tool:
    """`rlnlp train algo=reward-model` with the same work."""
    (model, data), work = folders(a), PAIRS[a.workload]
    given = [
        "algo=reward-model", f"model.path={model}", f"data.preferences={data / 'pairs.jsonl'}",
        f"algo.batch_size={work.batch}", f"algo.micro_batch_size={2 * work.batch}", f"algo.learning_rate={work.rate}",
        "algo.learning_curve=[]", "algo.shuffled_labels=false", "samples.every=0", "checkpoint.every=0",
        f"data.heldout={data / 'heldout.jsonl'}", "device=cpu", f"device.threads={a.threads}", *settings,
    ]  # fmt: skip

    def run(steps: int) -> tuple[list[float], float, str]:
        with tempfile.TemporaryDirectory() as place:
            more = [f"algo.total_steps={steps}", f"hydra.run.dir={place}/run"]
            _, megabytes, _ = bench.finished([sys.executable, "-m", "rlnlp", "train", *given, *more], a.threads)
            seconds = [row["seconds"] for row in bench.rows(Path(place) / "run" / "timing.jsonl")]
            after = json.loads((Path(place) / "run" / "run.json").read_text())["result"]
        return seconds, megabytes, f"{' '.join(settings) or 'float32'}{told(after['accuracy'] if a.accuracy else None)}"

    return lambda: measured(a, run)


def told(accuracy: float | None) -> str:
    """A held-out accuracy, if it was measured."""
    return "" if accuracy is None else f"; held-out accuracy {accuracy:.3f}"


def measured(a: argparse.Namespace, run) -> bench.Measured:
    """A run of a tool; with ``--cpu`` a second one tells what a step costs the processor."""
    begun = processor()
    seconds, megabytes, effective = run(a.steps)
    long = processor() - begun
    if not a.cpu:
        return bench.Measured(seconds[a.warm_up :], PAIRS[a.workload].answer, megabytes, 0.0, effective)
    begun = processor()
    run(a.warm_up)
    each = (long - (processor() - begun)) / (a.steps - a.warm_up)
    return bench.Measured([each], PAIRS[a.workload].answer, megabytes, 0.0, effective)


def processor() -> float:
    """Seconds of the processor that finished processes have taken."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _seconds(runs: list[bench.Measured]) -> float:
    return statistics.median(m.seconds for m in runs)


if __name__ == "__main__":
    main()
