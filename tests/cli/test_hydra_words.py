"""Words as a user types them, each read by Hydra's own parser as the value that was meant."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st

from rlnlp.cli.hydra_words import flag_value, quoted, readable, split_flags, whole_flag
from rlnlp.config.choices import merged, plain_value

PATHS = [
    "~/x", "runs (1)/x", "a&b", "a#b", "a #b", "héllo/x", "你好.jsonl", "a b", "a=b.jsonl", "[x].jsonl", "it's", "a;b",
    "a!b", "a<b", "f(1).csv", "$HOME/x", "a@b", "a|b", "a`b", "^a", "a{b}", "a[0].txt", "~", "'x", "a: b", "x\\",
    "a,(b", "%20",
]  # fmt: skip


def read(word):
    override = OverridesParser.create().parse_override(word)
    return override.value()


@pytest.mark.parametrize("path", PATHS)
def test_a_path_is_read_as_it_is_typed_and_the_same_on_resume(path):
    assert read(readable(f"model.path={path}", sweep=False)) == path
    assert merged({"model": {"path": None}}, [f"model.path={path}"]) == {"model": {"path": path}}


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12))
def test_any_text_in_quotes_is_that_text_to_hydra(text):
    assert read(f"key={quoted(text.replace('${', '$'))}") == text.replace("${", "$")


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("a=1e-5", 1e-5), ("a=true", True), ("a=null", None), ("a=[1,b]", [1, "b"]), ("a='é'", "é"), ('a="1"', "1"),
        ("a={b: c}", {"b": "c"}), ("a=${b}", "${b}"), ("a=", ""),
        ("a={fn: ~/é.py:f, args: {n: [1, ü], none: null, b: true}}",
         {"fn": "~/é.py:f", "args": {"n": [1, "ü"], "none": None, "b": True}}),
        ("a=[~/x, b c]", ["~/x", "b c"]),
    ],
)  # fmt: skip
def test_what_hydra_has_a_reading_for_keeps_it(word, value):
    assert read(readable(word, sweep=False)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5), ("5", 5), ("true", True), ("null", None), ("[1, b]", [1, "b"]), ("'5'", "5"),
        ('"a #b"', "a #b"),
        ("{b: c}", {"b": "c"}), ("5 #6", "5 #6"), ("2024-01-01", "2024-01-01"), ("", ""), (" x ", "x"),
    ],
)  # fmt: skip
def test_a_resumed_run_reads_values_as_hydra_does(text, value):
    assert plain_value(text) == value


def test_a_sweep_is_over_the_values_between_commas():
    swept = read(readable("model.path=~/a b,c,d (1)", sweep=True))
    assert [getattr(each, "text", each) for each in swept.list] == ["~/a b", "c", "d (1)"]
    assert read(readable("a=1,2", sweep=True)).list == [1, 2]


def test_a_directory_in_the_home_is_found(monkeypatch):
    monkeypatch.setenv("HOME", "/my home")
    assert read(readable("hydra.run.dir=~/r (1)", sweep=False)) == "/my home/r (1)"
    assert read(readable("hydra.sweep.dir=~", sweep=True)) == "/my home"


def test_flags_keep_their_values_whatever_stands_in_them():
    words = ["a=1", "--config-dir", "x=y", "-m", "--cfg", "hydra", "b=2", "--info", "c=3"]
    flags, settings_ = split_flags(words)
    assert flags == ["--config-dir", "x=y", "-m", "--cfg", "hydra", "--info", "all"]
    assert settings_ == ["a=1", "b=2", "c=3"]
    assert flag_value(["--config-dir=a", "-m", "-cd", "b"], "-cd", "--config-dir") == "b"
    assert flag_value(["-m"], "-cd") is None
    assert whole_flag("--dry") == "--dry-run"
