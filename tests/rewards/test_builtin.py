"""Built-in terms are made by name, and their arguments are checked before any response."""

import pytest
import torch

from rlnlp.config.reward import REWARDS
from rlnlp.rewards.builtin import MODEL_REWARDS, TEXT_REWARDS
from support.rewards import fails, term_values

REQUIRED = {
    "length": {"low": 1, "high": 2}, "keywords": {"words": ["good", "thank you"]}, "pattern": {"regex": "bad$"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("fn", "args", "line"),
    [
        ("pattern", {"regex": "a(b"}, r"regex is wrong at character 1: missing \), unterminated.*, got 'a\(b'"),
        ("pattern", {"regex": "a{99999999999999}"}, "regex cannot be used"),
        ("pattern", {"regex": 3}, "regex must be text, got 3"),
        ("pattern", {}, "regex is missing"),
        ("keywords", {}, "words is missing"),
        ("keywords", {"words": []}, "words must be words or phrases, at least one"),
        ("keywords", {"words": ["a", "?!"]}, "words must be words or phrases, at least one"),
        ("keywords", {"words": "please"}, "words must be a list of texts, got 'please'"),
        ("keywords", {"words": ["a", 3]}, r"words\[1\] must be text, got 3"),
        ("repetition", {"n": 0}, "n must be >= 1, got 0"),
        ("repetition", {"n": 2.5}, "n must be a whole number, got 2.5"),
        ("similarity", {"measure": "rouge-1"}, "measure must be one of f1, recall, rouge-l, got 'rouge-1'"),
        ("length", {"low": "five", "high": 9}, "low must be a whole number, got 'five'"),
        ("coherence", {"batch_size": 0}, "batch_size must be >= 1, got 0"),
        ("classifier", {"of": "prompt", "path": "x"}, "of must be one of completion, both, got 'prompt'"),
    ],
)  # fmt: skip
def test_wrong_arguments_of_a_built_in_term_are_exit_2_with_their_key_before_any_response(fn, args, line):
    fails(2, rf"reward\.terms\.mine\.args\.{line}", lambda: term_values({"mine": args}, name=fn))


def test_an_unknown_argument_is_reported_with_the_nearest_one():
    message, args = (
        r"no setting 'reward\.terms\.mine\.args\.regx'; did you mean 'reward\.terms\.mine\.args\.regex=a'",
        {"regx": "a", "regex": "a"},
    )
    fails(2, message, term_values, {"mine": args}, (), None, "pattern")


def test_every_name_of_the_config_is_a_function_and_the_text_ones_can_be_built():
    assert set(TEXT_REWARDS) | set(MODEL_REWARDS) == set(REWARDS)
    numberless = {*TEXT_REWARDS, "coherence"} - {"exact-answer"}  # whose references are numbers
    args = {name: REQUIRED.get(name, {}) for name in sorted(numberless)}
    found = term_values(args, coherence=lambda rollout: torch.ones(2))
    assert found["coherence"] == [1, 1]
    assert found["keywords"] == [0.5, 0]
    assert found["pattern"] == [0, 1]
    assert found["diversity"] == [1, 0.5]
    assert all(len(values) == 2 and all(0 <= v <= 1 for v in values) for values in found.values())
