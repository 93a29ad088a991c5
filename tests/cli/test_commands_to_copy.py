"""Every command that a message tells to type: a shell reads back the words that are meant, whatever is in them."""

import re
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlnlp.cli import job
from rlnlp.cli.exits import guarded
from rlnlp.cli.main import main
from rlnlp.commands.resume import check_named
from rlnlp.config.changes import changes, check_allowed
from rlnlp.config.choices import merged, plain_word
from rlnlp.config.parse import parse
from rlnlp.config.schema import RUNS
from rlnlp.errors import Exit, Failure, Stopped, command, safe_text, shell_word
from rlnlp.evaluate.fit import Fit, next_command
from rlnlp.evaluate.report import generate_command, print_lines
from rlnlp.evaluate.summary import Line
from rlnlp.run.ending import START, UPDATE, error_with_advice
from rlnlp.run.progress import Progress
from rlnlp.run.run import Run
from support import runs
from support.small import WORDS

COPIED = re.compile(r"(?:: |^ +)(rlnlp .*)$", re.MULTILINE)
NASTY = [
    "a b", "a  b", "it's", 'say "x"', "`id`", "$(id)", "$HOME", "a\\b", "a;b&c|d>e", "*?[x]{y,z}", "#no", "~root", "-n",
    "a\nb", "a\tb", "\x1b]0;x\x07", "ü中🎉", "a\u202eb", "a\u2028b", "a\xa0b", "%s%d", "\udcff", "x" * 250, "!!", "a=b",
]  # fmt: skip


def read_back(*commands: str) -> list[list[str]]:
    """The words of each command line, as a shell gives them to ``rlnlp``."""
    script = "\n".join(['rlnlp() { printf "%s\\0" "$#" "$@"; }', *commands])
    done = subprocess.run(["sh", "-c", script.encode("utf-8", "surrogateescape")], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    left = [word.decode("utf-8", "surrogateescape") for word in done.stdout.split(b"\0")[:-1]]
    found = []
    while left:
        count = int(left.pop(0))
        found.append(left[:count])
        del left[:count]
    return found


def printed(message: str, capsys) -> list[list[str]]:
    """The words of the commands in an error, after it was printed."""

    def fail() -> int:
        raise Failure(Exit.RUN, message)

    capsys.readouterr()
    guarded("it", fail)
    return read_back(*COPIED.findall(capsys.readouterr().err))


def test_a_shell_reads_back_every_nasty_word_and_the_terminal_is_left_alone():
    lines = [command("resume", word, f"key={word}") for word in NASTY]
    assert read_back(*lines) == [["resume", word, f"key={word}"] for word in NASTY]
    assert all(safe_text(line) == line and "\n" not in line for line in lines)
    assert read_back(command("x", Path("-n"), Path("~root"), "")) == [["x", "./-n", "./~root", ""]]


@settings(max_examples=40)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9), max_size=60))
def test_a_shell_reads_back_any_word(words):
    kept = [word.rstrip("\n") for word in words]  # a shell drops newlines at the end of what a command prints
    assert read_back(" ".join(["rlnlp", *map(shell_word, kept)])) == [kept]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=9))
def test_the_name_of_a_function_is_read_back_as_it_is(text):
    name = f"{text}:f"
    assert merged({}, [f"key={plain_word(name)}"]) == {"key": name}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """The settings of a small run."""
    asked = runs.settings(runs.words("reinforce", tmp_path_factory.mktemp("config")))
    return parse(RUNS["reinforce"], asked)


ERRORS = [
    (Stopped(15), UPDATE, []),
    (KeyboardInterrupt(), UPDATE, []),
    (Failure(Exit.STORAGE, "full"), UPDATE, []),
    (OSError(28, "No space left on device"), UPDATE, []),
    (MemoryError("8 bytes"), UPDATE, ["algo.micro_batch_size=...", "resume.allow=algo.micro_batch_size"]),
    (MemoryError("8 bytes"), START, ["model.path=...", "resume.allow=model.path"]),
    (Failure(Exit.NONFINITE, "step 5: not finite\nlower it"), UPDATE,
     ["algo.learning_rate=...", "resume.allow=algo.learning_rate"]),
]  # fmt: skip


@pytest.mark.parametrize("name", NASTY)
def test_how_a_run_is_resumed(name, tmp_path, capsys):
    directory = tmp_path / name
    (directory / "checkpoints").mkdir(parents=True)
    progress = Progress(directory, keep=1)
    for error, phase, more in ERRORS:
        shown = error_with_advice(error, directory, progress, {}, phase)
        assert printed(str(shown), capsys) == [["resume", str(directory), *more]], error
    with pytest.raises(Failure, match="differs") as refused:
        progress._compare("data.prompts", "a", "b", (), print)
    assert printed(str(refused.value), capsys) == [["resume", str(directory), "resume.allow=data.prompts"]]
    progress.close()


@pytest.mark.parametrize("name", NASTY)
def test_a_directory_that_holds_a_run(name, tmp_path, config, capsys):
    directory = tmp_path / name
    directory.mkdir()
    (directory / "run.json").write_text("{}")
    with pytest.raises(Failure) as refused, Run(directory, config, "train"):
        pass
    assert printed(str(refused.value), capsys) == [["resume", str(directory)]]


@pytest.mark.parametrize("name", NASTY)
def test_code_and_secrets_that_are_named_again(name, config, capsys):
    settings = asdict(config)
    settings["reward"]["terms"]["own"] = {"fn": f"{name}: x.py:f", "weight": 1.0, "args": {"api_key": "***"}}
    with pytest.raises(Failure) as refused:
        check_named(Path(name), parse(RUNS["reinforce"], settings), [])
    ((verb, run, fn, secret),) = printed(str(refused.value), capsys)
    assert (verb, Path(run), secret) == ("resume", Path(name), "reward.terms.own.args.api_key=...")
    assert merged({}, [fn])["reward"]["terms"]["own"]["fn"] == f"{name}: x.py:f"


def test_settings_that_are_allowed_by_name(config, capsys):
    old = asdict(config)
    new = merged(old, ["reward.terms.sentiment.weight=0.5", "algo.kl_coef=0.3"])
    new["reward"]["terms"]["it's `id`"] = old["reward"]["terms"]["length"]
    with pytest.raises(Failure) as refused:
        check_allowed(changes(old, new), ["data.prompts"], "resume.allow=", falling=False)
    (line,) = [line for line in str(refused.value).split("\n") if "add: " in line]
    ((word,),) = read_back(f"rlnlp {line.partition('add: ')[2]}")
    keys = word.removeprefix("resume.allow=").split(",")
    assert {"data.prompts", "algo.kl_coef", "reward.terms.it's `id`.weight"} <= set(keys)


@pytest.mark.parametrize("name", ["a b`id`$x", '"$(id)"'])
def test_what_is_missing_of_a_sweep(name, tmp_path, monkeypatch, capsys):
    def stopped(self, *_):
        self.stopped = Stopped(15)
        return 143

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(job.Job, "_process", stopped)
    assert main(["train", "-m", "seed=1,2", f"hydra.sweep.dir='{name}'"]) == 143
    assert read_back(*COPIED.findall(capsys.readouterr().err)) == [["resume", name]]
    assert main(["resume", name, "algo.batch_size=1"]) == 2
    assert read_back(*COPIED.findall(capsys.readouterr().err)) == [["resume", f"{name}/NUMBER", "key=value"]]


PROMPTS = ["x" * 90, "`id`", "the food is very good", "say \x1b[2J", "-n 3", "a=b", "", "two\nlines"]


@pytest.mark.parametrize("name", NASTY)
def test_the_next_command_draws_for_the_shortest_whole_prompt_or_for_a_file(name, tmp_path):
    lines = [generate_command(Path(name), PROMPTS, []), generate_command(Path(name), PROMPTS[:1], [Path(name)])]
    lines.append(generate_command(Path(name), [*PROMPTS[3:], PROMPTS[0]], []))
    short, file, nothing = read_back(*lines)
    assert [short[0], Path(short[1]), *short[2:]] == ["generate", Path(name), "`id`"]
    assert [file[2], Path(file[3])] == ["--file", Path(name)]
    assert nothing[2:] == ["--file", "prompts.jsonl"]


def test_the_end_of_an_sft_run_tells_how_a_text_begins_and_never_an_empty_prompt(tmp_path, config):
    with Run(tmp_path / "a b", config, "train") as run:
        after = Fit(range(2), torch.zeros(2), [("", f"{' '.join(WORDS[i : i + 9])}") for i in range(3)])
        ((verb, directory, prompt),) = read_back(next_command(run, after))
    assert (verb, directory) == ("generate", str(tmp_path / "a b"))
    assert prompt == min((" ".join(WORDS[i : i + 3]) for i in range(3)), key=len)


def test_a_long_command_is_printed_on_one_line(tmp_path, capsys):
    from rich.console import Console

    line = command("generate", "x" * 500, "a  b")
    print_lines(Console(width=40, force_terminal=True), [Line(f"next: {line}")])
    assert f"next: {line}\n" in capsys.readouterr().out
    assert printed(f"what\n{command('resume', 'x' * 3000, 'a  b')}", capsys) == [["resume", "x" * 3000, "a  b"]]
