"""Settings of earlier versions are read by the present one; what changes the schema must change its version.

``cd tests; python -m config.test_migrate`` writes down the schema of a new version.
"""

import copy
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from config.test_parse import composed
from rlnlp.config import migrate
from rlnlp.config.algos import Sft
from rlnlp.config.changes import check_allowed
from rlnlp.config.data import TextData
from rlnlp.config.migrate import CONFIG_VERSION, STEPS, Step, migrated, new_key
from rlnlp.config.parse import parse
from rlnlp.config.reward import REWARDS, Reward
from rlnlp.config.schema import RUNS, Heldout
from rlnlp.config.setting import NAME, declared
from rlnlp.errors import Exit, Failure
from rlnlp.run import manifest

STORED = Path(__file__).with_name("schema_versions.json")
VERSIONS: dict[str, dict[str, dict[str, str]]] = json.loads(STORED.read_text())
OLD_FN = {
    "rlnlp.data.grammar.gold:sentiment": "gold-sentiment",
    "rlnlp.data.grammar.gold:accepted": "gold-accepted",
    "rlnlp.rewards.text.gold:politeness": "gold-politeness",
    "rlnlp.data.randomwalks:optimality": "optimality",
    "rlnlp.embedded.randomwalks:optimality": "optimality",
    "rlnlp.rewards.length:length": "length",
}

SHOWN = {"template": "auto", "system": None, "template_args": {}}  # how conversations are shown, which were none


def present() -> dict[str, dict[str, str]]:
    """Key and type of every setting of each algorithm."""
    return {
        algo: {
            key: re.sub(r"rlnlp[\w.]*\.|<class '|'>", "", str(kind)).replace("typing.", "")
            for key, kind, _ in declared(schema)
        }
        for algo, schema in RUNS.items()
    }


def of_version(version: str, algo: str) -> dict[str, Any]:
    """Settings with the keys that ``version`` had, each with its own key as its value."""
    tree: dict[str, Any] = {}
    for key in VERSIONS[version][algo]:
        if key != "reward.terms":
            *path, last = key.replace(NAME, "mine").split(".")
            node = tree
            for part in path:
                node = node.setdefault(part, {})
            node[last] = algo if key == "algo.name" else key
    return tree


def keys(tree: Any, prefix: str = "") -> set[str]:
    if not isinstance(tree, dict) or not tree:
        return {prefix}
    return {key for name, value in tree.items() for key in keys(value, f"{prefix}.{name}".lstrip("."))}


def test_a_change_of_the_schema_needs_another_version():
    assert VERSIONS[str(CONFIG_VERSION)] == present(), (
        "the schema changed: raise CONFIG_VERSION in rlnlp/config/migrate.py, add the Step that leads there, and write"
        " the schema down: cd tests; python -m config.test_migrate"
    )
    assert list(VERSIONS) == [str(n + 1) for n in range(CONFIG_VERSION)]


@pytest.mark.parametrize(("version", "algo"), [(version, algo) for version in VERSIONS for algo in VERSIONS[version]])
def test_the_settings_of_every_version_get_the_keys_of_the_present(version, algo):
    stored = of_version(version, algo)
    before = copy.deepcopy(stored)
    found = migrate.migrate({"config_version": int(version), **stored})
    assert keys(found) == {key.replace(NAME, "mine") for key in present()[algo] if key != "reward.terms"}
    assert stored == before, "what is migrated is a copy"


def test_a_step_reaches_its_dataclass_wherever_it_is_in_the_schema():
    @dataclass
    class Nested:
        policy: Sft
        data: TextData
        either: Heldout | None
        rewards: dict[str, Reward]
        several: list[Heldout]

    old = {
        "policy": {"fit_temperature": 2.0, "name": "sft"},
        "data": {"best": 0.5},
        "either": {"prompts": 3},
        "rewards": {"a": {"terms": {"b": {"fn": "rlnlp.data.randomwalks:optimality"}}}},
        "several": [{"prompts": 4, "every": 0}],
    }
    assert migrated(Nested, old, 1) == {
        "policy": {"loss_temperature": 2.0, "name": "sft", "micro_batch_tokens": None},
        "data": {
            "best_fraction": 0.5,
            "columns": {},
            "encoding": "utf-8",
            "split": "train",
            "heldout_split": "test",
            "allow_download": False,
            "too_long": "refuse",
            "turns": "all",
            **SHOWN,
        },
        "either": {"size": 3, "patience": 0},
        "rewards": {"a": {"terms": {"b": {"fn": "optimality", "conversational": False}}, "workers": 0}},
        "several": [{"size": 4, "every": 0, "patience": 0}],
    }
    assert migrated(Nested, {**old, "either": None}, 1)["either"] is None
    assert migrated(Nested, old, CONFIG_VERSION) == old, "no step before a version is taken again"
    assert new_key(Nested, "policy.fit_temperature") == "policy.loss_temperature"
    assert new_key(Nested, "rewards.prompts.terms.best.fn") == "rewards.prompts.terms.best.fn"


@pytest.mark.parametrize(("stored", "now"), [(None, 0.5), (0.25, 0.25), (0.0, 0.0)])
def test_a_critic_s_rate_that_followed_the_policy_s_has_its_number(stored, now):
    algo = {**of_version("3", "ppo")["algo"], "learning_rate": 0.5, "critic_learning_rate": stored}
    found = migrate.migrate({"config_version": 3, "algo": algo})["algo"]
    assert (found["learning_rate"], found["critic_learning_rate"]) == (0.5, now)


def test_steps_follow_each_other_and_a_new_setting_gets_the_value_of_the_old_bytes(monkeypatch):
    later = Step(CONFIG_VERSION + 1, Heldout, renamed={"size": "count"}, added={"seed": 7}, converted={"every": str})
    monkeypatch.setattr(migrate, "STEPS", (*STEPS, later))
    assert migrated(Heldout, {"prompts": 3, "every": 2}, 1) == {"count": 3, "every": "2", "patience": 0, "seed": 7}
    present = {"size": 3, "every": 2, "patience": 1, "seed": 1}
    assert migrated(Heldout, present, CONFIG_VERSION) == {"count": 3, "every": "2", "patience": 1, "seed": 1}
    assert migrate.new_name(Heldout, "prompts") == "count"


@pytest.mark.parametrize("fn", OLD_FN)
def test_functions_of_the_package_have_short_names_and_their_dotted_ones_are_refused(fn):
    reward = {"terms": {"x": {"fn": fn}}}
    assert migrated(Reward, reward, 1) == {"terms": {"x": {"fn": OLD_FN[fn], "conversational": False}}, "workers": 0}
    with pytest.raises(Failure) as failure:
        parse(Reward, reward, "reward.")
    assert (failure.value.code, str(failure.value)) == (
        Exit.CONFIG,
        f"reward.terms.x.fn must name a function of rlnlp by its short name: {OLD_FN[fn]}, got '{fn}'",
    )


def test_code_of_the_user_s_stays_and_unknown_functions_of_the_package_are_refused():
    for fn in ("mine.py:sentiment", "rlnlp_more.gold:sentiment", "/x/rlnlp/gold.py:sentiment"):
        found = {"fn": fn, "conversational": False}
        assert migrated(Reward, {"terms": {"x": {"fn": fn}}}, 1)["terms"] == {"x": found}
        assert parse(Reward, {"terms": {"x": {"fn": fn}}}).terms["x"].fn == fn
    with pytest.raises(Failure, match=f"by its short name: one of {', '.join(REWARDS)}, got 'rlnlp.errors:describe'"):
        parse(Reward, {"terms": {"x": {"fn": "rlnlp.errors:describe"}}})


@pytest.mark.parametrize(
    ("algo", "old", "new"),
    [
        ("sft", "data.best", "data.best_fraction"),
        ("sft", "algo.fit_temperature", "algo.loss_temperature"),
        ("ppo", "heldout.prompts", "heldout.size"),
    ],
)
def test_an_old_name_is_refused_with_the_new_one(algo, old, new):
    settings = copy.deepcopy(composed(f"algo={algo}"))
    group, name = old.split(".")
    settings[group][name] = 1
    with pytest.raises(Failure) as failure:
        parse(RUNS[algo], settings)
    assert (failure.value.code, str(failure.value)) == (Exit.CONFIG, f"{old} is now {new}")
    with pytest.raises(Failure) as failure:
        check_allowed({}, [old], "", falling=False)
    assert (failure.value.code, str(failure.value)) == (Exit.CONFIG, f"resume.allow: '{old}' is now {new}")


@pytest.mark.parametrize("version", [0, -1, CONFIG_VERSION + 1, "2", True, None, 1.0])
def test_settings_of_a_later_version_are_refused(version):
    with pytest.raises(Failure, match="config_version is ") as failure:
        migrate.migrate({"config_version": version, "algo": {"name": "sft"}})
    assert failure.value.code == Exit.RUN


@pytest.mark.parametrize("settings", [{}, {"algo": []}, {"algo": {"name": ["sft"]}}, {"algo": {"name": "dpo"}, "x": 1}])
def test_what_is_no_run_s_settings_is_left_to_the_reader(settings):
    assert migrate.migrate(settings) == settings


@pytest.mark.parametrize("algo", RUNS)
def test_config_yaml_begins_with_its_version_and_is_read_back(algo, tmp_path):
    config = parse(RUNS[algo], composed(f"algo={algo}"))
    manifest.write_config(tmp_path, config, hidden=())
    assert (tmp_path / "config.yaml").read_text().startswith(f"config_version: {CONFIG_VERSION}\nseed: ")
    assert manifest.read_config(tmp_path) == config
    assert migrate.migrate({"config_version": CONFIG_VERSION, **asdict(config)}) == asdict(config)


def test_facts_and_states_of_version_1_have_the_present_names():
    assert migrate.migrate_facts({"id": "x", "reward_code": {"mine": "s"}}) == {
        "id": "x", "code": {"reward.terms.mine.fn": "s"},
    }  # fmt: skip
    assert migrate.migrate_facts({"code": {"a": "b"}}) == {"code": {"a": "b"}}
    inputs = {"seed": "0", "reward.terms.mine.fn": "s"}
    old = {
        "best": {"step": 2, "worth": 1.0},
        "in_a_row": 3,
        "built": {**inputs, "reward.terms.gold.fn": "t"},
        "step": 4,
    }
    new = {"best": {"step": 2, "value": 1.0}, "consecutive_skips": 3, "inputs": inputs, "step": 4, "since_best": 0}
    assert migrate.migrate_state(old, inputs) == new
    assert migrate.migrate_state(new, {}) == new


if __name__ == "__main__":
    if str(CONFIG_VERSION) not in VERSIONS:
        STORED.write_text(json.dumps({**VERSIONS, str(CONFIG_VERSION): present()}, indent=1) + "\n")
