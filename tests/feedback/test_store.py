"""A feedback set in one process: what is asked, what is kept, what is refused."""

import sqlite3
from collections import Counter
from itertools import count

import pytest

from rlnlp.errors import Exit, Failure
from rlnlp.feedback import schema
from rlnlp.feedback.records import BETTER, FIRST, RATED, SKIPPED, TIE, NewItem, Progress, Stale, Verdict
from rlnlp.feedback.store import LEASE, Store


class Clock:
    def __init__(self):
        self.seconds = 1e9

    def __call__(self):
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(tmp_path, clock):
    with Store(tmp_path / "set.sqlite", seed=3, repeated=0, clock=clock) as opened:
        yield opened


def pairs(number, **more):
    return [NewItem(f"q{i}", (f"good {i}", f"bad {i}"), **{"uid": f"p{i}", **more}) for i in range(number)]


def answer(store, annotator, number):
    """The ids of what is asked and answered with the side on the left."""
    asked = []
    for _ in range(number):
        question = store.next(annotator)
        if question is None:
            break
        store.judge(annotator, question, question.prefers(0))
        asked.append(question.item.id)
    return asked


def test_items_come_back_as_they_were_messages_as_messages(store):
    messages = [{"role": "user", "content": "hé😀\x1b[2J"}]
    reply = {"role": "assistant", "content": "ok", "name": "b"}
    more = {"category": "x", "scores": [1.5, None]}
    store.add([
        NewItem(messages, (reply, {**reply, "content": "no"}), "outputs/a", 7, 2, 3, "one", more),
        NewItem(None, ("a single one",)),
    ])  # fmt: skip
    compared, rated = store.items()
    assert (compared.prompt, compared.responses, compared.texts) == (messages, (reply, {**reply, "content": "no"}),
                                                                     ("ok", "no"))  # fmt: skip
    assert (compared.run, compared.step, compared.round, compared.overlap, compared.uid, compared.more) == (
        "outputs/a", 7, 2, 3, "one", more)  # fmt: skip
    assert (rated.prompt, rated.texts, rated.id) == (None, ("a single one",), 2)
    assert len(compared.sha256) == 64
    assert compared.sha256 != rated.sha256


def test_an_item_of_a_known_name_is_not_added_again_and_must_ask_the_same(store):
    first = store.add([*pairs(2), NewItem("q", ("a", "b"), uid="r/1")])
    assert store.add([NewItem("q", ("a", "b"), uid="r/1", step=9)]) == first[2:]
    assert len(store.items()) == 3
    with pytest.raises(Failure, match="other texts") as failure:
        store.add([NewItem("new", ("a", "b")), NewItem("q", ("a", "c"), uid="r/1")])
    assert failure.value.code == Exit.DATA
    assert len(store.items()) == 3, "all or none"


def test_a_verdict_is_of_the_response_wherever_it_was_shown(store):
    store.add(pairs(40))
    me = store.annotator("ann")
    sides = Counter()
    while question := store.next(me):
        saved = store.judge(me, question, question.prefers(question.shown.index(question.item.texts[0])), 1.5)
        assert saved.verdict == Verdict(BETTER, FIRST)
        assert (saved.shown_first, saved.seconds, saved.revision) == (question.order[0], 1.5, 1)
        assert question.shown[0] == question.item.texts[saved.shown_first]
        sides[saved.shown_first] += 1
    assert min(sides.values()) > 8, "both orders are shown"
    assert store.progress(me) == Progress(40, 0, 0)


def test_the_order_of_the_responses_is_of_the_seed_the_item_and_the_annotator(tmp_path):
    def orders(name, seed, annotator):
        with Store(tmp_path / name, seed) as opened:
            ids = opened.add(NewItem(f"q{i}", ("a", "b"), uid=f"r/{i}") for i in range(30))
            who = opened.annotator(annotator)
            return [opened.question(who, i).order for i in ids]

    one = orders("a", 1, "ann")
    assert one == orders("a", 1, "ann") == orders("b", 1, "ann")
    assert one != orders("c", 2, "ann")
    assert one != orders("a", 1, "bob")


def test_what_is_shown_is_kept_for_ten_minutes_and_asked_again_of_the_same(store, clock):
    store.add(pairs(2))
    ann, bob, eve = map(store.annotator, ("ann", "bob", "eve"))
    assert store.next(ann).item.id == store.next(ann).item.id == 1
    assert store.next(bob).item.id == 2
    assert store.next(eve) is None
    clock.seconds += LEASE - 1
    assert store.next(bob).item.id == 2, "renewed"
    assert store.next(eve) is None
    clock.seconds += 2
    assert store.next(eve).item.id == 1, "ann has gone"
    store.release(bob)
    assert store.next(ann).item.id == 2


def test_a_late_answer_is_kept_though_another_has_the_item(store, clock):
    store.add(pairs(1))
    ann, bob = map(store.annotator, ("ann", "bob"))
    late = store.next(ann)
    clock.seconds += LEASE + 1
    other = store.next(bob)
    store.judge(ann, late, late.prefers(0))
    store.judge(bob, other, other.prefers(1))
    assert [j.annotator for j in store.judgements()] == [ann.id, bob.id]


def test_as_many_annotators_judge_an_item_as_are_wanted_none_twice(store):
    store.add(pairs(6, overlap=2))
    people = [store.annotator(name) for name in "abc"]
    assert store.wanted() == 12
    for _ in range(10):
        for one in people:
            answer(store, one, 1)
    assert Counter(j.item for j in store.judgements()) == dict.fromkeys(range(1, 7), 2)
    assert len({(j.item, j.annotator) for j in store.judgements()}) == 12
    assert store.wanted() == 0
    assert store.wanted("another run") == 0


def test_what_one_skips_others_are_asked_and_it_is_not_asked_again(store):
    store.add(pairs(2))
    ann, bob = map(store.annotator, ("ann", "bob"))
    question = store.next(ann)
    store.judge(ann, question, Verdict(SKIPPED))
    assert answer(store, ann, 5) == [2]
    assert (store.progress(ann).judged, store.progress(ann).skipped, store.progress(ann).answered) == (1, 1, 2)
    assert store.wanted() == 1
    assert answer(store, bob, 5) == [1]


def test_undo_asks_the_last_answers_again_and_keeps_what_was_said(store):
    store.add(pairs(4))
    me = store.annotator("ann")
    answer(store, me, 3)
    on_screen = store.next(me)
    assert store.undo(me).item.id == 3
    assert store.undo(me).item.id == 2
    again = store.next(me)
    assert (again.item.id, again.revision) == (2, 2)
    saved = store.judge(me, again, Verdict(BETTER, TIE))
    assert (saved.revision, len(store.judgements())) == (3, 6)
    assert answer(store, me, 9) == [3, on_screen.item.id]
    assert [(i.id, j.revision) for i, j in store.standing()] == [(1, 1), (2, 3), (3, 3), (4, 1)]
    assert [j.verdict.preference for _, j in store.standing()][1] == TIE


def test_undoing_what_is_undone_is_nothing(store):
    store.add(pairs(1))
    me, other = store.annotator("ann"), store.annotator("bob")
    assert store.undo(me) is None
    answer(store, me, 1)
    assert store.undo(other) is None
    assert store.undo(me, "u1").revision == 2
    assert store.undo(me, "u1").revision == 2, "the same request"
    assert store.undo(me) is None
    assert store.standing() == []


def test_the_same_request_is_saved_once_and_another_on_an_old_question_is_refused(store):
    store.add(pairs(2))
    me = store.annotator("ann")
    question, other = store.question(me, 1), store.question(me, 2)
    saved = store.judge(me, question, question.prefers(0), request="r1")
    assert store.judge(me, question, question.prefers(1), request="r1") == saved
    with pytest.raises(Stale):
        store.judge(me, question, question.prefers(1), request="r2")
    with pytest.raises(ValueError, match="another judgement"):
        store.judge(me, other, question.prefers(1), request="r1")
    assert store.judgements() == [saved]


def test_ratings_are_of_one_response_and_comparisons_of_two(store):
    store.add([NewItem("q", ("a",)), *pairs(1)])
    me = store.annotator("ann")
    one, two = store.question(me, 1), store.question(me, 2)
    assert store.judge(me, one, Verdict(RATED, rating=10, confidence=0.5)).verdict.rating == 10
    for question, verdict in ((one, Verdict(BETTER, FIRST)), (two, Verdict(RATED, rating=3)), (two, Verdict("undone"))):
        with pytest.raises(ValueError, match="no verdict"):
            store.judge(me, question, verdict)
    assert len(store.judgements()) == 1


@pytest.mark.parametrize("wrong", [
    ("better",), ("better", 0.3), ("better", 0.0, 4), ("rated",), ("rated", None, 11), ("rated", None, 0),
    ("rated", None, True), ("skipped", 0.0), ("best", None), ("better", 1.0, None, 1.5),
])  # fmt: skip
def test_a_verdict_that_says_nothing_or_too_much_is_refused(wrong):
    with pytest.raises(ValueError):
        Verdict(*wrong)


def test_about_the_wanted_fraction_is_asked_again_swapped_and_at_least_ten_items_later(tmp_path):
    with Store(tmp_path / "set.sqlite", 5, repeated=0.3) as store:
        store.add(NewItem(f"q{i}", ("a", "b"), uid=f"u{i}") for i in range(56))
        me, other = store.annotator("ann"), store.annotator("bob")
        sequence = answer(store, me, 1000)
        items = {item.id: item for item in store.items()}
        repeats = [i for i in sequence if items[i].repeat_of]
        assert 6 <= len(repeats) <= 25
        first = {j.item: j.shown_first for j in store.judgements()}
        distances = []
        for i in repeats:
            original = items[i].repeat_of
            before = [one for one in sequence[: sequence.index(i)] if not items[one].repeat_of]
            distances.append(len(before) - before.index(original))
            assert items[i].responses == items[original].responses
            assert first[i] == 1 - first[original]
            assert items[i].annotator == me.id
        assert min(distances) >= 10
        assert len(set(distances)) > 2
        assert len({items[i].repeat_of for i in repeats}) == len(repeats)
        assert store.wanted() == 0, "a repeat is nobody else's"
        assert store.next(other) is None


def test_everything_is_there_after_the_file_is_opened_again(tmp_path):
    path = tmp_path / "set.sqlite"
    with Store(path, 4, repeated=0.2) as store:
        store.add(pairs(40))
        me = store.annotator("ann")
        answer(store, me, 20)
        shown, kept = store.next(me), (store.items(), store.judgements(), store.standing(), store.progress(me))
    with Store(path, 99) as store:
        assert store.seed == 4
        again = store.annotator("ann")
        assert (store.items(), store.judgements(), store.standing(), store.progress(again)) == kept
        assert store.next(again) == shown
        assert not path.with_name("set.sqlite.jsonl").exists()
    assert [f.name for f in tmp_path.iterdir()] == ["set.sqlite"], "one file"


def test_every_commit_waits_for_the_disk(store):
    assert store.tables.read("PRAGMA journal_mode")[0] == ("wal",)
    assert store.tables.read("PRAGMA synchronous")[0] == (2,), "FULL"
    assert store.tables.read("PRAGMA foreign_keys")[0] == (1,)


def test_what_is_no_feedback_set_is_refused_and_left_alone(tmp_path):
    text, database, folder = tmp_path / "a.txt", tmp_path / "b.sqlite", tmp_path / "c"
    text.write_text("hello " * 200)
    folder.mkdir()
    with sqlite3.connect(database) as other:
        other.execute("CREATE TABLE items (id)")
    other.close()
    before = database.read_bytes()
    for path in (text, database):
        with pytest.raises(Failure, match="no feedback set") as failure:
            Store(path)
        assert failure.value.code == Exit.DATA
    assert (database.read_bytes(), text.read_text()) == (before, "hello " * 200)
    for path, create, code in ((tmp_path / "none", False, Exit.DATA), (folder, False, Exit.DATA),
                               (folder, True, Exit.STORAGE), (tmp_path / "no" / "x", True, Exit.STORAGE)):  # fmt: skip
        with pytest.raises(Failure) as failure:
            Store(path, create=create)
        assert failure.value.code == code
    assert not (tmp_path / "none").exists()


def test_a_set_of_an_earlier_version_is_brought_to_this_one_and_of_a_later_one_refused(tmp_path, monkeypatch):
    path = tmp_path / "set.sqlite"
    with Store(path, 4) as store:
        store.add(pairs(3))
        answer(store, store.annotator("ann"), 2)
        before = store.items(), store.judgements()
    later = (*schema.MIGRATIONS, ("ALTER TABLE judgements ADD COLUMN note TEXT NOT NULL DEFAULT ''",))
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", later)
        for _ in range(2):
            with Store(path) as store:
                assert (store.items(), store.judgements()) == before
                assert store.tables.read("SELECT DISTINCT note FROM judgements") == [("",)]
    with pytest.raises(Failure, match="later version") as failure:
        Store(path)
    assert failure.value.code == Exit.DATA


def test_a_migration_that_fails_changes_nothing(tmp_path, monkeypatch):
    path = tmp_path / "set.sqlite"
    Store(path).close()
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, ("CREATE TABLE more (id)", "no such statement")))
        with pytest.raises(Failure):
            Store(path)
    with Store(path) as store:
        assert store.tables.read("SELECT count(*) FROM sqlite_master WHERE name = 'more'") == [(0,)]


def test_a_full_disk_is_told_and_confirms_nothing(store, tmp_path):
    store.add(pairs(2))
    me = store.annotator("ann")
    question = store.next(me)
    pages = store.tables.read("PRAGMA page_count")[0][0]
    store.tables.read(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(Failure, match="full") as failure:
        store.add(NewItem("x" * 5000, (str(number), "b")) for number in count())
    assert failure.value.code == Exit.STORAGE
    store.tables.read("PRAGMA max_page_count = 100000")
    assert store.judge(me, question, question.prefers(0)).revision == 1
    assert len(store.judgements()) == 1


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 81, "\x1b[2J"])
def test_a_name_that_cannot_be_shown_is_refused(store, name):
    with pytest.raises(Failure) as failure:
        store.annotator(name)
    assert failure.value.code == Exit.CONFIG


def test_an_item_has_one_or_two_responses_and_someone_to_judge_it():
    for wrong in (
        lambda: NewItem("q", ()),
        lambda: NewItem("q", ("a", "b", "c")),
        lambda: NewItem("q", ("a",), overlap=0),
    ):
        with pytest.raises(ValueError):
            wrong()
