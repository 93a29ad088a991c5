"""What the README says is so: its commands run, its tables name what is there."""

import re
import shlex

import pytest

from support import small

README = (small.ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line.partition(" # ")[0].strip()
    for kind, block in BLOCKS
    for line in block.splitlines()
    if not kind and re.match(r"rlnlp [\w-]+ ", line)
]
QUICK = ("algo.total_steps=2", "algo.batch_size=2", "heldout.size=2", "sampler.max_new_tokens=4")


@pytest.fixture(scope="module")
def place(tmp_path_factory, model_dir):
    """A folder that has what the README's commands name: a model, prompts, texts, a reward function, a run."""
    place = tmp_path_factory.mktemp("readme")
    (place / "my-model").symlink_to(model_dir)
    small.write_prompts(place / "prompts.jsonl", 30)
    (place / "texts.jsonl").write_text('{"text": "the film was good"}\n{"prompt": "the", "completion": "film"}\n' * 10)
    source = next(block for kind, block in BLOCKS if kind == "python" and "my_rewards.py" in block)
    (place / "my_rewards.py").write_text(source)
    status, _, errors = small.rlnlp("train", *QUICK, "hydra.run.dir=RUN", cwd=place)
    assert status == 0, errors
    return place


def test_the_first_two_blocks_are_the_two_commands_that_do_all():
    assert BLOCKS[0][1] == "pip install -c constraints.txt . && rlnlp train\n"
    assert BLOCKS[1][1] == "pip install -c constraints.txt -e '.[test]' && pytest\n"


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_runs(command, place):
    words = shlex.split(command)[1:]
    trains = words[0] in ("train", "ppo", "reinforce", "sft") and "--help" not in words
    quick = [q for q in QUICK if words[0] != "sft" or "max_new" not in q] if trains else []
    status, output, errors = small.rlnlp(*words, *quick, cwd=place)
    assert status == 0, errors
    assert output


def test_the_wrong_settings_of_the_readme_are_told_as_it_says(tmp_path):
    block = next(block for _, block in BLOCKS if block.startswith("$ rlnlp train algo.learning_rte"))
    first, *told = block.splitlines()
    status, _, errors = small.rlnlp(*shlex.split(first)[2:], cwd=tmp_path)
    assert (status, errors.splitlines()) == (2, told)


def test_every_metric_of_a_run_is_in_the_table_and_the_other_way_round(place):
    import json

    row = json.loads((place / "RUN" / "metrics.jsonl").read_text().splitlines()[-1])
    table = (small.ROOT / "rlnlp" / "guide" / "metrics.md").read_text()
    named = set(
        re.findall(r"`([\w/<>]+)`", "\n".join(line.split("|")[1] for line in table.splitlines() if "|" in line))
    )
    logged = {re.sub(r"^score/.*", "score/<term>", name) for name in row} - {"step"}
    assert logged <= named
    elsewhere = {"heldout/score", "heldout/kl", "loss", "equal_groups", "critic_grad_norm", "sampling_mismatch"}
    assert named - logged <= elsewhere | {"skipped"}


def test_every_exit_status_and_baseline_and_reward_is_in_the_readme():
    from rlnlp.config.algos import Reinforce
    from rlnlp.config.schema import REWARDS
    from rlnlp.errors import Exit

    for code in Exit:
        assert re.search(rf"^\| (\d+, )*{code.value}(, \d+)* \|", README, re.MULTILINE)
    for word in (*REWARDS, *Reinforce.__annotations__["baseline"].__args__):
        assert f"| `{word}` |" in README
