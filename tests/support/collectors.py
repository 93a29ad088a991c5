"""Annotators in processes of their own that answer what a feedback set asks, and say what was confirmed to them."""

import multiprocessing
import os
import random
import signal
from collections.abc import Callable
from multiprocessing.connection import wait
from pathlib import Path

from rlnlp.feedback.records import Stale
from rlnlp.feedback.store import Store

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["rlnlp.feedback.store", "support.killed_page"])


def answer_all(path: Path, name: str, confirmed: str, seed: int) -> None:
    """Answer until nothing is left; write each confirmed judgement to a file, one system call each."""
    chance, log = random.Random(seed), os.open(confirmed, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with Store(path, create=False, repeated=0) as store:
        me = store.annotator(name)
        while question := store.next(me):
            try:
                saved = store.judge(me, question, question.prefers(chance.randrange(2)), chance.random())
            except Stale:  # of a twin of the same name
                continue
            os.write(log, f"{saved.id} {saved.item} {saved.verdict.preference:g}\n".encode())
            if chance.random() < 0.1 and (undone := store.undo(me)):
                os.write(log, f"0 {undone.item.id} undone\n".encode())


def start(path: Path, name: str, confirmed: Path, seed: int):
    """A process that answers."""
    process = CONTEXT.Process(target=answer_all, args=(path, name, str(confirmed), seed))
    process.start()
    return process


def at_once(path: Path, people: int, log: Path) -> None:
    """So many annotators, each in a process of its own, answer everything."""
    processes = [start(path, f"annotator {i}", log / f"{i}", i) for i in range(people)]
    for process in processes:
        process.join(300)
        assert process.exitcode == 0


def killed_until_done(begin: Callable[[int], object], kills: int, longest: float, seed: int) -> int:
    """Start, kill at a random moment, and start again, ``kills`` times; return how many were still at work."""
    chance, at_work = random.Random(seed), 0
    for number in range(kills):
        process = begin(number)
        wait([process.sentinel], chance.uniform(0, longest))
        if process.exitcode is None:
            os.kill(process.pid, signal.SIGKILL)
            at_work += 1
        process.join()
    return at_work


def judged(path: Path) -> tuple[dict[int, tuple[int, float | None]], int]:
    """Every judgement of the set, by its id: item and preference; and how many there are."""
    with Store(path, create=False) as store:
        found = store.judgements()
    assert len({(j.item, j.annotator, j.revision) for j in found}) == len(found)
    assert len({j.request for j in found}) == len(found)
    return {j.id: (j.item, j.verdict.preference) for j in found}, len(found)
