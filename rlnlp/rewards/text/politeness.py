"""Reward for politeness, from a list of phrases and a rule for words in capitals."""

from functools import cache
from itertools import groupby
from pathlib import Path

from rlnlp.rewards.text.words import WORD, words

LIST = Path(__file__).with_name("politeness.txt")
SHOUT_PENALTY = 0.75  # rudeness of words in capitals
SMOOTHING = 0.5  # so that two polite phrases score more than one


def politeness(completions: list[str]) -> list[float]:
    """(1 + (polite - rude) / (polite + rude + 0.5)) / 2, in [0, 1]; 0.5 for a neutral text.

    ``polite`` and ``rude`` are the sums of the scores of the text's phrases. A repeated polite phrase counts once, a
    rude one every time, as does a run of three or more words in capitals.
    """
    return [_balance(phrases(words(completion)), shouts(completion)) for completion in completions]


def phrases(tokens: list[str]) -> list[tuple[str, float]]:
    """The listed phrases in ``tokens`` with their scores: from the left, the longest match, without overlaps."""
    score_of, longest = lexicon()
    matches, i = [], 0
    while i < len(tokens):
        for size in range(min(longest, len(tokens) - i), 0, -1):
            phrase = " ".join(tokens[i : i + size])
            if phrase in score_of:
                matches.append((phrase, score_of[phrase]))
                break
        else:
            size = 1
        i += size
    return matches


def shouts(text: str) -> int:
    """The number of runs of three or more words in capitals; words of one letter (I, A) are ignored."""
    in_capitals = [word.isupper() for word in WORD.findall(text) if len(word) > 1]
    return sum(len(list(run)) >= 3 for capitals, run in groupby(in_capitals) if capitals)


@cache
def lexicon() -> tuple[dict[str, float], int]:
    """Phrase -> score, and the number of words of the longest phrase.

    Each line of the file has a score, a colon, and the phrases with this score, separated by commas.
    """
    score_of = {}
    for line in LIST.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            score, _, listed = line.partition(":")
            score_of.update({phrase.strip(): float(score) for phrase in listed.split(",")})
    return score_of, max(len(phrase.split()) for phrase in score_of)


def _balance(scores: list[tuple[str, float]], shout_count: int) -> float:
    polite = sum({phrase: score for phrase, score in scores if score > 0}.values())
    rude = -sum(score for _, score in scores if score < 0) + SHOUT_PENALTY * shout_count
    return 0.5 * (1 + (polite - rude) / (polite + rude + SMOOTHING))
