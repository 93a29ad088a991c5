"""The questions for chat models that come with the package."""

from rlnlp.data.records import embedded_set, read_records

SETS = ("embedded/opinions", "embedded/opinions-heldout")


def prompts(name):
    return [
        record["prompt"]
        for _, record in read_records(str(embedded_set(name, "prompts")), "data.prompts", "prompt").records
    ]


def things(name):
    """What the questions ask about: the longest words that several of them share."""
    return {text.removeprefix("How was ").rstrip("?") for text in prompts(name) if text.startswith("How was ")}


def test_held_out_questions_are_the_same_ten_about_other_things():
    trained, held = map(things, SETS)
    assert (len(trained), len(held)) == (50, 12)
    assert not trained & held
    asked = [
        {text.replace(thing, "...") for text in prompts(name) for thing in things(name) if thing in text}
        for name in SETS
    ]
    assert asked[0] == asked[1]
    assert len(asked[0]) == 10
    assert len(set(prompts(SETS[0]) + prompts(SETS[1]))) == 620
