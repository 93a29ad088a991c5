import subprocess
import sys

import pytest

from mutation import mutants


def judgement(*options):
    """What the command says: a process of its own, for a fork server has what its first user asked it to import."""
    return subprocess.run(
        [sys.executable, "-m", "mutation.mutants", *options], cwd=mutants.ROOT / "tests", capture_output=True, text=True
    )


def test_every_mutant_changes_one_place_of_the_program():
    for mutant in mutants.MUTANTS:
        text = (mutants.ROOT / "rlnlp" / mutant.file).read_text()
        assert text.count(mutant.right) == 1, mutant.name
        assert mutant.right != mutant.wrong, mutant.name
    assert len({mutant.name for mutant in mutants.MUTANTS}) == len(mutants.MUTANTS) >= 25


@pytest.mark.slow
def test_no_mutant_of_every_16th_survives():
    done = judgement("--apart", "16")
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]


@pytest.mark.nightly
def test_no_mutant_survives():
    done = judgement()
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
