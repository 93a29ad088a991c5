"""conf/ as Hydra composes it: algorithms nest, and what is read without Hydra is the same."""

import functools
import shutil
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from config.test_parse import composed
from rlnlp.config import choices
from rlnlp.config.choices import choice, choices_of, conf_dir
from rlnlp.config.parse import parse
from rlnlp.config.schema import RUNS
from rlnlp.errors import Failure
from rlnlp.models.locate import resolve
from support.inside import rlnlp

GROUPS = sorted(path.name for path in conf_dir().iterdir() if path.is_dir())
NESTING = """\
# An algorithm that holds another at algo.policy. The inner one brings the groups that it reads.
defaults:
  - /algo@policy: ppo
  - /algo_sft@first
  - _self_
name: nesting
"""


@pytest.fixture
def nesting(tmp_path):
    """A copy of conf/ with an algorithm that holds another."""
    shutil.copytree(conf_dir(), tmp_path / "conf")
    (tmp_path / "conf" / "algo" / "nesting.yaml").write_text(NESTING)

    def composed_there(*words):
        with initialize_config_dir(str(tmp_path / "conf"), version_base="1.3"):
            return OmegaConf.to_container(compose("train", ["algo=nesting", *words]), resolve=True)

    return composed_there


def values(algo):
    return composed(f"algo={algo}")["algo"]


def test_an_algorithm_nests_in_another_and_is_switched_by_the_exact_words(nesting):
    default = nesting()
    assert default["algo"] == {"policy": values("ppo"), "first": values("sft"), "name": "nesting"}
    assert {k: v for k, v in default.items() if k != "algo"} == {
        k: v for k, v in composed("algo=ppo").items() if k != "algo"
    }
    switched = nesting("algo@algo.policy=reinforce", "algo.policy.kl_coef=0.5", "model=gpt2", "reward=sentiment")
    assert switched["algo"]["policy"] == {**values("reinforce"), "kl_coef": 0.5}
    assert (switched["model"]["path"], switched["reward"]) == ("gpt2", composed("reward=sentiment")["reward"])
    whole = {**switched, "algo": switched["algo"]["policy"]}
    assert parse(RUNS["reinforce"], whole).algo.kl_coef == 0.5


def test_the_command_takes_the_exact_words_and_sweeps_over_them(tmp_path):
    (tmp_path / "own" / "algo").mkdir(parents=True)
    (tmp_path / "own" / "algo" / "nesting.yaml").write_text(NESTING)
    words = ["--config-dir", "own", "algo=nesting", "algo@algo.policy=reinforce", "algo.policy.ema_decay=0.5"]
    code, out, err = rlnlp("train", *words, "--cfg", "job", "-p", "algo.policy", cwd=tmp_path)
    assert (code, err) == (0, "")
    expected = {**values("reinforce"), "ema_decay": 0.5}
    assert OmegaConf.to_container(OmegaConf.create(out)) == expected
    code, _, err = rlnlp("train", *words[:3], "-m", "algo@algo.policy=ppo,reinforce", cwd=tmp_path)
    told = ["rlnlp train: no algorithm 'nesting'", "  choose from: sft, reward-model, reinforce, ppo, rlhf"]
    assert (code, err.splitlines()[:2]) == (2, told)
    code, _, err = rlnlp("train", *words[:3], "algo@algo.policy=reinforc", cwd=tmp_path)
    assert (code, err.splitlines()[0]) == (2, "rlnlp train: no algo 'reinforc'; did you mean 'algo=reinforce'?")


@pytest.mark.parametrize(("group", "name"), [(g, n) for g in GROUPS if g != "experiment" for n in choices_of(g)])
def test_a_choice_read_without_hydra_is_what_hydra_composes(group, name):
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        alone = OmegaConf.to_container(compose(f"{group}/{name}"))
    found = alone if group == "algo" else {group: functools.reduce(lambda node, key: node[key], [group], alone)}
    assert choices.compose(f"{group}/{name}", (group,)) == found
    assert choice(group, name) == found[group]


@pytest.mark.parametrize("name", choices_of("experiment"))
def test_an_experiment_read_without_hydra_has_what_it_sets_itself(name):
    own = OmegaConf.to_container(OmegaConf.load(conf_dir() / "experiment" / f"{name}.yaml"))
    assert choices.compose(f"experiment/{name}", ("experiment",)) == {k: v for k, v in own.items() if k != "defaults"}


def test_what_a_defaults_list_may_say_is_followed_as_hydra_follows_it(tmp_path, monkeypatch):
    files = {
        "train": "defaults: [{g: a}, _self_, {k: null}, {override x: y}]\ntop: 1\ng: {top: 1}\n",
        "g/a": "defaults: [b, /other@_here_, /other@sub, deep/c, {/h@_global_.h: one}, _self_, last]\nx: {own: 1}\n",
        "g/b": "x: {base: 1, own: 0}\n",
        "g/last": "last: 1\ny: [1]\n",
        "g/deep/c": "c: 1\n",
        "h/one": "defaults: [two]\nh: 1\n",
        "h/two": "h: 2\ni: 2\n",
        "other": "o: 1\ny: [2, 3]\n",
    }
    for name, text in files.items():
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text if name != "train" else text.replace(", {override x: y}", ""))
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        wanted = OmegaConf.to_container(compose("train"))
    (tmp_path / "train.yaml").write_text(files["train"])
    monkeypatch.setattr(choices, "conf_dir", lambda: tmp_path)
    assert choices.compose("train") == wanted
    assert (wanted["h"], wanted["g"]["top"]) == ({"h": 1, "i": 2}, 1)
    assert choice("g", "a")["x"] == {"base": 1, "own": 1}


def test_no_file_of_values_is_a_choice():
    assert choices_of("algo") == sorted(RUNS)
    for algo in RUNS:
        loaded = OmegaConf.load(conf_dir() / f"algo_{algo}.yaml")
        included = [one for one in loaded.get("defaults", []) if one != "_self_"]
        assert all(one.endswith("@_here_") and not one.startswith("/algo/") for one in included), "no groups"
        assert "algo" not in loaded
        assert not (conf_dir() / f"algo_{algo}.yaml").read_text().startswith("# @package")


def test_files_of_one_line_take_the_rest_from_the_group_s_file_of_values():
    for name in ("cpu", "cuda", "mps"):
        assert choice("device", name) == {**choice("device", "auto"), "name": name}
    assert choice("model", "fresh") == {**choice("model", "embedded"), "path": None, "tokenizer": "embedded"}


@pytest.mark.parametrize(("other", "name"), [("model=tiny", "embedded"), ("device=gpu", "cuda")])
def test_another_name_of_a_choice_stands_for_all_of_it(other, name):
    group, _, alias = other.partition("=")
    assert choice(group, alias) == choice(group, name)
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        found, wanted = (compose("train", [f"{group}={each}"]) for each in (alias, name))
    assert found == wanted


def test_the_model_of_the_embedded_language_is_called_embedded_and_stored_runs_may_call_it_tiny():
    same = {resolve("model.path", name, "config.json", False) for name in ("embedded", "embedded/", "embedded/tiny")}
    assert {Path(found).name for found in same} == {"embedded"}
    assert choice("model", "embedded")["path"] == "embedded"
    with pytest.raises(Failure) as told:
        resolve("model.path", "embedded/tyny", "config.json", False)
    assert str(told.value).endswith("choose from: embedded, embedded/randomwalks")
