"""A person who judges in this terminal."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rlnlp.feedback.records import BETTER, RATED, SKIPPED, TIE, Annotator, Question, Stale, Verdict
from rlnlp.feedback.store import Store
from rlnlp.feedback.terminal.keys import Keys
from rlnlp.feedback.terminal.screen import SURE, Screen

SIDES = {"1": 0, "left": 0, "2": 1, "right": 1}
QUIT = ("q", "end")


class Said(NamedTuple):
    """What a key means for a question: a verdict, and how it is told."""

    verdict: Verdict
    words: str


class Sitting(NamedTuple):
    """A person before the screen, whom questions of a set are put to until there are enough answers."""

    store: Store
    person: Annotator
    screen: Screen
    keys: Keys
    enough: Callable[[], bool]


class TerminalAnnotator:
    """Whoever sits at this terminal, judging as ``name`` by ``instructions``.

    One who ``stays`` waits for what others judge when nothing is left for them.
    """

    def __init__(self, name: str, instructions: str = "", stays: bool = False) -> None:
        self.name, self.instructions, self.stays = name, instructions, stays
        self.names: Sequence[str] = [name]
        self.draws = True

    def collect(self, store: Store, enough: Callable[[], bool]) -> None:
        """Ask until ``enough()``, until nothing is left, or until the person quits; what was shown is asked again then.

        Raises:
            Failure: exit 5, if an answer cannot be saved; the terminal is restored before.
        """
        person = store.annotator(self.name)
        said: str | None = ""
        try:
            with Keys() as keys:
                sitting = Sitting(store, person, Screen(self.instructions), keys, enough)
                while said is not None and not enough():
                    question = store.next(person)
                    if question is not None:
                        said = _ask(sitting, question, said)
                    elif self.stays:
                        said = _wait(sitting, said)
                    else:
                        return
        finally:
            print(flush=True)
            store.release(person)


def _ask(sitting: Sitting, question: Question, said: str) -> str | None:
    """One question; what was done, or None to quit."""
    store, person, screen, keys, enough = sitting
    sure, progress, screen.offset = 0, store.progress(person), 0
    keys.forget()  # before the question can be seen: a key typed as soon as it is seen counts
    screen.show(question, progress, sure, said)
    began = time.monotonic()
    while True:
        key = keys.wait()
        if key in QUIT:
            return None
        if key is None and enough():  # others have judged meanwhile
            return ""
        if key == "u":
            return _undone(sitting)
        if key is not None and (answer := meaning(key, question, SURE[sure][1])):
            try:
                store.judge(person, question, answer.verdict, time.monotonic() - began)
            except Stale:
                return "that was answered in another window already"
            return answer.words
        if key == "c":
            sure = (sure + 1) % len(SURE)
        if key == "c" or keys.resized or (key is not None and screen.turn(key)):
            keys.resized = False
            screen.show(question, progress, sure, said)


def _wait(sitting: Sitting, said: str) -> str | None:
    """Nothing is left for the person: wait until there is, or until there are enough; as ``_ask``."""
    store, person, screen, keys, enough = sitting
    screen.show_waiting(store.progress(person), said)
    while not enough():
        key = keys.wait()
        if key in QUIT:
            return None
        if key == "u":
            return _undone(sitting)
        if keys.resized:
            keys.resized = False
            screen.show_waiting(store.progress(person), said)
        if key is None and store.progress(person).left:
            break
    return ""


def _undone(sitting: Sitting) -> str:
    return "undone" if sitting.store.undo(sitting.person) else "there is nothing to undo"


def meaning(key: str, question: Question, confidence: float | None) -> Said | None:
    """What a key says of a question; None for a key that says nothing of it."""
    if key == "s":
        return Said(Verdict(SKIPPED, confidence=confidence), "skipped")
    if len(question.order) == 1:
        if key not in set("0123456789"):
            return None
        rating = 10 if key == "0" else int(key)
        return Said(Verdict(RATED, rating=rating, confidence=confidence), f"saved: {rating}")
    if key == "=":
        return Said(Verdict(BETTER, TIE, confidence=confidence), "saved: a tie")
    if key in SIDES:
        side = SIDES[key]
        return Said(Verdict(BETTER, float(question.order[side]), confidence=confidence), f"saved: {side + 1} is better")
    return None
