"""Rows that do not fit: too long for the model, empty, or there twice; what becomes of them, and what is told of it."""

from collections.abc import Hashable, Mapping
from typing import Literal

from rlnlp.data.records import bad_lines_error
from rlnlp.errors import Exit, Failure, counted

TooLong = Literal["refuse", "drop", "cut"]
Thing = Literal["prompt", "text"]
LIMITS = {"prompt": "the model has room for {} besides the response", "text": "the model's context has {}"}
ADVICE = "\nto leave out what is too long: data.too_long=drop; to shorten it: data.too_long=cut"


class Fitting:
    """What becomes of the rows that the setting ``key`` names as ``name``, with at most ``room`` tokens for each.

    A row is a ``thing``. ``too_long`` is what to do with rows that cannot be used: longer ones, of which ``cut`` keeps
    a part, and those of no token at all.
    """

    def __init__(self, key: str, name: str, thing: Thing, room: int, too_long: TooLong) -> None:
        self.key, self.name, self.thing, self.room, self.too_long = key, name, thing, room, too_long
        self._rows = 0
        self._faults: list[str] = []
        self._advice = ""
        self._noted: dict[str, list[str]] = {"dropped": [], "cut": [], "unusable": [], "empty": [], "repeated": []}
        self._seen: set[Hashable] = set()

    def add(self, location: str, content: Hashable, empty: bool) -> None:
        """Note a row that is used; ``content`` is what makes it the same as another."""
        self._rows += 1
        self._note("empty", location, empty)
        self._note("repeated", location, content in self._seen)
        self._seen.add(content)

    def refuse(self, location: str, fault: str) -> None:
        """Note a row that is no such data."""
        self._faults.append(f"{location}: {fault}")

    def leave_out_empty(self, location: str, fault: str) -> None:
        """Note a row without a token, which cannot be used."""
        if self.too_long == "refuse":
            return self.refuse(location, fault)
        self._rows += 1
        return self._note("unusable", location, True)

    def cuts(self, location: str, tokens: int, least: int) -> bool:
        """Note a row of ``tokens`` tokens, more than there is room for; True if it is used, cut.

        A row of which ``least`` tokens or more must stay, and do not fit, is left out instead.
        """
        if self.too_long == "refuse":
            self._advice = ADVICE if self.key.startswith("data.") else ""
            self.refuse(location, f"{counted(tokens, 'token')}, but {LIMITS[self.thing].format(self.room)}")
            return False
        cut = self.too_long == "cut" and least <= self.room
        self._rows += not cut
        self._note("cut" if cut else "dropped", location, True)
        return cut

    def check(self) -> None:
        """Check that there is no bad row and that there is a good one.

        Raises:
            Failure: exit 3.
        """
        if self._faults:
            failure = bad_lines_error(self.key, self.name, self._faults)
            name = f"{self.thing}s-too-long" if self._advice else ""
            raise Failure(failure.code, f"{failure}{self._advice}", name)
        if not self._seen:
            what = f"{self.key}: no {self.thing} of {self.name} can be used\n"
            raise Failure(Exit.DATA, what + "; ".join(self.notes().values()), f"no-{self.thing}s")

    def notes(self) -> dict[str, str]:
        """What became of rows: a line for each kind, by a name such as ``prompts-dropped``."""
        limit, way = LIMITS[self.thing].format(counted(self.room, "token")), f"data.too_long={self.too_long}"
        words = {
            "dropped": f"left out ({way}): {limit}",
            "cut": f"cut ({way}): {limit}",
            "unusable": f"left out ({way}): empty, and the tokenizer has no start token",
            "empty": "empty",
            "repeated": "the same as one before",
        }
        return {
            f"{self.thing}s-{what}": f"{len(where):,} of {counted(self._rows, self.thing)} {words[what]};"
            f" first {where[0]}"
            for what, where in self._noted.items()
            if where
        }

    def _note(self, what: str, location: str, noted: bool) -> None:
        if noted:
            self._noted[what].append(location)


def held_out(told: Mapping[str, str]) -> dict[str, str]:
    """What is told of held-out rows."""
    return {f"held-out-{name}": f"held out: {line}" for name, line in told.items()}
