"""Which tokens of a conversation are the assistant's: those that it would have to draw, given all before them."""

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

from rlnlp.models.chat import Chat, Message, Messages, Unreadable, left_out

Span = tuple[int, int]  # of characters


def assistant_tokens(chat: Chat, messages: Sequence[Message], last_only: bool) -> tuple[list[int], list[bool]]:
    """The tokens of a conversation, and which are to be learned: the assistant's turns, or only the last of them.

    A turn's tokens begin where the prompt would end that asks for it, and end with the token that ends a turn. A token
    that stands over one of these borders is not the assistant's. After the last turn that is learned nothing follows;
    where the template does not end it, the tokenizer's end token does.

    Raises:
        Failure: exit 4, if there is no template.
        Unreadable: the template refuses the conversation, leaves out a turn, or has no turn of the assistant.
    """
    mark = chat.mark(messages)
    shown = chat.spelled(messages, mark)
    text, marks = chat.render(shown, generation=False), Marks(mark)
    marked = chat.render(marks.put(shown), generation=False)
    if marks.removed(marked) != text:
        raise Unreadable("the chat template cannot be followed: it shows a turn otherwise if it has one more character")
    begin, end = marks.places(marked)
    for i, message in enumerate(shown):
        if message["content"].strip() and i not in end:
            raise left_out(i, message["role"])
    turns = [i for i, message in enumerate(shown) if message["role"] == "assistant" and i in end]
    if not turns:
        raise Unreadable("no turn of the assistant to learn from")
    spans = [_span(chat, text, marks, shown, i, begin, end) for i in (turns[-1:] if last_only else turns)]
    ids, learned = _tokens(chat, text[: spans[-1][1]], spans, mark)
    if ids[-1] not in (chat.end, *chat.tokenizer.end):
        ids, learned = [*ids, chat.tokenizer.end[0]], [*learned, True]
    return ids, learned


class Marks:
    """Notes at the beginning and the end of each message, inside its white space, which templates may strip."""

    def __init__(self, mark: str) -> None:
        self.mark = mark
        self._pattern = re.compile(rf"{mark}([bc])(\d+){mark}")

    def put(self, messages: Sequence[Message]) -> Messages:
        """The messages with the notes; an empty one is left as it is."""
        return [{**message, "content": self._around(i, message["content"])} for i, message in enumerate(messages)]

    def removed(self, text: str) -> str:
        """A rendered text without the notes."""
        return self._pattern.sub("", text)

    def places(self, text: str) -> tuple[dict[int, int], dict[int, int]]:
        """Where each message begins, and where it ends, in the rendered text without the notes."""
        begin: dict[int, int] = {}
        end: dict[int, int] = {}
        taken = 0
        for found in self._pattern.finditer(text):
            (begin if found[1] == "b" else end)[int(found[2])] = found.start() - taken
            taken += len(found[0])
        return begin, end

    def behind(self, text: str, i: int) -> str | None:
        """What a rendered text has behind message ``i``; None if it does not show the end of that message."""
        _, found, rest = text.rpartition(f"{self.mark}c{i}{self.mark}")
        return self.removed(rest) if found else None

    def _around(self, i: int, content: str) -> str:
        inner = content.strip()
        if not inner:
            return content
        before, _, after = content.partition(inner)
        return f"{before}{self.mark}b{i}{self.mark}{inner}{self.mark}c{i}{self.mark}{after}"


def _span(
    chat: Chat, text: str, marks: Marks, messages: Messages, i: int, begin: dict[int, int], end: dict[int, int]
) -> Span:
    """Where turn ``i`` stands in the rendered ``text``, from where it would be drawn to behind its end token."""
    head = _head(chat, marks, messages[:i])
    limit = begin.get(i, end[i])
    at = -1 if head is None else text.rfind(head, end.get(i - 1, 0), limit)
    start = begin.get(i) if head is None or at < 0 else at + len(head)
    if start is None:
        raise Unreadable(f"the chat template rewrites turn {i + 1}, the assistant's, so that it cannot be found")
    rest = text[end[i] :]
    word = chat.ending(rest)
    if word is None or chat.added.ids[word] not in (chat.end, *chat.tokenizer.end):
        return start, end[i]
    return start, end[i] + rest.index(word) + len(word)


def _head(chat: Chat, marks: Marks, before: Messages) -> str | None:
    """What a prompt that asks for a turn has behind the last of the messages ``before`` it; None if that is unknown."""
    try:
        return marks.behind(chat.render(marks.put(before), generation=True), len(before) - 1) if before else None
    except Unreadable:
        return None


def _tokens(chat: Chat, text: str, spans: Iterable[Span], mark: str) -> tuple[list[int], list[bool]]:
    """Token ids of a rendered text, and which of them stand within one of the ``spans``."""
    borders = [0, *(border for span in spans for border in span)]
    pieces = [chat.named(text[a:b], mark) for a, b in pairwise(borders)]
    length = 0
    inside: list[Span] = []
    for i, piece in enumerate(pieces):
        if i % 2:
            inside.append((length, length + len(piece)))
        length += len(piece)
    ids, offsets = chat.control.encode("".join(pieces), mark)
    learned = [any(a <= start and stop <= b for a, b in inside) for start, stop in offsets]
    return [*chat.lead, *ids], [*(False for _ in chat.lead), *learned]
