"""Judging in a real pseudo-terminal, and in tmux: keys, windows of any size, hostile text, ends of all kinds."""

import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from rlnlp.feedback.records import BETTER, RATED, SKIPPED, TIE, NewItem
from rlnlp.feedback.store import Store
from support.small import ROOT, rlnlp
from support.terminal import Terminal

pytestmark = pytest.mark.slow
HOSTILE = "<script>[bold red]x[/]\x1b[2J\x1b]0;taken\x07 \u202e esrever\x9b31m"
SGR = re.compile(r"\x1b\[[0-9;]*m|\x1b\[H\x1b\[2J")  # colors of our own, and the clearing of the screen


def filled(tmp_path, items):
    path = tmp_path / "set.sqlite"
    with Store(path, 1, repeated=0) as store:
        store.add(items)
    return path


def questions(number):
    return [NewItem(f"question number {i} .", (f"good {i}", f"bad {i}")) for i in range(number)]


def judged(path):
    with Store(path) as store:
        return [(item.id, j.revision, j.verdict) for item, j in store.standing()]


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_twenty_pairs_in_tmux_one_undone_the_window_made_narrow_half_way_quit_and_taken_up(tmp_path):
    path, socket = filled(tmp_path, questions(20)), str(tmp_path / "tmux")

    def tmux(*words):
        done = subprocess.run(
            ["tmux", "-f", "/dev/null", "-S", socket, *words], capture_output=True, text=True, check=True
        )
        return done.stdout

    def shown(pattern):
        for _ in range(300):
            screen = tmux("capture-pane", "-p")
            if re.search(pattern, screen):
                return screen
            time.sleep(0.05)
        raise AssertionError(f"{pattern!r} does not come:\n{screen}")

    command = f"cd {tmp_path}; PYTHONPATH={ROOT} {sys.executable} -m rlnlp feedback {path} --annotator ann --repeat 0"
    tmux("new-session", "-d", "-x", "120", "-y", "30", "sh")
    meant = []
    try:
        for part in ((0, 12), (12, 20)):
            tmux("send-keys", command, "Enter")
            for i in range(*part):
                screen = shown(rf"question number {i} \.(.|\n)*\n{i} answered, {20 - i} left")
                line = next(line for line in screen.split("\n") if "good" in line)
                if i < 6 or i >= 12:
                    assert "bad" in line, "side by side"
                else:
                    assert "bad" not in line, "one above the other"
                good_first = screen.index("good") < screen.index("bad")
                key = ("1", "2", "=", "Left", "Right")[i % 5]
                tmux("send-keys", key)
                meant.append(TIE if key == "=" else float((key in ("1", "Left")) != good_first))
                if i == 5:
                    shown("6 answered")
                    tmux("resize-window", "-x", "70", "-y", "30")
                    shown("6 answered, 14 left")
                if i == 8:
                    shown("9 answered")
                    tmux("send-keys", "u")
                    screen = shown(r"number 8 \.(.|\n)*8 answered, 12 left   undone")
                    tmux("send-keys", "2")
                    meant[8] = float(screen.index("good") < screen.index("bad"))
            if part == (0, 12):
                shown("12 answered, 8 left")
                tmux("send-keys", "q")
                shown(r"12 judgements in(.|\n)*8 wanted; to go on: rlnlp(.|\n)*feedback")
                tmux("send-keys", "clear; echo ready", "Enter")
                shown(r"\A\s*ready")
                tmux("resize-window", "-x", "120", "-y", "30")
        assert "20 judgements" in shown("0 wanted")
        tmux("send-keys", "stty -a | grep -c ' icanon.* echo '", "Enter")
        shown(r"\n(# )?1\n")
    finally:
        tmux("kill-server")
    found = judged(path)
    assert [verdict.preference for _, _, verdict in found] == meant
    assert [revision for _, revision, _ in found] == [1] * 8 + [3] + [1] * 11


def test_keys_say_what_they_mean_and_others_nothing(tmp_path):
    path = filled(tmp_path, [*questions(3), NewItem("q", ("rate me",)), NewItem("q", ("rate me too",)), *questions(1)])
    with Terminal(["feedback", path, "--annotator", "ann", "--repeat", "0"], tmp_path) as terminal:
        terminal.until("0 answered, 6 left", 0)
        terminal.answer("xyz0\x1b[Ac", "a guess")
        terminal.answer("c", "fairly sure")
        assert "question number 0" in terminal.text
        terminal.answer("1", "1 answered, 5 left   saved: 1 is better")
        terminal.answer("s", "2 answered, 4 left   skipped")
        terminal.answer("\x1bOC", "saved: 2 is better")
        terminal.answer("0", "saved: 10")
        terminal.answer("=4", "saved: 4")
        assert "1 to 9, 0 for 10" in terminal.text
        terminal.answer("\x04", "5 judgements in .* 2 wanted")
        assert terminal.end() == 0
        assert terminal.restored()
    verdicts = [verdict for _, _, verdict in judged(path)]
    assert [v.kind for v in verdicts] == [BETTER, SKIPPED, BETTER, RATED, RATED]
    assert [v.rating for v in verdicts[3:]] == [10, 4]
    assert [v.confidence for v in verdicts] == [0.5, None, None, None, None]
    with Store(path) as store:
        assert store.tables.read("SELECT count(*) FROM leases") == [(0,)]
        assert all(0 <= j.seconds < 60 for j in store.judgements())


@pytest.mark.parametrize(
    ("term", "lang"), [("xterm-256color", "C.UTF-8"), ("dumb", "C"), ("vt100", "en_US.ISO-8859-1")]
)
def test_hostile_empty_and_very_long_text_is_shown_as_text_in_every_terminal(tmp_path, term, lang):
    path = filled(tmp_path, [NewItem(HOSTILE, (HOSTILE, "")), NewItem("q", ("word " * 4000, "end é"))])
    env = {"TERM": term, "LANG": lang, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    with Terminal(["feedback", path, "--annotator", "ann"], tmp_path, 60, 20, **env) as terminal:
        terminal.until("0 answered, 2 left", 0)
        shown = SGR.sub("", terminal.text)
        assert "\\x1b[2J" in shown
        assert "[bold red]x[/]" in shown
        assert "(empty)" in shown
        assert not [c for c in shown if (ord(c) < 32 and c not in "\r\n") or 0x7F <= ord(c) < 0xA0 or c == "\u202e"]
        terminal.answer("1", "1 answered, 1 left")
        if term != "dumb":
            assert re.search(r"lines 1 to \d+ of \d+", terminal.text)
            terminal.answer(" ", r"lines 1\d to \d+ of")
            terminal.answer("b", r"lines 1 to")
        terminal.resize(8, 3)
        terminal.answer("c", "guess")
        terminal.answer("2", "0 wanted")
        assert terminal.end() == 0
        assert terminal.restored()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_restores_the_terminal_and_loses_nothing(tmp_path, number, status):
    path = filled(tmp_path, questions(3))
    with Terminal(["feedback", path], tmp_path) as terminal:
        terminal.until("0 answered", 0)
        assert not terminal.restored()
        terminal.answer("1", "1 answered")
        terminal.kill(number)
        assert terminal.end() == status
        assert terminal.restored()
        assert "Traceback" not in terminal.text
    assert len(judged(path)) == 1


def test_it_is_suspended_with_the_terminal_as_it_was_and_goes_on(tmp_path):
    path = filled(tmp_path, questions(3))
    with Terminal(["feedback", path], tmp_path) as terminal:
        terminal.until("0 answered", 0)
        terminal.kill(signal.SIGTSTP)
        for _ in range(200):
            if terminal.restored():
                break
            time.sleep(0.05)
        assert terminal.restored()
        start = len(terminal.text)
        terminal.kill(signal.SIGCONT)
        terminal.until("0 answered, 3 left", start)
        terminal.answer("2", "1 answered")
        terminal.answer("q", "2 wanted")
        assert terminal.end() == 0


def test_so_many_items_and_no_more(tmp_path):
    path = filled(tmp_path, questions(5))
    with Terminal(["feedback", path, "--items", "2"], tmp_path) as terminal:
        terminal.until("0 answered", 0)
        terminal.answer("1", "1 answered")
        terminal.answer("1", "2 judgements in .* 3 wanted")
        assert terminal.end() == 0


def test_without_a_terminal_it_says_what_to_type(tmp_path):
    path = filled(tmp_path, questions(1))
    status, _, err = rlnlp("feedback", path, cwd=tmp_path, stdin="1\n")
    assert (status, err.count("\n")) == (2, 1)
    assert f"rlnlp feedback {path} --web" in err
