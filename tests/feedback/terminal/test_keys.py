"""Keys and screens in a pseudo-terminal of this process: what each key means, what is drawn, what is restored."""

import os
import pty
import sys
import termios
import threading
import time

import pytest

from rlnlp.feedback.records import BETTER, SKIPPED, TIE, Item, NewItem, Progress, Question, Verdict
from rlnlp.feedback.store import Store
from rlnlp.feedback.terminal import screen as screen_module
from rlnlp.feedback.terminal.collect import TerminalAnnotator, meaning
from rlnlp.feedback.terminal.keys import Keys
from rlnlp.feedback.terminal.screen import Screen

PAIR = Question(Item("q", ("good", "bad")), (1, 0), 0)  # shown the other way round
ONE = Question(Item("q", ("good",)), (0,), 0)


@pytest.fixture
def terminal(monkeypatch):
    """Standard input is a terminal; its other end."""
    master, slave = pty.openpty()
    with os.fdopen(slave, "rb", buffering=0) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield master
    os.close(master)


def mode(stdin):
    return termios.tcgetattr(stdin.fileno())


@pytest.mark.parametrize(("key", "preference"), [("1", 1), ("left", 1), ("2", 0), ("right", 0), ("=", TIE)])
def test_a_key_means_the_side_on_the_screen(key, preference):
    assert meaning(key, PAIR, 0.5).verdict == Verdict(BETTER, preference, confidence=0.5)


def test_other_keys_mean_nothing_or_a_rating():
    assert [meaning(key, PAIR, None) for key in ("3", "0", "x", "up", "q", "")] == [None] * 6
    assert meaning("s", PAIR, None).verdict == meaning("s", ONE, None).verdict == Verdict(SKIPPED)
    assert [meaning(key, ONE, None).verdict.rating for key in "1290"] == [1, 2, 9, 10]
    assert [meaning(key, ONE, None) for key in ("=", "left", "é")] == [None] * 3


@pytest.mark.parametrize(("typed", "key"), [
    (b"1", "1"), (b"\x1b[D", "left"), (b"\x1bOC", "right"), (b"\x1b[6~", "page down"), (b" ", "page down"),
    (b"\x04", "end"), (b"\x1b", "\x1b"), (b"\x1b[Z", "\x1b[Z"),
])  # fmt: skip
def test_keys_count_at_once_and_the_mode_is_restored(terminal, typed, key):
    before = mode(sys.stdin)
    with Keys() as keys:
        assert mode(sys.stdin) != before
        os.write(terminal, typed)
        assert keys.wait() == key
    assert mode(sys.stdin) == before
    with pytest.raises(ZeroDivisionError), Keys():
        raise ZeroDivisionError
    assert mode(sys.stdin) == before


def test_a_terminal_that_has_gone_is_an_end(monkeypatch):
    master, slave = pty.openpty()
    with os.fdopen(slave, "rb", buffering=0) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with Keys() as keys:
            os.close(master)
            assert keys.wait() == "end"


def test_what_was_typed_before_the_question_is_no_answer_and_quitting_gives_back_what_was_shown(
    terminal, tmp_path, capsys, monkeypatch
):
    shown = threading.Event()
    draw = Screen.show

    def show(self, *args):
        draw(self, *args)
        shown.set()

    monkeypatch.setattr(Screen, "show", show)
    with Store(tmp_path / "set.sqlite", 3, repeated=0) as store:
        store.add([NewItem("q", ("a", "b")) for _ in range(3)])
        os.write(terminal, b"11")

        def type_later():
            for key in (b"2", b"u", b"=", b"q"):
                assert shown.wait(20)
                shown.clear()
                os.write(terminal, key)

        begin = Keys.__enter__

        def enter(self):
            begin(self)
            os.write(terminal, b"1")
            time.sleep(0.05)
            return self

        monkeypatch.setattr(Keys, "__enter__", enter)
        thread = threading.Thread(target=type_later)
        thread.start()
        annotator = TerminalAnnotator("ann")
        annotator.collect(store, lambda: False)
        thread.join()
        said = [j.verdict for j in store.judgements()]
        assert [v.kind for v in said] == ["better", "undone", "better"]
        assert said[0].preference == store.question(store.annotator("ann"), 1).order[1]
        assert said[2].preference == TIE
        assert store.tables.read("SELECT count(*) FROM leases") == [(0,)]


@pytest.mark.parametrize(("columns", "beside"), [(120, True), (89, False), (5, False)])
def test_responses_stand_side_by_side_where_there_is_room_and_are_text(capsys, monkeypatch, columns, beside):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(screen_module, "_size", lambda: (columns, 60))
    question = Question(Item("q", ("[bold]good[/]", "bad\x1b[2J")), (0, 1), 0)
    Screen("Be [i]kind[/i].").show(question, Progress(3, 1, 7), 2, "saved")
    out = capsys.readouterr().out
    drawn = out.removeprefix("\x1b[H\x1b[2J")
    assert drawn != out
    assert "\x1b[2J" not in drawn
    if columns > 20:
        assert drawn.startswith("Be [i]kind[/i].")
        assert "[bold]good[/]" in drawn
        assert "4 answered, 7 left   fairly sure   saved" in drawn
        (line,) = [line for line in drawn.split("\n") if "good" in line]
        assert ("bad\\x1b[2J" in line) == beside


def test_a_text_that_is_longer_than_the_window_is_moved_through(capsys, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(screen_module, "_size", lambda: (40, 15))
    question = Question(Item("q", ("\n".join(f"line {i}" for i in range(50)), "last")), (0, 1), 0)
    screen = Screen()
    seen = ""
    for _ in range(20):
        screen.show(question, Progress(0, 0, 1), 0, "")
        out = capsys.readouterr().out
        assert out.count("\n") <= 14
        seen += out
        assert screen.turn("page down")
    assert all(f"line {i} " in seen for i in range(50))
    assert "last" in seen
    assert not screen.turn("x")
    for _ in range(20):
        screen.turn("page up")
    assert screen.offset == 0
