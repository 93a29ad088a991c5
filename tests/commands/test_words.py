"""What is typed wrong behind the plain commands that take settings, and what is told to type instead."""

import pytest

from rlnlp.cli.main import main


def told(capsys, *words: str) -> list[str]:
    assert main(list(words)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"rlnlp {words[0]}: ")
    assert 1 <= err.count("\n") <= 3
    return err.removeprefix(f"rlnlp {words[0]}: ").rstrip("\n").split("\n  ")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["temperature=0.5"], "'temperature=0.5' looks like a setting; did you mean 'sampler.temperature=0.5'?"),
        (["temprature=0.5"], "'temprature=0.5' looks like a setting; did you mean 'sampler.temperature=0.5'?"),
        (["samplers=greedy"], "'samplers=greedy' looks like a setting; did you mean 'sampler=greedy'?"),
        (["max_tokens=9"], "'max_tokens=9' looks like a setting; did you mean 'sampler.max_new_tokens=9'?"),
        (["algo.gamma=1"], "'algo.gamma=1' looks like a setting; it is a setting of algo=ppo"),
        (["n=3"], "'n=3' looks like a setting; type: -n 3"),
        (["temperature", "=", "2"], "'temperature =' looks like a setting, which has no spaces around '='"),
    ],
)
def test_a_word_of_generate_that_looks_like_a_setting_is_no_prompt(words, line, capsys):
    first, way = told(capsys, "generate", "./nowhere", *words, "the film is")
    assert first == line
    assert way == "if it is a prompt, give it with --file or on standard input"


@pytest.mark.parametrize(
    ("flags", "lines"),
    [
        (["--temperature", "0.5"], ["no flag '--temperature'; did you mean 'sampler.temperature=0.5'?"]),
        (["--temperature=0.5"], ["no flag '--temperature'; did you mean 'sampler.temperature=0.5'?"]),
        (["--temperature", "the film is"], ["no flag '--temperature'; did you mean 'sampler.temperature=...'?"]),
        (["--jsn"], ["no flag '--jsn'; did you mean '--json'?"]),
        (["--nothing", "-x"], [f"no flag '{x}'; settings are typed as key=value" for x in ("--nothing", "-x")]),
    ],
)
def test_a_flag_that_generate_does_not_have_is_told_with_what_was_meant(flags, lines, capsys):
    assert told(capsys, "generate", "./nowhere", *flags, "the film is") == lines


def test_settings_may_stand_before_the_run_or_model(tmp_path, capsys):
    for command, words in (("generate", ["the film is"]), ("resume", [])):
        assert main([command, "sampler.top_k=1", "./nowhere", *words]) in (4, 6)
        assert "nowhere" in capsys.readouterr().err
    assert told(capsys, "generate", "sampler=greedy", "seed=1")[0].startswith("name a run or a model")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--lr", "1e-4"], "no flag '--lr'; did you mean 'algo.learning_rate=1e-4'?"),
        (["nonsense"], "'nonsense' is no setting: want key=value"),
        (["lr", "=", "1"], "'lr' is no setting: want key=value; it has no spaces around '='"),
    ],
)
def test_what_is_no_setting_is_told_by_resume(words, line, capsys):
    assert told(capsys, "resume", "./nowhere", *words) == [line]
