"""The words of a text, as the text rewards define them."""

import re

WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


def words(text: str) -> list[str]:
    """The words of ``text`` in lower case, without punctuation; ``don't`` and ``well-made`` are one word each."""
    return [word.replace("’", "'") for word in WORD.findall(text.lower())]
