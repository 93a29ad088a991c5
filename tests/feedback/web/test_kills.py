"""The page's server is killed while someone judges: nothing confirmed is lost, nothing is saved twice."""

import pytest

pytest.importorskip("starlette")
from rlnlp.feedback.records import NewItem
from rlnlp.feedback.store import Store
from support.killed_page import judge_through_kills


def check(tmp_path, kills, seed):
    path, items = tmp_path / "set.sqlite", 30 * kills  # more than are judged before the last kill
    with Store(path, repeated=0) as store:
        store.add(NewItem(f"q{i}", ("a", "b")) for i in range(items))
    confirmed, killed = judge_through_kills(path, kills, seed)
    with Store(path) as store:
        found = store.judgements()
        assert [j.item for j in found] == list(range(1, items + 1))
        assert [j.request for j in found] == confirmed
        assert store.tables.read("PRAGMA integrity_check") == [("ok",)]
    return killed


@pytest.mark.slow
def test_nothing_confirmed_is_lost_over_15_kills(tmp_path):
    assert check(tmp_path, 15, 1) > 6


@pytest.mark.nightly
def test_nothing_confirmed_is_lost_over_250_kills(tmp_path):
    assert check(tmp_path, 250, 2) > 120
