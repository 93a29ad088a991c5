"""Annotators that work in files: what is to be judged is written to one, and what they say is read from another."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from rlnlp.errors import WAITING, Exit, Failure, counted, one_line
from rlnlp.feedback.importing import judgements_in, read_rows
from rlnlp.feedback.incoming import Incoming, compared
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
    content_sha256,
)
from rlnlp.feedback.store import Store
from rlnlp.run.disk import replace

KEY = "annotator.path"


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
        items = {_key(item): item for item in store.items() if item.repeat_of is None}
        self.left_out = sum(_key(one.item) not in items for one in found)
        for one in found:
            if enough():
                return
            if (item := items.get(_key(one.item))) is not None:
                self._save(store, one, item)
        if enough():
            return
        waiting = self._write_open(store)
        others = f"; {counted(self.left_out, 'judgement')} of other texts left out" if self.left_out else ""
        raise Failure(
            Exit.DATA, f"{counted(waiting, 'pair')} to be judged in {one_line(str(self.open_path))}{others}\n"
            f"put 0 (text1 is better), 1 (text2) or .5 (neither) for 'preference', save it as"
            f" {one_line(str(self.path))}", WAITING,
        )  # fmt: skip

    def _read(self) -> list[Incoming]:
        rows = [(place, row) for place, row in read_rows(str(self.path), KEY) if row.get("preference", 0) is not None]
        return judgements_in(str(self.path), rows, KEY)[1] if rows else []

    def _save(self, store: Store, one: Incoming, item: Item) -> None:
        annotator = store.annotator(one_line(one.annotator, 80), FILE)
        question = store.question(annotator, item.id)
        if question is None or question.revision > 0:
            return
        verdict = one.verdict
        if verdict.kind == BETTER and verdict.preference != TIE and item.responses != one.item.responses:
            verdict = Verdict(BETTER, 1 - (verdict.preference or 0), confidence=verdict.confidence)
        first = one.item.responses[one.shown_first] if one.shown_first is not None else None
        order = question.order if first is None else tuple(sorted((0, 1), key=lambda i: item.responses[i] != first))
        store.judge(annotator, Question(item, order, 0), verdict, one.seconds)

    def _write_open(self, store: Store) -> int:
        """Write the items that want judgements; return how many."""
        judged = {item.id for item, one in store.standing() if one.verdict.kind != SKIPPED}
        nobody = Annotator(0, "", FILE)
        lines = []
        for item in store.items():
            if item.repeat_of is None and item.id not in judged and len(item.responses) == 2:
                question = store.question(nobody, item.id)
                order = question.order if question else (0, 1)
                texts = {f"text{side}": written(item.responses[i]) for side, i in enumerate(order, 1)}
                asked = {} if item.prompt is None else {"prompt": item.prompt}
                lines.append(json.dumps({**asked, **texts, "preference": None}))
        replace(self.open_path, "".join(f"{line}\n" for line in lines))
        return len(lines)


def _key(item: NewItem) -> str:
    """What an item asks about, in whatever order its responses are."""
    if len(item.responses) == 1:
        return content_sha256(item.prompt, item.responses)
    same = compared(item.prompt, item.responses, Verdict(SKIPPED), "").item
    return content_sha256(same.prompt, same.responses)
