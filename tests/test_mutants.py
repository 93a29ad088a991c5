import pytest

import mutants


def test_every_mutant_changes_one_place_of_the_program():
    for mutant in mutants.MUTANTS:
        text = (mutants.ROOT / "rlnlp" / mutant.file).read_text()
        assert text.count(mutant.right) == 1, mutant.name
        assert mutant.right != mutant.wrong, mutant.name
    assert len({mutant.name for mutant in mutants.MUTANTS}) == len(mutants.MUTANTS) >= 25


@pytest.mark.slow
def test_no_mutant_of_every_fourth_survives():
    assert mutants.survivors(apart=4) == []


@pytest.mark.nightly
def test_no_mutant_survives():
    assert mutants.survivors() == []
