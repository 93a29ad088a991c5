"""Data sets of texts, prompts, preferences and moderated comments; each is determined by its size and seed."""

import functools
import itertools
import random
import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from rlnlp.embedded.grammar.read import Reader, Reading, gold_score
from rlnlp.embedded.grammar.rules import load_grammar
from rlnlp.embedded.grammar.tags import CATEGORIES
from rlnlp.embedded.grammar.write import Text, write_text

DOMAINS = ("review", "support", "statement", "comment")
_DOMAIN_WEIGHTS = (0.36, 0.22, 0.23, 0.19)
_AGENT = " Agent:"
_OPENED = ("review", "comment", "comment")  # domains of texts whose openings are drawn for each customer's request
_OPINIONS = {"whole": 3, "judge": 3, "middle": 3, "plain": 1}  # sentences with one opinion: how often each is drawn
_OPENING_WORDS = (2, 6)  # shortest and longest
_SHORTENING = 2  # words by which an opening can be shorter than possible; very short ones fit any text
_MIN_OPINION = 0.3  # absolute sentiment, 0 to 1, below which a review has no opinion
_MIN_MARGIN = 0.2  # difference of gold scores below which two responses are equally good
_PAIRS_OF_PROMPT = 40  # at most
_MAX_FAILURES = 200  # so many failed draws in a row mean that the grammar has no new texts

Record = dict[str, str]


@dataclass(frozen=True)
class _Pair:
    prompt: str
    responses: tuple[str, str]
    domain: str


@functools.cache
def reader() -> Reader:
    """The reader for the package's grammar."""
    return Reader(load_grammar())


def words_of(text: str) -> list[str]:
    """The words of a text in lower case and without punctuation."""
    return re.findall(r"[a-z0-9][a-z0-9'-]*", text.lower())


def text_stream(seed: int, domain: str | None = None) -> Iterator[Text]:
    """Endless texts from one domain, or from all of them in fixed proportions."""
    rng, grammar = random.Random(seed), load_grammar()
    while True:
        yield write_text(grammar, rng, domain or rng.choices(DOMAINS, _DOMAIN_WEIGHTS)[0])


def texts(n: int, seed: int, domain: str | None = None) -> list[str]:
    """The first ``n`` texts of a seed, from all domains or from one.

    Raises:
        ValueError: the domain is unknown.
    """
    if domain not in (None, *DOMAINS):
        raise ValueError(f"unknown domain {domain!r}; must be one of {', '.join(DOMAINS)}")
    return [text.text for text in itertools.islice(text_stream(seed, domain), n)]


def prompts(n: int, seed: int) -> list[Record]:
    """Openings of texts: records with ``prompt``, ``reference`` (the rest of the text) and ``domain``.

    Prompts are distinct as long as the grammar generates new ones.
    """
    return _prompt_records(n, text_stream(seed), random.Random(f"prompts {seed}"), known=None, taken=frozenset())


def prompt_split(train: int, held_out: int, seed: int) -> tuple[list[Record], list[Record]]:
    """Training records and held-out records, with distinct prompts.

    Every word of a held-out prompt occurs in the texts of the training records, and no training text starts with a
    held-out prompt.
    """
    source, rng = text_stream(seed), random.Random(f"split {seed}")
    train_records = _prompt_records(train, source, rng, known=None, taken=frozenset())
    whole_texts = [f"{record['prompt']} {record['reference']}" for record in train_records]
    known = {word for text in whole_texts for word in words_of(text)}
    openings = {" ".join(words[:k]) for words in map(str.split, whole_texts) for k in range(1, len(words) + 1)}
    return train_records, _prompt_records(held_out, source, rng, known, openings)


def preferences(n: int, seed: int) -> list[Record]:
    """Pairs of responses to a prompt: records with ``prompt``, ``chosen``, ``rejected``, ``reason`` and ``domain``.

    The response with the higher gold score is chosen; pairs with about equal scores are left out, and those to a prompt
    that has many already: held out as a whole, it would be most of what is measured on.
    """
    rng = random.Random(f"preferences {seed}")
    records: list[Record] = []
    seen: set[tuple[str, str, str]] = set()
    of_prompt: Counter[str] = Counter()
    for pair in _pairs(rng):
        if len(records) == n:
            break
        record = _preference(pair)
        key = (pair.prompt, min(pair.responses), max(pair.responses))
        if record is not None and key not in seen and of_prompt[pair.prompt] < _PAIRS_OF_PROMPT:
            of_prompt[pair.prompt] += 1
            seen.add(key)
            records.append(record)
    return records


def moderation(n: int, seed: int) -> list[Record]:
    """Comments: records with ``text`` and ``category``; half of them are harmless."""
    rng, grammar = random.Random(f"moderation {seed}"), load_grammar()
    records: list[Record] = []
    for _ in range(n):
        category = rng.choice(CATEGORIES[1:]) if rng.random() < 0.5 else CATEGORIES[0]
        records.append({"text": write_text(grammar, rng, f"posted.{category}").text, "category": category})
    return records


def split_opening(text: Text, rng: random.Random) -> tuple[str, str]:
    """A text in two parts: an opening of a few words, and the rest.

    A dialogue is split after "Agent:"; a role marker at the start does not count as a word. The opening contains no
    opinion, so that it can be continued with a positive or a negative one. It is empty if the opinion comes too early,
    and for a review without an opinion, because some openings of those have no other continuation.
    """
    if _AGENT in text.text:
        opening, _, rest = text.text.partition(_AGENT)
        return opening + _AGENT, rest.strip()
    if text.domain == "review" and abs(text.attributes.sentiment) < _MIN_OPINION:
        return "", text.text
    words = text.text.split()
    markers = int(words[0].endswith(":"))
    low, high = _OPENING_WORDS
    longest = min(high, text.open_words - markers, len(words) - markers - 1)
    end = markers + rng.randint(max(low, longest - _SHORTENING), longest) if longest >= low else 0
    return " ".join(words[:end]), " ".join(words[end:])


def _prompt_records(
    n: int, source: Iterator[Text], rng: random.Random, known: Collection[str] | None, taken: Collection[str]
) -> list[Record]:
    """At most ``n`` records whose prompts are not in ``taken`` and use only ``known`` words (None: any)."""
    records: list[Record] = []
    seen: set[str] = set()
    failures = 0
    for text in source:
        if len(records) == n:
            break
        prompt, reference = split_opening(text, rng)
        fits = prompt not in taken and (known is None or all(word in known for word in words_of(prompt)))
        if not prompt or not reference or not fits or (prompt in seen and failures < _MAX_FAILURES):
            failures += 1
            if failures > 100 * _MAX_FAILURES:
                break
            continue
        failures = 0
        seen.add(prompt)
        records.append({"prompt": prompt, "reference": reference, "domain": text.domain})
    return records


def _pairs(rng: random.Random) -> Iterator[_Pair]:
    """Endless pairs of responses: to customers, and to openings of reviews, of comments and of single opinions.

    An opinion alone may also be that a thing is okay, which most reviews do not say.
    """
    grammar = load_grammar()
    sentences = [rule.name for rule in grammar.of_kind("sentence", "plain")]
    opinions = {each: [name for name in sentences if name.split(".")[0] == each] for each in _OPINIONS}
    topics = [rule.name.split(".", 1)[1] for rule in grammar.of_kind("text", "support") if rule.name[:4] == "ask."]
    unpaired: dict[str, str] = {}
    while True:
        topic = rng.choice(topics)
        dialogue = write_text(grammar, rng, f"dialogue.{topic}").text
        opening, _, first = dialogue.partition(_AGENT)
        second = write_text(grammar, rng, f"reply.{topic}").text.removeprefix(_AGENT.strip()).strip()
        yield _Pair(opening + _AGENT, (first.strip(), second), "support")
        openings = [(domain, *split_opening(write_text(grammar, rng, domain), rng)) for domain in _OPENED]
        for kind in rng.choices(list(_OPINIONS), list(_OPINIONS.values()), k=3):
            openings.append(("review", *_before_opinion(write_text(grammar, rng, rng.choice(opinions[kind])))))
        for domain, prompt, rest in openings:
            other = unpaired.pop(prompt, None)
            if other is None or other == rest:
                unpaired[prompt] = rest
            elif prompt and rest:
                yield _Pair(prompt, (other, rest), domain)


def _before_opinion(text: Text) -> tuple[str, str]:
    """All words before the opinion, and the rest, at least one word: "This film is" and "okay."."""
    words = text.text.split()
    end = min(text.open_words, len(words) - 1)
    return " ".join(words[:end]), " ".join(words[end:])


def _preference(pair: _Pair) -> Record | None:
    """The record with the better response as ``chosen``, or None if the gold scores are about equal."""
    readings = [reader().read(f"{pair.prompt} {response}") for response in pair.responses]
    margin = gold_score(readings[0]) - gold_score(readings[1])
    if abs(margin) < _MIN_MARGIN or not all(pair.responses):
        return None
    best = 0 if margin > 0 else 1
    return {
        "prompt": pair.prompt,
        "chosen": f" {pair.responses[best]}",  # with its space: a prompt and an answer are joined as they stand
        "rejected": f" {pair.responses[1 - best]}",
        "reason": _reason(readings[best], readings[1 - best]),
        "domain": pair.domain,
    }


def _reason(better: Reading, worse: Reading) -> str:
    """The attribute with the largest contribution to the margin."""
    gains = {
        "harmless": 4.0 * ((better.category == "harmless") - (worse.category == "harmless")),
        "more helpful": 2.0 * (better.helpfulness - worse.helpfulness),
        "more polite": better.politeness - worse.politeness,
        "more positive": better.sentiment - worse.sentiment,
    }
    return max(gains, key=lambda reason: gains[reason])
