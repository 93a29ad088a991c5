"""parse: what composed settings become, and what is told of wrong ones."""

import copy
import dataclasses
import functools
import inspect
import math
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from rlnlp.config import algos, annotator, data, model, observing, reward, reward_model, rlhf, schema
from rlnlp.config.choices import conf_dir
from rlnlp.config.parse import parse
from rlnlp.config.reward import REWARDS
from rlnlp.config.schema import RUNS, GenerateRun
from rlnlp.config.setting import of_others, settings
from rlnlp.errors import Exit, Failure

ALL_AT_ONCE = {
    "seed": -1,
    "algo.total_steps": 0,
    "algo.learning_rate": math.nan,
    "algo.kl_coef": "much",
    "sampler.top_p": 2.0,
    "heldout.every": "often",
    "reward.terms.length.weight": True,
}
NEEDED = {  # by a choice, beside what it says must be given
    "classifier": {"reward.terms.classifier.args.path": "given"},
    "file": {"annotator.path": "given"},
}
MOST = {"rlhf": 160}  # settings, others have at most 90
ODD = [math.nan, math.inf, -1, 0, 10**23, 10**400, "1e400", "", None, True, [], {}, {"_target_": "os.system"}, "???"]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=2),
    max_leaves=4,
)


@functools.cache
def composed(*overrides: str) -> dict[str, Any]:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return OmegaConf.to_container(compose("train", list(overrides)), resolve=True)


def changed(key: str, value: Any, base: dict[str, Any]) -> dict[str, Any]:
    result = copy.deepcopy(base)
    *path, last = key.split(".")
    functools.reduce(lambda node, name: node[name], path, result)[last] = value
    return result


def told(settings_: Any, algo: str = "reinforce") -> list[str]:
    with pytest.raises(Failure) as failure:
        parse(RUNS[algo], settings_)
    assert failure.value.code == Exit.CONFIG == 2
    return str(failure.value).split("\n")


def told_of(key: str, value: Any, algo: str = "reinforce") -> str:
    (line,) = told(changed(key, value, composed(f"algo={algo}")), algo)
    return line


def leaves() -> list[tuple[str, str]]:
    return [(algo, key) for algo, schema in RUNS.items() for key, _, _ in settings(schema)]


def choices() -> list[tuple[str, str, str]]:
    groups = sorted(place for place in conf_dir().iterdir() if place.is_dir() and place.name != "algo")
    found = []
    for algo, run in RUNS.items():
        names = {field.name: field for field in dataclasses.fields(run)}
        for group in groups:
            for option in sorted(group.glob("*.yaml")):
                keys = set(OmegaConf.load(option))
                if group.name in names and (
                    group.name != "data" or keys <= {f.name for f in dataclasses.fields(names["data"].type)}
                ):
                    found.append((algo, group.name, option.stem))
    return found


@pytest.mark.parametrize("algo", RUNS)
def test_the_defaults_of_each_algorithm_parse_and_keep_their_values(algo):
    plain = composed(f"algo={algo}")
    made = dataclasses.asdict(parse(RUNS[algo], plain))
    for key, _, _ in settings(RUNS[algo]):
        if key != "reward.terms" and key not in of_others(RUNS[algo], {}):
            path = key.split(".")
            assert functools.reduce(lambda n, k: n[k], path, made) == functools.reduce(lambda n, k: n[k], path, plain)


@pytest.mark.parametrize(("algo", "group", "option"), choices())
def test_every_choice_of_every_group_parses(algo, group, option):
    plain = composed(f"algo={algo}", f"{group}={option}")
    for key, value in NEEDED.get(option, {}).items():
        plain = changed(key, value, plain)
    unset = [key for key, value in plain[group].items() if value == "???"]
    for key in unset:
        plain = changed(f"{group}.{key}", "given", plain)
    made = dataclasses.asdict(parse(RUNS[algo], plain))[group]
    expected = plain[group]
    if group == "reward":
        unset_ = {"weight": 1.0, "args": {}, "scale": 1.0, "shift": 0.0, "clip": None, "floor": None}
        unset_["conversational"] = False
        expected = {"terms": {n: {**unset_, **t} for n, t in plain["reward"]["terms"].items()}, "workers": 0}
    assert made == expected


def test_every_group_of_the_conf_folder_is_read_by_some_algorithm():
    covered = {(group, option) for _, group, option in choices()}
    assert covered == {
        (path.parent.name, path.stem)
        for path in conf_dir().glob("*/*.yaml")
        if path.parent.name not in ("algo", "experiment")
    }
    assert {path.stem for path in (conf_dir() / "algo").glob("*.yaml")} == set(RUNS)


@pytest.mark.parametrize("name", sorted(path.stem for path in (conf_dir() / "experiment").glob("*.yaml")))
def test_every_experiment_composes_and_parses(name):
    whole = composed(f"experiment={name}")
    assert parse(RUNS[whole["algo"]["name"]], whole).algo.name == whole["algo"]["name"]


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("algo.learnin_rate", "algo.learning_rate=1"),
        ("sampler.temprature", "sampler.temperature=1"),
        ("sead", "seed=1"),
        ("reward.terms.length.wieght", "reward.terms.length.weight=1"),
    ],
)
def test_an_unknown_setting_is_told_with_its_full_key_and_the_nearest_right_word(key, meant):
    assert told_of(key, 1) == f"no setting '{key}'; did you mean '{meant}'?"


def test_an_unknown_setting_without_a_near_one_is_told_with_all_that_there_are():
    line = told_of("device.zzz", 1)
    assert line.startswith("no setting 'device.zzz'; ")
    assert "name, threads" in line


@pytest.mark.parametrize("key", ["seed", "algo.kl_coef", "model.fresh.heads", "reward.terms", "reward.terms.length.fn"])
def test_a_missing_setting_is_told_with_its_full_key(key):
    absent = copy.deepcopy(composed("algo=reinforce"))
    *path, last = key.split(".")
    del functools.reduce(lambda node, name: node[name], path, absent)[last]
    hint = "; did you mean 'reward.terms.length.fn=length'?" if last == "fn" else ""
    assert told(absent) == [f"{key} is missing{hint}"]
    assert told_of(key, "???") == f"{key} is missing"


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("algo.total_steps", "ten", "algo.total_steps must be a whole number, got 'ten'"),
        ("algo.total_steps", True, "algo.total_steps must be a whole number, got True"),
        ("algo.total_steps", 10.0, "algo.total_steps must be a whole number, got 10.0; write 10"),
        ("algo.total_steps", 10.5, "algo.total_steps must be a whole number, got 10.5"),
        ("algo.total_steps", None, "algo.total_steps must be a whole number, got null"),
        ("algo.learning_rate", "1e-5x", "algo.learning_rate must be a number or null, got '1e-5x'"),
        ("algo.learning_rate", False, "algo.learning_rate must be a number or null, got False"),
        ("model.allow_download", 1, "model.allow_download must be true or false, got 1"),
        ("model.allow_download", "yes", "model.allow_download must be true or false, got 'yes'"),
        ("model.path", 7, "model.path must be text or null, got 7"),
        ("device.name", None, "device.name must be text, got null"),
        ("algo", [], "algo must be a group of settings, got []"),
        ("reward.terms", ["length"], "reward.terms must be a map of names to values, got ['length']"),
        ("reward.terms.length", "length", "reward.terms.length must be a group of settings, got 'length'"),
        ("reward.terms.length.args", 3, "reward.terms.length.args must be a map of names to values, got 3"),
        ("reward.terms.length.weight", "big", "reward.terms.length.weight must be a number, got 'big'"),
    ],
)
def test_a_setting_of_a_wrong_type_is_told_with_the_type_wanted_and_the_value_got(key, value, line):
    assert told_of(key, value) == line


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("key", ["algo.learning_rate", "sampler.temperature", "reward.terms.length.weight"])
def test_a_number_that_is_not_finite_is_refused(key, value):
    assert told_of(key, value) == f"{key} must be finite, got {value}"


@pytest.mark.parametrize(
    ("key", "value", "want"),
    [
        ("seed", -1, ">= 0"),
        ("algo.total_steps", 0, ">= 1"),
        ("algo.ema_decay", 1.0, ">= 0 and < 1"),
        ("algo.max_grad_norm", 0.0, "> 0"),
        ("sampler.temperature", 0.0, "> 0"),
        ("sampler.top_p", 1.5, "> 0 and <= 1"),
        ("checkpoint.keep", 0, ">= 1"),
    ],
)
def test_a_setting_out_of_range_is_told_with_its_limits(key, value, want):
    assert told_of(key, value) == f"{key} must be {want}, got {value}"


@pytest.mark.parametrize(
    ("key", "value"),
    [("algo.kl_coef", 0), ("algo.ema_decay", 0), ("sampler.top_p", 1), ("algo.learning_rate", 0), ("sampler.top_k", 0)],
)
def test_the_ends_of_a_closed_range_are_allowed(key, value):
    made = dataclasses.asdict(parse(RUNS["reinforce"], changed(key, value, composed("algo=reinforce"))))
    group, name = key.split(".")
    assert made[group][name] == value


def test_fields_of_numbers_take_whole_numbers_and_become_floats():
    made = parse(RUNS["reinforce"], changed("algo.learning_rate", 1, composed("algo=reinforce")))
    assert (made.algo.learning_rate, type(made.algo.learning_rate)) == (1.0, float)


def test_a_choice_is_one_of_the_listed_words_or_told_with_the_nearest():
    made = parse(RUNS["reinforce"], changed("algo.baseline", "greedy", composed("algo=reinforce")))
    assert made.algo.baseline == "greedy"
    line = told_of("algo.baseline", "gredy")
    assert line.startswith("algo.baseline must be one of none, batch, ema, leave-one-out, greedy, got 'gredy'")
    assert line.endswith("did you mean 'algo.baseline=greedy'?")
    assert told_of("algo.lr_schedule", 3).startswith("algo.lr_schedule must be one of constant, linear, cosine, got 3")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"algo.warmup_steps": 61}, "algo.warmup_steps must be <= algo.total_steps 60, got 61"),
        ({"algo.num_generations": 1}, "algo.num_generations must be >= 2 with algo.baseline=leave-one-out, got 1"),
        (
            {"algo.num_generations": 1, "algo.baseline": "batch", "algo.normalize_advantages": "group"},
            "algo.num_generations must be >= 2 with algo.normalize_advantages=group, got 1",
        ),
        ({"sampler.min_new_tokens": 33}, "sampler.min_new_tokens must be <= sampler.max_new_tokens 32, got 33"),
        ({"model.fresh.heads": 3}, "model.fresh.heads must divide model.fresh.width 128 into even parts, got 3"),
        (
            {"model.path": None},
            "model.tokenizer must be set when model.path is null: a fresh model has none of its own",
        ),
        ({"reward.terms": {}}, "reward.terms must have at least one term"),
        (
            {"reward.terms.length.fn": "lenght"},
            f"reward.terms.length.fn must be one of {', '.join(REWARDS)}, or file.py:function, got 'lenght'",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_told(changes, line):
    plain = composed("algo=reinforce")
    for key, value in changes.items():
        plain = changed(key, value, plain)
    assert told(plain) == [line]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"mini_batch_size": 48}, "mini_batch_size must divide the 64 responses of a step "
         "(batch_size x num_generations): 32 or 64, got 48"),
        ({"mini_batch_size": 65, "num_generations": 3}, "mini_batch_size must divide the 192 responses of a step "
         "(batch_size x num_generations): 64 or 96, got 65"),
        ({"mini_batch_size": 100}, "mini_batch_size must divide the 64 responses of a step "
         "(batch_size x num_generations): 64, got 100"),
        ({"critic": "shared", "critic_path": "rm"},
         "critic_path needs algo.critic=separate: a shared critic has no model of its own"),
        ({"critic_warmup_steps": 60}, "critic_warmup_steps must be < algo.total_steps 60, got 60"),
        ({"warmup_steps": 61}, "warmup_steps must be <= algo.total_steps 60, got 61"),
        ({"cliprange": 1.0}, "cliprange must be > 0 and < 1, got 1.0"),
        ({"target_kl": 0.0}, "target_kl must be > 0, got 0.0"),
        ({"lam": 1.1}, "lam must be >= 0 and <= 1, got 1.1"),
        ({"critic": "none"}, "critic must be one of shared, separate, adapter, got 'none'"),
    ],
)  # fmt: skip
def test_settings_of_ppo_that_do_not_go_together_are_told(changes, line):
    plain = composed("algo=ppo")
    for name, value in changes.items():
        plain = changed(f"algo.{name}", value, plain)
    assert told(plain, "ppo") == [f"algo.{line}"]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"algo.policy.warmup_steps": 61}, "algo.policy.warmup_steps must be <= algo.policy.total_steps 20, got 61"),
        (
            {"algo.policy.critic": "shared", "algo.policy.critic_path": "rm"},
            "algo.policy.critic_path needs algo.policy.critic=separate: a shared critic has no model of its own",
        ),
        (
            {"algo.reward_model.ensemble": "models", "algo.reward_model.frozen_trunk": True},
            "algo.reward_model.ensemble must be heads with algo.reward_model.frozen_trunk=true: models with the same"
            " trunk are the same",
        ),
        (
            {"algo.selection": "disagreement"},
            "algo.reward_model.ensemble_size must be >= 2 with algo.selection=disagreement",
        ),
    ],
)
def test_settings_of_stages_that_do_not_go_together_are_told_by_their_full_keys(changes, line):
    plain = composed("algo=rlhf")
    for key, value in changes.items():
        plain = changed(key, value, plain)
    assert told(plain, "rlhf") == [line]


@pytest.mark.parametrize(("size", "want"), [(None, 192), (192, 192), (64, 64), (1, 1)])
def test_a_minibatch_of_ppo_is_the_whole_rollout_or_what_divides_it(size, want):
    plain = changed("algo.num_generations", 3, changed("algo.mini_batch_size", size, composed("algo=ppo")))
    assert parse(RUNS["ppo"], plain).algo.minibatch == want


def test_a_group_of_one_is_allowed_where_nothing_compares_within_the_group():
    plain = changed("algo.num_generations", 1, changed("algo.baseline", "none", composed("algo=reinforce")))
    assert parse(RUNS["reinforce"], plain).algo.num_generations == 1


def test_all_problems_are_told_at_once():
    plain = composed("algo=reinforce")
    for key, value in {**ALL_AT_ONCE, "sampler.topk": 1}.items():
        plain = changed(key, value, plain)
    lines = told(plain)
    assert len(lines) == len(ALL_AT_ONCE) + 1
    for key in [*ALL_AT_ONCE, "'sampler.topk'"]:
        assert sum(line.startswith((f"{key} ", f"no setting {key}")) for line in lines) == 1, key


@pytest.mark.parametrize("wrong", [None, [], "text", 3])
def test_what_is_no_map_at_all_is_told(wrong):
    assert told(wrong) == [f"config must be a group of settings, got {'null' if wrong is None else repr(wrong)}"]


def test_a_value_that_a_terminal_would_obey_is_shown_harmless():
    assert told_of("algo.baseline", "\x1b[2J\u202e").isprintable()


def outcome(algo: str, key: str, value: Any) -> str:
    """Why a value is refused without a word of its key, or with another error than Failure 2; empty if all is well."""
    try:
        parse(RUNS[algo], changed(key, value, composed(f"algo={algo}")))
    except Failure as failure:
        named = all(key in line for line in str(failure).split("\n"))
        return "" if named and failure.code == Exit.CONFIG else f"{key}={value!r:.40}: {failure}"
    except Exception as error:
        return f"{key}={value!r:.40}: {error!r}"
    return ""


@pytest.mark.parametrize("part", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 5))])
def test_every_setting_takes_or_refuses_each_odd_value_by_its_key(part):
    every = [(algo, key, value) for algo, key in leaves() for value in ODD]
    assert not list(filter(None, (outcome(*each) for each in every[part::5])))


@given(st.sampled_from(leaves()), ANYTHING)
def test_any_value_of_any_setting_parses_or_is_told_by_its_key(leaf, value):
    assert outcome(*leaf, value) == ""


def test_settings_have_their_values_in_yaml_only():
    declared = (algos, annotator, data, model, observing, reward, reward_model, rlhf, schema)
    kinds = {kind for module in declared for _, kind in inspect.getmembers(module, dataclasses.is_dataclass)}
    assert len(kinds) > len(RUNS)
    given_ = {
        (kind.__name__, field.name)
        for kind in kinds
        for field in dataclasses.fields(kind)
        if field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
    }
    of_terms = {"weight", "args", "scale", "shift", "clip", "floor", "conversational"}
    assert given_ == {*(("RewardTerm", name) for name in of_terms), ("Reward", "workers")}


@pytest.mark.parametrize(("algo", "schema"), [*RUNS.items(), (None, GenerateRun)])
def test_settings_are_few_and_every_one_says_what_it_means(algo, schema):
    found = list(settings(schema))
    assert len({key for key, _, _ in found}) == len(found) <= MOST.get(algo, 90)
    assert all(field.metadata["help"] for _, _, field in found)
