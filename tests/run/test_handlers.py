"""An interrupt ends a command as one, whatever Python and libraries make of it."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from rlnlp.cli.exits import guarded
from rlnlp.errors import Exit, Failure, Stopped
from rlnlp.run import handlers
from rlnlp.run.signals import PATIENCE, Signals
from support.small import ROOT

INTERRUPTED = "rlnlp train: interrupted\n"
SAID = "stopped by SIGINT\nto do what is missing: rlnlp resume IT"


@pytest.fixture(autouse=True)
def _as_in_a_terminal():
    """SIGINT as a shell leaves it to its command, though the tests may run behind a nohup."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def swallow():
    """As an import of transformers does."""
    with contextlib.suppress(KeyboardInterrupt):
        interrupt()
        raise AssertionError("it was not interrupted")


class Destroyed:
    """Nothing refers to it: its destructor is called at once, and interrupted."""

    def __del__(self):
        interrupt()


def in_a_finally():
    try:
        interrupt()
    finally:
        raise KeyError("half done")


def in_words():
    try:
        in_a_finally()
    except Exception as error:
        raise Failure(Exit.CONFIG, "no such setting") from error


def in_an_import():
    swallow()
    raise ImportError("cannot load module more than once per process")


def in_an_import_that_is_explained():
    swallow()
    raise Failure(Exit.MODEL, "the model cannot be loaded")


def in_a_destructor():
    Destroyed()
    time.sleep(10)
    print("it is forgotten", file=sys.stderr)


def before_a_run():
    swallow()
    with Signals(lambda text: None, lambda number: None):
        raise AssertionError("the run has begun")


@pytest.mark.parametrize(
    "command",
    [interrupt, in_a_finally, in_words, in_an_import, in_an_import_that_is_explained, in_a_destructor, before_a_run],
)
def test_a_command_that_is_interrupted_says_so_and_no_more(command, capsys):
    assert guarded("rlnlp train", command) == Exit.INTERRUPT
    assert capsys.readouterr().err == INTERRUPTED
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert guarded("rlnlp train", lambda: {}["x"]) == Exit.BUG, "it is forgotten afterwards"


def test_what_is_said_of_an_interrupt_is_printed(capsys):
    def command():
        try:
            interrupt()
        except KeyboardInterrupt as stopped:
            raise Failure(Exit.INTERRUPT, SAID) from stopped

    assert guarded("rlnlp train", command) == Exit.INTERRUPT
    assert capsys.readouterr().err == "rlnlp train: stopped by SIGINT\n  to do what is missing: rlnlp resume IT\n"


def test_an_error_without_an_interrupt_is_told_as_it_is(capsys):
    def command():
        raise KeyError("half done")

    assert guarded("rlnlp train", command) == Exit.BUG
    assert "KeyError: 'half done'" in capsys.readouterr().err


def test_an_error_that_a_destructor_drops_is_still_told(monkeypatch):
    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)

    class Broken:
        def __del__(self):
            raise ValueError("odd")

    def command():
        Broken()
        return 0

    assert guarded("rlnlp train", command) == 0
    assert [type(each.exc_value) for each in told] == [ValueError]


def test_a_handler_of_someone_else_stays_and_an_ignored_interrupt_is_ignored():
    for handler in (signal.SIG_IGN, lambda number, frame: None):
        before = signal.signal(signal.SIGINT, handler)
        try:
            with handlers.noticed():
                assert signal.getsignal(signal.SIGINT) is handler
                interrupt()
            assert not handlers.was_interrupted()
        finally:
            signal.signal(signal.SIGINT, before)


def test_a_run_that_begins_after_an_interrupt_was_swallowed_does_not_begin():
    with handlers.noticed():
        swallow()
        with pytest.raises(Stopped) as stopped:
            before_a_run()
    assert stopped.value.number == signal.SIGINT
    with Signals(lambda text: None, lambda number: None):
        pass


def test_the_signals_that_are_held_back_are_those_that_end_a_run():
    assert set(handlers.NUMBERS) == set(PATIENCE)


def test_a_job_that_is_interrupted_while_it_imports_says_so_and_no_more(tmp_path):
    words = [sys.executable, "-m", "rlnlp.cli.job", str(tmp_path / "run"), "train"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with handlers.held_back():
        job = subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=env)
        job.send_signal(signal.SIGINT)
    _, said = job.communicate('{"settings": {}, "hidden": []}', timeout=60)
    assert (job.returncode, said) == (Exit.INTERRUPT, INTERRUPTED)
