"""A training run that people judge for is killed again and again: nothing confirmed is lost, nothing is saved twice."""

import http.client
import random
import re
import threading
import time
from collections import Counter

import pytest

pytest.importorskip("starlette")
from rlnlp.feedback.store import Store
from rlnlp.feedback.web.guard import sha256_of
from support.forked import Started
from support.killed_page import TOKEN, free_port
from support.page import Served
from support.people_runs import PATIENCE, Process, facts, words
from support.terminal import Terminal

ASKED = 24  # comparisons in each of two rounds


def check(run, path, confirmed):
    """The run is done, and every judgement that was confirmed was saved once."""
    assert facts(run)["status"] == "done"
    with Store(path, create=False) as store:
        found = store.judgements()
        assert store.tables.read("PRAGMA integrity_check") == [("ok",)]
        assert store.wanted() == 0
        assert len(found) == 2 * ASKED
        assert set(Counter(j.item for j in found).values()) == {1}
        assert confirmed <= {j.request for j in found} if isinstance(confirmed, set) else confirmed <= len(found)


def storm(begin, kills, seed):
    """Start the run, kill it when it has begun to ask or before, and start it again; at last let it come to its end.

    ``begin(number)`` is a block with the process, in which people are at work until it ends.
    """
    chance, at_work = random.Random(seed), 0
    for number in range(kills + 1):
        with begin(number) as process:
            if number < kills:
                process.asked(chance.random() < 0.8)
                time.sleep(chance.uniform(0, 0.4))
                at_work += process.process.poll() is None
                process.process.kill()
            else:
                assert process.end() == 0, process.text
    assert at_work > kills / 2


class Page(Process):
    """A run with a page; what is asked there is answered by someone who knows nothing of kills."""

    def __init__(self, words, cwd, judge):
        super().__init__(words, cwd)
        self.judge = judge

    def asked(self, wait: bool) -> None:
        before, end = len(self.judge.confirmed), time.monotonic() + PATIENCE
        while wait and len(self.judge.confirmed) == before and self.process.poll() is None:
            assert time.monotonic() < end, self.text
            time.sleep(0.01)


class Judge:
    """As the page does: a request without an answer is sent again under the same name."""

    def __init__(self, port):
        self.page, self.confirmed, self.done = Served(port, {"ann": f"http://127.0.0.1/?token={TOKEN}"}), set(), False
        self.thread = threading.Thread(target=self.work, daemon=True)

    def ask(self, where, body):
        while not self.done:
            try:
                status, _, value = self.page.ask("ann", where, body)
            except (OSError, http.client.HTTPException):
                time.sleep(0.02)
                continue
            if status in (200, 409):
                return status, value
        return 0, {"question": None}

    def work(self):
        number, value = 0, {"question": None}
        while not self.done:
            time.sleep(0.03)
            if value["question"] is None:
                value = self.ask("/question", {})[1]
                continue
            number += 1
            request = f"request-{number}"
            status, value = self.ask("/judge", self.page.answer_of(value["question"], "left", request))
            if status == 200:
                self.confirmed.add(request)


def by_page(tmp_path, kills, seed):
    run, path, port = tmp_path / "run", tmp_path / "set.sqlite", free_port()
    with Store(path, repeated=0) as store:
        store.link(store.annotator("ann"), sha256_of(TOKEN))
    judge = Judge(port)
    judge.thread.start()
    asked = words(tmp_path, run, "web", "annotator.names=[ann]", f"annotator.port={port}", f"data.feedback={path}",
                  f"annotator.comparisons_per_round={ASKED}")  # fmt: skip

    def begin(number):
        again = (run / "config.yaml").exists()
        return Page(["resume", run] if again else asked, tmp_path, judge)

    storm(begin, kills, seed)
    judge.done = True
    judge.thread.join(30)
    check(run, path, judge.confirmed)


class Person(Terminal):
    """A run at a terminal; whoever sits there answers what is asked, and knows what was confirmed."""

    def __init__(self, words, cwd, confirmed):
        super().__init__(words, cwd, patience=PATIENCE, start=Started)
        self.confirmed = confirmed

    def asked(self, wait: bool) -> None:
        if not wait:
            return
        self.until(r"(\d+) answered|saved every|history.png", 0)
        for _ in range(4):
            found = re.findall(r"(\d+) answered", self.text)
            if not found:
                return
            self.confirmed[0] = max(self.confirmed[0], int(found[-1]))
            self.answer("1", rf"\b{int(found[-1]) + 1} answered|\$|step")

    def end(self):
        end = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < end, self.text[-2000:]
            self.press("1")
            self._read()
        return self.process.wait()


def by_terminal(tmp_path, kills, seed):
    run, confirmed = tmp_path / "run", [0]
    asked = words(tmp_path, run, "terminal", "annotator.names=[ann]", f"annotator.comparisons_per_round={ASKED}")

    def begin(number):
        return Person(["resume", run] if (run / "config.yaml").exists() else asked, tmp_path, confirmed)

    storm(begin, kills, seed)
    check(run, run / "feedback.sqlite", confirmed[0])


@pytest.mark.slow
def test_nothing_confirmed_on_the_page_is_lost_over_8_kills_of_the_run(tmp_path):
    by_page(tmp_path, 8, 1)


@pytest.mark.slow
def test_nothing_confirmed_at_the_terminal_is_lost_over_7_kills_of_the_run(tmp_path):
    by_terminal(tmp_path, 7, 2)


@pytest.mark.nightly
def test_nothing_confirmed_is_lost_over_120_kills_of_runs(tmp_path):
    for number in range(6):
        (tmp_path / f"{number}").mkdir()
        (by_page if number % 2 else by_terminal)(tmp_path / f"{number}", 20, 10 + number)
