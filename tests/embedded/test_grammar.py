"""The embedded language: what it generates, what it accepts and what it rejects."""

import itertools
import random
import time

import pytest

from rlnlp.embedded.grammar import (
    CATEGORIES,
    Reader,
    RuleError,
    Text,
    corpus,
    gold_score,
    load_grammar,
    parse_grammar,
    write_text,
)
from rlnlp.embedded.grammar.read import MAX_SENTENCES
from rlnlp.embedded.grammar.rules import ROLE_MARKERS

DOMAINS = ("review", "support", "statement", "comment")


@pytest.fixture(scope="module")
def reader() -> Reader:
    return corpus.reader()


@pytest.fixture(scope="module")
def many() -> dict[str, list[Text]]:
    return {domain: list(itertools.islice(corpus.text_stream(7, domain), 400)) for domain in DOMAINS}


def bodies(texts: dict[str, list[Text]]) -> list[tuple[str, list[str]]]:
    """Single sentences: the role marker (or an empty string), and the words after it."""
    found = []
    for text in itertools.chain.from_iterable(texts.values()):
        role = ""
        for sentence in text.sentences:
            words = sentence.split()
            if words[0] in ROLE_MARKERS:
                role = words.pop(0)
            found.append((role, words))
    return found


def fraction_accepted(reader: Reader, sentences: list[str]) -> float:
    return sum(reader.read(sentence).accepted for sentence in sentences) / len(sentences)


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_written_text_is_accepted_and_read_as_it_was_meant(
    domain: str, reader: Reader, many: dict[str, list[Text]]
) -> None:
    for text in many[domain]:
        reading = reader.read(text.text)
        assert reading.accepted, text.text
        assert not reading.unfinished, text.text
        assert reading.sentences == len(text.sentences), text.text
        assert reading.attributes == text.attributes, text.text
        assert text.domain == domain


@pytest.mark.parametrize("domain", ["review", "statement", "comment"])
def test_every_sentence_keeps_its_meaning_when_it_stands_alone(
    domain: str, reader: Reader, many: dict[str, list[Text]]
) -> None:
    for text in many[domain][:150]:
        for sentence in text.sentences:
            assert reader.read(sentence).accepted, sentence


def test_the_scales_are_used_from_end_to_end(many: dict[str, list[Text]]) -> None:
    sentiments = [text.attributes.sentiment for text in many["review"]]
    assert (min(sentiments), max(sentiments)) == (-1, 1)
    assert any(abs(value) < 0.2 for value in sentiments)
    for scale in ("politeness", "helpfulness"):
        values = [getattr(text.attributes, scale) for text in many["support"]]
        assert min(values) <= -0.9
        assert max(values) >= 0.9
    assert {text.attributes.category for text in many["comment"]} == set(CATEGORIES)
    for domain in ("review", "support", "statement"):
        assert {text.attributes.category for text in many[domain]} == {"harmless"}


def test_opposite_opinions_are_read_with_opposite_signs(reader: Reader) -> None:
    assert reader.read("This film is amazing.").sentiment > reader.read("This film is good.").sentiment > 0
    assert reader.read("This film is terrible.").sentiment < reader.read("This film is not good.").sentiment < 0
    assert reader.read("This is okay.").sentiment == 0
    assert 0 < reader.read("This is not bad.").sentiment < reader.read("This is great!").sentiment
    assert reader.read("It was not worth the money.").sentiment < 0


def test_shuffled_sentences_are_refused(reader: Reader, many: dict[str, list[Text]]) -> None:
    rng = random.Random(1)
    broken = []
    for role, words in rng.sample(bodies(many), 1100):
        low = [words[0][:1].lower() + words[0][1:], *words[1:-1], words[-1][:-1]]
        mixed = rng.sample(low, len(low))
        if mixed != low and len(set(low)) > 3:
            broken.append(f"{role} {capital(' '.join(mixed))}{words[-1][-1]}".strip())
    assert len(broken) > 1000
    assert fraction_accepted(reader, broken) <= 0.02


def test_sentences_with_a_doubled_word_are_refused(reader: Reader, many: dict[str, list[Text]]) -> None:
    rng = random.Random(2)
    broken = []
    for role, words in rng.sample(bodies(many), 1100):
        at = rng.randrange(len(words) - 1) if len(words) > 1 else 0
        word = words[at].rstrip(",.!?")
        again = word.lower() if at == 0 else words[at]
        broken.append(" ".join([role, *words[:at], word, again, *words[at + 1 :]]).strip())
    assert fraction_accepted(reader, broken) <= 0.02


def test_sentences_without_one_of_their_small_words_are_refused(reader: Reader, many: dict[str, list[Text]]) -> None:
    rng = random.Random(3)
    needed = {"the", "a", "an", "is", "are", "was", "were", "to", "of", "I", "we", "it", "you", "has", "have", "in"}
    broken = []
    for role, words in rng.sample(bodies(many), 1100):
        positions = [i for i, word in enumerate(words[:-1]) if word in needed]
        if positions:
            at = rng.choice(positions)
            broken.append(" ".join([role, *words[:at], *words[at + 1 :]]).strip())
    assert len(broken) > 1000
    assert fraction_accepted(reader, broken) <= 0.02


@pytest.mark.parametrize(
    "sentence",
    [
        "The plot was delicious.",
        "The soup was predictable.",
        "The waiter was soggy.",
        "The acting were great.",
        "The rooms was clean.",
        "The soup was a cold.",
        "This is a excellent film.",
        "This is an great film.",
        "These shoes is great.",
        "This shoes are great.",
        "The battery was tender.",
        "My sister think that this film is good.",
        "I bought this shoes on Monday morning for twenty euros.",
        "In the future, we will plants more trees in our towns and fly to Mars.",
        "the soup was cold.",
        "The soup was cold .",
        "The soup, was cold.",
        "The soup was cold,.",
        "The soup was cold..",
        "The Soup was cold.",
        "Agent: The soup was cold.",
        "Customer: That is not my problem.",
        "Customer: Agent: I am sorry about that.",
        "Cold.",
        ".",
    ],
)
def test_a_wrong_part_or_form_is_refused(sentence: str, reader: Reader) -> None:
    reading = reader.read(sentence)
    assert (reading.sentences, reading.accepted_sentences, reading.accepted) == (1, 0, False)


def test_a_wrong_part_for_a_thing_is_refused(reader: Reader, many: dict[str, list[Text]]) -> None:
    grammar = load_grammar()
    classes = sorted(name[5:] for name in grammar.rules if name.startswith("noun.") and "~" not in name)
    rng = random.Random(4)
    broken = []
    for _ in range(300):
        noun, other = rng.sample(classes, 2)
        word = write_text(grammar, rng, f"noun.{noun}").text
        wrong = write_text(grammar, rng, f"bad.{other}").text.lower()
        fitting = {alternative.items[0].value for alternative in grammar.rules[f"bad.{noun}"].alternatives}
        if wrong not in fitting:
            broken.append(f"The {word[:1].lower() + word[1:]} was {wrong}.")
    assert fraction_accepted(reader, broken) <= 0.1


def test_an_unfinished_last_sentence_is_not_counted(reader: Reader) -> None:
    reading = reader.read("This film is great. The acting was")
    assert (reading.sentences, reading.accepted_sentences, reading.unfinished) == (1, 1, True)
    assert reading.accepted
    assert not reader.read("The acting was").accepted
    assert reader.read("") == reader.read(" \n\t ")


def test_a_refused_sentence_says_nothing(reader: Reader) -> None:
    reading = reader.read("This film is great. Film terrible the is!")
    assert (reading.sentences, reading.accepted_sentences) == (2, 1)
    assert reading.sentiment == reader.read("This film is great.").sentiment
    assert gold_score(reading) < gold_score(reader.read("This film is great."))


@pytest.mark.parametrize(
    "text",
    [
        "the " * 200_000 + ".",
        "a" * 1_000_000,
        "This is great. " * 20_000,
        "The soup was cold, but " * 50_000,
        "\x00\x1b[2J\u202e\ud800 \U0001f600. \u00c9t\u00e9.",
        "Agent: " * 10_000,
        "I think that I think that I think that this film is good.",
        "." * 100_000,
        ". " * 100_000,
        "A",
        "An",
        "A.",
    ],
)
def test_no_text_crashes_the_reader_or_holds_it_up(text: str, reader: Reader) -> None:
    started = time.perf_counter()
    reading = reader.read(text)
    assert time.perf_counter() - started < 2
    assert 0 <= reading.accepted_sentences <= min(reading.sentences, MAX_SENTENCES)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("text t t = <s>\n\nsentence plain s = (a|b .\n", "x.rules:3"),
        ("text t t = <s>\n", "x.rules:1: no rule matches <s>"),
        ("text t t = <s>\nsentence plain s = a <s> .\n", "x.rules:2: <s> refers to itself"),
        ("a = b\na = c\n", "x.rules:2: a is already defined at x.rules:1"),
        ("  a = b\n", "x.rules:1"),
        ("a b\n", "x.rules:1"),
        ("a =\n", "x.rules:1"),
        ("a = b | | c\n", "x.rules:1: an alternative is empty"),
        ("a = b\n    | c {mood=1}\n", "x.rules:2: unknown tag"),
        ("a = b {sentiment=7}\n", "x.rules:1: unknown tag"),
        ("a = b $\n", "x.rules:1: cannot parse"),
        ("a = b )\n", "x.rules:1"),
        ("text t t = <s.x>\nsentence plain s.* = <u.$2> .\n", "x.rules:2"),
    ],
)
def test_a_broken_rule_file_is_named_with_its_line(rules: str, message: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse_grammar([("x.rules", rules)])
    assert message in str(caught.value)


def test_a_small_grammar_of_its_own_writes_and_reads() -> None:
    grammar = parse_grammar(
        [
            (
                "x.rules",
                "# two animals\n"
                "text zoo zoo = <see.cat> <see.elk>  # one of each\n"
                "sentence plain see.* = I see a [2: big|old] <kind.$1> (.|!) {sentiment=0.5}\n"
                "kind.cat = cat\n"
                "kind.* = elk\n",
            )
        ]
    )
    written = {write_text(grammar, random.Random(seed), "zoo").text for seed in range(200)}
    together = " ".join(written)
    assert "I see an elk." in together
    assert "I see a big elk" in together
    reader = Reader(grammar)
    assert all(reader.read(text).accepted and reader.read(text).sentiment == 0.5 for text in written)
    assert not reader.read("I see a elk.").accepted
