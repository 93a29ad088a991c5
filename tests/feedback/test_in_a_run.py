"""People in a training run, by the real command: it waits for them, goes on by itself, and may end at any moment."""

import http.client
import json
import signal
import time

import pytest

from rlnlp.feedback.records import BETTER, FIRST, Verdict
from rlnlp.feedback.store import Store
from support.forked import Started, rlnlp
from support.people_runs import PATIENCE, ROUND, Process, answer, facts, words
from support.terminal import Terminal

pytestmark = pytest.mark.slow


def judged(directory):
    with Store(directory / "feedback.sqlite", create=False) as store:
        names = {one.id: one.name for one in store.annotators()}
        return [(item.round, names[j.annotator]) for item, j in store.standing()]


def question(page, name):
    """The next question, as soon as the page is served and has one."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            value = page.ask(name, "/question", {})[2]
        except (OSError, http.client.HTTPException):
            value = {"question": None}
        if value["question"] is not None:
            return value
        time.sleep(0.1)
    raise AssertionError("nothing is asked")


def test_with_a_page_it_waits_goes_on_by_itself_and_survives_a_signal(tmp_path):
    run = tmp_path / "run"
    with Process(words(tmp_path, run, "web", "annotator.names=[ann,bob]"), tmp_path) as first:
        page = first.page("ann", "bob")
        value = question(page, "ann")
        for number in range(2):
            value = answer(page, "ann", value, number)
        answer(page, "bob", question(page, "bob"), 0)
        assert first.stop() == 143
        assert "stopped by SIGTERM" in first.text
        assert "; 3 of 6 judged\n  continue with: rlnlp resume" in first.text
    assert facts(run)["status"] == "interrupted"
    assert "token=" not in (run / "train.log").read_text()
    with Process(["resume", run], tmp_path) as second:
        page = second.page("ann", "bob")
        value = question(page, "ann")
        assert (value["answered"], value["left"]) == (2, 2), "one is kept for bob"
        with Store(run / "feedback.sqlite", create=False) as store:  # a second window
            eve = store.annotator("eve")
            store.judge(eve, store.next(eve), Verdict(BETTER, FIRST))
        answer(page, "ann", value, 10)
        for number in range(1 + ROUND):  # the same page, at the same place
            answer(page, "bob", question(page, "bob"), 100 + number)
        assert second.end() == 0, second.text
        assert second.text.count("http://") == 2
    assert sorted(judged(run)) == [(1, "ann")] * 3 + [(1, "bob")] * 2 + [(1, "eve")] + [(2, "bob")] * ROUND
    assert facts(run)["status"] == "done"


def test_at_a_terminal_the_table_makes_room_q_pauses_and_ctrl_c_stops_the_run(tmp_path):
    run = tmp_path / "run"
    asked = words(tmp_path, run, "terminal", "annotator.names=[ann]", "annotator.instructions=Be fair")
    with Terminal(asked, tmp_path, patience=PATIENCE, start=Started) as first:
        first.until("Be fair(.|\n)*0 answered, 6 left")
        first.answer("1", "1 answered, 5 left   saved: 1 is better")
        first.answer("=", "2 answered, 4 left   saved: a tie")
        first.press("q")
        assert first.end() == 130
        assert first.restored()
        assert "2 of 6 judged; to go on: rlnlp resume " in first.text
    assert (facts(run)["status"], len(judged(run))) == ("interrupted", 2)
    with Terminal(["resume", run], tmp_path, patience=PATIENCE) as second:
        second.until("2 answered, 4 left")
        for left in (3, 2, 1):
            second.answer("2", f"{left} left")
        with Store(run / "feedback.sqlite", create=False) as store:  # a second window judges what is on the screen here
            bob = store.annotator("bob")
            store.release(store.annotator("ann"))
            store.judge(bob, store.next(bob), Verdict(BETTER, FIRST))
        second.until("step .*4/8")  # the table is back while it trains
        second.until("5 answered, 6 left")
        second.answer("s", "6 answered, 5 left   skipped")
        second.press("\x03")
        assert second.end() == 130
        assert second.restored()
        assert "0 of 6 judged" in second.text
    with Terminal(["resume", run], tmp_path, patience=PATIENCE, start=Started) as third:
        for left in (5, 4, 3, 2, 1):
            third.until(f"{left} left")
            third.press("1")
        assert third.end() == 0
        assert "1 judgement of 6 skipped: going on without" in third.text
    assert facts(run)["status"] == "done"


def test_by_a_file_each_round_ends_with_what_is_to_be_judged_until_it_is(tmp_path):
    run, file = tmp_path / "run", tmp_path / "said.jsonl"
    more = [f"annotator.path={file}", "annotator.ratings_per_round=1", "algo.rounds=1"]
    status, _, err = rlnlp(*words(tmp_path, run, "file", *more), cwd=tmp_path)
    assert status == 3
    assert "1 response to be judged in " in err
    rows = []
    for told in ("6 pairs to be judged", "1 response to be judged", None):
        for line in file.with_name("said.open.jsonl").read_text().splitlines():
            row = json.loads(line)
            rows.append({**row, "ratings": [7]} if "ratings" in row else {**row, "preference": 1})
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        status, _, err = rlnlp("resume", run, cwd=tmp_path)
        if told is None:
            break
        assert (status, facts(run)["status"]) == (3, "interrupted"), err
        assert told in err
        assert "to go on: rlnlp resume " in err
    assert status == 0, err
    assert [each["satisfaction"]["mean"] for each in facts(run)["result"]["history"]] == [7.0] * 2


def test_ctrl_c_while_the_page_is_served_is_130(tmp_path):
    with Process(words(tmp_path, tmp_path / "run", "web", "algo.rounds=1"), tmp_path) as process:
        process.until("http://")
        assert process.stop(signal.SIGINT) == 130
        assert "0 of 6 judged" in process.text
