"""A person who judges in this terminal."""

import time
from collections.abc import Callable
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


class TerminalAnnotator:
    """Whoever sits at this terminal, judging as ``name`` by ``instructions``."""

    def __init__(self, name: str, instructions: str = "") -> None:
        self.name, self.instructions = name, instructions
        self.left = False  # by the key for it

    def collect(self, store: Store, enough: Callable[[], bool]) -> None:
        """Ask until ``enough()``, until nothing is left, or until the person quits; what was shown is asked again then.

        Raises:
            Failure: exit 5, if an answer cannot be saved; the terminal is restored before.
        """
        person, screen, said = store.annotator(self.name), Screen(self.instructions), ""
        self.left = False
        try:
            with Keys() as keys:
                while not enough() and (question := store.next(person)) is not None:
                    told = self._ask(store, person, question, screen, keys, said)
                    if told is None:
                        self.left = True
                        return
                    said = told
        finally:
            print(flush=True)
            store.release(person)

    def _ask(
        self, store: Store, person: Annotator, question: Question, screen: Screen, keys: Keys, said: str
    ) -> str | None:
        """One question; what was done, or None to quit."""
        sure, progress, screen.offset = 0, store.progress(person), 0
        keys.forget()  # before the question can be seen: a key typed as soon as it is seen counts
        screen.show(question, progress, sure, said)
        began = time.monotonic()
        while True:
            key = keys.wait()
            if key in QUIT:
                return None
            if key == "u":
                return "undone" if store.undo(person) else "there is nothing to undo"
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
