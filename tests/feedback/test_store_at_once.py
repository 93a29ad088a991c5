"""Many annotators at once, and annotators that are killed: nothing confirmed is lost, nothing is there twice."""

import threading
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from rlnlp.feedback.records import SKIPPED, NewItem, Stale, Verdict
from rlnlp.feedback.store import Store
from support.collectors import at_once, judged, killed_until_done, start


def filled(path, number, overlap):
    with Store(path, seed=1, repeated=0) as store:
        store.add(NewItem(f"q{i}", (f"a{i}", f"b{i}"), overlap=overlap) for i in range(number))
    return path


def check_all_judged(path, items, people):
    with Store(path) as store:
        standing, everyone = store.standing(), store.annotators()
        assert len(everyone) == people
        assert Counter(j.item for _, j in standing) == dict.fromkeys(range(1, items + 1), people)
        assert len({(j.item, j.annotator) for _, j in standing}) == len(standing) == items * people
        assert store.wanted() == 0
        assert store.tables.read("SELECT count(*) FROM leases") == [(0,)]
        assert store.tables.read("PRAGMA integrity_check") == [("ok",)]


def test_threads_that_share_a_store_and_threads_that_do_not_judge_each_item_once(tmp_path):
    path = filled(tmp_path / "set.sqlite", 16, 1)
    confirmed, failures = [], []
    with Store(path, repeated=0) as shared, Store(path, repeated=0) as other:

        def work(store, name):
            try:
                me = store.annotator(name)
                while question := store.next(me):
                    confirmed.append(store.judge(me, question, question.prefers(0)).item)
            except BaseException as failure:
                failures.append(failure)

        threads = [
            threading.Thread(target=work, args=(s, f"t{i}")) for i, s in enumerate([shared, shared, other, other])
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert sorted(confirmed) == list(range(1, 17))
        assert len(shared.judgements()) == 16


def check_at_once(tmp_path, people, items):
    path = filled(tmp_path / "set.sqlite", items, people)
    at_once(path, people, tmp_path)
    check_all_judged(path, items, people)
    found, _ = judged(path)
    lines = [
        line.split() for file in tmp_path.iterdir() if file.name.isdigit() for line in file.read_text().splitlines()
    ]
    said = {int(i): (int(item), float(preferred)) for i, item, preferred in lines if i != "0"}
    assert {i: found[i] for i in said} == said
    assert len(found) == len(lines)


@pytest.mark.slow
def test_eight_annotators_judge_twenty_items_at_once(tmp_path):
    check_at_once(tmp_path, 8, 20)


@pytest.mark.nightly
def test_eight_annotators_judge_two_hundred_items_at_once_1600_judgements(tmp_path):
    check_at_once(tmp_path, 8, 200)


@pytest.mark.slow
def test_many_processes_make_a_set_at_the_same_moment(tmp_path):
    path = tmp_path / "new.sqlite"
    failures, ready = [], threading.Barrier(6)

    def make(i):
        ready.wait()
        try:
            with Store(path, seed=i) as store:
                store.add([NewItem("q", ("a", "b"), uid="only")])
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=make, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with Store(path) as store:
        assert len(store.items()) == 1
        assert len(store.tables.read("SELECT * FROM feedback_set")) == 1


def check_kills(tmp_path, kills, seed):
    items = 60 * kills  # more than are judged before the last kill
    path, log = filled(tmp_path / "set.sqlite", items, 1), tmp_path / "confirmed"
    at_work = killed_until_done(lambda i: start(path, "ann", log, seed + i), kills, 0.3, seed)
    found, number = judged(path)
    confirmed = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    for i, item, preferred in confirmed:
        assert i == "0" or found[int(i)] == (int(item), float(preferred)), "confirmed and lost, or changed"
    assert len(confirmed) <= number <= len(confirmed) + kills, "what was saved and not confirmed: at most the last one"
    at_once(path, 1, tmp_path)
    with Store(path) as store:
        assert {j.item for _, j in store.standing()} <= set(range(1, items + 1))
        assert len({j.item for _, j in store.standing()}) == len(store.standing())
        assert store.tables.read("PRAGMA integrity_check") == [("ok",)]
    return at_work


@pytest.mark.slow
def test_nothing_confirmed_is_lost_over_15_kills(tmp_path):
    assert check_kills(tmp_path, 15, 7) > 5


@pytest.mark.nightly
def test_nothing_confirmed_is_lost_over_500_kills(tmp_path):
    assert check_kills(tmp_path, 500, 8) > 200


class Windows(RuleBasedStateMachine):
    """One annotator with two windows, requests that are sent again, a program that is started again."""

    answers = st.sampled_from([0, 1, "tie", "skip"])

    @initialize(data=st.integers(0, 2**32))
    def begin(self, data):
        import tempfile
        from pathlib import Path

        self.folder = tempfile.TemporaryDirectory()
        self.path, self.number, self.sent = Path(self.folder.name) / "set.sqlite", 0, []
        self.store = Store(filled(self.path, 5, 1), repeated=0)
        self.me, self.windows = self.store.annotator("ann"), [None, None]
        self.history, self.model = [], {}  # every row, and what counts

    @rule(window=st.integers(0, 1))
    def look(self, window):
        self.windows[window] = self.store.next(self.me)
        open_ = [i for i in range(1, 6) if i not in self.model]
        assert (self.windows[window] is None) == (not open_)
        assert self.windows[window] is None or self.windows[window].item.id in open_

    @rule(window=st.integers(0, 1), answer=answers)
    def say(self, window, answer):
        question = self.windows[window]
        if question is None:
            return
        verdict = Verdict(SKIPPED) if answer == "skip" else Verdict("better", 0.5) if answer == "tie" else (
            question.prefers(answer))  # fmt: skip
        self.number += 1
        request = f"r{self.number}"
        known = sum(item == question.item.id for item, _ in self.history)
        try:
            self.store.judge(self.me, question, verdict, request=request)
        except Stale:
            assert known != question.revision
            return
        assert known == question.revision
        self.history.append((question.item.id, verdict))
        self.model.pop(question.item.id, None)
        self.model[question.item.id] = verdict
        self.sent.append((question, verdict, request))

    @rule(data=st.data())
    def send_again(self, data):
        if self.sent:
            question, verdict, request = data.draw(st.sampled_from(self.sent))
            assert self.store.judge(self.me, question, verdict, request=request).verdict == verdict

    @rule()
    def undo(self):
        undone = self.store.undo(self.me)
        last = next(reversed(self.model), None)
        assert (undone and undone.item.id) == last
        if last is not None:
            del self.model[last]
            self.history.append((last, Verdict("undone")))

    @rule()
    def start_again(self):
        self.store.close()
        self.store = Store(self.path, repeated=0)
        self.me = self.store.annotator("ann")

    def teardown(self):
        if hasattr(self, "store"):
            assert [(j.item, j.verdict) for j in self.store.judgements()] == self.history
            assert {j.item: j.verdict for _, j in self.store.standing()} == self.model
            self.store.close()
            self.folder.cleanup()


Windows.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
test_two_windows_and_requests_sent_again_are_as_one_list_that_is_only_added_to = pytest.mark.slow(Windows.TestCase)
