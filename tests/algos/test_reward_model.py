"""The fit of a reward model: its loss by hand, whatever the micro-batches; the textbook case; its scale."""

import json
import math
from dataclasses import replace

import pytest
import torch

from rlnlp.algos import reward_model as algorithm
from rlnlp.algos.further_fits import Refit
from rlnlp.algos.opening import opening
from rlnlp.algos.reward_scores import OVERALL, RESPONSES, normalize, scores_of_model, scores_of_rows
from rlnlp.algos.reward_updates import accumulate, loss_of
from rlnlp.algos.setup import load_language
from rlnlp.cli.main import main
from rlnlp.commands.check.costs import Loading, costs
from rlnlp.commands.check.findings import Report
from rlnlp.commands.preflight import checked_config
from rlnlp.maths.preferences import all_pairs
from rlnlp.models import reward_memory
from rlnlp.models.text_tokens import text_batch
from rlnlp.run.run import Run
from support import runs, small

ROWS = [
    {"prompt": "the dog", "chosen": " is very nice !", "rejected": " was so bad .", "weight": 2},
    {"prompt": "the cat", "responses": [" is fun", " is old .", " is new !"], "ratings": [3, 1, 2]},
    {"prompt": "a room", "text1": " was cold .", "text2": " was warm !", "preference": 0.5},
    {"prompt": "the food", "responses": [" is good", " is bad", " is old", " is very old"], "ranking": [1, 2, 2, 3]},
    {"prompt": "the room", "chosen": " is warm", "rejected": " is cold", "margin": 0.5},
]


@pytest.fixture
def prepared(tmp_path):
    """What an algorithm has before its first step, with some settings, on some rows."""
    opened = []
    small.save_model(tmp_path / "model")

    def make(*words, rows=ROWS):
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        asked = [
            "algo=reward-model", f"model.path={tmp_path}/model", f"data.preferences={tmp_path}/rows.jsonl",
            "heldout.size=0", "algo.batch_size=5", "algo.micro_batch_size=99", "device=cpu", "algo.total_steps=4",
            "algo.learning_rate=1e-2", *words,
        ]  # fmt: skip
        config = checked_config(runs.settings(asked))
        run = Run(tmp_path / f"run{len(opened)}", config, "train")
        opened.append(run)
        run.__enter__()
        config, language = load_language(config, run)
        return algorithm.prepare(config, language, run)

    yield make
    for run in opened:
        run.__exit__(None, None, None)


def gradients(model):
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


def by_hand(scores, noise=0.0, centering=0.0):
    """The loss over ROWS from the scores of their answers in order, from the formulas."""

    def pair(chosen, rejected, target=1.0, margin=0.0):
        p = (1 - noise) / (1 + math.exp(-(chosen - rejected - (margin if target == 1 else 0)))) + noise / 2
        q = (1 - noise) / (1 + math.exp(chosen - rejected - (margin if target == 1 else 0))) + noise / 2
        return -target * math.log(p) - (1 - target) * math.log(q) + centering * (chosen + rejected) ** 2

    a, b, c, d, e, f, g, h, i, j, k, m, n = scores
    rows = [
        pair(a, b),
        (pair(c, e) + pair(c, d) + pair(e, d)) / 3,
        pair(f, g, 0.5),
        (pair(h, i) + pair(h, j) + pair(h, k) + pair(i, j, 0.5) + pair(i, k) + pair(j, k)) / 6,
        pair(m, n, margin=0.5),
    ]
    return (2 * rows[0] + sum(rows[1:])) / 6


@pytest.mark.parametrize(("noise", "centering"), [(0.0, 0.0), (0.1, 0.0), (0.0, 0.05), (0.2, 0.01)])
def test_the_loss_of_a_step_is_that_of_the_formulas_whatever_the_form_of_a_row(prepared, noise, centering):
    made = prepared(f"algo.label_noise={noise}", f"algo.centering_coef={centering}")
    fitting = made.around.fitting
    update = accumulate(fitting, 1)
    with torch.no_grad():
        scores = [float(s) for each in scores_of_rows(fitting.score, fitting.batch, fitting.table, range(5), 99)
                  for s in each[0]]  # fmt: skip
    assert update.figures["loss"] == pytest.approx(by_hand(scores, noise, centering), rel=1e-5)
    assert update.texts == len(scores) == 13


@pytest.mark.parametrize("words", [[], ["algo.head=mlp"], ["algo.ensemble_size=3", "algo.head=mlp"],
                                   ["algo.ensemble_size=2", "algo.ensemble=models"]])  # fmt: skip
def test_micro_batches_change_no_gradient_dropout_and_members_included(prepared, words):
    found = []
    for size in (99, 4, 1):
        made = prepared(*words, f"algo.micro_batch_size={size}")
        update = accumulate(made.around.fitting, 1)
        found.append((update, gradients(made.model)))
    for update, each in found[1:]:
        assert update.figures["loss"] == pytest.approx(found[0][0].figures["loss"], rel=1e-5)
        for one, other in zip(each, found[0][1], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("words", [[], ["algo.ensemble_size=2", "algo.ensemble=models"]])
def test_what_is_left_to_the_size_of_the_model_is_read_in_parts_and_changes_no_gradient(prepared, words, monkeypatch):
    whole = prepared(*words)
    loss = accumulate(whole.around.fitting, 1).figures["loss"]
    want = gradients(whole.model)
    trunks = len(whole.model.trunks)
    monkeypatch.setattr(reward_memory, "MEMORY", 50 * trunks * reward_memory.KEPT * 2 * 32)  # of two layers of width 32
    made = prepared(*words, "algo.micro_batch_size=null")
    fitting, read = made.around.fitting, []

    def score(batch, rngs):
        read.append((len(batch.texts), max(map(len, batch.texts))))
        return made.model(text_batch(batch.texts, made.model.pad, made.model.device), rngs)

    assert accumulate(replace(fitting, score=score), 1).figures["loss"] == pytest.approx(loss, rel=1e-5)
    for one, other in zip(gradients(made.model), want, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)
    assert len(read) > 1
    assert all(count * longest <= 50 for count, longest in read)
    assert "answers at once: at most 64, of 50 tokens in all" in made.around.rows.notes
    assert not any("at once" in note for note in whole.around.rows.notes)


class Clock:
    """Seconds that pass only where a test lets them."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr("time.monotonic", lambda: self.now)

    def slow(self, function, seconds):
        """``function``, and each call takes so long."""

        def called(*args):
            self.now += seconds
            return function(*args)

        return called


def test_a_trial_with_a_frozen_trunk_takes_a_step_with_features_and_the_others_are_counted_once(prepared, monkeypatch):
    rows = [{"prompt": f"the {word}", "chosen": " is good", "rejected": " is very bad"} for word in small.WORDS[2:8]]
    made = prepared("algo.frozen_trunk=true", "algo.batch_size=2", rows=rows)
    cache, clock = made.once, Clock(monkeypatch)
    assert cache is not None
    assert (cache.spent, cache.left()) == (0, 0)  # nothing is known yet
    monkeypatch.setattr(made.model, "features", clock.slow(made.model.features, 60.0))
    monkeypatch.setattr(made.model, "heads_on", clock.slow(made.model.heads_on, 0.5))
    assert made.trial(1) == 0.5
    assert cache.spent == 60
    assert cache.left() == pytest.approx(120)  # four of six rows, all as long as each other
    assert made.trial(1) == 0.5
    assert cache.spent == 60
    for step in (2, 3):
        made.trial(step)
    assert (cache.spent, cache.left()) == (180, 0)
    assert all(p.grad is None for p in made.model.parameters())
    assert prepared("algo.batch_size=2", rows=rows).once is None


def test_the_time_of_a_run_with_a_frozen_trunk_counts_its_features_once(prepared, monkeypatch, tmp_path):
    rows = [{"prompt": f"the {word}", "chosen": " is good", "rejected": " is very bad"} for word in small.WORDS[2:14]]
    words = ["algo.frozen_trunk=true", "algo.batch_size=2", "heldout.size=2", "heldout.every=0", "algo.total_steps=40"]
    made, told = prepared(*words, "algo.learning_curve=[]", "algo.shuffled_labels=false", rows=rows), {}
    clock, run = Clock(monkeypatch), made.around.refit.run
    monkeypatch.setattr(made.model, "features", clock.slow(made.model.features, 60.0))
    monkeypatch.setattr(run, "describe", told.update)
    fitting, table = made.around.fitting, made.around.table

    def measure():
        return clock.slow(scores_of_rows, 3.0)(fitting.score, fitting.batch, table, table.heldout, *fitting.at_once)

    opening(
        made.around.refit.config, run, made.model.device, made.around.rows, measure, made.parts, made.trial, made.once
    )
    assert (len(table.heldout), len(table.train)) == (1, 11)  # a minute; and two rows of a step one more
    assert told["time"] == (
        "about 6 minutes: 6 minutes once for the features of all texts, 40 steps of 0 s (from a trial),"
        " 1 measurement of 3 s"
    )  # three rows were two minutes, and nine are left
    report = Report()
    costs(made.around.refit.config, tmp_path, made, Loading(0.0, 0), 3.0, report)  # two more steps, the first one known
    assert report.takes["time"] == (
        "about 4 minutes: 4 minutes once for the features of all texts, 40 steps of 0 s (from 2 trials),"
        " 2 measurements of 3 s"
    )


def turned_round(table):
    """The same rows with the other answer preferred."""
    rows = []
    for each in table.rows:
        pairs = tuple(pair._replace(chosen=pair.rejected, rejected=pair.chosen) for pair in each.row.pairs)
        rows.append(each._replace(row=replace(each.row, pairs=pairs)))
    return replace(table, rows=rows)


def test_each_prompt_weighs_the_same_however_many_answers_it_has(prepared):
    made = prepared("algo.centering_coef=0", rows=[ROWS[1], ROWS[3]])
    batch = made.around.fitting.batch([0, 1])
    raw = torch.randn(1, 7, generator=torch.Generator().manual_seed(0))
    loss = loss_of(raw, batch, torch.ones(1, 2), made.around.fitting.algo, 2.0)
    scores, ratings, mask = torch.zeros(2, 4), torch.zeros(2, 4), torch.ones(2, 4, dtype=torch.bool)
    scores[0, :3], scores[1], mask[0, 3] = raw[0, :3], raw[0, 3:], False
    ratings[0, :3], ratings[1] = torch.tensor([3.0, 1, 2]), torch.tensor([-1.0, -2, -2, -3])
    torch.testing.assert_close(loss, all_pairs(scores, ratings, mask).mean())


def test_regression_fits_the_ratings_on_the_scale_of_the_training_answers(prepared):
    rows = [{"prompt": "the dog", "responses": [" is old"], "ratings": [7]}, ROWS[1]]
    made = prepared("algo.loss=regression", rows=rows)
    fitting = made.around.fitting
    batch = fitting.batch([0, 1])
    ratings = torch.tensor([7.0, 3, 1, 2])
    torch.testing.assert_close(batch.ratings, (ratings - ratings.mean()) / ratings.std(correction=0))
    raw = torch.tensor([[0.5, 0.0, 1.0, -1.0]])
    squares = (raw[0] - batch.ratings).square()
    loss = loss_of(raw, batch, torch.ones(1, 2), fitting.algo, 2.0)
    torch.testing.assert_close(loss, (squares[0] + squares[1:].mean()) / 2)


def test_the_members_of_an_ensemble_are_fitted_to_prompts_drawn_with_replacement(prepared):
    rows = [{"prompt": f"the {word}", "chosen": " is good", "rejected": " is bad"} for word in small.WORDS[2:10]]
    counts = prepared("algo.ensemble_size=4", rows=rows).around.fitting.counts
    assert counts.shape == (4, 8)
    assert counts.sum(1).tolist() == [8] * 4
    assert len({tuple(row) for row in counts.tolist()}) > 1
    assert bool((counts == 0).any())
    alone = prepared(rows=rows).around.fitting.counts
    assert alone.tolist() == [[1.0] * 8]


def test_a_member_learns_from_its_own_prompts_alone(prepared):
    made = prepared("algo.centering_coef=0", rows=[ROWS[0], ROWS[4]])
    batch, algo = made.around.fitting.batch([0, 1]), made.around.fitting.algo
    raw = torch.tensor([[0.5, -1.0, 2.0, 0.25], [1.0, 0.0, -0.5, 1.5]])
    counts = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    first, second = math.log1p(math.exp(-1.5)), math.log1p(math.exp(2.0 + 0.5))
    loss = loss_of(raw, batch, counts, algo, 3.0)
    assert float(loss) == pytest.approx((2 * 2 * first / 3 + 1 * second / 3) / 2, rel=1e-5)


def test_a_frozen_trunk_gives_the_same_scores_and_head_gradients_and_stays_as_it_is(prepared):
    frozen, free = prepared("algo.frozen_trunk=true"), prepared()
    before = [p.clone() for p in frozen.model.trunks.parameters()]
    one, other = (accumulate(made.around.fitting, 1) for made in (frozen, free))
    assert one.figures["loss"] == pytest.approx(other.figures["loss"], rel=1e-5)
    again = accumulate(frozen.around.fitting, 1)
    assert again.figures["loss"] == one.figures["loss"]
    for mine, theirs in zip(frozen.model.heads.parameters(), free.model.heads.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, 2 * theirs.grad, rtol=1e-4, atol=1e-6)
    assert all(p.grad is None for p in frozen.model.trunks.parameters())
    assert all(torch.equal(p, q) for p, q in zip(frozen.model.trunks.parameters(), before, strict=True))


@pytest.mark.parametrize("words", [[], ["algo.frozen_trunk=true"]])
def test_a_further_fit_begins_where_the_run_began_and_leaves_its_model_alone(prepared, words):
    made = prepared(*words)
    setup = made.around
    before = {name: tensor.clone() for name, tensor in made.model.state_dict().items()}
    refit: Refit = setup.refit
    first = refit(setup.table, [0, 1, 2], [3, 4])
    assert all(torch.equal(before[name], tensor) for name, tensor in made.model.state_dict().items())
    assert all(torch.equal(a, b) for a, b in zip(first, refit(setup.table, [0, 1, 2], [3, 4]), strict=True))
    start = refit.fresh().state_dict()
    assert all(torch.equal(before[name], tensor) for name, tensor in start.items())
    steps = replace(refit, config=replace(refit.config, algo=replace(refit.config.algo, total_steps=60)))
    table = setup.table
    learned, turned = (steps(each, [0], [0])[0][0] for each in (table, turned_round(table)))
    assert learned[0] > learned[1]
    assert turned[0] < turned[1]


def test_scores_have_mean_0_and_deviation_1_within_prompts_after_training_on_the_training_answers(tmp_path, capsys):
    rows = [{"prompt": f"the {a}", "chosen": f" is {b} good", "rejected": " is bad ."}
            for a in small.WORDS[2:8] for b in ("very", "so")]  # fmt: skip
    small.save_model(tmp_path / "model")
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = [
        "reward-model", f"model.path={tmp_path}/model", f"data.preferences={tmp_path}/rows.jsonl", "heldout.size=0",
        "algo.total_steps=5", "algo.learning_rate=1e-2", "algo.batch_size=4", "device=cpu", "algo.learning_curve=[]",
        "algo.shuffled_labels=false", f"hydra.run.dir={tmp_path}/run",
    ]  # fmt: skip
    with runs.without_pictures():
        assert main(words) == 0
    texts = [(row["prompt"], row[side]) for row in rows for side in ("chosen", "rejected")]
    capsys.readouterr()
    (tmp_path / "texts.jsonl").write_text(
        "".join(json.dumps({"prompt": prompt, "completion": answer}) + "\n" for prompt, answer in texts)
    )
    assert main(["rank", str(tmp_path / "run"), "--file", str(tmp_path / "texts.jsonl"), "--json"]) == 0
    ranked = json.loads(capsys.readouterr().out)
    scores = torch.tensor([each["score"] for each in ranked], dtype=torch.float64)
    assert float(scores.mean()) == pytest.approx(0, abs=1e-5)
    by_prompt = {}
    for each in ranked:
        by_prompt.setdefault(each["prompt"], []).append(each["score"])
    groups = [torch.tensor(each, dtype=torch.float64) for each in by_prompt.values()]
    spread = sum(float((each - each.mean()).square().sum()) for each in groups)
    assert spread / (len(scores) - len(groups)) == pytest.approx(1, rel=1e-4)


def test_scores_can_be_normalized_on_the_responses_of_a_model(prepared, tmp_path):
    made = prepared(f"algo.normalize_on={tmp_path}/model", "sampler.max_new_tokens=4")
    setup = made.around
    config, run = setup.refit.config, setup.refit.run

    def raw(rows):
        return scores_of_rows(setup.fitting.score, setup.fitting.batch, setup.table, rows, 99)

    normalize(config, run, setup.model, setup.reader, setup.table, raw)
    scores, prompts = scores_of_model(config, setup.model, setup.reader, setup.table)
    assert scores.shape == (1, len(prompts))
    assert len(prompts) >= RESPONSES
    assert set(prompts) == set(range(5))
    normalized = setup.model.combined(scores).double()
    assert float(normalized.mean()) == pytest.approx(0, abs=1e-4)
    groups = [normalized[[i for i, each in enumerate(prompts) if each == prompt]] for prompt in range(5)]
    within = sum(float((group - group.mean()).square().sum()) for group in groups) / (len(prompts) - 5)
    assert within == pytest.approx(1, rel=1e-3)


def test_one_response_a_prompt_is_normalized_over_all_prompts_and_that_is_told(prepared, capsys):
    rows = [
        {"prompt": f"the {word}", "responses": [" is good"], "ratings": [i]} for i, word in enumerate(small.WORDS[2:8])
    ]
    setup = prepared("algo.loss=regression", rows=rows).around

    def raw(rows):
        return scores_of_rows(setup.fitting.score, setup.fitting.batch, setup.table, rows, 99)

    normalize(setup.refit.config, setup.refit.run, setup.model, setup.reader, setup.table, raw)
    assert OVERALL in capsys.readouterr().err
    scores = setup.model.combined(torch.cat(raw(setup.table.train), dim=1)).double()
    assert (float(scores.mean()), float(scores.std())) == (pytest.approx(0, abs=1e-4), pytest.approx(1, rel=1e-4))


def test_the_textbook_case_four_pairs_and_five_epochs_lower_the_loss_and_rank_what_was_preferred_first(
    tmp_path, monkeypatch, capsys
):
    pairs = [
        ("This is great!", "This is terrible.", 0), ("I hate it.", "I love it.", 1),
        ("A wonderful film.", "A boring film.", 0), ("The worst hotel.", "The best hotel.", 1),
    ]  # fmt: skip
    rows = [{"text1": a, "text2": b, "preference": preference} for a, b, preference in pairs]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.chdir(tmp_path)
    words = ["train", "algo=reward-model", "data.preferences=pairs.jsonl", "algo.batch_size=4", "algo.total_steps=5",
             "device=cpu", "hydra.run.dir=rm"]  # fmt: skip
    with runs.without_pictures():
        assert main(words) == 0
    printed = capsys.readouterr()
    losses = [json.loads(line)["loss"] for line in (tmp_path / "rm" / "metrics.jsonl").read_text().splitlines()]
    assert len(losses) == 5
    assert losses[-1] < losses[0] / 2
    assert "measured on" in printed.err, "four pairs are too few to hold some out, and that is said"
    result = json.loads((tmp_path / "rm" / "run.json").read_text())["result"]
    assert (result["accuracy"], result["heldout"], result["separate"]) == (1.0, False, False)
    assert main(["rank", "rm", "This is terrible.", "This is great!"]) == 0
    ranked = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=1)[1] for line in ranked] == ["This is great!", "This is terrible."]
