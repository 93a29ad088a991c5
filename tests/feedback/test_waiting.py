"""Waiting for judgements inside a run: who has judged what, how it ends, and what is told meanwhile."""

import io
import sys
from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace

import pytest

from rlnlp.commands.preflight import checked_config
from rlnlp.config.annotator import Annotator
from rlnlp.config.parse import parse
from rlnlp.errors import Exit, Failure, Paused, Stopped, exit_code
from rlnlp.feedback.chosen import annotators_of, check_annotators
from rlnlp.feedback.records import BETTER, FIRST, RATED, SKIPPED, NewItem, Verdict
from rlnlp.feedback.store import Store
from rlnlp.feedback.waiting import collect_in_run
from rlnlp.run.display import PlainDisplay
from rlnlp.run.ending import error_with_advice, status
from support import runs

RUN = "0123"


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "set.sqlite", repeated=0) as made:
        made.add([NewItem(f"q{i}", ("a", "b"), RUN, 0, 1, uid=f"1:{i}") for i in range(6)])
        made.add([NewItem("r", ("a",), RUN, 0, 1, uid="1:r"), NewItem("other", ("a", "b"), "another", uid="o")])
        yield made


class Scripted:
    """Someone who does the next of some things each time they look for something to do."""

    def __init__(self, *deeds, names=("ann",), draws=False):
        self.deeds, self.names, self.draws = list(deeds), names, draws

    def collect(self, store, enough):
        while self.deeds and not enough():
            self.deeds.pop(0)(store)


def judge(name="ann", kind=BETTER, run=RUN):
    """Judge or skip what is next of the run."""

    def deed(store):
        person = store.annotator(name)
        known = {j.item for _, j in store.standing() if j.annotator == person.id}
        item = next(i for i in store.items() if i.run == run and i.id not in known)
        verdict = Verdict(SKIPPED) if kind == SKIPPED else Verdict(BETTER, FIRST)
        store.judge(person, store.question(person, item.id), verdict if len(item.texts) == 2 else
                    Verdict(RATED, rating=7) if kind != SKIPPED else verdict)  # fmt: skip

    return deed


def goes_on(run, annotators, store, round_):
    """The run goes on; to pytest an interrupt would be the end of all tests."""
    try:
        collect_in_run(run, annotators, store, round_)
    except Paused as paused:
        raise AssertionError(f"paused: {paused}") from paused


@pytest.fixture
def run():
    out = io.StringIO()
    display = PlainDisplay(out)
    return SimpleNamespace(facts={"id": RUN}, display=display, log_message=display.log_message, out=out)


def test_it_ends_when_all_that_this_round_of_this_run_wants_is_judged(store, run):
    store.add([NewItem("q", ("c", "d"), RUN, 0, 2, uid="2:0")])
    late = Scripted(*[judge()] * 9)
    goes_on(run, late, store, 1)
    assert len(late.deeds) == 2, "of another round and of another run nothing is waited for"
    assert store.wanted(RUN, 1) == 0
    assert (store.wanted(RUN), store.wanted()) == (1, 2)
    store.add([NewItem("s", ("e",), RUN, 8, 1, uid="1:s")])
    with pytest.raises(Paused, match=r"^0 of 1 judged"):  # what is asked later in the round is counted apart
        collect_in_run(run, Scripted(), store, 1)
    for _ in range(2):
        judge()(store)
    asked = Scripted(lambda store: pytest.fail("nobody is asked when all is judged"))
    goes_on(run, asked, store, 1)


def test_judgements_of_others_count_at_once(store, run):
    goes_on(run, Scripted(*[judge("bob")] * 3, *[judge("ann")] * 7), store, 1)
    assert store.wanted(RUN, 1) == 0


def test_people_who_leave_pause_the_run_with_how_far_they_have_come(store, run):
    with pytest.raises(Paused, match=r"^2 of 7 judged$") as paused:
        collect_in_run(run, Scripted(judge(), judge()), store, 1)
    assert exit_code(paused.value) == Exit.INTERRUPT


def test_a_signal_ends_it_with_how_far_it_has_come(store, run):
    def stop(store):
        raise Stopped(15)

    with pytest.raises(Stopped) as stopped:
        collect_in_run(run, Scripted(judge(), stop), store, 1)
    assert (stopped.value.number, stopped.value.meanwhile) == (15, "1 of 7 judged")


def test_what_all_who_judge_have_skipped_is_not_waited_for(store, run):
    goes_on(run, Scripted(judge(kind=SKIPPED), *[judge()] * 6, judge), store, 1)
    assert "1 judgement of 7 skipped: going on without\n" in run.out.getvalue()
    assert store.wanted(RUN, 1) == 1
    two = Scripted(names=("ann", "bob"))
    with pytest.raises(Paused, match="6 of 7"):
        collect_in_run(run, two, store, 1)
    goes_on(run, Scripted(judge("bob"), names=("ann", "bob")), store, 1)


def test_what_is_shown_to_someone_is_waited_for(store, run):
    for _ in range(6):
        judge()(store)
    judge(kind=SKIPPED)(store)
    assert store.given_up(["ann"], RUN, 1)
    assert not store.given_up([], RUN, 1), "it is not known who might judge"
    bob = store.annotator("bob")
    assert store.next(bob).item.run == RUN
    assert not store.given_up(["ann"], RUN, 1)
    store.release(bob)
    assert store.given_up(["ann"], RUN, 1)


def test_a_round_in_which_all_was_skipped_has_nothing_to_learn_from(store, run):
    with pytest.raises(Failure, match="nothing to learn from\nu takes a skip back: rlnlp feedback") as failure:
        collect_in_run(run, Scripted(*[judge(kind=SKIPPED)] * 7), store, 1)
    assert failure.value.code == Exit.DATA
    judge("bob")(store)
    goes_on(run, Scripted(), store, 1)  # there is one to learn from, though this annotator has none


def test_ratings_may_all_be_skipped(store, run):
    store.add([NewItem("s", ("e",), RUN, 8, 3, uid="3:s")])
    person = store.annotator("ann")

    def skip(store):
        store.judge(person, store.question(person, store.items()[-1].id), Verdict(SKIPPED))

    goes_on(run, Scripted(skip), store, 3)
    assert "1 judgement of 1 skipped" in run.out.getvalue()


def test_how_far_it_is_is_told_of_what_does_not_draw_itself(store, run, monkeypatch):
    monkeypatch.setattr("rlnlp.run.display.LOOKED_AT", 0.0)
    goes_on(run, Scripted(*[judge()] * 7), store, 1)
    told = run.out.getvalue().split("\n")
    assert told[0] == "judged: 1 of 7"
    assert "judged: 6 of 7" in told


def test_who_draws_has_the_terminal_for_themselves(store, run):
    events = []

    @contextmanager
    def suspended():
        events.append("away")
        yield
        events.append("back")

    run.display.suspended = suspended
    goes_on(run, Scripted(*[judge()] * 6, lambda store: events.append("asked"), judge(), draws=True), store, 1)
    assert events == ["away", "asked", "back"]


def test_a_run_that_waits_for_people_is_interrupted_and_says_how_to_go_on(tmp_path):
    progress = SimpleNamespace(save_last_step=lambda: None, folder=tmp_path, done=4)
    shown = error_with_advice(Paused("17 of 50 judged"), tmp_path / "r", progress, {}, "")
    assert str(shown) == f"17 of 50 judged; to go on: rlnlp resume {tmp_path}/r"
    assert status(shown) == ("interrupted", Exit.INTERRUPT)
    waiting = error_with_advice(Paused("in a file", Exit.DATA), tmp_path / "r", progress, {}, "")
    assert status(waiting) == ("interrupted", Exit.DATA)
    stopped = error_with_advice(Stopped(15, "3 of 8 judged"), tmp_path / "r", progress, {}, "")
    assert "after step 4; no step is saved yet; 3 of 8 judged\n" in str(stopped)
    assert status(stopped) == ("interrupted", Exit.TERMINATED)


@cache
def composed():
    return runs.settings(["algo=rlhf"])


def settings(annotator, **more):
    return parse(Annotator, composed()["annotator"] | {"name": annotator} | more, "annotator.")


def test_annotators_who_cannot_be_asked_are_refused_before_anything_is_loaded(tmp_path, monkeypatch):
    def refused(code, pattern, *words, **more):
        with pytest.raises(Failure, match=pattern) as failure:
            check_annotators(settings(*words, **more))
        assert failure.value.code == code

    refused(
        Exit.CONFIG, r"needs a terminal to ask in\n.*annotator=web .*annotator=file annotator.path=FILE", "terminal"
    )
    refused(Exit.CONFIG, "annotator.path: no folder ", "file", path=str(tmp_path / "no" / "x.jsonl"))
    (tmp_path / "x.jsonl").write_text("{}\n")
    refused(Exit.DATA, "annotator.path", "file", path=str(tmp_path / "x.jsonl"))
    check_annotators(settings("file", path=str(tmp_path / "new.jsonl")))
    check_annotators(settings("web"))
    with pytest.raises(Failure, match="needs a terminal to ask in"):
        checked_config(composed() | {"annotator": composed()["annotator"] | {"name": "terminal"}})
    for name in [name for name in sys.modules if name.startswith("rlnlp.feedback.web")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    refused(Exit.CONFIG, r"annotator=web needs the package uvicorn\n.*pip install 'rlnlp\[web\]'", "web")


def test_the_settings_make_the_annotators(tmp_path, monkeypatch):
    from rlnlp.feedback.taste import Taste

    taste = Taste(lambda prompts, responses: None, (0.5, 0.5))
    config = settings("simulated", raters=3, spread=0.2, temperature=0.5, tie_coef=0.3, error_rate=0.2,
                      position_bias=0.4, tie_width=0.1)  # fmt: skip
    made = annotators_of(config, taste, 5, print)
    assert made.names == ["rater-1", "rater-2", "rater-3"]
    assert len({rater.taste.weights for rater in made.raters}) == 3
    assert {(rater.nu, rater.tie_width) for rater in made.raters} == {(0.3, 0.1)}
    config = settings("simulated", error_rate=0.2, position_bias=0.4, temperature=0.3)
    one = annotators_of(config, taste, 5, print).raters
    assert [(r.taste, r.temperature, r.position_bias, r.error_rate) for r in one] == [(taste, 0.3, 0.4, 0.2)]

    web = annotators_of(settings("web", names=["ann", "bob"], port=9, instructions="Be fair."), taste, 5, print)
    assert (web.names, web.port, web.instructions, web.draws) == (["ann", "bob"], 9, "Be fair.", False)
    file = annotators_of(settings("file", path=str(tmp_path / "said.jsonl")), taste, 5, print)
    assert (file.path, file.draws) == (tmp_path / "said.jsonl", False)
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    person = annotators_of(settings("terminal", names=["ann"], instructions="Be fair."), taste, 5, print)
    assert (person.name, person.instructions, person.draws, person.stays) == ("ann", "Be fair.", True, True)
    check_annotators(settings("terminal"))
