"""The command line in front of training: words in, help, messages and exit status out."""

import subprocess
import sys

import pytest

from rlnlp.cli.hydra_words import flags_first, forced
from rlnlp.cli.main import HYDRA, PLAIN, main
from rlnlp.config.choices import conf_dir
from support import small
from support.inside import rlnlp
from support.small import ROOT

NOWHERE = "model.path=./nowhere"  # checked settings end here, before anything heavy
CANARY = 'open("canary", "w").close()\n\n\nclass Touch:\n    def __init__(self, *_, **__):\n        pass\n'
LOGGING = "version: 1\nroot: {handlers: [a]}\nhandlers: {a: {class: yellow_bird.Touch}}\n"
EXPERIMENT = "# @package _global_\nhydra: {callbacks: {x: {_target_: yellow_bird.Touch}}}\n"


def script(text, cwd):
    return process([sys.executable, "-c", text], cwd)


def process(words, cwd):
    env = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("words", [[], ["-h"], ["--help"], ["help"]])
def test_help_lists_every_command(words, tmp_path):
    code, out, err = rlnlp(*words, cwd=tmp_path)
    assert (code, err) == (0, "")
    assert out.startswith("usage: rlnlp COMMAND")
    assert [line.split()[0] for line in out.split("commands:\n")[1].split("\n\n")[0].split("\n")] == [*HYDRA, *PLAIN]


def test_the_version_is_that_of_the_package(tmp_path):
    from rlnlp import __version__

    assert rlnlp("--version", cwd=tmp_path) == (0, f"rlnlp {__version__}\n", "")


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["trian", "seed=1"], "rlnlp train seed=1"),
        (["PPO"], "rlnlp ppo"),
        (["sample", "embedded", "a b"], "rlnlp generate embedded 'a b'"),
        (["score", "RM", "a b"], "rlnlp rank RM 'a b'"),
        (["algo=ppo", "data.prompts=a b"], "rlnlp train algo=ppo 'data.prompts=a b'"),
        (["-m", "seed=1,2"], "rlnlp train -m seed=1,2"),
        (["rewards"], "rlnlp guide rewards"),
        (["kl_coef"], "rlnlp explain kl_coef"),
    ],
)
def test_an_unknown_command_is_told_with_the_command_that_was_meant(words, command, capsys):
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert (out, err) == (
        "",
        f"rlnlp: no command '{words[0]}'; type: {command}\n  rlnlp --help lists the commands\n",
    )


def test_a_command_that_is_near_to_none_is_told_with_all(capsys):
    assert main(["zzz"]) == 2
    assert capsys.readouterr().err == f"rlnlp: no command 'zzz'\n  the commands are: {', '.join([*HYDRA, *PLAIN])}\n"


def test_all_wrong_settings_are_told_at_once_with_exit_2_and_no_traceback(tmp_path):
    wrong = ["algo.learning_rate=-1.5", "sampler.temprature=2", "seed=x", "heldout.size=null", "algo.kl_coef=nan"]
    code, out, err = rlnlp("train", *wrong, cwd=tmp_path)
    assert (code, out) == (2, "")
    lines = err.removeprefix("rlnlp train: ").rstrip("\n").split("\n")
    assert sorted(line.strip() for line in lines) == sorted(
        [
            "seed must be a whole number, got 'x'",
            "heldout.size must be a whole number, got null",
            "algo.learning_rate must be >= 0, got -1.5",
            "algo.kl_coef must be finite, got nan",
            "no setting 'sampler.temprature'; did you mean 'sampler.temperature=2'?",
        ]
    )


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("algo.total_steps=2.0", "algo.total_steps must be a whole number, got 2.0; write 2"),
        ("+foo=1", "no setting 'foo'; the groups are: seed, checkpoint, "),
        ("++foo=1", "no setting 'foo'; the groups are: seed, checkpoint, "),
        ("+sampler.topk=5", "no setting 'sampler.topk'; did you mean 'sampler.top_k=5'?"),
        ("modl=embedded", "no setting 'modl'; did you mean 'model=embedded'?"),
        ("model=embeded", "no model 'embeded'; did you mean 'model=embedded'?"),
        ("algo=reinforc", "no algo 'reinforc'; did you mean 'algo=reinforce'?"),
        ("algo.name=reinforc", "no algorithm 'reinforc'; did you mean 'algo=reinforce'?"),
        ("data=prompts", "data.prompts is missing"),
        ("~seed", "seed is missing"),
        ("heldout.prompts=2", "heldout.prompts is now heldout.size\n"),
        (
            "reward.terms.length.fn='rlnlp.data.grammar.gold:sentiment'",
            "reward.terms.length.fn must name a function of rlnlp by its short name: gold-sentiment, got ",
        ),
        ("+reward.terms.x.weight=1", "reward.terms.x.fn is missing"),
    ],
)
def test_a_wrong_setting_is_exit_2_in_one_to_three_lines(word, line, tmp_path):
    code, out, err = rlnlp("train", word, cwd=tmp_path)
    assert (code, out) == (2, "")
    assert err.startswith(f"rlnlp train: {line}")
    assert 1 <= err.count("\n") <= 3


@pytest.mark.parametrize(
    "word", ["seed", "a=(", "seed='x", "seed=héllo", "x@y=z", "seed=1,2", "model=null", "seed=${nope}", "~nope", "=1"]
)
def test_words_that_no_setting_can_be_read_from_are_exit_2_without_a_traceback(word, tmp_path):
    code, out, err = rlnlp("train", word, cwd=tmp_path)
    assert (code, out) == (2, "")
    assert err.startswith("rlnlp train: ")
    assert err.count("\n") <= 3
    assert "++" not in err


def test_a_group_that_the_algorithm_does_not_read_is_not_advised(tmp_path):
    code, _, err = rlnlp("sft", "reward=classic", cwd=tmp_path)
    assert code == 2
    assert "reward" in err
    assert "+reward" not in err


def test_wrong_settings_and_a_missing_model_are_told_before_anything_heavy_is_imported(tmp_path):
    text = "import sys\nfrom rlnlp.cli.main import main\ncode = main({words!r})\n"
    text += "print(code, *{{'torch', 'transformers', 'matplotlib'}} & set(sys.modules))"
    wrong = [(["train", "seed=x"], 2), (["train", NOWHERE], 4), (["train", "reward=learned"], 2)]
    wrong += [(["generate", "./nowhere", "hi"], 4), (["rank", "./nowhere", "hi"], 4)]
    for words, code in wrong:
        _, out, err = script(text.format(words=words), tmp_path)
        assert out == f"{code}\n", err


def test_settings_may_stand_on_both_sides_of_flags(tmp_path):
    code, out, err = rlnlp("train", "algo.total_steps=7", "--cfg", "job", "seed=5", "-p", "algo", cwd=tmp_path)
    assert (code, err) == (0, "")
    assert out.startswith("# @package algo\nname: ppo\ntotal_steps: 7\n")
    assert "seed" not in out
    code, out, err = rlnlp("train", "algo.total_steps=7", "-m", "seed=1,2", "--dry-run", cwd=tmp_path)
    assert (code, err) == (0, "")
    assert out.startswith("job 0: seed=1\n")
    assert out.count("7 steps of ") == 1
    assert "\njob 1: seed=2\n" in out


def test_flags_are_put_first_with_their_values():
    assert flags_first(["a=1", "-m", "b=2", "--cfg", "job", "-p", "algo", "c=3", "--config-dir", "d", "--info"]) == [
        "-m", "--cfg", "job", "-p", "algo", "--config-dir", "d", "--info", "all", "a=1", "b=2", "c=3",
    ]  # fmt: skip
    assert flags_first(["--info", "algo=sft"]) == ["--info", "all", "algo=sft"]


def test_plain_settings_are_forced_through_to_parse_and_groups_are_not():
    assert [forced(word) for word in ("seed=1", "a.b=x=y", "algo=sft", "hydra.run.dir=x", "~seed", "+a=1", "x")] == [
        "++seed=1", "++a.b=x=y", "algo=sft", "hydra.run.dir=x", "~seed", "+a=1", "x",
    ]  # fmt: skip


def test_the_composed_settings_are_shown_and_nothing_runs(tmp_path):
    code, out, err = rlnlp("sft", "--cfg", "job", cwd=tmp_path)
    assert (code, err) == (0, "")
    assert "\n  name: sft\n" in out
    assert "_target_" not in out
    code, out, err = small.rlnlp("train", "--info", cwd=tmp_path)  # what Hydra logs hangs on the process
    assert (code, err) == (0, "")
    assert "Config search path" in out
    assert not list(tmp_path.iterdir())


def test_a_group_file_of_the_user_is_chosen_by_name(tmp_path):
    (tmp_path / "own" / "model").mkdir(parents=True)
    (tmp_path / "own" / "model" / "mine.yaml").write_text((conf_dir() / "model" / "embedded.yaml").read_text())
    code, out, err = rlnlp("train", "model=mine", "--config-dir", "own", NOWHERE, "--cfg", "job", cwd=tmp_path)
    assert (code, err) == (0, "")
    assert "\n  path: ./nowhere\n" in out
    with (tmp_path / "own" / "model" / "mine.yaml").open("a") as file:
        file.write("toknizer: x\n")
    code, _, err = rlnlp("train", "--config-dir", "own", "model=mine", cwd=tmp_path)
    assert (code, err) == (2, "rlnlp train: no setting 'model.toknizer'; did you mean 'model.tokenizer=x'?\n")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["model._target_=yellow_bird.Touch"], 2),
        (["_target_=yellow_bird.Touch"], 2),
        (["+algo={_target_: yellow_bird.Touch}"], 2),
        (["+reward.terms.x={fn: length, _target_: yellow_bird.Touch}"], 2),
        (["--config-dir", "own", "model=mine"], 2),
        (["--config-dir", "own", "+experiment=e"], None),
        (["--config-dir", "own", "+experiment=packaged"], None),
        (["--config-dir", "own", "+experiment@hydra.job_logging=log"], None),
        (["--config-dir", "own", "+experiment@hydra.hydra_logging=log"], None),
        (["+hydra.callbacks.x._target_=yellow_bird.Touch"], None),
        (["hydra.launcher._target_=yellow_bird.Touch", "-m"], 2),
    ],
)
def test_a_target_in_the_settings_runs_nothing(words, code, tmp_path):
    (tmp_path / "yellow_bird.py").write_text(CANARY)
    files = {"model=mine": "_target_: yellow_bird.Touch\n", "experiment=e": EXPERIMENT, "experiment@": LOGGING}
    files["experiment=packaged"] = "# @package hydra.job_logging\n" + LOGGING
    for word in words:
        for begun in files:
            if word.lstrip("+").startswith(begun):
                path = tmp_path / "own" / begun.partition("=")[0].rstrip("@") / f"{word.rpartition('=')[2]}.yaml"
                path.parent.mkdir(parents=True)
                path.write_text(files[begun])
    got, _, err = rlnlp("train", NOWHERE, *words, cwd=tmp_path)
    assert not (tmp_path / "canary").exists()
    assert got == (code or got) != 0
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "words", [["--experimental-rerun", "x.pickle"], ["--experimental-rerun=x.pickle"], ["--experimental-re=x.pickle"]]
)
def test_rerunning_a_saved_file_is_refused(words, tmp_path):
    (tmp_path / "x.pickle").write_bytes(b"cbuiltins\nopen\n(S'canary'\nS'w'\ntR.")
    code, out, err = rlnlp("train", *words, cwd=tmp_path)
    assert not (tmp_path / "canary").exists()
    assert (code, out) == (2, "")
    assert "experimental" in err


def test_a_shortened_multirun_flag_is_a_sweep_too_or_refused(tmp_path):
    code, out, _ = rlnlp("train", "--multi", "seed=1,2", "--dry", cwd=tmp_path)
    assert (code, out.count("\njob 1: seed=2\n")) == (0, 1)


def test_an_empty_run_directory_is_refused(tmp_path):
    code, _, err = rlnlp("train", "hydra.run.dir=", NOWHERE, cwd=tmp_path)
    assert code == 2
    assert "hydra.run.dir" in err
    assert not list(tmp_path.iterdir())


def test_a_reader_that_closes_early_is_no_error(tmp_path):
    for words in ("train --help", "--help"):
        command = f"{sys.executable} -u -m rlnlp {words} | true; exit ${{PIPESTATUS[0]}}"
        code, _, err = process(["bash", "-c", command], tmp_path)
        assert (code in (0, 141), err) == (True, "")


PYTHON_314 = """
import argparse, sys
import hydra, hydra._internal.utils  # first: what they import reads the version too
real = argparse._ActionsContainer.add_argument
def _check_help(self, action):
    if action.help and hasattr(self, "_get_formatter"):
        try:
            self._get_formatter()._expand_help(action)
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError("badly formed help string") from error
def add_argument(self, *words, **options):
    action = real(self, *words, **options)
    self._check_help(action)
    return action
argparse._ActionsContainer._check_help, argparse._ActionsContainer.add_argument = _check_help, add_argument
sys.version_info = (3, 14, 0, "final", 0)
"""


def test_python_3_14_s_check_of_help_texts_does_not_stop_hydra(tmp_path):
    run = (
        "from rlnlp.cli import hydra_app, main\n{}raise SystemExit(main.main(['train', '--cfg', 'job', '-p', 'algo']))"
    )
    code, out, err = script(PYTHON_314 + run.format(""), tmp_path)
    assert (code, err) == (0, "")
    assert "name: ppo" in out
    code, _, err = script(PYTHON_314 + run.format("hydra_app._guard_help_check = lambda: None\n"), tmp_path)
    assert code == 2, "the simulation has no teeth: Hydra starts without the guard as well"
    assert "badly formed help string" in err
    strict = "from rlnlp.cli import hydra_app\nhydra_app._guard_help_check()\n"
    strict += "argparse.ArgumentParser().add_argument('--x', help='%(nothing)s')"
    assert "badly formed help string" in script(PYTHON_314 + strict, tmp_path)[2]
