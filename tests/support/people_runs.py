"""Small runs of RLHF that people judge for, in processes of their own."""

import json
import re
import signal
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from support import forked, runs, small
from support.page import Served

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
    """``rlnlp`` with ``words``, forked; what it prints is there as it comes."""

    def __init__(self, words, cwd):
        self.place = tempfile.TemporaryDirectory()
        streams = [Path(self.place.name) / name for name in ("in", "out", "err")]
        streams[0].touch()
        self.printed = streams[1:]
        self.process = forked.Started(words, cwd, tuple(streams))

    @property
    def text(self) -> str:
        return "".join(path.read_text() for path in self.printed if path.exists())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.place.cleanup()

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
        return self.process.wait(PATIENCE)

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
