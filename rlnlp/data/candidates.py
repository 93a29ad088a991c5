"""Texts that a reward model is to score: of the command line or of a file, each with the prompt that it answers."""

from typing import Any, NamedTuple

from rlnlp.config.data import Named, Reading, names_text
from rlnlp.data.answers import Answer, BadRecord, Unusable, prompt_and_answers, words
from rlnlp.data.formats import Record
from rlnlp.data.messages import NoConversation, as_example
from rlnlp.data.records import bad_lines_error
from rlnlp.data.sources import text_rows
from rlnlp.errors import Exit, Failure, one_line
from rlnlp.models.chat import Prompt

ANSWERS = ("completion", "response", "text")  # the fields that an answer may stand in; the first one counts
FORMS = "'text', 'prompt' and 'completion', or 'messages'"


class Candidate(NamedTuple):
    """An answer, and the prompt that it is to, if there is one; a message where the prompt is messages."""

    prompt: Prompt | None
    answer: Answer

    @property
    def text(self) -> str:
        """The words of the answer."""
        return words(self.answer)


def candidate(prompt: Any, field: str, answer: Any) -> Candidate:
    """What stands as ``field`` as an answer to ``prompt``: a text, or messages that end with the assistant's turn.

    It is split from a prompt in front of it just as the answers that a reward model is trained on are.

    Raises:
        BadRecord: it is neither.
        Unusable: the last turn is not the assistant's.
    """
    before, (found,) = prompt_and_answers(prompt, [(field, answer)])
    return Candidate(before or None, found)


def typed_candidates(texts: list[str], prompt: str | None) -> list[Candidate]:
    """Texts of the command line or of standard input.

    Raises:
        Failure: exit 3, for a dialogue whose last turn is not the assistant's.
    """
    found = []
    for i, text in enumerate(texts, 1):
        try:
            found.append(candidate(prompt, "text", text))
        except (BadRecord, Unusable) as fault:
            raise Failure(Exit.DATA, f"text {i} ('{one_line(text, 40)}'): {fault}") from fault
    return found


def file_candidates(key: str, named: Named, reading: Reading, prompt: str | None) -> list[Candidate]:
    """The texts of files; ``prompt``, which is ``--prompt``, is that of all of them.

    Raises:
        Failure: exit 2, if there is a ``prompt``, and a record has one of its own; exit 3, for a file that cannot be
            read, or a record without a text to score.
    """
    found, faults = [], []
    for location, record in text_rows(key, named, reading):
        try:
            one = _of_record(record)
        except (BadRecord, NoConversation, Unusable) as fault:
            faults.append(f"{location}: {one_line(str(fault))}")
            continue
        if prompt is not None and one.prompt is not None:
            raise Failure(Exit.CONFIG, f"--prompt is the prompt of all, and {one_line(location)} has one; leave it out")
        found.append(one if prompt is None else Candidate(prompt, one.text))
    if faults:
        raise bad_lines_error(key, one_line(names_text(named)), faults)
    return found


def file_labels(key: str, named: Named, reading: Reading, column: str) -> list[str]:
    """What the records of the same files have in ``column``, a text or a number.

    Raises:
        Failure: exit 3, for a file that cannot be read, or a record without it.
    """
    rows = text_rows(key, named, reading)
    faults = [
        f"{location}: no text or number in '{one_line(column, 40)}' (it has: {', '.join(map(str, record))})"
        for location, record in rows
        if not isinstance(record.get(column), str | int | float)
    ]
    if faults:
        raise bad_lines_error(key, one_line(names_text(named)), faults)
    return [str(record[column]) for _, record in rows]


def _of_record(record: Record) -> Candidate:
    said = {name: value for name, value in record.items() if value is not None}
    whole = as_example({name: value for name, value in said.items() if name not in ("prompt", *ANSWERS)})
    if "messages" in whole:
        return candidate(None, "messages", whole["messages"])
    field = next((name for name in ANSWERS if name in said), None)
    if field is None:
        raise BadRecord(f"nothing to score: want {FORMS} (it has: {', '.join(map(str, said)) or 'none'})")
    return candidate(said.get("prompt"), field, said[field])
