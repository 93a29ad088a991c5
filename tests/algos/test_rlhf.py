"""Rounds: which judgements they learn from, how they end, and that what is done is never done again."""

import json
import shutil

import pytest
import torch

from rlnlp.algos.rounds import loop as loops
from rlnlp.algos.rounds import observe
from rlnlp.algos.rounds.asking import Asking
from rlnlp.algos.rounds.model import RoundModel
from rlnlp.feedback.records import BETTER, PERSON, SIMULATED, NewItem, Verdict
from rlnlp.feedback.store import Store
from rlnlp.run.checksums import name_of
from support import runs

FITS, STEPS = (1, 4), (2, 3, 5, 6)  # of the small run: the steps of the reward model, and of the policy


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("rounds")


@pytest.fixture(scope="module")
def whole(place):
    """A run of two rounds with a checkpoint of every step."""
    return runs.run(runs.settings(runs.words("rlhf", place)), place / "whole")


def trained(place, name, *words):
    return runs.run(runs.settings(runs.words("rlhf", place, *words)), place / name)


def rows(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def result(directory):
    return json.loads((directory / "run.json").read_text())["result"]


def test_each_line_says_its_round_and_stage_and_steps_count_on(whole):
    found = [(row["step"], row["round"], row["stage"]) for row in rows(whole)]
    assert [step for step, _, stage in found if stage == "reward-model"] == list(FITS)
    assert [step for step, _, stage in found if stage == "policy"] == list(STEPS)
    assert [number for _, number, _ in found] == [1, 1, 1, 2, 2, 2]
    history = result(whole)["history"]
    assert [each["round"] for each in history] == [0, 1, 2]
    assert [each["judgements"] for each in history] == [0, 5, 10]


def test_a_checkpoint_notes_the_judgements_that_it_learns_from_in_the_order_of_their_items(whole):
    state = json.loads((whole / "checkpoints" / name_of(5) / "state.json").read_text())["parts"]["rounds"]
    used = state["used"]
    assert len(used) == 10
    assert [each["item"] for each in used] == sorted(each["item"] for each in used)
    assert {*used[0]} == {"item", "annotator", "revision", "sha256", "preference"}


@pytest.mark.slow
def test_what_is_said_after_a_round_has_begun_counts_in_the_next_one_only(whole, place):
    """An answer turned round, and a new one, while the reward model of the last round is fitted, change nothing."""
    directory = runs.broken_off(whole, place / "later", 4)
    with Store(directory / "feedback.sqlite", create=False) as store:
        rater = next(one for one in store.annotators() if one.kind == SIMULATED)
        item = next(item for item in store.items() if len(item.responses) == 2)
        question = store.question(rater, item.id)
        for side in (0, 1):  # one of them is the opposite of what was said
            store.judge(rater, store.question(rater, item.id) or question, question.prefers(side))
        store.add([NewItem("the", (" film", " food"), uid="another")])
        person = store.annotator("anna", PERSON)
        asked = store.next(person)
        store.judge(person, asked, asked.prefers(0))
    runs.go_on(directory)
    assert runs.difference(runs.outcome(directory), runs.outcome(whole)) == []


@pytest.mark.slow
def test_a_run_of_one_round_that_is_given_another_ends_as_one_of_two(whole, place):
    directory = trained(place, "one", "algo.rounds=1")
    assert rows(directory) == rows(whole)[:3]
    runs.go_on(directory, "algo.rounds=2")
    assert rows(directory) == rows(whole)
    assert result(directory)["history"] == result(whole)["history"]


@pytest.mark.slow
def test_a_round_ends_at_the_kl_that_it_may_spend_and_a_resumed_run_does_not_go_on_with_it(place):
    directory = trained(place, "budget", "algo.kl_budget=0.001", "heldout.every=0")
    found = rows(directory)
    kl = {row["step"]: row["kl"] for row in found if row["stage"] == "policy"}
    assert all(kl[step] <= 0.001 for step in kl if step + 1 in kl), "the step after one over the budget is not taken"
    assert any(step in kl and step + 1 not in kl for step in (2, 5)), "no round ended early: this tests nothing"
    assert json.loads((directory / "run.json").read_text())["status"] == "done"
    ended = [each["round"] for each in result(directory)["history"] if each["ended_early"]]
    assert ended
    for step in kl:
        again = runs.broken_off(directory, place / f"budget-{step}", step)
        runs.go_on(again)
        assert runs.difference(runs.outcome(again), runs.outcome(directory)) == []


@pytest.mark.slow
def test_what_others_said_in_a_shared_set_is_learned_from_and_so_much_less_is_asked(place):
    path = place / "shared.sqlite"
    with Store(path) as store:
        store.add([NewItem("the film is", (f" very {w}", " bad"), uid=w) for w in ("good", "nice", "fine")])
        anna = store.annotator("anna", PERSON)
        while (question := store.next(anna)) is not None:
            store.judge(anna, question, Verdict(BETTER, 0.0))
    words = f"data.feedback={path}", "algo.rounds=1"
    directory = trained(place, "sharing", *words)
    first = result(directory)["history"][1]
    assert (first["asked"], first["judgements"]) == (2, 5)
    assert not (directory / "feedback.sqlite").exists()
    without = trained(place, "without anna", *words, "+annotator.weights={anna: 0}", "seed=1")
    assert result(without)["history"][1]["judgements"] == 2 + 3, "those of the first run, and three of its own"


def test_scores_are_normalized_on_the_first_policy_within_prompts(whole, place, monkeypatch):
    normalize, found = RoundModel.normalize, []

    def looked_at(self, asked, prompts):
        normalize(self, asked, prompts)
        scores = self.member_scores(asked)
        of_prompt = torch.stack([scores[:, torch.tensor(prompts) == p] for p in range(max(prompts) + 1)])
        found.append(
            (list(asked), scores.mean(1), (of_prompt - of_prompt.mean(-1, keepdim=True)).square().mean((0, 2)))
        )

    monkeypatch.setattr(RoundModel, "normalize", looked_at)
    directory = trained(place, "normal")
    assert rows(directory) == rows(whole)
    (asked, *first), (again, *second) = found
    assert asked == again, "each round has the same responses"
    for mean, variance in (first, second):
        assert torch.allclose(mean, torch.zeros(2), atol=1e-4)
        counted = variance * 2  # two responses to a prompt: their variance has one degree of freedom
        assert torch.allclose(counted, torch.ones(2), atol=1e-2)


def test_older_judgements_count_less_and_the_mean_stays_one(whole, place, monkeypatch):
    table, found = Asking.table, []

    def looked_at(self, used, round):
        made = table(self, used, round)
        found.append((round, [row.row.weight for row in made.rows]))
        return made

    monkeypatch.setattr(Asking, "table", looked_at)
    trained(place, "weighed")
    weights = next(each for number, each in found if number == 2 and len(each) == 10)
    assert sum(weights) == pytest.approx(10)
    assert {round(w / max(weights), 6) for w in weights} == {1.0, 0.5}, "algo.decay=0.5"


@pytest.mark.slow
def test_a_judgement_that_is_gone_is_told_and_nothing_is_trained_without_it(whole, place, capsys):
    directory = runs.broken_off(whole, place / "gone", 4)
    shutil.move(directory / "feedback.sqlite", directory / "elsewhere.sqlite")
    for name in ("feedback.sqlite-wal", "feedback.sqlite-shm"):
        (directory / name).unlink(missing_ok=True)
    from rlnlp.cli.main import main

    before = (directory / "metrics.jsonl").read_bytes()
    with runs.without_pictures():
        assert main(["resume", str(directory)]) == 3
    assert "restore the file" in capsys.readouterr().err
    assert (directory / "metrics.jsonl").read_bytes()[:50] == before[:50]
    assert loops.DRAWS == 4


@pytest.mark.slow
def test_a_gold_reward_that_cannot_read_the_responses_is_nowhere_and_the_reward_model_judges(place, monkeypatch):
    for module in (loops, observe):
        monkeypatch.setattr(module, "has_gold", lambda config: False)
    directory = trained(place, "without gold", "algo.rounds=1")
    first, last = result(directory)["history"]
    assert (first["gold"], last["gold"], last["reward_model"]["gold"], last["gold_terms"]) == (None, None, None, {})
    assert last["win_rate"]["against first"]["judge"] == result(directory)["judge"] == "reward model"
    assert result(directory)["over_optimization"]["gold"] is None
    assert not any("heldout/gold" in row for row in rows(directory))
    (row,) = [json.loads(line) for line in (directory / "heldout.jsonl").read_text().splitlines()]
    assert "gold" not in row["before"]
    assert "no independent evidence" in (directory / "summary.md").read_text()
