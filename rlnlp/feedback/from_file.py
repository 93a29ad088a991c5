"""Annotators that work in files: what is to be judged is written to one, and what they say is read from another."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from rlnlp.data.answers import Answer, words
from rlnlp.data.formats import Record
from rlnlp.errors import WAITING, Exit, Failure, counted, one_line
from rlnlp.feedback.importing import judgements_in, read_rows
from rlnlp.feedback.incoming import Incoming, asked_sha256
from rlnlp.feedback.pairs import written
from rlnlp.feedback.records import (
    BETTER,
    FILE,
    SKIPPED,
    TIE,
    Annotator,
    Item,
    NewItem,
    Question,
    Verdict,
)
from rlnlp.feedback.store import Store
from rlnlp.run.disk import replace

KEY = "annotator.path"
EMPTY = "(empty)"
COMPARED = "put 0 (text1 is better), 1 (text2) or .5 (neither) for 'preference'"
RATED_SO = "put a number from 1 to 10 into 'ratings'"


class FileAnnotators:
    """Whoever writes ``path``, in the standard preference format or as a platform exports it.

    Judgements of texts that the set does not ask about are left out and counted. What is left to be judged is written
    beside it, to NAME.open.jsonl.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.open_path = path.with_name(f"{path.stem}.open.jsonl")
        self.names: Sequence[str] = ()
        self.draws = False
        self.left_out = 0  # judgements of other texts

    def check(self) -> None:
        """Check that the file can be written beside and, if it is there, read.

        Raises:
            Failure: exit 2, for a folder that is not there; exit 3, for what is no file of judgements.
        """
        if not self.path.parent.is_dir():
            raise Failure(Exit.CONFIG, f"{KEY}: no folder {one_line(str(self.path.parent))}")
        if self.path.exists():
            self._read()

    def collect(self, store: Store, enough: Callable[[], bool]) -> None:
        """Save what the file says of open items, and write what is still open.

        Raises:
            Failure: exit 3, if that is not enough: with the file to be judged and what to do with it.
        """
        found = self._read() if self.path.exists() else []
        items = defaultdict(list)  # the same may be asked several times
        for item in store.items():
            if item.repeat_of is None:
                items[_key(item)].append(item)
        self.left_out = sum(_key(one.item) not in items for one in found)
        for one in found:
            for item in items.get(_key(one.item), ()):
                if not enough():
                    self._save(store, one, item)
        if enough():
            return
        waiting, how = self._write_open(store)
        others = f"; {counted(self.left_out, 'judgement')} of other texts left out" if self.left_out else ""
        raise Failure(
            Exit.DATA, f"{waiting} to be judged in {one_line(str(self.open_path))}{others}\n"
            f"{how}, save it as {one_line(str(self.path))}", WAITING,
        )  # fmt: skip

    def _read(self) -> list[Incoming]:
        rows = [(place, row) for place, row in read_rows(str(self.path), KEY) if _is_answered(row)]
        return judgements_in(str(self.path), rows, KEY)[1] if rows else []

    def _save(self, store: Store, one: Incoming, item: Item) -> None:
        annotator = store.annotator(one_line(one.annotator, 80), FILE)
        question = store.question(annotator, item.id)
        if question is None or question.revision > 0:
            return
        verdict, texts = one.verdict, _shown(item)
        if verdict.kind == BETTER and verdict.preference != TIE and texts != one.item.responses:
            verdict = Verdict(BETTER, 1 - (verdict.preference or 0), confidence=verdict.confidence)
        first = one.item.responses[one.shown_first] if one.shown_first is not None else None
        order = question.order if first is None else tuple(sorted((0, 1), key=lambda i: texts[i] != first))
        store.judge(annotator, Question(item, order, 0), verdict, one.seconds)

    def _write_open(self, store: Store) -> tuple[str, str]:
        """Write the items that want judgements, each once; return how many, and what to do with them, in words."""
        judged = Counter(item.id for item, one in store.standing() if one.verdict.kind != SKIPPED)
        nobody = Annotator(0, "", FILE)
        lines: dict[str, str] = {}
        kinds = Counter[int]()
        for item in store.items():
            if item.repeat_of is None and judged[item.id] < item.overlap and _key(item) not in lines:
                question = store.question(nobody, item.id)
                lines[_key(item)] = json.dumps(_open_row(item, question.order if question else (0, 1)))
                kinds[len(item.responses)] += 1
        replace(self.open_path, "".join(f"{line}\n" for line in lines.values()))
        told = [counted(kinds[2], "pair")] * bool(kinds[2]) + [counted(kinds[1], "response")] * bool(kinds[1])
        ways = [COMPARED] * bool(kinds[2]) + [RATED_SO] * bool(kinds[1])
        return " and ".join(told), ", ".join(ways)


def _open_row(item: Item, order: tuple[int, ...]) -> Record:
    """A line to be judged."""
    asked: Record = {} if item.prompt is None else {"prompt": item.prompt}
    texts = [written(_shown(item)[i]) for i in order]
    if len(texts) == 1:
        return {**asked, "responses": texts, "ratings": [None]}
    return {**asked, "text1": texts[0], "text2": texts[1], "preference": None}


def _is_answered(row: Record) -> bool:
    return row.get("preference", 0) is not None and row.get("ratings") != [None]


def _shown(item: NewItem) -> tuple[Answer, ...]:
    """The responses as the file has them: in the standard format none is empty."""
    return tuple(
        answer if words(answer).strip() else EMPTY if isinstance(answer, str) else {**answer, "content": EMPTY}
        for answer in item.responses
    )


def _key(item: NewItem) -> str:
    return asked_sha256(item.prompt, _shown(item))
