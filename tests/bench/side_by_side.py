"""Tools that do the same work, each in a process of its own, in alternating order; ratios round by round."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from workload import CACHE, WORKLOADS

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TICKS = os.sysconf("SC_CLK_TCK")
NOISY = 0.3  # cores that others took while a process ran
FLOAT32 = "device.dtype=float32"


@dataclass(frozen=True)
class Measured:
    """One process: seconds of each step after the warm-up, tokens per response, peak memory, what others took."""

    steps: list[float]
    tokens: float
    megabytes: float
    others: float
    effective: str

    @property
    def seconds(self) -> float:
        """Of one step."""
        return statistics.median(self.steps)


Tool = Callable[[], Measured]


def options(about: str, workloads: Sequence[str] = tuple(sorted(WORKLOADS))) -> argparse.ArgumentParser:
    """What every bench takes."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--peer-python", default=sys.executable, help="an interpreter that has trl==1.9.2 and datasets")
    parser.add_argument("--workload", choices=workloads, default="T")
    parser.add_argument("--models", type=Path, default=CACHE, help="where the workloads' models are kept")
    parser.add_argument("--smollm2", type=Path, help="SmolLM2-135M-Instruct.Q4_1.gguf, to make workload S of")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6, help="of each process, the warm-up included")
    parser.add_argument("--warm-up", type=int, default=1, help="steps that are not counted")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="memory is that of this device")
    parser.add_argument("--only", help="the names of some tools, with commas")
    return parser


def folder(a: argparse.Namespace) -> Path:
    """Where the workload's models and prompts are; made in a process of its own."""
    words = [str(a.models), a.workload, *([str(a.smollm2)] if a.smollm2 else [])]
    if not (a.models / a.workload / "prompts.jsonl").is_file():
        subprocess.run([a.peer_python, HERE / "workload.py", *words], check=True, stderr=subprocess.DEVNULL)
    return a.models / a.workload


def peer(a: argparse.Namespace, algo: str, attention: str, matmul: str, *flags: str) -> Tool:
    """A trainer of TRL with the given switches."""
    command = [
        a.peer_python, str(HERE / "peer_trl.py"), algo, str(folder(a)), "--workload", a.workload, "--steps",
        str(a.steps), "--threads", str(a.threads), "--device", a.device, "--attention", attention, "--matmul", matmul,
        *flags,
    ]  # fmt: skip

    def run() -> Measured:
        out, megabytes, others = finished(command, a.threads)
        said = json.loads([line for line in out.splitlines() if line.startswith("JSON ")][-1][5:])
        live = ", ".join(f"{name} {value}" for name, value in said["effective"].items())
        held = said["megabytes"] or megabytes
        return Measured(said["seconds"][a.warm_up :], said["tokens"], held, others, f"{said['version']}: {live}")

    return run


def ours(a: argparse.Namespace, *settings: str) -> Tool:
    """`rlnlp train` with the given settings; in float32 if they do not say otherwise."""
    settings = settings if any(word.startswith("device.dtype=") for word in settings) else (*settings, FLOAT32)

    def run() -> Measured:
        with tempfile.TemporaryDirectory() as place:
            command = [
                sys.executable, "-m", "rlnlp", "train", *settings, f"hydra.run.dir={place}/run",
                f"device={a.device}", f"device.threads={a.threads}", f"algo.total_steps={a.steps}",
                "samples.every=0", "checkpoint.every=0",
                "heldout.every=0",  # a peer does not measure on the way either
            ]  # fmt: skip
            _, megabytes, others = finished(command, a.threads)
            facts = json.loads((Path(place) / "run" / "run.json").read_text())
            megabytes = facts["peak_memory_bytes"]["cuda"] / 2**20 if a.device == "cuda" else megabytes
            timing, metrics = (rows(Path(place) / "run" / f"{name}.jsonl") for name in ("timing", "metrics"))
        tokens = statistics.mean(row["response_tokens"] for row in metrics)
        return Measured([row["seconds"] for row in timing][a.warm_up :], tokens, megabytes, others, " ".join(settings))

    return run


def rows(path: Path) -> list[dict]:
    """The records of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def finished(command: list[str], threads: int) -> tuple[str, float, float]:
    """What the process printed, its peak memory in MB, and how many cores others took meanwhile."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(threads)}
    busy, begun = busy_seconds(), time.perf_counter()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen([str(word) for word in command], stdout=out, stderr=errors, env=env)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), errors.seek(0)
        if status:
            raise SystemExit(f"{' '.join(map(str, command))}\nfailed:\n{errors.read()[-2000:]}")
        own = used.ru_utime + used.ru_stime
        others = (busy_seconds() - busy - own) / (time.perf_counter() - begun)
        return out.read(), used.ru_maxrss / 1024, max(0.0, others)


def busy_seconds() -> float:
    """CPU seconds that the machine has worked since it started."""
    times = [int(word) for word in Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
    return (times[0] + times[1] + times[2] + times[5] + times[6] + times[7]) / TICKS


def alternated(tools: dict[str, Tool], rounds: int) -> dict[str, list[Measured]]:
    """Every tool once a round; each second round in the other order, so that a drift of the machine hits all alike."""
    found: dict[str, list[Measured]] = {name: [] for name in tools}
    for number in range(rounds):
        for name in list(tools)[:: 1 if number % 2 == 0 else -1]:
            m = tools[name]()
            found[name].append(m)
            print(f"  {number + 1} {name:15s} {m.seconds:.3f} s, {m.megabytes:.0f} MB, others {m.others:.2f} cores")
    return found


def table(found: dict[str, list[Measured]], batch: int, floor: dict[str, float]) -> None:
    """Medians over the rounds; ``floor`` holds the least seconds of a step, by tool, where they are known."""
    for name, runs in found.items():
        seconds = statistics.median(m.seconds for m in runs)
        share = f", {floor[name] / seconds:.0%} of the floor's speed" if floor.get(name) else ""
        noise = sum(m.others > NOISY for m in runs)
        print(
            f"{name:15s} {seconds:8.3f} s a step, {batch / seconds:7.2f} episodes/s, {peak(runs):6.0f} MB,"
            f" {runs[0].tokens:.1f} tokens a response{share}{f', {noise} noisy rounds' if noise else ''}"
        )
    for name, runs in found.items():
        print(f"{name}: {runs[0].effective}")


def ratios(ours: list[Measured], theirs: list[Measured]) -> tuple[float, float, float]:
    """How many times faster ours is: the median over the rounds, the least, the most."""
    each = [b.seconds / a.seconds for a, b in zip(ours, theirs, strict=True)]
    return statistics.median(each), min(each), max(each)


def verdict(found: dict[str, list[Measured]], name: str, rivals: list[str], needed: float) -> None:
    """Ours against the fastest of the rivals."""
    there = [rival for rival in rivals if rival in found]
    if name not in found or not there:
        return
    best = min(there, key=lambda rival: statistics.median(m.seconds for m in found[rival]))
    middle, low, high = ratios(found[name], found[best])
    memory = peak(found[name]) / peak(found[best])
    print(
        f"{name} against {best}: {middle:.2f} x [{low:.2f} to {high:.2f}] the episodes/s (needed {needed}),"
        f" {memory:.2f} of its memory"
    )


def peak(runs: list[Measured]) -> float:
    """Median over the rounds, MB."""
    return statistics.median(m.megabytes for m in runs)


def floors(a: argparse.Namespace, dtype: str) -> dict[str, float]:
    """The least seconds of a step on this machine's CPU, by algorithm; 0 for what computes elsewhere."""
    if a.device != "cpu":
        return defaultdict(float)
    out, _, _ = finished(
        [sys.executable, str(HERE / "floor.py"), str(folder(a)), a.workload, str(a.threads), dtype], a.threads
    )
    return json.loads(out.splitlines()[-1][5:])
