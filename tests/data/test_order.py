"""Which rows a step uses: whole permutations, from the seed and the step alone."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlnlp.data.order import choosing_and_reporting, rows_of_step, split
from support.small import ROOT


def stream_of(count, size, steps, seed):
    return [row for step in range(1, steps + 1) for row in rows_of_step(count, size, step, seed).tolist()]


@given(st.integers(1, 12), st.integers(1, 30), st.integers(0, 5))
def test_each_epoch_is_a_permutation_whatever_the_batch_size(count, size, seed):
    rows = stream_of(count, size, 12, seed)
    assert len(rows) == 12 * size
    for start in range(0, len(rows) - count + 1, count):
        assert sorted(rows[start : start + count]) == list(range(count))


@given(st.integers(2, 12), st.integers(1, 7), st.lists(st.integers(1, 60), min_size=1, max_size=8))
def test_a_step_is_the_same_whichever_steps_were_asked_for_before(count, size, asked):
    whole = stream_of(count, size, 60, 3)
    for step in asked:
        assert rows_of_step(count, size, step, 3).tolist() == whole[(step - 1) * size : step * size]


def test_the_batch_size_cuts_the_same_stream_into_other_pieces():
    assert stream_of(10, 4, 15, 0) == stream_of(10, 3, 20, 0) == stream_of(10, 60, 1, 0)


def test_epochs_and_seeds_have_orders_of_their_own():
    epochs = {tuple(rows_of_step(20, 20, epoch, seed).tolist()) for epoch in (1, 2, 3) for seed in (0, 1, 2)}
    assert len(epochs) == 9
    assert tuple(range(20)) not in epochs


def test_another_process_with_another_hash_seed_has_the_same_order():
    text = "from rlnlp.data.order import rows_of_step, split\nprint(rows_of_step(9, 5, 4, 7).tolist(), split(9, 3, 7))"
    env = {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "11"}
    found = subprocess.run([sys.executable, "-c", text], env=env, capture_output=True, text=True, check=True).stdout
    assert found == f"{rows_of_step(9, 5, 4, 7).tolist()} {split(9, 3, 7)}\n"


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 3))
def test_a_split_puts_every_row_on_one_side_in_rising_order(count, part, seed):
    rest, chosen = split(count, part, seed)
    assert sorted(rest + chosen) == list(range(count))
    assert (rest, chosen) == (sorted(rest), sorted(chosen))
    assert len(chosen) == min(part, count)


@pytest.mark.parametrize("part", [1, 5])
def test_a_split_is_a_matter_of_the_seed(part):
    assert split(40, part, 1) == split(40, part, 1)
    assert len({tuple(split(40, part, seed)[1]) for seed in range(10)}) > 5


@pytest.mark.parametrize("count", [64, 65, 200, 1000])
def test_from_enough_keys_on_other_data_report_than_choose(count):
    keys = [f"prompt {i % count}" for i in range(count + 30)]  # thirty of them twice
    choosing, reporting = choosing_and_reporting(keys, 64, seed=3)
    assert sorted(choosing + reporting) == list(range(len(keys)))
    assert not {keys[i] for i in choosing} & {keys[i] for i in reporting}, "what is equal stays together"
    assert len({keys[i] for i in choosing}) == min(count // 2, 128)
    assert (choosing, reporting) == choosing_and_reporting(keys, 64, seed=3)
    assert choosing != choosing_and_reporting(keys, 64, seed=4)[0]


def test_too_few_keys_choose_and_report():
    everything = list(range(63))
    assert choosing_and_reporting(everything, 64, seed=0) == (everything, everything)
    assert choosing_and_reporting(["a"] * 100, 64, seed=0) == (list(range(100)), list(range(100)))
    assert sorted(len(part) for part in choosing_and_reporting(["a", "b", "c"], 2, seed=0)) == [1, 2]
