"""The data sets made from the embedded language: texts, prompts, preferences and moderated comments."""

import itertools
import os
import random
import subprocess
import sys
import time

import pytest

from rlnlp.embedded.grammar import CATEGORIES, Reader, corpus, gold_score, load_grammar

OPENINGS = (
    "The weather today is",
    "I think that artificial intelligence",
    "The best way to learn",
    "Technology has changed",
    "In the future, we will",
)


@pytest.fixture(scope="module")
def reader() -> Reader:
    return corpus.reader()


@pytest.fixture(scope="module")
def some() -> list[str]:
    return corpus.texts(6000, 12)


def test_writing_and_reading_are_fast() -> None:
    started = time.process_time()
    written = corpus.texts(1500, 1)
    assert time.process_time() - started < 5
    fresh = Reader(load_grammar())
    started = time.process_time()
    for text in written[:1000]:
        fresh.read(text)
    assert time.process_time() - started < 5


def test_the_language_has_many_words_and_few_repeated_texts(some: list[str]) -> None:
    assert len({word for text in some for word in corpus.words_of(text)}) >= 1500
    varied = [text for text in some if not (text.startswith("This is ") and len(text.split()) < 5)]
    assert len(varied) - len(set(varied)) < 0.03 * len(varied)
    lengths = [len(text.split()) for text in some]
    assert sum(8 <= length <= 45 for length in lengths) > 0.9 * len(lengths)


def test_fresh_texts_are_mostly_new() -> None:
    seen = {sentence for text in itertools.islice(corpus.text_stream(0), 4000) for sentence in text.sentences}
    new: dict[str, list[bool]] = {domain: [] for domain in corpus.DOMAINS}
    for text in itertools.islice(corpus.text_stream(12345), 500):
        new[text.domain].extend(sentence not in seen for sentence in text.sentences)
    for domain, found in new.items():
        assert sum(found) > 0.92 * len(found), domain
    everything = list(itertools.chain.from_iterable(new.values()))
    assert sum(everything) > 0.95 * len(everything)
    assert len(everything) > 900


def test_the_openings_and_the_plain_frame_occur(some: list[str]) -> None:
    for opening in OPENINGS:
        assert len({text for text in some if opening in text}) >= 20, opening
    for word in ("amazing", "great", "good", "okay", "bad", "terrible"):
        assert f"This is {word}." in some or f"This is {word}!" in some
    assert any(text.startswith("This film is ") for text in some)
    assert any(text.startswith("Customer: ") and " Agent: " in text for text in some)


def test_texts_depend_on_the_seed_alone() -> None:
    assert corpus.texts(200, 5) == corpus.texts(200, 5) != corpus.texts(200, 6)
    assert corpus.texts(100, 5) == corpus.texts(200, 5)[:100]
    assert corpus.preferences(40, 5) == corpus.preferences(40, 5)
    assert corpus.prompt_split(40, 10, 5) == corpus.prompt_split(40, 10, 5)
    assert corpus.moderation(40, 5) == corpus.moderation(40, 5)


def test_texts_do_not_depend_on_the_hash_seed() -> None:
    code = (
        "from rlnlp.embedded.grammar import corpus;"
        "print(corpus.texts(50, 3), corpus.preferences(20, 3), corpus.prompt_split(20, 5, 3), corpus.moderation(20, 3))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_an_unknown_domain_is_named() -> None:
    with pytest.raises(ValueError, match="poetry"):
        corpus.texts(1, 1, "poetry")


def test_prompts_are_openings_of_acceptable_texts(reader: Reader) -> None:
    records = corpus.prompts(500, 8)
    assert len({record["prompt"] for record in records}) == 500
    for record in records:
        assert reader.read(f"{record['prompt']} {record['reference']}").accepted
        if record["domain"] == "support":
            assert record["prompt"].endswith(" Agent:")
        else:
            assert 2 <= len(record["prompt"].removeprefix("Comment: ").split()) <= 6


@pytest.mark.slow
def test_an_opening_of_a_review_leaves_open_whether_the_review_is_a_good_one() -> None:
    rng = random.Random(6)
    good: dict[str, list[bool]] = {}
    for text in itertools.islice(corpus.text_stream(6, "review"), 20000):
        prompt, rest = corpus.split_opening(text, rng)
        assert f"{prompt} {rest}".strip() == text.text
        if prompt:
            good.setdefault(prompt, []).append(text.attributes.sentiment > 0)
    often = [sum(found) / len(found) for found in good.values() if len(found) >= 40]
    assert len(often) >= 20
    assert all(0.15 < fraction < 0.85 for fraction in often)


def test_held_out_prompts_are_new_but_use_known_words() -> None:
    train, held_out = corpus.prompt_split(2000, 300, 9)
    assert (len(train), len(held_out)) == (2000, 300)
    seen = {record["prompt"] for record in train}
    assert not seen & {record["prompt"] for record in held_out}
    wholes = [f"{record['prompt']} {record['reference']}" for record in train]
    words = {word for whole in wholes for word in corpus.words_of(whole)}
    for record in held_out:
        assert set(corpus.words_of(record["prompt"])) <= words
        assert not any(whole.startswith(record["prompt"] + " ") for whole in wholes)


def test_preferences_agree_with_the_reader_in_every_case(reader: Reader) -> None:
    records = corpus.preferences(400, 10)
    assert len(records) == 400
    assert len({(record["prompt"], record["chosen"], record["rejected"]) for record in records}) == 400
    for record in records:
        chosen = reader.read(f"{record['prompt']}{record['chosen']}")
        rejected = reader.read(f"{record['prompt']}{record['rejected']}")
        assert chosen.accepted
        assert rejected.accepted
        assert gold_score(chosen) > gold_score(rejected)
        gains = {
            "more helpful": chosen.helpfulness - rejected.helpfulness,
            "more polite": chosen.politeness - rejected.politeness,
            "more positive": chosen.sentiment - rejected.sentiment,
            "harmless": (chosen.category == "harmless") - (rejected.category == "harmless"),
        }
        assert gains[record["reason"]] > 0
    assert {record["reason"] for record in records} == {"more helpful", "more polite", "more positive", "harmless"}


def test_moderated_comments_are_read_with_their_category(reader: Reader) -> None:
    records = corpus.moderation(600, 4)
    for record in records:
        assert record["text"].startswith("Comment: ")
        assert reader.read(record["text"]).category == record["category"]
    assert {record["category"] for record in records} == set(CATEGORIES)
