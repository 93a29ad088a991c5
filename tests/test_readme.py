"""README and handbook are right: their commands run, their tables and links name what is there."""

import json
import re
import shlex
import shutil

import pytest

from bench import figures
from rlnlp.commands.explain.catalog import catalog
from rlnlp.commands.guide import PAGES, TOPICS
from rlnlp.config.choices import conf_dir
from rlnlp.metrics import BY_NAME
from rlnlp.models.locate import ASSETS
from support import chat, forked, inside, reward_models, small

DOCUMENTS = [
    small.ROOT / "README.md", small.ROOT / "CONTRIBUTING.md", small.ROOT / "CHANGELOG.md",
    *(PAGES / f"{topic}.md" for topic in TOPICS),
]  # fmt: skip
README = DOCUMENTS[0].read_text()
HANDBOOK = {topic: (PAGES / f"{topic}.md").read_text() for topic in TOPICS}
READ_ON = README.partition("## Where to read on")[2].partition("\n## ")[0]
BLOCKS = [
    (path.name, kind, block)
    for path in DOCUMENTS
    for kind, block in re.findall(r"^```(\w*)\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE)
]
COMMANDS = dict.fromkeys(  # each once, in the order of the pages
    re.sub(r"\s+#\s.*", "", line).strip()
    for _, kind, block in BLOCKS
    for line in block.splitlines()
    if not kind and re.match(r"rlnlp [\w-]+( |$)", line)
)
ROUNDS = (
    "algo.rounds=1", "algo.prompts_per_round=4", "annotator.comparisons_per_round=3", "annotator.ratings_per_round=1",
    "algo.reward_model.total_steps=1", "algo.policy.total_steps=1", "algo.policy.batch_size=2", "heldout.size=4",
    "sampler.max_new_tokens=4", "device.threads=1",
)  # fmt: skip
OF_ROUNDS = [path.stem for path in (conf_dir() / "experiment").glob("*.yaml") if "/algo: rlhf" in path.read_text()]
TRAINING = ("train", "ppo", "reinforce", "reward-model", "rlhf", "sft", "check")
ELSEWHERE = {"rlnlp/conf", "rlnlp/guide/TOPIC.md"}  # in a wheel, yours
QUICK = ("algo.total_steps=2", "algo.batch_size=2", "sampler.max_new_tokens=4", "device.threads=1")


@pytest.fixture(scope="module")
def directory(tmp_path_factory, model_dir):
    """A directory that has what the commands name: a model, prompts, texts, a reward function, a run."""
    directory = tmp_path_factory.mktemp("readme")
    (directory / "my-model").symlink_to(model_dir)
    small.write_prompts(directory / "prompts.jsonl", 30)
    texts = '{"text": "the film was good"}\n{"prompt": "the", "completion": "film"}\n' * 10
    (directory / "texts.jsonl").write_text(texts)
    small.write_prompts(directory / "part-1.jsonl", 12)
    rows = "".join(f"is the {word} good,{word}\n" for word in small.WORDS)
    (directory / "questions.csv").write_text(f"question,answer\n{rows}")
    for name in ("my_rewards.py", "brief.py"):
        (source,) = [block for _, kind, block in BLOCKS if kind == "python" and f"# {name}\n" in block]
        (directory / name).write_text(source)
    chat.save_model(directory / "my-chat-model")
    asked = [chat.turns(f"is the {word} good ?", f"the {word} is good .") for word in small.WORDS[2:14]]
    for name, length in (("questions.jsonl", 1), ("dialogues.jsonl", 2)):
        (directory / name).write_text("".join(json.dumps({"messages": turns[:length]}) + "\n" for turns in asked))
    judged = [{"prompt": f"the {w} is", "chosen": " very good .", "rejected": f" {w} ."} for w in small.WORDS[2:]]
    (directory / "pairs.jsonl").write_text("".join(json.dumps(each) + "\n" for each in judged))
    (directory / "answers.jsonl").write_text("".join(json.dumps({"text": each["prompt"]}) + "\n" for each in judged))
    reward_models.as_run(reward_models.save(directory / "RM", ASSETS / "embedded"))
    status, _, errors = inside.rlnlp("train", *QUICK, "hydra.run.dir=RUN", cwd=directory)
    assert status == 0, errors
    shutil.copytree(directory / "RUN", directory / "SWEEP" / "0")
    (directory / "DIR").symlink_to("SWEEP")
    return directory


def test_the_readme_begins_with_the_two_commands_that_do_all_and_has_at_most_200_lines():
    assert BLOCKS[0][2] == "pip install -c constraints.txt . && rlnlp train\n"
    assert BLOCKS[1][2] == "pip install -c constraints.txt -e '.[test]' && pytest -n 2\n"
    assert len(README.splitlines()) <= 200


def test_each_figure_that_the_script_renews_stands_in_one_place():
    for path, pattern, _ in figures.PLACES:
        assert len(re.findall(pattern, (small.ROOT / path).read_text())) == 1, (path, pattern)


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_or_the_handbook_runs(command, directory):
    words = shlex.split(command)[1:]
    trains = words[0] in TRAINING and not {"--help", "--cfg"} & set(words)
    of_rounds = words[0] == "rlhf" or "algo=rlhf" in words or {f"experiment={name}" for name in OF_ROUNDS} & {*words}
    typed = "hello\n" if "--chat" in words else ""
    status, output, errors = forked.rlnlp(
        *words, *((ROUNDS if of_rounds else QUICK) if trains else ()), cwd=directory, stdin=typed, timeout=300
    )
    assert status == 0, errors
    assert output


def test_every_command_of_the_tool_stands_in_a_code_block_that_is_run():
    from rlnlp.cli.main import HYDRA, PLAIN

    assert {command.split()[1] for command in COMMANDS} - {"help"} == {*HYDRA, *PLAIN}
    assert len(COMMANDS) >= 30


def test_wrong_settings_are_reported_as_the_handbook_says(tmp_path):
    (block,) = [block for _, _, block in BLOCKS if block.startswith("$ rlnlp train algo.learning_rte")]
    first, *lines = block.splitlines()
    status, _, errors = inside.rlnlp(*shlex.split(first)[2:], cwd=tmp_path)
    assert (status, errors.splitlines()) == (2, lines)


def test_every_metric_of_a_run_is_in_the_table_and_the_other_way_round(directory):
    row = json.loads((directory / "RUN" / "metrics.jsonl").read_text().splitlines()[-1])
    table = [line.split("|")[1] for line in HANDBOOK["metrics"].splitlines() if line.startswith("|")]
    named = set(re.findall(r"`([\w/<>]+)`", "\n".join(table)))
    logged = {re.sub(r"^score/.*", "score/<term>", name) for name in row} - {"step"}
    assert logged <= named
    elsewhere = {
        "heldout/score",
        "heldout/kl",
        "loss",
        "heldout/loss",
        "equal_groups",
        "critic_grad_norm",
        "sampling_mismatch",
        "accuracy",
        "heldout/accuracy",
        "margin",
        *(name for name, metric in BY_NAME.items() if metric.algorithms == ("rlhf",)),
    }
    assert named - logged <= elsewhere | {"skipped"}


def test_every_exit_status_and_baseline_and_reward_is_in_the_handbook():
    from rlnlp.config.algos import Reinforce
    from rlnlp.config.reward import REWARDS
    from rlnlp.errors import Exit

    for code in Exit:
        assert re.search(rf"^\| (\d+, )*{code.value}(, \d+)* \|", HANDBOOK["start"], re.MULTILINE)
    for word in Reinforce.__annotations__["baseline"].__args__:
        assert f"| `{word}` |" in HANDBOOK["reinforce"]
    for word in REWARDS:
        assert f"| `{word}` |" in HANDBOOK["rewards"]


def test_every_choice_of_an_experiment_and_a_reward_is_in_the_handbook():
    from rlnlp.config.choices import conf_dir

    for path in (conf_dir() / "experiment").glob("*.yaml"):
        assert f"| `{path.stem}` |" in HANDBOOK["experiments"]
    for path in (conf_dir() / "reward").glob("*.yaml"):
        assert f"`reward={path.stem}`" in HANDBOOK["rewards"]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_to_a_file_and_every_topic_and_file_named_is_there(path):
    text = path.read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith("https://"):
            assert (path.parent / target.partition("#")[0]).exists(), target
    assert set(re.findall(r"rlnlp guide ([a-z][a-z-]*)", text)) <= set(TOPICS)
    for name in re.findall(r"`((?:rlnlp|tests|conf)/[\w./-]+)`", text):
        assert (small.ROOT / name).exists() or "NAME" in name or name in ELSEWHERE, name


@pytest.mark.parametrize("path", [path for path in DOCUMENTS if path.stem != "CHANGELOG"], ids=lambda path: path.name)
def test_every_setting_named_is_one_or_the_beginning_of_some(path):
    known = catalog()
    groups = "|".join({key.partition(".")[0] for key in known if "." in key})
    text = re.sub(r"<!-- explain: settings.*<!-- explain: end of settings", "", path.read_text(), flags=re.DOTALL)
    for name in re.findall(rf"`((?:{groups})\.(?!py|jsonl)[\w.<>*]+)", text):
        generic = re.sub(r"(reward\.terms\.)\w+(\.\w+).*", r"\1<name>\2", name)
        assert generic in known or [key for key in known if key.startswith(name.rstrip("*"))], name


def test_the_readme_names_every_page_of_the_handbook_in_its_order():
    assert re.findall(r"^\| \[([a-z-]+)\]\(rlnlp/guide/\1\.md\)", READ_ON, re.MULTILINE) == list(TOPICS)


def test_the_architecture_page_has_the_rooms_in_the_order_of_imports():
    from test_architecture import ROOMS

    tree = HANDBOOK["architecture"].partition("```\nrlnlp/\n")[2].partition("```")[0]
    assert tuple(re.findall(r"^  (\w+)/? ", tree, re.MULTILINE)) == ROOMS
