"""`rlnlp explain`: every setting is explained, whatever name it is asked for by.

``cd tests; python -m commands.test_explain`` puts the tables that the command prints into the guide's pages.
"""

import dataclasses
import inspect
import io
import json
import re
import subprocess
import sys

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from rich.console import Console

from rlnlp.commands.explain import main as explain
from rlnlp.commands.explain.catalog import Setting, catalog, composed, show, stages_of
from rlnlp.commands.explain.terms import terms
from rlnlp.config.choices import choices_of, conf_dir
from rlnlp.config.reward import REWARDS
from rlnlp.config.schema import RUNS, GenerateRun
from rlnlp.config.setting import NAME, of_others, settings
from rlnlp.errors import Exit, Failure
from rlnlp.metrics import METRICS, find_metric
from rlnlp.rewards.builtin import MODEL_REWARDS
from support.inside import rlnlp
from support.small import ROOT

GUIDE = ROOT / "rlnlp" / "guide"
SCHEMAS = {**RUNS, "generate": GenerateRun}
KEYS = sorted({key for schema in SCHEMAS.values() for key, _, _ in settings(schema)})
BLOCK = r"<!-- explain: {0},.*?<!-- explain: end of {0} -->"


def said(*words, width=None):
    """What a person is shown: in a terminal of ``width`` columns, or elsewhere."""
    console = Console(file=io.StringIO(), width=width, force_terminal=width is not None, highlight=False, _environ={})
    explain.print_answers([answer for word in words for answer in explain.find(word)] or explain.overview(), console)
    return re.sub(r"\x1b\[[\d;]*m", "", console.file.getvalue())


def rows(text):
    """The labelled lines of one answer."""
    return {line.split()[0]: line.strip() for line in text.splitlines()[2:] if line.strip()}


def renewed(name, printed):
    """The guide's page with what the command prints between its marks."""
    page, block = (GUIDE / f"{name}.md").read_text(), re.search(BLOCK.format(name), printed, re.DOTALL).group()
    assert len(re.findall(BLOCK.format(name), page, re.DOTALL)) == 1
    return re.sub(BLOCK.format(name), lambda _: block, page, flags=re.DOTALL)


@pytest.mark.parametrize("key", KEYS)
def test_every_setting_has_a_meaning_and_a_default(key):
    one = catalog()[key]
    assert one.help
    assert one.defaults
    readers = {algo for algo, schema in RUNS.items() if key in {k for k, _, _ in settings(schema)}}
    assert set(one.defaults) == ({of_others(RUNS["rlhf"], {})[key]} if key in of_others(RUNS["rlhf"], {}) else readers)
    (answer,) = explain.find(key)
    shown = dict(answer.rows)
    assert (answer.title, shown[""]) == (key, one.help)
    assert all(shown[label] for label in ("type", "default", "elsewhere"))


@pytest.mark.parametrize("algo", RUNS)
def test_the_defaults_are_those_that_hydra_composes(algo):
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        assert composed(algo) == OmegaConf.to_container(compose("train", overrides=[f"algo={algo}"]))


def test_the_settings_of_stages_are_those_of_the_algorithm_that_a_stage_may_have():
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        words = ["algo=rlhf", "algo@algo.policy=reinforce"]
        assert composed("rlhf", {"algo.policy": "reinforce"}) == OmegaConf.to_container(compose("train", words))
    shown = rows(said("algo.policy.baseline"))
    assert shown["default"].split(maxsplit=1)[1] == "algo@algo.policy=reinforce leave-one-out"
    shown = rows(said("algo.policy.batch_size"))
    assert shown["default"].split(maxsplit=1)[1] == "rlhf 64"
    assert "algo@algo.policy=reinforce sets 16" in shown["changed"]
    assert rows(said("algo.kl_coef"))["in"].split() == ["in", "rlhf", "algo.policy.kl_coef"]
    both = rows(said("algo.learning_rate"))["in"].split(maxsplit=2)[2]
    assert both == "algo.reward_model.learning_rate, algo.policy.learning_rate"
    assert "choices" in rows(said("algo@algo.policy"))
    assert [explain.find(word)[0].title for word in ("ptx_coef", "beta", "temperature")] == [
        "algo.policy.ptx_coef", "algo.kl_coef", "sampler.temperature",
    ]  # fmt: skip


def test_a_setting_is_told_with_all_that_is_known_of_it():
    shown = rows(said("sampler.top_k"))
    assert shown["type"].split(maxsplit=1)[1] == "a whole number"
    assert shown["range"].split(maxsplit=1)[1] == ">= 0"
    assert shown["unit"].split()[1] == "tokens"
    assert shown["default"].split(maxsplit=1)[1] == ", ".join(f"{algo} 0" for algo in RUNS)
    assert "sampler=greedy sets 1" in shown["changed"]
    assert shown["elsewhere"].split(maxsplit=1)[1] == "TRL top_k; verl actor_rollout_ref.rollout.top_k"
    assert "one of constant, linear, cosine" in said("algo.lr_schedule")
    assert "> 0 and <= 1" in said("top_p")
    assert "model=fresh sets null" in said("model.path")
    assert "data=prompts asks for it" in said("data.prompts")


@pytest.mark.parametrize(
    ("word", "keys"),
    [
        ("kl_coef", ["algo.kl_coef"]),
        ("algo.kl_coef=0.1", ["algo.kl_coef"]),
        ("beta", ["algo.kl_coef"]),
        ("kl_ctrl.kl_coef", ["algo.kl_coef"]),
        ("rollout.n", ["algo.num_generations"]),
        ("lr_scheduler_type", ["algo.lr_schedule"]),
        ("dataset_name", ["data.preferences", "data.prompts", "data.texts"]),
        ("layers", ["model.fresh.layers"]),
        ("reward.terms.mine.weight", [f"reward.terms.{NAME}.weight"]),
        ("reward.terms", ["reward.terms"]),
    ],
)
def test_a_short_name_and_a_name_from_elsewhere_find_the_setting(word, keys):
    assert sorted(answer.title for answer in explain.find(word)) == keys


@pytest.mark.parametrize("key", [key for key, one in catalog().items() if one.elsewhere])
def test_every_name_elsewhere_leads_back_to_a_setting(key):
    for name in catalog()[key].elsewhere:
        found = explain.named_elsewhere(name)
        assert key in {*found, *(each for one in found for keys in stages_of(one).values() for each in keys)}
        assert explain.find(name)
    assert explain.named_elsewhere("-") == explain.named_elsewhere("") == []


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("lerning_rate", "nothing is called 'lerning_rate'; did you mean 'learning_rate'?"),
        ("algo.kl_coeff", "nothing is called 'algo.kl_coeff'; did you mean 'algo.kl_coef'?"),
        ("sentimnt", "nothing is called 'sentimnt'; did you mean 'sentiment'?"),
        ("zzz", "nothing is called 'zzz'"),
        ("", "nothing is called ''"),
        ("../algo", "nothing is called '../algo'"),
        ("\x1b[31m", r"nothing is called '\x1b[31m'"),
        ("every", "several settings end in 'every': checkpoint.every, heldout.every, samples.every"),
    ],
)
def test_an_unknown_or_unclear_name_is_exit_2_with_the_nearest(word, told):
    with pytest.raises(Failure) as failure:
        explain.find(word)
    assert failure.value.code == Exit.CONFIG
    assert str(failure.value).startswith(told)


def test_a_group_lists_its_settings_and_its_choices():
    text = said("sampler")
    for key in (k for k in KEYS if k.startswith("sampler.")):
        assert f"  {key} " in text
    assert "sampler=default, sampler=greedy, sampler=nucleus" in text
    (answer,) = explain.find("model.fresh")
    assert [one.key for one in answer.about] == [key for key in catalog() if key.startswith("model.fresh.")]
    assert ", ".join(f"algo={algo}" for algo in sorted(RUNS)) in said("algo")


@pytest.mark.parametrize("term", REWARDS)
def test_a_reward_term_tells_what_it_measures_and_what_it_takes(term):
    (answer,) = explain.find(f"reward.terms.{term}")
    assert answer.rows == explain.find(term)[0].rows
    one = terms()[term]
    assert one.help
    assert "``" not in one.help
    assert one.fn == term
    for reward, values in one.rewards.items():
        assert f"reward={reward}: weight {show(values.get('weight', 1))}" in dict(answer.rows)["used in"]
        assert set(values.get("args", {})) <= set(one.args)


def test_a_reward_term_is_told_with_its_arguments_and_the_rewards_that_have_it():
    shown = rows(said("length"))
    assert shown["arguments"].split(maxsplit=1)[1] == "low (int, must be given), high (int, must be given)"
    assert "reward=default: weight 0.1, low 5, high 20" in shown["used"]
    assert "reward=classic: weight 0.2" in shown["used"]
    assert terms()["sentiment"].args == {}


def test_what_a_run_gives_to_a_term_is_not_among_its_arguments():
    for name, make in MODEL_REWARDS.items():
        assert set(terms()[name].args) == set(inspect.signature(make).parameters) - {"name", "context"}


def test_a_metric_is_told_too():
    assert "nats per response" in said("kl")
    assert find_metric("score/polite") is find_metric("score")
    assert find_metric("heldout/loss") is find_metric("loss")
    assert find_metric("nothing") is None
    names = [name for metric in METRICS for name in metric.names]
    assert len(names) == len(set(names))


def test_programs_are_given_records(tmp_path):
    code, out, err = rlnlp("explain", "--json", cwd=tmp_path)
    assert (code, err) == (0, "")
    records = json.loads(out)
    assert [record["key"] for record in records] == list(catalog())
    code, out, _ = rlnlp("explain", "top_k", "sentiment", "kl", "--json", cwd=tmp_path)
    setting, term, metric = json.loads(out)
    assert {name: setting[name] for name in ("key", "type", "unit", "limits", "trl")} == {
        "key": "sampler.top_k", "type": "a whole number", "unit": "tokens", "limits": {"ge": 0}, "trl": "top_k",
    }  # fmt: skip
    assert setting["default"] == dict.fromkeys(RUNS, 0)
    assert setting["set_by"]["sampler=greedy"] == 1
    assert term["rewards"]["sentiment"]["weight"] == 1.0
    assert (metric["metrics"], metric["unit"]) == (["kl", "heldout/kl"], "nats per response")


def test_alone_it_lists_every_setting_on_one_line(tmp_path):
    code, out, err = rlnlp("explain", cwd=tmp_path)
    assert (code, err) == (0, "")
    listed = [line.split()[0] for line in out.splitlines() if line.startswith("  ")]
    assert sorted(key for key in listed if NAME not in key) == KEYS
    assert "\x1b" not in out


def test_the_guide_has_the_tables_that_the_command_prints(tmp_path):
    code, out, err = rlnlp("explain", "--tables", cwd=tmp_path)
    assert (code, err) == (0, "")
    for name in ("settings", "metrics"):
        page = (GUIDE / f"{name}.md").read_text()
        assert renewed(name, out) == page, "cd tests; python -m commands.test_explain renews it"
    table = (
        (GUIDE / "settings.md")
        .read_text()
        .partition("<!-- explain: settings")[2]
        .partition("<!--")[0]
        .strip()
        .splitlines()[4:]
    )
    assert [line.split("`")[1] for line in table] == list(catalog())
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {7}


def test_nothing_heavy_is_imported(tmp_path):
    text = "import sys\nfrom rlnlp.cli.main import main\nstatus = main(['explain', *{}])\n"
    text += "heavy = {{'torch', 'transformers', 'numpy', 'hydra', 'matplotlib'}} & set(sys.modules)\n"
    text += "print(status, *heavy, file=sys.stderr)"
    for words in (["kl_coef"], [], ["--json"], ["sentiment"], ["--tables"]):
        done = subprocess.run(
            [sys.executable, "-c", text.format(words)], env={"PYTHONPATH": str(ROOT)}, cwd=tmp_path,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.stderr == "0\n"


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_no_word_is_broken_and_no_line_too_long_at_any_width(width):
    wanted = [word for word in (None, "sampler", "kl_coef", "seed", "length", "reward") if word]
    for words in ([], wanted):
        plain, wrapped = said(*words), said(*words, width=width)
        assert wrapped.split() == plain.split()
        for line in wrapped.splitlines():
            assert len(line) <= width or len(line.split()) == 1


def test_foreign_text_cannot_steer_the_terminal():
    answer = explain.Answer("a\x1b[2J", [("b\x07", "[bold]c[/bold]\u202e")], [])
    console = Console(file=io.StringIO(), force_terminal=False, width=40)
    explain.print_answers([answer], console)
    assert console.file.getvalue() == "a\\x1b[2J\n  b\\x07      [bold]c[/bold]\\u202e\n"


def test_an_algorithm_s_own_default_and_meaning_are_told_apart():
    helps = {"x": "one", "y": "two", "z": "one"}
    one = Setting("a.b", "a number", limits={"gt": 0, "le": 1}, helps=helps, defaults={"x": 1.5})
    assert one.help == "x and z: one; y: two"
    assert one.default == "x 1.5"
    assert one.range == "> 0 and <= 1"
    same = dataclasses.replace(one, defaults=dict.fromkeys(RUNS, None), helps={"x": "one", "y": "one"})
    assert (same.default, same.help) == ("null", "one")
    assert [show(v) for v in (True, 1e-5, {}, {"low": 5}, "???", 3)] == [
        "true", "1e-05", "{}", "{low: 5}", "must be given", "3",
    ]  # fmt: skip
    assert choices_of("") == []


def test_the_tables_take_no_key_and_no_other_form(tmp_path):
    for words in (["--tables", "seed"], ["--tables", "--json"], ["--nothing"]):
        code, out, err = rlnlp("explain", *words, cwd=tmp_path)
        assert (code, out) == (2, "")
        assert "usage: rlnlp explain" in err


if __name__ == "__main__":
    for each in ("settings", "metrics"):
        (GUIDE / f"{each}.md").write_text(renewed(each, "\n".join(explain.tables())))
