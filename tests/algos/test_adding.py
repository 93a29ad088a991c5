"""The list "to add an algorithm" of the handbook, followed in a copy of the code."""

import json
import re
import shutil
import textwrap

import pytest

from support import small

PAGE = small.ROOT / "rlnlp" / "guide" / "adding-things.md"
STEP = re.compile(
    r"^ *```\w+\n *# (\S+?)(?:, (at the end|before|instead of)(?: `([^`]+)`)?)?\n(.*?)^ *```$", re.M | re.S
)
QUICK = ("algo.batch_size=2", "algo.num_generations=2", "heldout.size=2", "sampler.max_new_tokens=4", "device=cpu")


def follow(page: str, tree) -> list[str]:
    """Do in ``tree`` what the section says; the files that were touched."""
    section = page.partition("## To add an algorithm\n")[2].partition("\n## ")[0]
    touched = []
    for file, how, mark, block in STEP.findall(section):
        path, text = tree / file, textwrap.dedent(block)
        if how:
            old = path.read_text()
            assert not mark or old.count(mark) == 1, (file, mark)
            new = {"at the end": old + "\n\n" + text, "before": old.replace(mark, f"{text}\n\n{mark}")}
            path.write_text(new.get(how) or old.replace(mark, text.rstrip("\n") + " " * mark.endswith(" ")))
        else:
            assert not path.exists(), file
            path.write_text(text)
        touched.append(file)
    return touched


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the code with the algorithm of the handbook in it."""
    tree = tmp_path_factory.mktemp("adding")
    for name in ("rlnlp", "conf"):
        shutil.copytree(small.ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    touched = follow(PAGE.read_text(), tree)
    new = [file for file in touched if not (small.ROOT / file).exists()]
    assert sorted(new) == ["conf/algo/constant.yaml", "conf/algo_constant.yaml", "rlnlp/algos/constant.py"]
    return tree


def run(tree, *words):
    return small.rlnlp(*words, cwd=tree, env={"PYTHONPATH": str(tree)})


@pytest.mark.slow
def test_an_algorithm_that_the_handbook_adds_trains_and_resumes(tree):
    status, _, errors = run(tree, "constant", *QUICK, "algo.total_steps=2", "hydra.run.dir=short")
    assert status == 0, errors
    status, _, errors = run(tree, "resume", "short", "algo.total_steps=4")
    assert (status, "resuming after step 2" in errors) == (0, True), errors
    status, _, errors = run(tree, "train", "algo=constant", *QUICK, "algo.total_steps=4", "hydra.run.dir=long")
    assert status == 0, errors
    rows = [(tree / name / "metrics.jsonl").read_text() for name in ("short", "long")]
    assert rows[0] == rows[1]
    assert [json.loads(row)["step"] for row in rows[0].splitlines()] == [1, 2, 3, 4]
    assert all(json.loads(row)["grad_norm"] > 0 for row in rows[0].splitlines())


def test_the_settings_of_an_added_algorithm_are_checked_and_explained(tree):
    status, _, errors = run(tree, "constant", "algo.constant=much")
    assert (status, "algo.constant must be a number, got 'much'" in errors) == (2, True)
    status, output, errors = run(tree, "explain", "algo.constant")
    assert (status, errors) == (0, "")
    assert "what a return is compared with" in output
