"""`rlnlp train --help` and what stands for it: parts, settings in force with their meaning, flags; any width; quick."""

import re
import sys

import pytest

from rlnlp.cli.hydra_words import LONG_FLAGS
from rlnlp.cli.main import HYDRA, PLAIN, main
from rlnlp.config.choices import choices_of, compose, conf_dir
from rlnlp.config.hints import ALGORITHM
from rlnlp.config.schema import RUNS
from rlnlp.config.setting import of_others, settings
from support.small import rlnlp

GROUPS = sorted(path.name for path in conf_dir().iterdir() if path.is_dir())
ALGO = {name: (fixed[0].removeprefix("algo=") if fixed else "ppo") for name, (fixed, _) in HYDRA.items()}


@pytest.fixture
def page(capsys, monkeypatch):
    def shown(*words: str, width: int = 80) -> str:
        monkeypatch.setenv("COLUMNS", str(width))
        assert main(list(words)) == 0
        out, err = capsys.readouterr()
        assert err == ""
        return out

    return shown


def parts(page: str) -> dict[str, list[str]]:
    """The choices of each part, as they are listed."""
    block = page.partition("Choose parts")[2].partition("\n")[2].partition("\n\n")[0]
    joined = re.sub(r"\n {4,}", "  ", block).replace("(=", "=(")
    return {row.split()[0]: [w for w in row.split()[1:] if not w.startswith("=(")] for row in joined.split("\n")}


@pytest.mark.parametrize("name", HYDRA)
def test_every_setting_of_the_algorithm_is_on_the_page_with_its_value_and_meaning(name, page):
    text = re.sub(r"\n {4,}", "  ", page(name, "--help", width=200))  # the meaning of a long key is on the next line
    values = compose("train", chosen={"algo": ALGO[name]})
    for key, _, f in settings(RUNS[ALGO[name]]):
        if key != "reward.terms" and not ALGORITHM.fullmatch(key) and key not in of_others(RUNS[ALGO[name]], {}):
            (line,) = [line for line in text.split("\n") if re.match(rf"""  ['"]?{re.escape(key)}=""", line)]
            words = " ".join(line.split())
            assert f.metadata["help"] in words
            assert f.metadata["unit"] in words
    for term in values.get("reward", {"terms": {}})["terms"]:
        assert f"  reward.terms.{term}.weight=" in text
    assert not re.search(r"algo\.(\w+\.)?name=", text)
    assert "rlnlp explain KEY" in text


def test_the_parts_are_those_that_the_algorithm_reads_and_the_choice_in_force_is_marked(page):
    found = parts(page("train", "--help"))
    assert set(found) == {*GROUPS} - {"annotator"}
    assert found["algo"] == ["*ppo", "reinforce", "reward-model", "rlhf", "sft"]
    assert found["data"] == ["*default", "embedded", "gsm8k", "prompts", "rlhf", "support"]
    assert found["experiment"] == choices_of("experiment")
    for group in ("model", "sampler", "device", "reward"):
        default = ["default"] if group in ("model", "device") else []  # another name of the one in force
        assert sorted([*(name.lstrip("*") for name in found[group]), *default]) == choices_of(group)
        assert sum(name.startswith("*") for name in found[group]) == 1
    found = parts(page("sft", "--help"))
    assert set(found) == {*GROUPS} - {"reward", "algo", "annotator"}
    assert found["data"] == ["*texts"]


def test_the_stages_of_rlhf_have_the_settings_of_their_algorithm_and_a_line_that_chooses_it(page):
    found = parts(page("rlhf", "--help"))
    assert set(found) == {*GROUPS, "algo@algo.policy"} - {"algo"}
    assert found["annotator"] == ["file", "*simulated", "terminal", "web"]
    assert found["data"] == ["default", "embedded", "gsm8k", "prompts", "*rlhf", "support"]
    assert found["algo@algo.policy"] == ["*ppo", "reinforce"]
    text = page("train", "algo=rlhf", "algo@algo.policy=reinforce", "--help")
    assert parts(text)["algo@algo.policy"] == ["ppo", "*reinforce"]
    assert "  algo.policy.baseline=leave-one-out" in text
    assert "algo.policy.cliprange" not in text


def test_another_name_of_a_choice_is_told_as_such(page):
    text = page("train", "--help")
    assert "tiny (=embedded)" in text
    assert "gpu (=cuda)" in text


def test_settings_beside_help_are_in_force_on_the_page(page, tmp_path):
    words = ["algo=reinforce", "model=gpt2", "algo.total_steps=7", "reward.terms.mine.fn=my.py:f", "sampler.top_k=3"]
    text = page("train", *words, "--help")
    for label in ("*reinforce", "*gpt2", "algo.total_steps=7 ", "sampler.top_k=3 ", "algo.baseline=leave-one-out"):
        assert label in text
    assert re.search(r"reward\.terms\.mine\.weight=1 +the function my\.py:f", text)
    text = page("train", "experiment=sentiment", "-m", "seed=1,2", "algo.kl_coef=0.5", "--help")
    assert "*sentiment" in text
    assert "sampler.temperature=0.8 " in text
    assert "algo.kl_coef=0.5 " in text
    assert re.search(r"data\.prompts=\.\.\. +.*", page("train", "data=prompts", "-h", width=200))
    assert "must be given" in page("train", "data=prompts", "-h", width=200)


def test_a_choice_of_the_user_s_is_listed_and_may_be_in_force(page, tmp_path):
    (tmp_path / "own conf" / "model").mkdir(parents=True)
    (tmp_path / "own conf" / "model" / "mine.yaml").write_text('defaults: [embedded]\npath: "a\\u001b[2Jb"\n')
    (tmp_path / "own conf" / "model" / "a\x1b[2Jb.yaml").touch()
    text = page("train", "--help", "--config-dir", str(tmp_path / "own conf"), "model=mine")
    assert parts(text)["model"][-1] == "*mine"
    assert "\x1b" not in text


def test_a_secret_of_the_environment_is_not_shown(page, monkeypatch):
    monkeypatch.setenv("TOKEN", "hunter2")
    assert "hunter2" not in page("train", "model.path=${oc.env:TOKEN}", "--help")


@pytest.mark.parametrize("width", [45, 60, 80, 200])
def test_the_page_fits_the_width(width, page):
    lines = page("train", "--help", width=width).split("\n")
    long = [line for line in lines if len(line) > width and len(line.split()) > 1]
    assert long == []
    assert max(len(line) for line in lines) > width * 0.8 or width == 200


@pytest.mark.parametrize("words", [["train", "-h"], ["help", "train"], ["train", "--he"]])
def test_every_way_to_ask_for_help_gives_the_same_page(words, page):
    assert page(*words) == page("train", "--help")


@pytest.mark.parametrize("name", PLAIN)
def test_help_of_a_plain_command_is_its_own(name, capsys):
    with pytest.raises(SystemExit) as left:
        main(["help", name])
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: rlnlp {name} ")


def test_help_of_a_topic_or_a_setting_shows_it(page, capsys):
    assert page("help", "rewards").startswith("# Rewards")
    assert page("help", "kl_coef").startswith("algo.kl_coef\n")
    assert main(["help", "zzz"]) == 2
    assert "nothing is called 'zzz'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["algo=pppo"], "no algo 'pppo'; did you mean 'algo=ppo'?\n"),
        (["lr=1"], "no setting 'lr'; did you mean 'algo.learning_rate=1'?\n"),
        (["--lr", "1"], "no flag '--lr'; did you mean 'algo.learning_rate=1'?\n"),
    ],
)
def test_a_wrong_word_beside_help_is_told(words, line, capsys):
    assert main(["train", *words, "--help"]) == 2
    assert capsys.readouterr().err.startswith(f"rlnlp train: {line}")


def test_the_flags_of_the_page_are_flags_and_all_that_matter_are_there(page):
    block = page("train", "--help").partition("\nFlags")[2].partition("\n\n")[0]
    flags = set(re.findall(r"(?<!\S)--[a-z-]+", block))
    assert flags <= set(LONG_FLAGS)
    assert flags >= {"--multirun", "--cfg", "--config-dir", "--help"}


def test_help_imports_no_torch_and_makes_no_directory(tmp_path):
    code, _, err = rlnlp("ppo", "--help", cwd=tmp_path, env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert code == 0
    imported = {line.rpartition("|")[2].strip() for line in err.split("\n")}
    assert "hydra" in imported
    assert not imported & {"torch", "transformers", "matplotlib"}
    assert not list(tmp_path.iterdir())
    assert sys.modules["rlnlp.cli.help"]


def test_the_usage_of_all_commands_fits_80_columns(page):
    assert max(map(len, page("--help").split("\n"))) <= 80
