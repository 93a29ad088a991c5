"""Reward for courtesy, from lists of phrases and a rule for shouting."""

from functools import cache
from itertools import groupby
from pathlib import Path

from rlnlp.rewards.text.words import WORD, words

LIST = Path(__file__).with_name("politeness.txt")
SHOUTED, DOUBT = 0.75, 0.5  # how rude capitals are; and what any text weighs, so that two kind phrases beat one


def politeness(completions: list[str]) -> list[float]:
    """(1 + (polite - rude) / (polite + rude + 0.5)) / 2, in [0, 1]; 0.5 for a text that is neither.

    ``polite`` and ``rude`` are the sums of what the text's phrases are worth. A polite phrase that is repeated counts
    once, a rude one every time, and so does a run of three or more words in capitals.
    """
    return [_balance(phrases(words(completion)), shouts(completion)) for completion in completions]


def phrases(tokens: list[str]) -> list[tuple[str, float]]:
    """The listed phrases in ``tokens`` with their worth: left to right, the longest that fits, none overlapping."""
    known, longest = lexicon()
    found, i = [], 0
    while i < len(tokens):
        for size in range(min(longest, len(tokens) - i), 0, -1):
            phrase = " ".join(tokens[i : i + size])
            if phrase in known:
                found.append((phrase, known[phrase]))
                break
        else:
            size = 1
        i += size
    return found


def shouts(text: str) -> int:
    """Runs of three or more words in capitals; a capital by itself (I, A) neither counts nor parts them."""
    loud = [word.isupper() for word in WORD.findall(text) if len(word) > 1]
    return sum(len(list(run)) >= 3 for capitals, run in groupby(loud) if capitals)


@cache
def lexicon() -> tuple[dict[str, float], int]:
    """Phrase -> worth, and the words of the longest. The file has a worth, a colon, and phrases parted by commas."""
    found = {}
    for line in LIST.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            worth, _, listed = line.partition(":")
            found.update({phrase.strip(): float(worth) for phrase in listed.split(",")})
    return found, max(len(phrase.split()) for phrase in found)


def _balance(found: list[tuple[str, float]], shouted: int) -> float:
    polite = sum({phrase: worth for phrase, worth in found if worth > 0}.values())
    rude = -sum(worth for _, worth in found if worth < 0) + SHOUTED * shouted
    return 0.5 * (1 + (polite - rude) / (polite + rude + DOUBT))
