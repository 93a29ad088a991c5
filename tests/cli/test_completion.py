"""Tab completion: commands, keys, values, files, arguments; in the shells that are here, with their own ways."""

import os
import pty
import select
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rlnlp.cli.completion import candidates
from rlnlp.cli.main import HYDRA, PLAIN, main
from rlnlp.cli.shells import SCRIPTS, split
from rlnlp.commands.guide import TOPICS
from rlnlp.config.choices import choices_of
from rlnlp.config.hints import ALGORITHM
from rlnlp.config.reward import REWARDS
from rlnlp.config.schema import RUNS
from rlnlp.config.setting import of_others, settings
from support.small import ROOT

MINE = ("my file.jsonl", "my folder/", "my_rewards.py")
WAIT = 60  # seconds for what a shell shows at once


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with a data file, a reward, a model, finished and unfinished runs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my file.jsonl").touch()
    (tmp_path / "my folder").mkdir()
    (tmp_path / ".hidden").touch()
    (tmp_path / "my_rewards.py").write_text('def polite(prompts):\n    """Polite."""\n\n\ndef _inner():\n    pass\n')
    for name, done in (("outputs/ppo/a", True), ("outputs/sft/b", False), ("outputs/sweeps/s/0", True)):
        run = tmp_path / name
        run.mkdir(parents=True)
        (run / "run.json").touch()
        (run / "config.yaml").write_text(f"algo:\n  batch_size: 3\n  name: {run.parent.name}\nseed: 0\n")
        if done:
            (run / "policy").mkdir()
    (tmp_path / "outputs" / "sft" / "b" / "reward_model").mkdir()
    return tmp_path


def found(line: str) -> list[str]:
    _, words = split(line)
    return [one.text for one in candidates(words[1:-1], words[-1], {n: f for n, (f, _) in HYDRA.items()}, PLAIN)]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("rlnlp tr", ["train"]),
        ("rlnlp ex", ["explain"]),
        ("rlnlp help res", ["resume"]),
        ("rlnlp help rew", ["reward-model", "rewards", "reward-models"]),
        ("rlnlp nothing x", []),
        ("rlnlp rlhf annotator=", ["annotator=file", "annotator=simulated", "annotator=terminal", "annotator=web"]),
        ("rlnlp rlhf annotator.er", ["annotator.error_rate="]),
        ("rlnlp rlhf algo.po", ["algo.policy."]),
        ("rlnlp rlhf algo@", ["algo@algo.policy="]),
        ("rlnlp rlhf algo@algo.policy=", ["algo@algo.policy=ppo", "algo@algo.policy=reinforce"]),
        ("rlnlp rlhf -m algo@algo.policy=ppo,", ["algo@algo.policy=ppo,ppo", "algo@algo.policy=ppo,reinforce"]),
        ("rlnlp rlhf algo.policy.cl", ["algo.policy.cliprange=", "algo.policy.cliprange_high=",
                                       "algo.policy.cliprange_value="]),
        ("rlnlp rlhf algo@algo.policy=reinforce algo.policy.cl", []),
        ("rlnlp rlhf algo@algo.policy=reinforce algo.policy.b", ["algo.policy.batch_size=", "algo.policy.baseline="]),
        ("rlnlp rlhf algo.policy.n", ["algo.policy.num_generations="]),
        ("rlnlp rlhf annotator.path=my", [f"annotator.path={name}" for name in MINE]),
        ("rlnlp rlhf data.feedback=my\\ fi", ["data.feedback=my file.jsonl"]),
        ("rlnlp rlhf algo.selection=d", ["algo.selection=disagreement"]),
        ("rlnlp train annotator", []),
        ("rlnlp train algo=", ["algo=ppo", "algo=reinforce", "algo=reward-model", "algo=rlhf", "algo=sft"]),
        ("rlnlp reinforce sampler=g", ["sampler=greedy"]),
        ("rlnlp train -m sampler=gr", ["sampler=greedy"]),
        ("rlnlp train -m algo=ppo,rei", ["algo=ppo,reinforce"]),
        ("rlnlp train algo=ppo,re", []),
        ("rlnlp train +experiment=quick", ["+experiment=quickstart"]),
        ("rlnlp sft data=", ["data=texts"]),
        ("rlnlp sft algo.w", ["algo.warmup_steps=", "algo.weight_decay="]),
        ("rlnlp train algo=sft algo.loss", ["algo.loss_temperature="]),
        ("rlnlp ppo algo.loss", ["algo.loss_reduction="]),
        ("rlnlp train model.f", ["model.fresh."]),
        ("rlnlp train model.fresh.h", ["model.fresh.heads="]),
        ("rlnlp train see", ["seed="]),
        ("rlnlp train rew", ["reward=", "reward."]),
        ("rlnlp train ++see", ["++seed="]),
        ("rlnlp train hydra.r", ["hydra.run."]),
        ("rlnlp train algo.critic=", ["algo.critic=shared", "algo.critic=separate", "algo.critic=adapter"]),
        ("rlnlp reinforce algo.baseline=e", ["algo.baseline=ema"]),
        ("rlnlp train algo.whiten_rewards=", ["algo.whiten_rewards=true", "algo.whiten_rewards=false"]),
        ("rlnlp train algo.target_kl=", ["algo.target_kl=null"]),
        ("rlnlp train algo.gamma=", []),
        ("rlnlp train device.name=c", ["device.name=cpu", "device.name=cuda"]),
        ("rlnlp train data.prompts=embedded/s", ["data.prompts=embedded/support", "data.prompts=embedded/statement"]),
        ("rlnlp train data.prompts=my", [f"data.prompts={name}" for name in MINE]),
        ("rlnlp train model.path=my", ["model.path=my folder/"]),
        ("rlnlp train data.prompts=.h", ["data.prompts=.hidden"]),
        ("rlnlp train reward.terms.le", ["reward.terms.length."]),
        ("rlnlp train reward=sentiment reward.terms.", ["reward.terms.sentiment."]),
        ("rlnlp train reward.terms.x.fn=length reward.terms.x.w", ["reward.terms.x.weight="]),
        ("rlnlp train reward=sentiment ~reward.terms.", ["~reward.terms.sentiment"]),
        ("rlnlp train reward.terms.x.fn=my_", ["reward.terms.x.fn=my_rewards.py:"]),
        ("rlnlp train reward.terms.x.fn=my_rewards.py:", ["reward.terms.x.fn=my_rewards.py:polite"]),
        ("rlnlp train --c", ["--cfg", "--config-dir"]),
        ("rlnlp train --cfg j", ["job"]),
        ("rlnlp train --config-dir my", ["my folder/"]),
        ("rlnlp resume ", ["outputs/ppo/a", "outputs/sft/b", "outputs/sweeps/s/0"]),
        ("rlnlp resume outputs/s", ["outputs/sft/b", "outputs/sweeps/s/0", "outputs/sft/", "outputs/sweeps/"]),
        ("rlnlp resume outputs/sft/b algo.loss", ["algo.loss_temperature="]),
        ("rlnlp resume outputs/ppo/a resume", ["resume.allow="]),
        ("rlnlp generate o", ["outputs/ppo/a", "outputs/sweeps/s/0", "outputs/"]),
        ("rlnlp generate e", ["embedded", "embedded/randomwalks"]),
        ("rlnlp generate embedded sampler.top", ["sampler.top_k=", "sampler.top_p="]),
        ("rlnlp generate embedded algo", []),
        ("rlnlp generate embedded --f", ["--file"]),
        ("rlnlp generate embedded --file my\\ fi", ["my file.jsonl"]),
        ("rlnlp compare outputs/sw", ["outputs/sweeps/s/0", "outputs/sweeps/"]),
        ("rlnlp compare outputs/ppo/a outputs/sf", ["outputs/sft/b", "outputs/sft/"]),
        ("rlnlp compare outputs/sft/b --where seed=0 algo.loss", ["algo.loss_temperature="]),
        ("rlnlp compare outputs/sft --where algo.loss", ["algo.loss_temperature="]),
        ("rlnlp compare outputs/sft/b --sort sc", ["score"]),
        ("rlnlp compare outputs/sft/b --sort score --ou", ["--output"]),
        ("rlnlp compare outputs/ppo/a --output my", ["my folder/"]),
        ("rlnlp runs outputs/sw", ["outputs/sweeps/"]),
        ("rlnlp runs --j", ["--json"]),
        ("rlnlp feedback my", list(MINE)),
        ("rlnlp feedback x --import my\\ fi", ["my file.jsonl"]),
        ("rlnlp feedback x --au", ["--audit"]),
        ("rlnlp generate embedded --with outputs/p", ["outputs/ppo/a", "outputs/ppo/"]),
        ("rlnlp generate --with embedded outputs/sw", ["outputs/sweeps/s/0", "outputs/sweeps/"]),
        ("rlnlp generate embedded --score reward=cla", ["reward=classic", "reward=classifier"]),
        ("rlnlp check algo=ppo algo.cr", ["algo.critic=", "algo.critic_path=", "algo.critic_learning_rate=",
                                          "algo.critic_warmup_steps="]),
        ("rlnlp rank ", ["outputs/sft/b"]),
        ("rlnlp rank --prompt a outputs/s", ["outputs/sft/b", "outputs/sft/", "outputs/sweeps/"]),
        ("rlnlp rank outputs/sft/b --f", ["--file"]),
        ("rlnlp rank outputs/sft/b device.n", ["device.name="]),
        ("rlnlp train reward.terms.x.args.run=o", [f"reward.terms.x.args.run=outputs{p}" for p in ("/sft/b", "/")]),
        ("rlnlp evaluate outputs/ppo/a --judge gold-h", ["gold-helpfulness", "gold-harmless"]),
        ("rlnlp check --", ["--json", "--cfg", "--config-dir", "--info", "--hydra-help", "--help"]),
        ("rlnlp train --j", []),
        ("rlnlp guide ppo", ["ppo"]),
        ("rlnlp guide ppo p", []),
        ("rlnlp explain algo.kl_t", ["algo.kl_target"]),
        ("rlnlp explain explained", ["explained_variance"]),
        ("rlnlp explain --t", ["--tables"]),
    ],
)  # fmt: skip
def test_tab_completes(line, words, here):
    assert found(line) == words


def test_a_choice_of_the_user_s_is_completed(here):
    (here / "my folder" / "model").mkdir()
    (here / "my folder" / "model" / "mine.yaml").touch()
    assert found("rlnlp train --config-dir my\\ folder model=m") == ["model=mine"]


def test_all_commands_topics_built_in_rewards_and_keys_are_completed(here):
    assert set(found("rlnlp ")) == {*HYDRA, *PLAIN, "help", "--help", "--version"}
    assert found("rlnlp guide ") == list(TOPICS)
    assert set(found("rlnlp train reward.terms.x.fn=")) >= {f"reward.terms.x.fn={name}" for name in REWARDS}
    assert found("rlnlp train experiment=") == [f"experiment={name}" for name in choices_of("experiment")]
    for algo, schema in RUNS.items():
        for key, _, _ in settings(schema):
            word = of_others(schema, {}).get(key, "")
            assert ALGORITHM.fullmatch(key) or f"{key}=" in found(f"rlnlp train algo={algo} {word} {key}")


def test_a_hidden_file_is_completed_only_if_its_dot_is_typed(here):
    assert "--file" in found("rlnlp generate embedded --")
    assert found("rlnlp generate embedded --file ") == [*MINE, "outputs/"]


def test_a_name_that_a_terminal_would_obey_is_not_completed(here):
    (here / "my\x1b[2J").touch()
    assert len(found("rlnlp train data.prompts=my")) == 3


@pytest.mark.parametrize(
    ("line", "raw", "words"),
    [
        ("rlnlp ", "", ["rlnlp", ""]),
        ("rlnlp  train a\\ b", "a\\ b", ["rlnlp", "train", "a b"]),
        ("rlnlp train 'a b' c", "c", ["rlnlp", "train", "a b", "c"]),
        ("rlnlp train 'a b", "'a b", ["rlnlp", "train", "a b"]),
        ('rlnlp train "a', '"a', ["rlnlp", "train", "a"]),
        ("rlnlp x\\", "x\\", ["rlnlp", "x"]),
        ("", "", [""]),
    ],
)
def test_a_line_is_split_as_a_shell_splits_it(line, raw, words):
    assert split(line) == (raw, words)


@pytest.mark.parametrize(
    ("last", "lines"),
    [
        (None, ["data.prompts=my\\ file.jsonl ", "data.prompts=my\\ folder/"]),
        ("my\\ f", ["my\\ file.jsonl ", "my\\ folder/"]),
    ],
)
def test_bash_gets_what_is_behind_the_equals_sign_in_the_words_of_a_shell(last, lines, here, monkeypatch, capsys):
    monkeypatch.setenv("COMP_LINE", "rlnlp train data.prompts=my\\ f")
    if last is not None:
        monkeypatch.setenv("COMP_LAST", last)
    assert main(["-sc", "query=bash"]) == 0
    out, err = capsys.readouterr()
    assert (out.split("\n")[:-1], err) == (lines, "")
    assert shlex.split(lines[0])[0].endswith("my file.jsonl")


@pytest.mark.parametrize("words", [["-sc", "install=tcsh"], ["-sc", "x"], ["-sc"], ["train", "-sc", "install=x"]])
def test_another_shell_is_refused_with_the_words_to_type(words, capsys):
    assert main(words) == 2
    assert "rlnlp -sc install=bash or -sc install=zsh or -sc install=fish" in capsys.readouterr().err


@pytest.fixture
def shell(here):
    """The environment of a shell in which ``rlnlp`` is this package."""
    (here / "bin").mkdir()
    (here / "bin" / "rlnlp").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m rlnlp "$@"\n')
    (here / "bin" / "rlnlp").chmod(0o755)
    path = f"{here / 'bin'}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "HOME": str(here), "TERM": "dumb", "PS1": "$ "}


def keys(argv: list[str], steps: list[tuple[str, str]], env: dict[str, str], cwd: Path) -> None:
    """Type the keys of each step into a real terminal and wait for what it shows."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(cwd)
        os.execvpe(argv[0], argv, env)
    try:
        for typed, wanted in steps:
            os.write(terminal, typed.encode())
            shown, end = "", time.monotonic() + WAIT
            while wanted not in shown:
                assert time.monotonic() < end, (typed, shown)
                if select.select([terminal], [], [], 1)[0]:
                    shown += os.read(terminal, 65536).decode(errors="replace")
            os.write(terminal, b"\x15")
    finally:
        os.close(terminal)
        os.kill(child, 9)
        os.waitpid(child, 0)


LINES = [
    ("rlnlp ppo sampler=g\t", "sampler=greedy "),
    ("rlnlp train data.prompts=my\\ fi\t", "my\\ file.jsonl "),
    ("cd . && rlnlp guide samp\t", "sampling "),
]


@pytest.mark.parametrize("name", ["bash", "zsh"])
def test_a_tab_in_a_real_terminal_completes(name, here, shell):
    if shutil.which(name) is None:
        pytest.skip(f"no {name}")
    argv = [name, *(["--norc", "--noprofile"] if name == "bash" else ["-f"]), "-i"]
    keys(argv, [(f'eval "$(rlnlp -sc install={name})"; echo O""K\n', "OK"), *LINES], shell, here)


def test_fish_completes_with_the_meanings(here, shell):
    if shutil.which("fish") is None:
        pytest.skip("no fish")
    script = (
        "rlnlp -sc install=fish | source; complete -C 'rlnlp sft algo.warm'; complete -C 'rlnlp train data.prompts=my'"
    )
    done = subprocess.run(["fish", "-c", script], env=shell, cwd=here, capture_output=True, text=True, check=True)
    first, *files = done.stdout.rstrip("\n").split("\n")
    assert first.split("\t") == ["algo.warmup_steps=", "the learning rate rises linearly from 0 over these"]
    assert files == [f"data.prompts={name}" for name in MINE]


def test_the_name_of_a_file_is_never_run_by_the_script_of_bash(here, shell):
    (here / "my $(touch canary) `touch canary`;x").touch()
    line = "rlnlp train data.prompts=my"
    script = (
        f"{SCRIPTS['bash']}\nCOMP_LINE='{line}' COMP_POINT={len(line)}\n_rlnlp_complete rlnlp my\n"
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", script], env=shell, cwd=here, capture_output=True, text=True, check=True)
    assert "my\\ \\$\\(touch\\ canary\\)\\ \\`touch\\ canary\\`\\;x \n" in done.stdout
    assert not (here / "canary").exists()
