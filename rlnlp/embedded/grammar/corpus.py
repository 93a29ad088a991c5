"""Sets of texts, prompts, preferences and moderated comments, each fixed by its size and seed."""

from __future__ import annotations

import functools
import itertools
import random
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from rlnlp.embedded.grammar.read import Reader, Reading, taste
from rlnlp.embedded.grammar.rules import load
from rlnlp.embedded.grammar.tags import CATEGORIES
from rlnlp.embedded.grammar.write import Text, write

DOMAINS = ("review", "support", "statement", "comment")
_SHARES = (0.36, 0.22, 0.23, 0.19)
_AGENT = " Agent:"
_FIRST_WORDS = (2, 6)
_SHORTER = 2  # words by which an opening may be shorter than it could be: the shortest ones begin anything
_OPINION = 0.3  # of the sentiment, from -1 to 1: a review with less has none
# Below this difference two responses count as equally good.
_CLEAR = 0.2
# So many failed draws in a row mean that the grammar has nothing new to give.
_PATIENCE = 200

Record = dict[str, str]


@dataclass(frozen=True)
class _Pair:
    prompt: str
    responses: tuple[str, str]
    domain: str


@functools.cache
def reader() -> Reader:
    """The reader for the grammar that comes with the package."""
    return Reader(load())


def words_of(text: str) -> list[str]:
    """The words of a text in lower case and without punctuation."""
    return re.findall(r"[a-z0-9][a-z0-9'-]*", text.lower())


def stream(seed: int, domain: str | None = None) -> Iterator[Text]:
    """An endless row of texts from one domain, or from all in fixed shares."""
    rng, grammar = random.Random(seed), load()
    while True:
        yield write(grammar, rng, domain or rng.choices(DOMAINS, _SHARES)[0])


def texts(n: int, seed: int, domain: str | None = None) -> list[str]:
    """The first `n` texts of a seed, from all domains or from one.

    Raises:
        ValueError: the domain is unknown.
    """
    if domain not in (None, *DOMAINS):
        raise ValueError(f"unknown domain {domain!r}; known are {', '.join(DOMAINS)}")
    return [text.text for text in itertools.islice(stream(seed, domain), n)]


def prompts(n: int, seed: int) -> list[Record]:
    """Openings with the rest of their texts as `prompt`, `reference` and `domain`.

    Prompts are distinct as long as the grammar has new ones to give.
    """
    return _records(n, stream(seed), random.Random(f"prompts {seed}"), known=None, taken=frozenset())


def prompt_split(train: int, held_out: int, seed: int) -> tuple[list[Record], list[Record]]:
    """Training records and held-out records without a prompt in common.

    Every word of a held-out prompt occurs in the texts of the training records, and no training text continues a
    held-out prompt.
    """
    source, rng = stream(seed), random.Random(f"split {seed}")
    first = _records(train, source, rng, known=None, taken=frozenset())
    wholes = [f"{record['prompt']} {record['reference']}" for record in first]
    known = {word for whole in wholes for word in words_of(whole)}
    openings = {" ".join(words[:k]) for words in map(str.split, wholes) for k in range(1, len(words) + 1)}
    return first, _records(held_out, source, rng, known, openings)


def preferences(n: int, seed: int) -> list[Record]:
    """Pairs of responses to one prompt as `prompt`, `chosen`, `rejected`, `reason` and `domain`.

    The gold taste decides; pairs that it finds about equal are left out.
    """
    rng = random.Random(f"preferences {seed}")
    found: list[Record] = []
    seen: set[tuple[str, str, str]] = set()
    for pair in _pairs(rng):
        if len(found) == n:
            break
        record = _judged(pair)
        key = (pair.prompt, min(pair.responses), max(pair.responses))
        if record is not None and key not in seen:
            seen.add(key)
            found.append(record)
    return found


def moderation(n: int, seed: int) -> list[Record]:
    """Comments with their categories, as `text` and `category`; half of them are harmless."""
    rng, grammar = random.Random(f"moderation {seed}"), load()
    found: list[Record] = []
    for _ in range(n):
        category = rng.choice(CATEGORIES[1:]) if rng.random() < 0.5 else CATEGORIES[0]
        found.append({"text": write(grammar, rng, f"posted.{category}").text, "category": category})
    return found


def cut(text: Text, rng: random.Random) -> tuple[str, str]:
    """A text in two parts: an opening of a few words and the rest.

    A dialogue is cut behind "Agent:", and a marker at the beginning does not count as a word. An opening holds no
    opinion: what follows may like or dislike. It is empty where the opinion comes too early for that, and in a review
    that neither likes nor dislikes: some of its beginnings leave nothing else to say.
    """
    if _AGENT in text.text:
        opening, _, rest = text.text.partition(_AGENT)
        return opening + _AGENT, rest.strip()
    if text.domain == "review" and abs(text.attributes.sentiment) < _OPINION:
        return "", text.text
    words = text.text.split()
    marked = int(words[0].endswith(":"))
    low, high = _FIRST_WORDS
    longest = min(high, text.open_words - marked, len(words) - marked - 1)
    at = marked + rng.randint(max(low, longest - _SHORTER), longest) if longest >= low else 0
    return " ".join(words[:at]), " ".join(words[at:])


def _records(
    n: int, source: Iterator[Text], rng: random.Random, known: Collection[str] | None, taken: Collection[str]
) -> list[Record]:
    found: list[Record] = []
    seen: set[str] = set()
    failed = 0
    for text in source:
        if len(found) == n:
            break
        prompt, reference = cut(text, rng)
        fits = prompt not in taken and (known is None or all(word in known for word in words_of(prompt)))
        if not prompt or not reference or not fits or (prompt in seen and failed < _PATIENCE):
            failed += 1
            if failed > 100 * _PATIENCE:
                break
            continue
        failed = 0
        seen.add(prompt)
        found.append({"prompt": prompt, "reference": reference, "domain": text.domain})
    return found


def _pairs(rng: random.Random) -> Iterator[_Pair]:
    """Endless pairs of responses, half of them to customers, the others to the openings of reviews and comments."""
    grammar = load()
    topics = [rule.name.split(".", 1)[1] for rule in grammar.of_kind("text", "support") if rule.name[:4] == "ask."]
    waiting: dict[str, str] = {}
    while True:
        topic = rng.choice(topics)
        dialogue = write(grammar, rng, f"dialogue.{topic}").text
        opening, _, first = dialogue.partition(_AGENT)
        second = write(grammar, rng, f"reply.{topic}").text.removeprefix(_AGENT.strip()).strip()
        yield _Pair(opening + _AGENT, (first.strip(), second), "support")
        for domain in ("review", "comment", "comment"):
            text = write(grammar, rng, domain)
            prompt, rest = cut(text, rng)
            if not prompt:
                continue
            other = waiting.pop(prompt, None)
            if other is None or other == rest:
                waiting[prompt] = rest
            elif rest:
                yield _Pair(prompt, (other, rest), domain)


def _judged(pair: _Pair) -> Record | None:
    """The pair with the better response chosen, or None when the gold taste does not tell them apart."""
    read = [reader().read(f"{pair.prompt} {response}") for response in pair.responses]
    difference = taste(read[0]) - taste(read[1])
    if abs(difference) < _CLEAR or not all(pair.responses):
        return None
    best = 0 if difference > 0 else 1
    return {
        "prompt": pair.prompt,
        "chosen": pair.responses[best],
        "rejected": pair.responses[1 - best],
        "reason": _reason(read[best], read[1 - best]),
        "domain": pair.domain,
    }


def _reason(better: Reading, worse: Reading) -> str:
    """The attribute that speaks most for the better response."""
    gains = {
        "harmless": 4.0 * ((better.category == "harmless") - (worse.category == "harmless")),
        "more helpful": 2.0 * (better.helpfulness - worse.helpfulness),
        "more polite": better.politeness - worse.politeness,
        "more positive": better.sentiment - worse.sentiment,
    }
    return max(gains, key=lambda reason: gains[reason])
