"""Reward for a positive tone, from word lists and a rule for negation."""

from functools import cache
from pathlib import Path

from rlnlp.rewards.text.words import words

LIST = Path(__file__).with_name("sentiment.txt")
NEGATIONS = {
    "not",
    "no",
    "never",
    "neither",
    "nor",
    "nothing",
    "hardly",
    "barely",
    "without",
    "cannot",
    "lacks",
    "lacking",
}
REACH, WEAKENED = 3, 0.5  # words that a negation reaches; "not great" is bad, but not as bad as great is good


def sentiment(completions: list[str]) -> list[float]:
    """(1 + mean valence of the words that have one) / 2, in [0, 1]; 0.5 where no word has one.

    A negation within the three words before turns a word's valence round and halves it.
    """
    return [0.5 * (1 + _mean(valences(words(completion)))) for completion in completions]


def valences(tokens: list[str]) -> list[float]:
    """The valence, in [-1, 1], of each word that has one, after negation."""
    known = lexicon()
    found = []
    for i, word in enumerate(tokens):
        if word in known:
            negated = any(w in NEGATIONS or w.endswith("n't") for w in tokens[max(0, i - REACH) : i])
            found.append(known[word] * (-WEAKENED if negated else 1.0))
    return found


@cache
def lexicon() -> dict[str, float]:
    """Word -> valence. The file has a valence, a colon, and the words that have it."""
    found = {}
    for line in LIST.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            valence, _, listed = line.partition(":")
            found.update({word: float(valence) for word in listed.split()})
    return found


def _mean(found: list[float]) -> float:
    return sum(found) / len(found) if found else 0.0
