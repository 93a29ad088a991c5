"""What is typed wrong behind `train` and its short forms, and the words that are told to type instead."""

import re
import shlex
import sys

import pytest

from rlnlp.cli.main import HYDRA, main
from rlnlp.config.choices import choices_of, conf_dir
from rlnlp.config.schema import RUNS
from support.inside import rlnlp

NOWHERE = "model.path=./nowhere"  # checked settings end here
HINT = re.compile(r"(?:did you mean|type|comma:|them:) (['\"].*['\"])")


def told(capsys, *words: str) -> str:
    """What the command says of wrong words; it ends with exit 2 before a directory is made or torch is imported."""
    before = sys.argv
    assert main(list(words)) == 2
    assert sys.argv is before, "Hydra has not begun"
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"rlnlp {words[0]}: ")
    assert err.count("\n") <= 3
    return err.removeprefix(f"rlnlp {words[0]}: ")


def advised(err: str) -> list[str]:
    """The settings and flags that are told, as a shell reads them; the quotes end before what is said behind them."""
    found = []
    for line in err.split("\n"):
        if match := HINT.search(line):
            found += [word for word in shlex.split(match[1].replace("?", "")) if word != "or"]
    return found


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("--lr 1e-4", ["algo.learning_rate=1e-4"]),
        ("--lr=1e-4", ["algo.learning_rate=1e-4"]),
        ("-lr 1e-4", ["algo.learning_rate=1e-4"]),
        ("--learning-rate 1e-4", ["algo.learning_rate=1e-4"]),
        ("--steps 5 --batch_size=8", ["algo.total_steps=5", "algo.batch_size=8"]),
        ("--algo.kl_coef 0.1", ["algo.kl_coef=0.1"]),
        ("--kl_coef -0.1", ["algo.kl_coef=-0.1"]),
        ("--seed", ["seed=..."]),
        ("--seed --gamma 1", ["seed=...", "algo.gamma=1"]),
        ("--model gpt2", ["model=gpt2"]),
        ("--gpu", ["device=gpu"]),
        ("--output_dir out", ["hydra.run.dir=out"]),
        ("--sweep seed=1,2", ["-m"]),
        ("--multirn", ["--multirun"]),
        ("output_dir=out", ["hydra.run.dir=out"]),
        ("algo.learning_rate = 1e-4", ["algo.learning_rate=1e-4"]),
        ("lr = 1e-4", ["algo.learning_rate=1e-4"]),
        ("seed= 3", ["seed=3"]),
        ("seed =3 device=cpu", ["seed=3"]),
        ("model = gpt2", ["model=gpt2"]),
        ("hydra.run.dir = x", ["hydra.run.dir=x"]),
        ("algo.learning_rate 1e-4", ["algo.learning_rate=1e-4"]),
        ("lr: 1e-4", ["algo.learning_rate=1e-4"]),
        ("lr:1e-4", ["algo.learning_rate=1e-4"]),
        ("seed", ["seed=..."]),
        ("gpt2", ["model=gpt2"]),
        ("sft", ["algo=sft"]),
        ("default", [f"{group}=default" for group in ("data", "device", "model", "reward", "sampler", "tracker")]),
        ("help", ["--help"]),
        ("algo.name=sft", ["algo=sft"]),
        ("reward.terms.length.clip=0,1", ["reward.terms.length.clip=[0,1]"]),
        ("data.prompts=a.csv,b.jsonl", ["data.prompts=[a.csv,b.jsonl]"]),
        ("model.path=a,b", ["model.path='a,b'"]),
        ("--cfg job lr=1", ["algo.learning_rate=1"]),
    ],
)
def test_what_is_no_setting_and_no_flag_is_told_with_the_words_to_type(typed, words, capsys):
    assert advised(told(capsys, "train", *typed.split(" "))) == words


def test_the_words_that_are_told_are_understood(tmp_path):
    words = ["algo.learning_rate=1e-4", "data.prompts='a,b.jsonl'", "reward.terms.length.clip=[0,1]", "model=gpt2"]
    code, out, err = rlnlp("train", *words, "--cfg", "job", cwd=tmp_path)
    assert (code, err) == (0, "")
    for line in ("learning_rate: 0.0001\n", "prompts: a,b.jsonl\n", "- 0\n      - 1\n", "path: gpt2\n"):
        assert line in out


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("--nothing", "no flag '--nothing'; settings are typed as key=value\n"),
        ("-x", "no flag '-x'; settings are typed as key=value\n"),
        ("nothing", "no setting 'nothing': settings are typed as key=value\n"),
        ("--num_ppo_epochs 3", "no flag '--num_ppo_epochs'; did you mean 'algo.ppo_epochs=3'? (TRL's name; here: "),
    ],
)
def test_a_word_that_means_nothing_is_told_as_such_and_a_name_of_trl_as_that(typed, line, capsys):
    assert told(capsys, "train", *typed.split(" ")).startswith(line)


def test_a_run_a_directory_and_a_file_are_told_with_what_takes_them(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a model").mkdir()
    (tmp_path / "prompts.jsonl").touch()
    run = tmp_path / "my run"
    run.mkdir()
    (run / "run.json").touch()
    (run / "config.yaml").touch()
    assert advised(told(capsys, "train", "a model")) == ["model.path=a model"]
    assert advised(told(capsys, "train", "prompts.jsonl")) == ["data.prompts=prompts.jsonl"]
    assert advised(told(capsys, "sft", "prompts.jsonl")) == ["data.texts=prompts.jsonl"]
    assert shlex.split(told(capsys, "train", "my run").partition(": ")[2]) == ["rlnlp", "resume", "my run"]


@pytest.mark.parametrize("name", [name for name, (fixed, _) in HYDRA.items() if fixed])
def test_a_short_form_with_another_algorithm_is_told_with_the_command(name, capsys):
    other = next(algo for algo in RUNS if algo != name)
    err = told(capsys, name, f"algo={other}", "seed=3", "data.prompts=a b")
    command = shlex.split(err.rpartition("type: ")[2])
    assert command == ["rlnlp", "train", f"algo={other}", "seed=3", "data.prompts=a b"]
    assert shlex.split(told(capsys, name, "-m", "algo=ppo,sft").rpartition("type: ")[2])[:3] == ["rlnlp", "train", "-m"]


def test_a_short_form_with_its_own_algorithm_is_fine(tmp_path):
    code, out, err = rlnlp("sft", "algo=sft", "--cfg", "job", "-p", "algo", cwd=tmp_path)
    assert (code, err) == (0, "")
    assert "name: sft" in out


@pytest.mark.parametrize("word", ["seed=1,2", "algo=ppo,sft", "seed=range(1,4)", "algo.kl_coef=choice(0.1,0.2)"])
def test_several_values_are_told_with_the_sweep(word, capsys):
    err = told(capsys, "train", word, "device=cpu")
    assert shlex.split(err.partition("for a run with each: ")[2]) == ["rlnlp", "train", "-m", word, "device=cpu"]


@pytest.mark.parametrize(
    "word", ["model.path='(1,2)'", "data.prompts='a,b'", "reward.terms.length.args={low: 1, high: 2}"]
)
def test_a_value_that_has_commas_inside_is_one_value(word, tmp_path):
    code, _, err = rlnlp("train", word, "--cfg", "job", cwd=tmp_path)
    assert (code, err) == (0, "")


def test_several_faults_are_told_at_once(capsys):
    err = told(capsys, "ppo", "--lr", "1", "seed", "= 3", "algo=sft")
    assert err.count("\n") == 3
    assert [line.strip().split(" ")[0] for line in err.strip().split("\n")] == ["no", "no", "rlnlp"]


def test_no_secret_is_repeated_in_a_command(capsys):
    assert "hunter2" not in told(capsys, "ppo", "algo=sft", "+reward.terms.x.args.api_key=hunter2")


def test_every_choice_of_every_group_is_found_by_its_bare_name(capsys):
    names = {name for group in conf_dir().iterdir() if group.is_dir() for name in choices_of(group.name)}
    for name in names:
        assert any(word.endswith(f"={name}") for word in advised(told(capsys, "train", name))), name


def test_control_characters_of_a_word_are_shown_harmless(capsys):
    for word in ("\x1b[2J", "--\x1b[2J", "\x1b[2J=", "--lr=\x1b[2J"):
        assert told(capsys, "train", word, "x").replace("\n", "").isprintable()
