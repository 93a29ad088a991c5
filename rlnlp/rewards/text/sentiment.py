"""Reward for positive sentiment, from word lists and a rule for negation."""

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
NEGATION_REACH = 3  # words
NEGATION_FACTOR = 0.5  # "not great" is less negative than "great" is positive


def sentiment(completions: list[str]) -> list[float]:
    """(1 + mean valence of the words that have one) / 2, in [0, 1]; 0.5 if no word has one.

    A negation within the three words before a word reverses and halves its valence.
    """
    return [0.5 * (1 + _mean(valences(words(completion)))) for completion in completions]


def valences(tokens: list[str]) -> list[float]:
    """The valence, in [-1, 1], of each word that has one, with negation applied."""
    valence_of = lexicon()
    values = []
    for i, word in enumerate(tokens):
        if word in valence_of:
            negated = any(w in NEGATIONS or w.endswith("n't") for w in tokens[max(0, i - NEGATION_REACH) : i])
            values.append(valence_of[word] * (-NEGATION_FACTOR if negated else 1.0))
    return values


@cache
def lexicon() -> dict[str, float]:
    """Word -> valence. Each line of the file has a valence, a colon, and the words with this valence."""
    valence_of = {}
    for line in LIST.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            valence, _, listed = line.partition(":")
            valence_of.update({word: float(valence) for word in listed.split()})
    return valence_of


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0
