"""Small runs of RLHF that people judge for, in processes of their own."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from urllib.parse import urlsplit

from support import runs, small
from support.page import Served
from support.small import ROOT

ROUND = 6  # comparisons, of two rounds
PATIENCE = 120.0  # seconds for something to be printed


def words(place, directory, annotator, *more):
    """The command of a run of two rounds on a model of a few thousand weights."""
    runs.words("ppo", place)  # makes the model
    data = place / "prompts.jsonl"
    if not data.exists():
        small.write_prompts(data, 24)
    return [
        "rlhf", f"hydra.run.dir={directory}", f"model.path={place / 'model'}", f"data.prompts={data}",
        f"annotator={annotator}", "algo.rounds=2", "algo.prompts_per_round=12", "algo.num_generations=4",
        "algo.reward_model.total_steps=2", "algo.reward_model.batch_size=4", "algo.policy.total_steps=2",
        "algo.policy.batch_size=4", "algo.policy.num_generations=2", "algo.policy.mini_batch_size=8",
        "sampler.max_new_tokens=5", "heldout.size=2", "heldout.every=0", "checkpoint.every=1", "samples.show=0",
        "device=cpu", f"annotator.comparisons_per_round={ROUND}", "annotator.ratings_per_round=0",
        "annotator.repeat_fraction=0", *more,
    ]  # fmt: skip


class Process:
    """``rlnlp`` with ``words``; what it prints is kept as it comes."""

    def __init__(self, words, cwd):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rlnlp", *map(str, words)], cwd=cwd, env=environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.text = ""
        self.reading = threading.Thread(target=self._read, daemon=True)
        self.reading.start()

    def _read(self):
        for line in self.process.stdout:
            self.text += line

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.reading.join()
        self.process.stdout.close()

    def until(self, pattern: str):
        """Wait until this was printed; the match."""
        end = time.monotonic() + PATIENCE
        while not (found := re.search(pattern, self.text)):
            assert time.monotonic() < end, self.text
            assert self.process.poll() is None, self.text
            time.sleep(0.05)
        return found

    def page(self, *names: str) -> Served:
        """The page that is served, once its links were printed."""
        links = {name: self.until(rf"{name}: (http://\S+)")[1] for name in names}
        return Served(urlsplit(links[names[0]]).port, links)

    def end(self) -> int:
        status = self.process.wait(PATIENCE)
        self.reading.join()
        return status

    def stop(self, number=signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.end()


def facts(directory):
    return json.loads((directory / "run.json").read_text())


def answer(page: Served, name: str, value, number: int, said: str = "left"):
    """Answer the question in what the page was told; what it is told then."""
    status, _, told = page.ask(name, "/judge", page.answer_of(value["question"], said, f"{name}-request-{number}"))
    assert status == 200, told
    return told
