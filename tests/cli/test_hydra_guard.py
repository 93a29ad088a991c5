"""What Hydra may be given: everything that runs no code; what is refused says which key and why."""

import logging
import re
import shutil

import pytest
from omegaconf import OmegaConf

from rlnlp.cli.composition import Composition
from rlnlp.cli.hydra_app import show_logging
from rlnlp.cli.hydra_guard import _taken_from_elsewhere, check_directories
from rlnlp.cli.main import main
from rlnlp.config.choices import conf_dir
from rlnlp.errors import Failure

GLOBAL = "# @package _global_\n"
LOGS, CODE = "a run logs to train.log", "names code to run"


@pytest.fixture
def asked(tmp_path, monkeypatch, capsys):
    """The command with these words and files, in this process: exit status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def command(*words, **files):
        for name, text in files.items():
            path = tmp_path / "own" / f"{name.replace('__', '/')}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        before = sorted(tmp_path.rglob("*"))
        code = main(list(words))
        out, err = capsys.readouterr()
        assert sorted(tmp_path.rglob("*")) == before
        return code, out, err

    return command


@pytest.mark.parametrize(
    "words",
    [
        ["hydra.job.name=mine", "hydra.verbose=true", "hydra.job.config.override_dirname.exclude_keys=[seed]"],
        ["hydra.verbose=[rlnlp]", "hydra.mode=RUN", "hydra.help.app_name=x"],
        ["-m", "hydra/launcher=basic", "hydra/sweeper=basic", "seed=1,2", "hydra.sweep.subdir=job-${hydra.job.num}"],
        ["hydra.mode=MULTIRUN", "seed=1,2", "hydra.job.chdir=false", "hydra.output_subdir=null"],
    ],
)  # fmt: skip
def test_what_runs_no_code_is_let_through(words, asked):
    code, out, err = asked("train", "--dry-run", *words)
    assert (code, err) == (0, "")
    assert ("\njob 1: seed=2\n" in out) == any("1,2" in word for word in words)


def test_hydra_s_own_settings_are_shown(asked):
    code, out, err = asked("train", "--cfg", "hydra", "hydra.job.name=mine")
    assert (code, err) == (0, "")
    assert "    name: mine\n" in out
    code, out, err = asked("train", "--cfg", "all", "--resolve", "-p", "hydra.run")
    assert (code, err) == (0, "")
    assert "dir: outputs/ppo/2" in out


@pytest.mark.parametrize("way", ["--config-dir", "--config-path"])
def test_a_copy_of_our_own_conf_is_a_config_directory(way, asked, tmp_path):
    shutil.copytree(conf_dir(), tmp_path / "copy")
    code, out, err = asked("train", way, "copy", "--dry-run")
    assert (code, err) == (0, "")
    assert "(ppo)" in out


@pytest.mark.parametrize(
    "way", [["--config-dir", "own"], ["hydra.searchpath=[own]"], ["--config-dir=own", "-m", "seed=1,2"]]
)
def test_files_that_are_not_composed_are_not_looked_at(way, asked):
    unrelated = "_target_: os.system\nhydra: {callbacks: {x: {_target_: a.b}}}\n"
    code, _, err = asked(
        "train", *way, "model=mine", "--dry-run", other__x=unrelated, model__y=unrelated, broken="a: [",
        model__mine="defaults: [default]\npath: ./nowhere\n",
    )  # fmt: skip
    assert (code, err) == (4, "rlnlp train: model.path './nowhere' not found (no such directory)\n")


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("hydra.job.chdir=true", "every job runs in the directory that rlnlp was started in"),
        ("hydra.output_subdir=x", "a run directory keeps its own config.yaml"),
        ("hydra.job.env_set.A=b", "set environment variables in the shell"),
        ("hydra/job_logging=stdout", LOGS),
        ("+hydra.job_logging.root.level=DEBUG", LOGS),
        ("hydra/hydra_logging=default", LOGS),
        ("+hydra.callbacks.x={a: b}", "it names code to run"),
        ("+hydra/callbacks=x", "it names code to run"),
        ("hydra.runtime.cwd=x", "Hydra fills it in"),
        ("hydra=x", "set the keys below it"),
        ("hydra.searchpath=[pkg://os]", "imports a package, which runs its code"),
        ("hydra.searchpath=[./nowhere]", "no such directory"),
    ],
)
def test_a_word_that_is_refused_is_named_with_the_reason(word, why, asked):
    code, _, err = asked("train", "--dry-run", word)
    assert code == 2
    assert word.lstrip("+").partition("=")[0] in err
    assert why in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "key", "why"),
    [
        (GLOBAL + "hydra: {callbacks: {x: {_target_: a.b}}}\n", "hydra.callbacks.x._target_", CODE),
        (GLOBAL + "hydra: {job: {chdir: true}}\n", "hydra.job.chdir", "every job runs in the directory"),
        (GLOBAL + "hydra: {job: {env_set: {A: b}}}\n", "hydra.job.env_set.A", "set environment variables"),
        (GLOBAL + "hydra: {launcher: {_target_: a.b}}\n", "hydra.launcher._target_", CODE),
        (GLOBAL + "hydra: {output_subdir: x}\n", "hydra.output_subdir", "keeps its own config.yaml"),
        (GLOBAL + "defaults: [{override /hydra/job_logging: stdout}]\n", "override /hydra/job_logging", LOGS),
        (GLOBAL + "defaults: [{/hydra/callbacks: x}]\n", "/hydra/callbacks", None),
        ("# @package hydra.job_logging\nroot: {handlers: [a]}\n", "hydra.job_logging.root.handlers.0", LOGS),
        ("# @package _global_.hydra.callbacks\nx: {y: z}\n", "hydra.callbacks.x.y", CODE),
    ],
)
def test_a_composed_file_that_is_refused_is_named_with_key_and_reason(text, key, why, asked):
    code, _, err = asked("train", "--config-dir", "own", "experiment=e", "--dry-run", experiment__e=text)
    assert code == 2
    assert (
        why is None
        or f"own/experiment/e.yaml: {'defaults: ' * key.startswith(('override', '/'))}{key} cannot be " in err
    )
    assert (why or key.lstrip("/")) in err
    assert err.count("\n") == 1


def test_a_job_of_a_sweep_is_looked_at_by_itself(asked):
    code, _, err = asked(
        "train", "--config-dir", "own", "-m", "+experiment=a,b", "--dry-run", experiment__a=GLOBAL + "seed: 3\n",
        experiment__b=GLOBAL + "hydra: {callbacks: {x: {y: z}}}\n",
    )  # fmt: skip
    assert code == 2
    assert err.startswith("rlnlp train: job 1 (experiment=b): ")
    assert "hydra.callbacks.x.y cannot be set: it names code to run" in err
    assert err.count("\n") == 1


def test_a_primary_config_cannot_have_a_package_imported(asked, tmp_path, monkeypatch):
    (tmp_path / "canary_package").mkdir()
    (tmp_path / "canary_package" / "__init__.py").write_text("open('canary', 'w').close()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    text = "defaults: [{algo: ppo}]\nhydra: {searchpath: ['pkg://canary_package']}\n"
    code, _, err = asked("train", "--config-dir", "own", "-cn", "first", "--dry-run", first=text)
    assert code == 2
    assert "own/first.yaml: hydra.searchpath: pkg://canary_package imports a package" in err


@pytest.mark.parametrize(
    ("hydra", "key"),
    [
        ("${evil}", "hydra"),
        ({"launcher": "${evil}"}, "hydra.launcher"),
        ({"callbacks": "${evil}"}, "hydra.callbacks"),
        ({"launcher": {"a": [{"b": "${evil}"}]}}, "hydra.launcher.a.0.b"),
        ({"sweeper": {"a": "${evil}"}}, "hydra.sweeper.a"),
        ({"sweeper": {"a": "${seed}"}}, None),
    ],
)
def test_settings_of_launchers_are_not_taken_from_where_nothing_is_looked_at(hydra, key):
    groups = ("callbacks", "job_logging", "hydra_logging", "launcher", "sweeper", "job")
    whole: dict[str, object] = {group: {} for group in groups}
    hydra = hydra if isinstance(hydra, str) else {**whole, **hydra}
    config = OmegaConf.create({"seed": 1, "evil": {"_target_": "a.b"}, "hydra": hydra})
    assert list(_taken_from_elsewhere(config)) == ([] if key is None else [key])


def test_a_composed_map_that_is_taken_from_elsewhere_is_refused(asked):
    text = GLOBAL + "hydra: {sweeper: {params: '${evil}'}}\nevil: {seed: '1,2'}\n"
    code, _, err = asked("train", "--config-dir", "own", "-m", "experiment=e", "--dry-run", experiment__e=text)
    assert code == 2
    assert err.startswith("rlnlp train: hydra.sweeper.params takes its settings from elsewhere (${...})")


def test_the_directory_in_an_experiment_file_is_obeyed_and_the_word_wins(asked):
    text = GLOBAL + "hydra:\n  run: {dir: 'my runs/${algo.name}'}\n  sweep: {dir: 'my sweeps'}\n"
    words = ["train", "--config-dir", "own", "+experiment=e", "--dry-run"]
    assert "\ndirectory   my runs/ppo\n" in asked(*words, experiment__e=text)[1]
    assert "\ndirectory   my sweeps/0\n" in asked(*words, "-m", "seed=1,2")[1]
    assert "\ndirectory   other\n" in asked(*words, "hydra.run.dir=other")[1]


@pytest.mark.parametrize("group", ["model", "data", "sampler", "reward", "device"])
def test_a_group_file_of_one_s_own_needs_only_the_keys_that_differ(group, asked):
    words = ["train", "--config-dir", "own", f"{group}=mine"]
    text = {"reward": "terms: {x: {fn: gold-accepted}}"}.get(group, "")
    code, out, err = asked(*words, "--dry-run", **{f"{group}__mine": f"defaults: [default]\n{text}\n"})
    assert (code, err) == (0, "")
    assert ("gold-accepted" in out) == (group == "reward")


@pytest.mark.parametrize(("command", "group", "default"), [("ppo", "model", "embedded"), ("sft", "data", "texts")])
def test_a_missing_key_names_what_the_group_inherits(command, group, default, asked):
    code, _, err = asked(command, "--config-dir", "own", f"{group}=mine", **{f"{group}__mine": "heldout: null\n"})
    assert code == 2
    assert f"{group}.{'path' if group == 'model' else 'texts'} is missing\n" in err
    assert (
        f"  a file of your own for '{group}' begins with 'defaults: [{default}]', and then needs only the keys" in err
    )


def test_of_a_sweeper_that_chooses_jobs_as_it_goes_all_files_are_looked_at(tmp_path):
    config = OmegaConf.create({"hydra": {"sweeper": {"_target_": "hydra_plugins.optuna.Sweeper"}}})
    assert Composition(config, None, "train", (), True).jobs() is None
    (tmp_path / "hydra" / "launcher").mkdir(parents=True)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "x.yaml").write_text("_target_: a.b\nhydra: {callbacks: {x: 1}}\n")  # below model.
    (tmp_path / "hydra" / "launcher" / "mine.yaml").write_text("partition: gpu\n")
    check_directories([tmp_path])
    for name, text, key in (
        ("hydra/launcher/mine", "_target_: a.b\n", "hydra.launcher._target_"),
        ("model/x", "# @package hydra.job_logging\nroot: {level: INFO}\n", "hydra.job_logging.root.level"),
        ("model/x", GLOBAL + "hydra: {job: {chdir: true}}\n", "hydra.job.chdir"),
        ("model/x", "a: [\n", "cannot be read"),
    ):
        (tmp_path / f"{name}.yaml").write_text(text)
        with pytest.raises(Failure, match=re.escape(key)) as failure:
            check_directories([tmp_path])
        assert f"{name}.yaml: " in str(failure.value) or f"{name}.yaml cannot" in str(failure.value)
        (tmp_path / f"{name}.yaml").unlink()


@pytest.mark.parametrize(
    ("verbose", "level"), [("rlnlp.x", 10), (["a", "rlnlp.x"], 10), (["a"], 0), (False, 0), ([], 0)]
)
def test_a_logger_is_shown_that_hydra_verbose_names(verbose, level):
    logger = logging.getLogger("rlnlp.x")
    try:
        show_logging(verbose)
        assert logger.level == level
    finally:
        for name in ("a", "rlnlp.x"):
            logging.getLogger(name).setLevel(logging.NOTSET)
