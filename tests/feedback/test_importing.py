"""Judgements from files: of a feedback set, of pairs, of Label Studio and of Argilla; and back to files."""

import json

import pytest

from rlnlp.config.data import Reading
from rlnlp.data.judged import Pair
from rlnlp.data.preferences import read_judgements
from rlnlp.errors import Exit, Failure
from rlnlp.feedback.from_file import FileAnnotators
from rlnlp.feedback.importing import import_rows, read_rows, seed_in
from rlnlp.feedback.lossless import lossless_lines
from rlnlp.feedback.pairs import judged_rows, pair_lines, used
from rlnlp.feedback.records import BETTER, FIRST, RATED, SKIPPED, TIE, NewItem, Verdict
from rlnlp.feedback.store import Store
from support.data import READING

USER = {"role": "user", "content": "hi"}
GOOD, BAD = ({"role": "assistant", "content": text} for text in ("good", "bad"))


def task(result, data=None, **more):
    """A task of Label Studio with one annotation."""
    annotation = {
        "id": 11, "completed_by": {"id": 2, "email": "ann@example.org", "first_name": "", "last_name": ""},
        "result": result, "was_cancelled": False, "ground_truth": False, "created_at": "2026-03-01T10:00:00.0Z",
        "updated_at": "2026-03-01T10:00:00.0Z", "lead_time": 12.25, "prediction": {}, "result_count": 1, **more,
    }  # fmt: skip
    data = data or {"prompt": "the film?", "answer1": "bad", "answer2": "good"}
    return {"id": 1, "annotations": [annotation], "data": data, "meta": {}, "project": 3, "predictions": []}


def pairwise(side, to_name="answer1,answer2"):
    return [{"value": {"selected": side}, "id": "x1", "from_name": "pw", "to_name": to_name, "type": "pairwise",
             "origin": "manual"}]  # fmt: skip


def argilla(responses, **fields):
    fields = fields or {"prompt": "the film?", "response-1": "bad", "response-2": "good"}
    return {"id": "r1", "fields": fields, "metadata": {}, "suggestions": {}, "responses": responses, "vectors": {},
            "_server_id": "s1"}  # fmt: skip


def answer(value, user="u1"):
    return {"value": value, "user_id": user}


def imported(tmp_path, rows, name="x.json"):
    """The judgements that a file gives: what was preferred to what, who said so, seconds, what was shown first."""
    path = tmp_path / name
    path.write_text(json.dumps(rows) if name.endswith(".json") else "".join(json.dumps(row) + "\n" for row in rows))
    with Store(tmp_path / "set.sqlite", repeated=0) as store:
        report = import_rows(store, str(path), read_rows(str(path)))
        people = {one.id: one.name for one in store.annotators()}
        found = []
        for item, one in store.standing():
            said = one.verdict
            texts = item.texts if said.preference in (FIRST, None) else item.texts[::-1]
            if said.preference == TIE:
                texts = frozenset(texts)
            first = None if one.shown_first is None else item.texts[one.shown_first]
            found.append((item.prompt, texts, said.rating or said.kind, people[one.annotator], one.seconds, first))
        return found, report


BETTER_GOOD = ("the film?", ("good", "bad"), BETTER)
EXPORTS = {
    "left": ([task(pairwise("left"))],
             [("the film?", ("bad", "good"), BETTER, "ann@example.org", 12.25, "bad")]),
    "right": ([task(pairwise("right"))], [(*BETTER_GOOD, "ann@example.org", 12.25, "bad")]),
    "tags that are named as the fields, the other way round": (
        [task(pairwise("left", "answer2,answer1"))], [(*BETTER_GOOD, "ann@example.org", 12.25, "good")]),
    "tags with names of their own": (
        [task(pairwise("right", "txt-1,txt-2"))], [(*BETTER_GOOD, "ann@example.org", 12.25, "bad")]),
    "an annotator that is a number": (
        [task(pairwise("right"), completed_by=7)], [(*BETTER_GOOD, "7", 12.25, "bad")]),
    "fields of the pairwise template": (
        [task(pairwise("right", "a,b"), {"text1": "bad", "text2": "good"})],
        [(None, ("good", "bad"), BETTER, "ann@example.org", 12.25, "bad")]),
    "fields beside others": (
        [task(pairwise("left", "a,b"), {"prompt": "p", "source": "web", "response_a": "x", "response_b": "y"})],
        [("p", ("x", "y"), BETTER, "ann@example.org", 12.25, "x")]),
    "a task that was skipped": (
        [task([], was_cancelled=True)], [("the film?", ("bad", "good"), SKIPPED, "ann@example.org", 12.25, "bad")]),
    "no answer, then one": ([task([]), task(pairwise("right"))], [(*BETTER_GOOD, "ann@example.org", 12.25, "bad")]),
    "a tie by a choice": (
        [task([{"type": "choices", "from_name": "c", "to_name": "t", "value": {"choices": ["Tie"]}}])],
        [("the film?", frozenset(("good", "bad")), BETTER, "ann@example.org", 12.25, "bad")]),
    "the short export": (
        [{"prompt": "the film?", "answer1": "bad", "answer2": "good", "id": 1, "pw": [{"selected": "right"}],
          "annotator": 4, "annotation_id": 9, "created_at": "2026-03-01", "updated_at": "2026-03-01",
          "lead_time": 3.5}],
        [(*BETTER_GOOD, "4", 3.5, "bad")]),
    "messages": (
        [task(pairwise("right"), {"prompt": [USER], "answer1": "bad", "answer2": "good"})],
        [([USER], ("good", "bad"), BETTER, "ann@example.org", 12.25, "bad")]),
    "a ranking": ([argilla({"preference": [answer(["response-2", "response-1"])]})],
                  [(*BETTER_GOOD, "u1", None, None)]),
    "a ranking with ranks": (
        [argilla({"preference": [answer([{"value": "response-1", "rank": 2}, {"value": "response-2", "rank": 1}])]})],
        [(*BETTER_GOOD, "u1", None, None)]),
    "equal ranks": (
        [argilla({"preference": [answer([{"value": "response-1", "rank": 1}, {"value": "response-2", "rank": 1}])]})],
        [("the film?", frozenset(("good", "bad")), BETTER, "u1", None, None)]),
    "a label that names the best, of two users, beside a comment and labels": (
        [argilla({"best": [answer("Response 2"), answer("response-1", "u2")], "why": [answer("it is kinder: 2")],
                  "topics": [answer(["film", "food"])]})],
        [(*BETTER_GOOD, "u1", None, None), ("the film?", ("bad", "good"), BETTER, "u2", None, None)]),
    "a label with a number of its own": (
        [argilla({"best": [answer("Option 2")]})], [(*BETTER_GOOD, "u1", None, None)]),
    "a label of a tie": ([argilla({"best": [answer("tie")]})],
                         [("the film?", frozenset(("good", "bad")), BETTER, "u1", None, None)]),
    "a rating": ([argilla({"quality": [answer(8)]}, prompt="p", response="fine")],
                 [("p", ("fine",), 8, "u1", None, None)]),
    "what was discarded": (
        [argilla({"best": [{**answer("response-1"), "status": "discarded"}, answer("response-2", "u2")]})],
        [(*BETTER_GOOD, "u2", None, None)]),
    "three responses": (
        [argilla({"rank": [answer(["b", "a", "c"])]}, prompt="p", a="x", b="y", c="z")],
        [("p", ("y", "x"), BETTER, "u1", None, None), ("p", ("y", "z"), BETTER, "u1", None, None),
         ("p", ("x", "z"), BETTER, "u1", None, None)]),
    "chosen and rejected": (
        [{"prompt": "the film?", "chosen": "good", "rejected": "bad", "annotator": "bob"}],
        [(*BETTER_GOOD, "bob", None, None)]),
    "pairs without an annotator": ([{"chosen": "good", "rejected": "bad"}],
                                   [(None, ("good", "bad"), BETTER, "x", None, None)]),
    "texts with a preference": (
        [{"prompt": "the film?", "text1": "bad", "text2": "good", "preference": 1, "seconds": 2.5}],
        [(*BETTER_GOOD, "x", 2.5, "bad")]),
    "responses with ratings": (
        [{"prompt": "p", "responses": ["x", "y", "z"], "ratings": [1, 3, 3]}],
        [("p", ("y", "x"), BETTER, "x", None, None), ("p", ("z", "x"), BETTER, "x", None, None),
         ("p", frozenset("yz"), BETTER, "x", None, None)]),
}  # fmt: skip


@pytest.mark.parametrize("name", EXPORTS)
def test_what_a_file_says(tmp_path, name):
    rows, gives = EXPORTS[name]
    found, report = imported(tmp_path, rows)
    assert found == gives
    assert (report.judgements, report.left_out) == (len(gives), {})


def test_a_file_that_is_read_again_adds_nothing_and_what_is_new_is_added(tmp_path):
    first = [{"prompt": f"p{i}", "chosen": "a", "rejected": "b"} for i in range(5)]
    assert imported(tmp_path, first)[1].judgements == 5
    assert imported(tmp_path, first)[1].judgements == 0
    found, report = imported(tmp_path, [*first, {"prompt": "new", "chosen": "a", "rejected": "b"}])
    assert (report.items, report.judgements, len(found)) == (1, 1, 6)


def test_the_same_two_texts_are_one_item_for_all_annotators_and_nothing_is_lost(tmp_path):
    rows = [
        {"prompt": "p", "chosen": "a", "rejected": "b", "annotator": "ann"},
        {"prompt": "p", "chosen": "b", "rejected": "a", "annotator": "bob"},
        {"prompt": "p", "chosen": "b", "rejected": "a", "annotator": "ann"},
    ]
    found, report = imported(tmp_path, rows)
    assert (report.items, report.judgements, len(found)) == (2, 3, 3)
    with Store(tmp_path / "set.sqlite") as store:
        assert [(item.overlap, j.verdict.preference) for item, j in store.standing()] == [(2, 0), (2, 1), (1, 1)]
        assert store.wanted() == 0


def test_rows_that_say_nothing_are_left_out_and_counted_and_wrong_ones_refuse_the_file(tmp_path):
    same = {"prompt": "p", "chosen": "a", "rejected": "a"}
    found, report = imported(tmp_path, [{"prompt": "p", "chosen": "a", "rejected": "b"}, same, same])
    assert (len(found), report.left_out) == (1, {"the answers are identical": 2})
    assert report.lines("x.json")[1] == "2 records left out: the answers are identical"
    for rows, words in (
        ([{"prompt": "p", "chosen": "c", "rejected": "d"}, {"prompt": "p", "chosen": 3, "rejected": "b"}], "'chosen'"),
        ([task(pairwise("left"), {"prompt": "p", "x": "a", "y": "b", "z": "c"})], "which two texts"),
        ([task(pairwise("up"))], "left or right"),
        ([argilla({"best": [answer(["response-1", "other"])]})], "none of the fields"),
        ([argilla({"quality": [answer(11)]}, prompt="p", response="x")], "from 1 to 10"),
        ([same], "identical"),
        ([task([])], "nothing is judged"),
    ):
        with pytest.raises(Failure, match=words) as failure:
            imported(tmp_path, rows)
        assert failure.value.code == Exit.DATA
    with Store(tmp_path / "set.sqlite") as store:
        assert len(store.items()) == 1


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A set with everything: messages, ratings, repeats, skips, undone answers, two annotators."""
    path = tmp_path_factory.mktemp("whole") / "one.sqlite"
    with Store(path, 5, repeated=0.4) as store:
        store.add(
            NewItem(f"q{i}\x1b", (f"a{i}", f"b{i}"), "outputs/r", i, 1, 2, f"u{i}", {"k": [i]}) for i in range(30)
        )
        store.add([NewItem([USER], (GOOD, BAD)), NewItem(None, ("x",))])
        people = store.annotator("ann"), store.annotator("Bö")
        for i in range(50):
            for person in people:
                if question := store.next(person):
                    one = (Verdict(RATED, rating=7) if len(question.order) == 1 else Verdict(SKIPPED) if i % 9 == 8
                           else Verdict(BETTER, TIE) if i % 7 == 6 else question.prefers(i % 2))  # fmt: skip
                    store.judge(person, question, one, i / 2)
                    if i % 5 == 4:
                        store.undo(person)
        assert any(item.repeat_of for item in store.items())
        assert {j.verdict.kind for j in store.judgements()} == {BETTER, RATED, SKIPPED, "undone"}
    return path


def exported(path, target):
    with Store(path) as store:
        target.write_text("".join(f"{line}\n" for line in lossless_lines(store)))
    return target


def test_a_set_that_is_written_and_read_is_the_same_set_and_asks_the_same_next(tmp_path, whole):
    copy, file = tmp_path / "two.sqlite", exported(whole, tmp_path / "record.jsonl")
    rows = read_rows(str(file))
    for expected in (True, False):
        with Store(copy, seed_in(rows), repeated=0.4) as store:
            report = import_rows(store, str(file), rows)
            assert (report.judgements > 0) == expected
    assert exported(copy, tmp_path / "again.jsonl").read_text() == file.read_text()
    with Store(whole, repeated=0.4) as one, Store(copy, repeated=0.4) as two:
        assert one.standing() == two.standing()
        assert one.items() == two.items()
        ann = one.annotator("ann")
        assert one.next(ann) == two.next(two.annotator("ann"))


def test_a_set_is_added_to_another_one_whatever_its_ids(tmp_path, whole):
    file = exported(whole, tmp_path / "record.jsonl")
    with Store(tmp_path / "other.sqlite") as store:
        store.add([NewItem("own", ("a", "b"))])
        store.annotator("own")
        import_rows(store, str(file), read_rows(str(file)))
        with Store(whole) as one:
            assert [i.uid for i in store.items()][1:] == [i.uid for i in one.items()]
            uids = {i.id: i.uid for i in store.items()}
            by_uid = {i.uid: i for i in one.items()}
            for item in store.items()[1:]:
                original = by_uid[item.uid].repeat_of
                assert (item.repeat_of and uids[item.repeat_of]) == (original and one.items()[original - 1].uid)
            said = [(i.uid, j.verdict, j.revision) for i, j in store.standing()]
            assert said == [(i.uid, j.verdict, j.revision) for i, j in one.standing()]


@pytest.mark.parametrize(("change", "words"), [
    (lambda row: row.update(prompt="other") if "responses" in row else None, "sha256"),
    (lambda row: row.update(rating=99) if "judgement" in row else None, "rating"),
    (lambda row: row.update(item="nobody") if "judgement" in row else None, "there is no item"),
    (lambda row: row.update(rlnlp_feedback=9) if "seed" in row else None, "later version"),
    (lambda row: row.pop("revision", None), "revision"),
])  # fmt: skip
def test_an_edited_record_is_refused_with_its_line_and_nothing_is_added(tmp_path, whole, change, words):
    rows = lines_of(exported(whole, tmp_path / "r.jsonl"))
    for row in rows:
        change(row)
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with Store(tmp_path / "two.sqlite") as store:
        with pytest.raises(Failure, match=words) as failure:
            import_rows(store, "r.jsonl", read_rows(str(tmp_path / "r.jsonl")))
        assert failure.value.code == Exit.DATA
        assert (store.items(), store.judgements()) == ([], [])


def test_pairs_are_written_as_part_of_the_data_that_reward_models_read(tmp_path, whole):
    with Store(whole) as store:
        standing, names = store.standing(), {one.id: one.name for one in store.annotators()}
    (tmp_path / "pairs.jsonl").write_text("".join(f"{line}\n" for line in pair_lines(standing, names)))
    read = read_judgements("data.preferences", str(tmp_path / "pairs.jsonl"), Reading(**READING), {}, None)
    expected = judged_rows(standing, names, {}, "one")

    def said(rows):
        return [(row.prompt, row.annotator, [(row.texts[p.chosen], row.texts[p.rejected], p.target) for p in row.pairs])
                for row in rows]  # fmt: skip

    assert said(read.rows) == said(expected)
    counted = [(item, j) for item, j in standing if j.verdict.kind == BETTER and item.repeat_of is None]
    assert len(expected) == len(counted) > 40
    assert {row.pairs[0].target for row in expected} == {1.0, 0.5}
    for row, (item, j) in zip(read.rows, counted, strict=True):
        if j.verdict.preference != TIE:
            assert row.texts[row.pairs[0].chosen] == item.texts[int(j.verdict.preference)]
    assert Pair(1, 0) in {row.pairs[0] for row in expected}
    assert [one["revision"] for one in used(standing)] == [j.revision for _, j in counted]
    half = judged_rows(standing, names, {"ann": 0.0, "Bö": 0.5}, "one")
    assert {(row.annotator, row.weight) for row in half} == {("Bö", 0.5)}


def test_the_file_annotator_writes_what_is_open_and_reads_what_was_said_of_it(tmp_path):
    file = FileAnnotators(tmp_path / "said.jsonl")
    with Store(tmp_path / "set.sqlite", repeated=0) as store:
        store.add(
            [
                *(NewItem(f"q{i}", (f"good{i}", f"bad{i}"), uid=f"u{i}") for i in range(6)),
                NewItem([USER], (GOOD, BAD), uid="m"),
            ]
        )

        def enough():
            return store.wanted() == 0

        with pytest.raises(Failure, match=r"7 pairs to be judged in .*said.open.jsonl") as failure:
            file.collect(store, enough)
        assert failure.value.code == Exit.DATA
        rows = lines_of(tmp_path / "said.open.jsonl")
        assert {json.dumps(row["text1"]).count("good") for row in rows} == {0, 1}, "in the order of the seed"
        for row in rows[:-1]:
            words = json.dumps(row["text1"])
            row.update(preference=0 if "good" in words else 1, annotator="out\nside", seconds=3)
        rows[-1]["preference"] = None
        (tmp_path / "said.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        with (tmp_path / "said.jsonl").open("a") as more:
            more.write(json.dumps({"prompt": "q0", "chosen": "something", "rejected": "else"}) + "\n")
        with pytest.raises(Failure, match=r"1 pair to be judged in .*1 judgement of other texts left out"):
            file.collect(store, enough)
        assert [(j.verdict.preference, j.seconds) for _, j in store.standing()] == [(0.0, 3.0)] * 6
        texts = [row["text1"] for row in rows[:-1]]
        assert [item.texts[j.shown_first] for item, j in store.standing()] == texts
        rows[-1]["preference"] = 0.5
        (tmp_path / "said.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        file.collect(store, enough)
        assert enough()
        assert len(store.judgements()) == 7
        assert {one.name for one in store.annotators()} == {"out side", "said"}


def test_a_file_has_ratings_what_is_asked_several_times_and_empty_responses_too(tmp_path):
    file = FileAnnotators(tmp_path / "said.jsonl")
    with Store(tmp_path / "set.sqlite", repeated=0) as store:
        store.add([
            NewItem("q", ("good", ""), uid="1"), NewItem("q", ("", "good"), uid="2"),
            NewItem([USER], (GOOD,), uid="3"), NewItem("r", (" ",), uid="4"),
            NewItem("two", ("good", "bad"), uid="5", overlap=2),
        ])  # fmt: skip

        def collect():
            file.collect(store, lambda: store.wanted() == 0)

        with pytest.raises(Failure, match="2 pairs and 2 responses to be judged in ") as failure:
            collect()
        assert "for 'preference', put a number from 1 to 10 into 'ratings', save it as" in str(failure.value)
        rows = lines_of(file.open_path)
        assert len(rows) == 4
        for row in rows:
            if "ratings" in row:
                row["ratings"] = [4]
            else:
                row["preference"] = 0 if "good" in row["text1"] else 1
        (tmp_path / "said.jsonl").write_text("".join(json.dumps(row | {"annotator": "ann"}) + "\n" for row in rows))
        with pytest.raises(Failure, match="1 pair to be judged in "):
            collect()
        found = {(item.uid, j.verdict.preference, j.verdict.rating) for item, j in store.standing()}
        assert found == {("1", 0.0, None), ("2", 1.0, None), ("3", None, 4), ("4", None, 4), ("5", 0.0, None)}
        with (tmp_path / "said.jsonl").open("a") as more:
            more.write(json.dumps(rows[-1] | {"annotator": "bob"}) + "\n")
        collect()
        assert store.wanted() == 0
