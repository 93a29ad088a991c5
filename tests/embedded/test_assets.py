"""The embedded data is what the code writes, is small, and suits its use."""

import json
from collections import Counter

import pytest

from rlnlp.data.records import ASSETS
from rlnlp.embedded.grammar import corpus, gold_score
from rlnlp.embedded.make import data_sets
from rlnlp.models.load import load_tokenizer


@pytest.fixture(scope="module")
def sets():
    return {
        name: [json.loads(line) for line in (ASSETS / f"{name}.jsonl").read_text().splitlines()]
        for name in ("prompts", "heldout", "preferences", "moderation")
    }


@pytest.mark.slow
def test_the_files_hold_what_the_code_writes(sets):
    assert data_sets() == sets
    assert {name: len(records) for name, records in sets.items()} == {
        "prompts": 2048, "heldout": 512, "preferences": 4000, "moderation": 2000,
    }  # fmt: skip


def test_all_of_it_is_at_most_six_megabytes():
    assert sum(path.stat().st_size for path in ASSETS.rglob("*") if path.is_file()) <= 6_000_000


def test_each_word_of_the_language_is_one_token_and_any_other_text_comes_back_from_its_tokens():
    tokenizer = load_tokenizer(str(ASSETS / "embedded"), True)
    words = " ".join(corpus.texts(3000, 77)).split()
    spelled = [word for word in set(words) if len(tokenizer.encode_behind("a", f" {word.rstrip('.,!?;:')}")[1]) > 1]
    assert len(spelled) < 0.01 * len(set(words))
    for text in ("\u00dcber  den\tWolken\n", "\U0001f600 Zebra!", "<|end|>", "unheardof words"):
        assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.slow
def test_the_reader_agrees_with_every_stored_choice(sets):
    read = corpus.reader().read
    for pair in sets["preferences"]:
        chosen, rejected = (gold_score(read(f"{pair['prompt']}{pair[name]}")) for name in ("chosen", "rejected"))
        assert chosen > rejected, pair


def test_preferences_say_what_no_strong_opinion_is_worth_beside_a_good_and_a_bad_one(sets):
    read = corpus.reader().read
    for side, other in (("chosen", "rejected"), ("rejected", "chosen")):
        okay = [pair for pair in sets["preferences"] if pair[side].startswith(" okay")]
        assert len(okay) >= 20
        assert all(read(f"{pair['prompt']}{pair[side]}").sentiment == 0 for pair in okay)
        assert {read(f"{pair['prompt']}{pair[other]}").sentiment > 0 for pair in okay} == {side == "rejected"}
        assert len({pair["prompt"] for pair in okay}) >= 10, "not of a few prompts alone"


def test_no_prompt_has_so_many_preferences_that_it_is_most_of_what_is_held_out(sets):
    assert max(Counter(pair["prompt"] for pair in sets["preferences"]).values()) <= 40


def test_the_reader_agrees_with_every_category(sets):
    read = corpus.reader().read
    assert [record for record in sets["moderation"] if read(record["text"]).category != record["category"]] == []
    assert {record["category"] for record in sets["moderation"]} == set(corpus.CATEGORIES)


def test_heldout_prompts_are_new_and_every_word_of_them_is_in_the_training_text(sets):
    train = {record["prompt"] for record in sets["prompts"]}
    words = {w for record in sets["prompts"] for w in corpus.words_of(record["prompt"] + " " + record["reference"])}
    for record in sets["heldout"]:
        assert record["prompt"] not in train
        assert set(corpus.words_of(record["prompt"])) <= words
