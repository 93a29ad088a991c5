"""``rlnlp feedback RUN``: comparisons drawn from the policy of a run, of whatever it was trained on."""

import json
from contextlib import contextmanager

import pytest

from rlnlp.cli.main import main
from rlnlp.commands.drawing import NUMBER, draw
from rlnlp.feedback.incoming import asked_sha256
from rlnlp.feedback.records import NewItem
from rlnlp.feedback.store import Store
from rlnlp.run.lock import owned
from support import runs, small

TEMPLATE = "{% for m in messages %}{{ m['content'] }} {% endfor %}"


@contextmanager
def set_of(path):
    with Store(path, repeated=0) as store:
        yield store


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Runs of two steps, and the data that they were trained on."""
    folder = tmp_path_factory.mktemp("runs")
    runs.words("ppo", folder)
    small.write_prompts(folder / "prompts.jsonl", 40)
    turns = [[{"role": "user", "content": f"the {a} is {b}"}, {"role": "assistant", "content": "good"}]
             for a in small.WORDS[2:5] for b in small.WORDS[9:13]]  # fmt: skip
    (folder / "talks.jsonl").write_text("".join(json.dumps({"messages": each}) + "\n" for each in turns))
    (folder / "template").write_text(TEMPLATE)
    return folder


def trained(place, algo, *more):
    directory = place / f"{algo}-{len(more)}"
    if not directory.exists():
        small_words = runs.words(algo, place, "algo.total_steps=1", "checkpoint.result=last", "heldout.every=0", *more)
        runs.run(runs.settings([w for w in small_words if "keep_models" not in w and "patience" not in w]), directory)
    return directory


@pytest.mark.slow
def test_two_different_responses_to_prompts_of_the_training_part_each_time_others(place, tmp_path):
    run = trained(place, "ppo", f"data.prompts={place / 'prompts.jsonl'}", "heldout.size=8")
    held = {row["prompt"] for row in map(json.loads, (run / "heldout.jsonl").read_text().splitlines())}
    every = {json.loads(line)["prompt"] for line in (place / "prompts.jsonl").read_text().splitlines()}
    with set_of(tmp_path / "a") as one, set_of(tmp_path / "b") as other:
        assert [draw(run, each, 5) for each in (one, other)] == [5, 5]
        assert [i.responses for i in one.items()] == [i.responses for i in other.items()], "of the seed"
        draw(run, one, 30, overlap=2)
        items = one.items()
        assert [i.overlap for i in items] == [1] * 5 + [2] * 30
        prompts = [item.prompt for item in items]
        assert not set(prompts) & held
        assert set(prompts) < every
        assert len(set(prompts)) == min(35, len(every - held)), "each before any a second time"
        assert all(a.strip() != b.strip() for a, b in (item.texts for item in items))
        assert len({(item.prompt, frozenset(item.texts)) for item in items}) == 35
        numbers = [item.more[NUMBER] for item in items]
        assert numbers == sorted(set(numbers))
        facts = json.loads((run / "run.json").read_text())
        assert {(item.run, item.step, item.round) for item in items} == {(facts["id"], 1, 0)}


@pytest.mark.slow
def test_of_texts_it_is_their_prompts_and_conversations_stay_messages(place, tmp_path):
    with set_of(tmp_path / "a") as store:
        draw(trained(place, "sft", "heldout.size=2"), store, 4)
        assert {item.prompt for item in store.items()} <= {None, "", "the"}, "what these texts begin with"
    talks = trained(place, "sft", f"data.texts={place / 'talks.jsonl'}", f"data.template={place / 'template'}",
                    "algo.optimizer=adamw")  # fmt: skip
    with set_of(tmp_path / "b") as store:
        draw(talks, store, 4)
        for item in store.items():
            assert [turn["role"] for turn in item.prompt] == ["user"]
            assert [answer["role"] for answer in item.responses] == ["assistant"] * 2


@pytest.mark.slow
def test_what_was_asked_is_not_drawn_again(place, tmp_path):
    run = trained(place, "ppo", f"data.prompts={place / 'prompts.jsonl'}", "heldout.size=8")
    with set_of(tmp_path / "a") as first, set_of(tmp_path / "b") as second:
        draw(run, first, 3)
        second.add([NewItem(i.prompt, i.responses[::-1], uid=f"x{i.id}") for i in first.items()])
        draw(run, second, 3)
        asked = [(i.prompt, frozenset(i.texts)) for i in second.items()]
        assert len(set(asked)) == 6


@pytest.fixture
def feedback(tmp_path, monkeypatch, capsys):
    """The command in this process, in a directory of its own: exit status, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rlnlp.commands.feedback.at_terminal", lambda: True)

    def call(*words):
        status = main(["feedback", *map(str, words)])
        return (status, *capsys.readouterr())

    return call


@pytest.fixture
def run(tmp_path):
    """A run directory without anything in it but what makes it one."""
    from rlnlp.config.parse import parse
    from rlnlp.config.schema import RUNS
    from rlnlp.run.manifest import config_text

    directory = tmp_path / "run"
    directory.mkdir()
    config = parse(RUNS["ppo"], runs.settings(["algo=ppo"]))
    (directory / "config.yaml").write_text(config_text(config))
    (directory / "run.json").write_text(json.dumps({"id": "1", "status": "done"}))
    return directory


def test_where_nothing_can_be_drawn_no_set_is_made(feedback, run):
    status, _, err = feedback("run")
    assert (status, err) == (6, "rlnlp feedback: run has no policy/ yet: the run has not finished\n")
    (run / "reward_model").mkdir()
    assert "holds a reward model and no policy" in feedback("run")[2]
    assert not (run / "feedback.sqlite").exists()
    assert feedback("run", "--audit")[0] == 3


def test_of_a_run_at_work_only_what_is_open_is_judged(feedback, run, monkeypatch):
    from rlnlp.feedback.terminal.collect import TerminalAnnotator

    (run / "policy").mkdir()
    with owned(run):
        status, _, err = feedback("run")
        assert status == 6
        assert "is at work and nothing of it is open: comparisons are drawn once it has ended" in err
        with set_of(run / "feedback.sqlite") as store:
            store.add([NewItem("q", ("a", "b"))])
        asked = []
        monkeypatch.setattr(TerminalAnnotator, "collect", lambda self, store, enough: asked.append(self.name))
        status, out, _ = feedback("run", "--annotator", "ann")
        assert (status, asked) == (0, ["ann"])
        assert out == "0 judgements in run/feedback.sqlite, 1 wanted; to go on: rlnlp feedback run\n"


@pytest.mark.parametrize(("words", "drawn"), [((), 20), (("--items", "3"), 3)])
def test_as_many_are_drawn_as_answers_are_asked_for(feedback, run, monkeypatch, words, drawn):
    from rlnlp.commands import drawing
    from rlnlp.feedback.terminal.collect import TerminalAnnotator

    (run / "policy").mkdir()
    calls = []

    def draw_some(directory, store, count, overlap):
        calls.append((str(directory), count, overlap))
        store.add([NewItem("q", ("a", f"b{i}"), overlap=overlap) for i in range(count)])
        return count

    def collect(self, store, enough):
        person = store.annotator(self.name)
        while not enough() and (question := store.next(person)):
            store.judge(person, question, question.prefers(0))

    monkeypatch.setattr(drawing, "draw", draw_some)
    monkeypatch.setattr(TerminalAnnotator, "collect", collect)
    status, out, _ = feedback("run", "--overlap", "2", "--repeat", "0", *words)
    assert (status, calls) == (0, [("run", drawn, 2)])
    assert out.startswith(f"{drawn} comparisons drawn from run, of prompts that it was trained on\n{drawn} judgements")
    feedback("run", "--overlap", "1", "--repeat", "0", *words)
    assert len(calls) == 2, "nothing is left for who judges"
    feedback("run", "--annotator", "bob", "--repeat", "0", "--items", "2")
    assert len(calls) == 2, "something is open for bob"


def test_the_set_of_a_run_is_where_its_settings_keep_it(tmp_path, monkeypatch):
    from rlnlp.commands.feedback import set_path
    from rlnlp.config.parse import parse
    from rlnlp.config.schema import RUNS
    from rlnlp.run.manifest import config_text

    directory = tmp_path / "run"
    directory.mkdir()
    (directory / "run.json").write_text("{}")
    for feedback, expected in (("null", directory / "feedback.sqlite"), ("/x/shared.sqlite", "/x/shared.sqlite")):
        config = parse(RUNS["rlhf"], runs.settings(["algo=rlhf", f"data.feedback={feedback}"]))
        (directory / "config.yaml").write_text(config_text(config))
        assert str(set_path(str(directory))) == str(expected)


def test_a_policy_of_one_answer_has_nothing_to_compare():
    from rlnlp.commands.drawing import _comparisons

    drawn = iter([(0, "q", ["a", "a ", "a"]), (1, "r", ["a", "b", "c"]), (2, "s", ["a", "b"])])
    found = list(_comparisons(drawn, NewItem(None, ("", ""), "run", 3), set(), 1))
    assert [(item.prompt, item.responses, item.more) for item in found] == [("r", ("a", "b"), {NUMBER: 1})]
    assert next(drawn)[0] == 2, "no more is drawn than is wanted"
    known = {asked_sha256("r", ("b", "a"))}
    found = list(
        _comparisons(iter([(1, "r", ["a", "b", "c"]), (2, "r", ["b", "a"])]), NewItem(None, ("", "")), known, 9)
    )
    assert [item.responses for item in found] == [("a", "c")], "nor is what was asked the other way round"
    assert list(_comparisons(iter([(0, "q", ["a", "a"])]), NewItem(None, ("", "")), set(), 1)) == []
