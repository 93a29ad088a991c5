"""Whoever judges in a terminal is killed: nothing confirmed is lost, nothing is saved twice."""

import re
import time

import pytest

from rlnlp.feedback.records import NewItem
from rlnlp.feedback.store import Store
from support.terminal import Terminal


def check_kills(tmp_path, kills):
    """Each time: some answers, of which the last is confirmed or not when the process is killed."""
    path, confirmed = tmp_path / "set.sqlite", 0
    with Store(path, repeated=0) as store:
        store.add(NewItem(f"question {i}", ("a", "b")) for i in range(4 * kills))
    for number in range(kills):
        with Terminal(["feedback", path, "--annotator", "ann", "--repeat", "0"], tmp_path) as terminal:
            found = terminal.until(r"(\d+) answered", 0)
            begun = int(re.search(r"(\d+) answered", found)[1])
            assert confirmed <= begun <= confirmed + 1, "what was confirmed is there, and at most the answer after it"
            confirmed = begun
            for i in range(number % 3):
                terminal.answer("1", rf"{begun + i + 1} answered")
                confirmed = begun + i + 1
            terminal.press("2")
            time.sleep((number * 7 % 13) / 1000)
            terminal.kill()
            terminal.process.wait()
    with Store(path) as store:
        found = store.judgements()
        assert confirmed <= len(found) <= confirmed + 1
        assert [j.item for j in found] == list(range(1, len(found) + 1)), "each once, none left out"
        assert store.tables.read("PRAGMA integrity_check") == [("ok",)]


@pytest.mark.slow
def test_nothing_confirmed_is_lost_over_15_kills(tmp_path):
    check_kills(tmp_path, 15)


@pytest.mark.nightly
def test_nothing_confirmed_is_lost_over_250_kills(tmp_path):
    check_kills(tmp_path, 250)
