"""A bench that needs no peer measures what it says: it is run by hand, and would else break unseen."""

import pytest

from bench import growth


@pytest.mark.parametrize("share", ["auto", "never"])
def test_the_bench_of_growth_measures_a_step(share):
    found = growth.step(growth.Case(length=4, group=2, prompts=2), share)
    assert set(found) == {"sampling, s", "sampling, MB", "learning, s", "learning, MB"}
    assert min(found["sampling, s"], found["learning, s"]) > 0


def test_what_is_in_proportion_has_the_exponent_1():
    assert growth.exponent([1, 2, 4], [3, 6, 12]) == pytest.approx(1)
    assert growth.exponent([1, 2, 4], [3, 12, 48]) == pytest.approx(2)
