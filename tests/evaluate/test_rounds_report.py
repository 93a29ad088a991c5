"""The report at the end of an RLHF run says what its records say, in words, and warns where that is due."""

import json
import math
import sys
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rlnlp.commands import evaluate, train
from rlnlp.config.parse import parse
from rlnlp.config.schema import RlhfRun
from rlnlp.evaluate.advice import settings_of
from rlnlp.evaluate.outcome import outcome
from rlnlp.evaluate.page.content import content
from rlnlp.evaluate.page.parts import Figure
from rlnlp.evaluate.rounds import finish as at_the_end
from rlnlp.evaluate.rounds.findings import round_findings
from rlnlp.evaluate.rounds.finish import ends, report_of, rounds_result
from rlnlp.evaluate.rounds.over_optimization import over_optimization, over_optimization_words
from rlnlp.evaluate.rounds.page import rounds_section, stored_history
from rlnlp.evaluate.rounds.sentences import sentences
from rlnlp.evaluate.rounds.tables import before_after, rounds_table
from rlnlp.evaluate.summary import Listing, listing_lines, listing_table, markdown, report_lines
from rlnlp.run.display import PlainDisplay
from support import evaluation, runs
from support import rounds as records

NASTY = "<b>x</b> \x1b[2J `y`"


@pytest.fixture(scope="module")
def config():
    return parse(RlhfRun, runs.settings(["algo=rlhf"]))


def found(history, config):
    return dict(round_findings(history, settings_of(config)))


def changed(number=2, **changes):
    """Two rounds, of which one is changed."""
    rounds = [records.first_policy(), *map(records.round_record, (1, 2))]
    rounds[number] = rounds[number] | changes
    return records.history(2, rounds=rounds)


def won(value, half=0.03):
    return {"against first": records.compared(0.8), "against last": records.compared(value, half)}


def test_the_sentences_say_who_is_preferred_at_what_cost_and_what_the_reward_model_knew():
    history = records.history(3)
    assert list(sentences(history.rounds, history.over)) == [
        "the final policy is preferred to the first in 82.0 % [79.0 %, 85.0 %] of 300 decided pairs, judged by the gold"
        " reward; with ties as halves in 66.0 % [63.0 %, 69.0 %] of all 600 (50.0 % [46.0 %, 54.0 %] are decided)",
        "it is preferred to the policy of round 2 in 56.0 % [53.0 %, 59.0 %]",
        "what it cost: a KL of 6.00 [5.70, 6.30] nats per response from the first policy and responses of 13.5 tokens"
        " where they had 12.0",
        "satisfaction, 1 to 10: 5.1 [4.6, 5.6] before, 6.6 [6.2, 7.0] after (30 ratings)",
        "the reward model is right on 93.0 % [90.0 %, 96.0 %] of 400 held-out pairs by the gold reward and 87.0 % of"
        " the judgements that it was fitted to",
        "the one before it was right on 75.0 % [68.0 %, 81.0 %] of the 170 judgements of round 3, not yet learned from",
        "over-optimization in round 1: no turn-over seen: the 95 % interval of beta, -0.01 to 0.07, is not above 0",
    ]
    ended = changed(ended_early=True)
    assert list(sentences(ended.rounds, ended.over))[-1] == (
        "round 2 ended early, after step 160: its KL passed algo.kl_budget"
    )


def test_without_gold_and_ratings_the_sentences_leave_them_out():
    history = records.by_people()
    said = list(sentences(history.rounds, history.over))
    assert "judged by the reward model;" in said[0]
    assert not any("gold reward" in each or "satisfaction" in each for each in said)
    undecided = changed(win_rate={"against first": records.compared(0.8) | {"decided": None}})
    assert next(sentences(undecided.rounds, undecided.over)) == (
        "the gold reward decides no pair of the first and the final policy"
    )


def test_the_tables_have_the_figures_of_the_first_and_the_final_policy_and_of_each_round():
    rounds = records.history(2).rounds
    assert before_after(rounds) == [
        ("preferred, % of the decided pairs", "50.0", "78.0", "+28.0 [+25.0, +31.0]"),
        ("reward by the model", "0.100", "2.000", "+1.900 [+1.800, +2.000]"),
        ("gold reward", "0.400", "0.500", "+0.100 [+0.090, +0.110]"),
        ("response length, tokens", "12.0", "13.0", "+1.0 [+0.7, +1.3]"),
        ("satisfaction, 1 to 10", "5.1", "6.1", "+1.0"),
        ("KL", "0.00", "4.00", "nats per response from the first policy"),
    ]
    assert listing_lines(rounds_table(rounds))[1:] == [
        "round  judged     vs first    vs before  model, %  reward   gold    KL  tokens  rating",
        "first       –            –            –         –       –  0.400  0.00    12.0     5.1",
        "    1     200  74 [71, 77]            –        91    1.60  0.450  2.00    12.5     5.6",
        "    2     400  78 [75, 81]  56 [53, 59]        92    2.00  0.500  4.00    13.0     6.1",
    ]
    people = rounds_table(records.by_people().rounds)
    assert people.head == ["round", "judged", "vs first", "vs before", "model, %", "reward", "KL", "tokens"]
    assert people.rows[2][4] == "75", "of new judgements, where there is no gold"
    without = [rounds[0], *({k: v for k, v in each.items() if k != "gains"} for each in rounds[1:])]
    assert before_after(without)[1:3] == [
        ("reward by the model", "–", "2.000", ""), ("gold reward", "0.400", "0.500", "+0.100"),
    ]  # fmt: skip
    found = {"texts": 9, "first": 8.0, "now": 9.0, "ratio": [1.125, 1.1, 1.15], "heldout": True}
    texts = [rounds[0], records.round_record(1, perplexity=found)]
    assert before_after(texts)[-2] == ("perplexity of held-out texts", "8.00", "9.00", "times 1.125 [1.100, 1.150]")
    one = [rounds[0], records.round_record(1, perplexity=found | {"ratio": None, "heldout": False})]
    assert before_after(one)[-2] == ("perplexity of texts", "8.00", "9.00", "times 1.125")
    sure = records.round_record(1, win_rate={"against first": records.compared(0.999, 0.001)})
    assert rounds_table([sure]).rows[0][2] == "99.9 [99.8, 100]", "not all"


@pytest.mark.parametrize(
    ("history", "names"),
    [
        (records.history(3), set()),
        (records.history(1), set()),
        (records.by_people(), {"judge"}),
        (changed(win_rate=won(0.4)), {"lost-2"}),
        (changed(win_rate=won(0.46, 0.05)), set()),
        (changed(1, win_rate={"against first": records.compared(0.4), "against last": None}), {"lost-1"}),
        (changed(gold=records.around(0.38, 0.01)), {"gold-fell-2"}),
        (changed(gold=records.around(0.43, 0.01)), set()),
        (changed(gold=records.around(0.38, 0.01), gains={"reward": records.around(-0.1, 0.1)}), set()),
        (changed(response_tokens=records.around(18.1, 1)), {"longer"}),
        (changed(response_tokens=records.around(18.0, 1)), set()),
        (changed(satisfaction={"n": 30, "mean": 4, "interval": [3.5, 4.5]}), {"satisfaction"}),
        (changed(satisfaction={"n": 30, "mean": 4, "interval": [3.5, 4.7]}), set()),
        (records.history(1, over=records.over(peak=records.PEAK | {"step": 60}, reason="")), {"over-optimized"}),
        (records.history(1, over=records.over(peak=records.PEAK | {"step": 74}, reason="")), set()),
    ],
)
def test_a_warning_stands_where_it_is_due_and_nowhere_else(history, names, config):
    assert set(found(history, config)) == names


def test_the_warnings_say_what_happened_and_what_to_try(config):
    lost = found(changed(win_rate=won(0.4)), config)["lost-2"]
    assert lost.startswith("round 2 lost: its policy is preferred to that of round 1 in 40.0 % [37.0 %, 43.0 %] of the")
    assert "raise algo.policy.kl_coef (now " in lost
    fell = found(changed(gold=records.around(0.38, 0.01)), config)["gold-fell-2"]
    assert "from 0.450 [0.430, 0.470] to 0.380 [0.370, 0.390], while the reward by the model is 1.90 above" in fell
    assert "set algo.kl_budget" in fell
    over = found(records.history(1, over=records.over(peak=records.PEAK | {"step": 60}, reason="")), config)
    assert "after step 60 (KL 6.1), and the round went on to step 74" in over["over-optimized"]
    budget = replace(config, algo=replace(config.algo, kl_budget=5.0))
    assert "lower algo.kl_budget (now 5)" in found(changed(gold=records.around(0.38, 0.01)), budget)["gold-fell-2"]
    assert "no independent evidence" in found(records.by_people(), config)["judge"]
    coin = records.round_record(2)
    coin["reward_model"]["gold"] = {"n": 40, "accuracy": 0.55, "interval": [0.4, 0.7]}
    unsure = found(records.history(rounds=[records.first_policy(), records.round_record(1), coin]), config)
    assert "right on 55.0 % [40.0 %, 70.0 %] of held-out pairs" in unsure["reward-model"]


def test_the_report_names_the_run_what_to_type_next_and_shows_texts_as_texts(config):
    run = namedtuple("FakeRun", "directory asked hidden")(Path("outputs/rlhf/1"), config, [])
    history = records.history(2)
    held = [{"prompt": NASTY, "before": {"response": NASTY}, "after": {"response": NASTY}}] * 9
    held.append({"prompt": "The film", "before": {"response": "a"}, "after": {"response": "b"}})
    result = {"n": 128, "heldout": True, "policy_step": 160}
    report = report_of(run, config, history, result, held, ["look out"])
    assert report.title == (
        "rlhf, embedded: preferred to the first policy in 78.0 % [75.0 %, 81.0 %] of the decided pairs"
    )
    who = "a simulated annotator" if config.annotator.raters == 1 else f"{config.annotator.raters} simulated annotators"
    assert report.measured == f"held-out prompts: 128; 400 judgements of {who} in 2 rounds"
    assert report.commands == [
        "rlnlp feedback outputs/rlhf/1", "rlnlp generate outputs/rlhf/1 'The film'", "rlnlp evaluate outputs/rlhf/1",
    ]  # fmt: skip
    assert {"history.png", "feedback.sqlite", "reward_model/", "policy/"} < set(report.files)
    printed = "\n".join(line.text for line in report_lines(report, run.directory, "took a minute"))
    whole = markdown(report, {"model": "embedded"}, "took a minute")
    assert "\x1b" not in printed + whole
    assert "<b>" not in whole
    assert "warning: look out" in printed
    assert "| first | – | – | – | – | – | 0.400 | 0.00 | 12.0 | 5.1 |" in whole
    people = replace(config, annotator=replace(config.annotator, name="web", names=["anna"]))
    people = replace(people, data=replace(people.data, feedback="mine.sqlite"))
    report = report_of(run, people, history, result | {"heldout": False}, held, [])
    assert report.measured.startswith("training prompts (none are held out): 128; 400 judgements of people in")
    assert "feedback.sqlite" not in report.files


def test_the_end_of_a_run_records_the_rounds_and_their_findings_and_draws_them(tmp_path, config, monkeypatch):
    lines = "".join(json.dumps(row) + "\n" for row in records.metrics(2))
    (tmp_path / "metrics.jsonl").write_text(lines)
    ended, drawn = [], []
    monkeypatch.setattr(at_the_end, "finish", lambda *args: ended.append(args))
    monkeypatch.setattr(at_the_end, "draw_history", lambda *args: drawn.append(args))
    run = namedtuple("FakeRun", "directory asked hidden display")(tmp_path, config, [], PlainDisplay(sys.stderr))
    history = changed(win_rate=won(0.4))
    at_the_end.finish_run(run, config, history.rounds, history.over, {"n": 8, "heldout": True, "policy_step": 9}, [], 0)
    ((_, report, result, held, ends_of, _),) = ended
    ((shown, directory, title),) = drawn
    assert (len(shown.metrics), directory, title) == (160, tmp_path, report.title)
    assert list(result["health"]) == ["lost-2"]
    assert list(report.warnings) == list(result["health"].values())
    assert (result["policy_step"], result["rounds"], held) == (9, 2, [])
    assert ends_of["heldout/kl"] == (0, 4)


def test_the_report_of_an_evaluation_has_the_rounds_before_the_curves_of_training(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"result": {"policy_step": 3}}))
    assert stored_history(tmp_path) is None
    history = records.history(2)
    (tmp_path / "run.json").write_text(json.dumps({"result": rounds_result(history.rounds, history.over)}))
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in history.metrics))
    stored = stored_history(tmp_path)
    assert len(stored.metrics) == 160
    assert [each["round"] for each in stored.rounds] == [0, 1, 2]
    section = rounds_section(stored)
    assert section.paragraphs[0].startswith("The final policy is preferred to the first in 78.0 % [75.0 %, 81.0 %]")
    (table,) = section.tables
    assert [cell.text for cell in table.groups[0].rows[2]][:4] == ["2", "400", "78 [75, 81]", "56 [53, 59]"]
    picture = Figure("curves", "curves.png", "t", "alt", b"")
    keys = [each.key for each in content(evaluation.record(), [picture], [section]).sections]
    assert keys.index("rounds") == keys.index("curves") - 1


@pytest.mark.slow
def test_a_run_ends_with_its_report_and_is_evaluated_by_the_gold_reward(tmp_path, capsys):
    words = runs.words("rlhf", tmp_path, "annotator.ratings_per_round=2")
    directory = tmp_path / "run"
    train.run_training(runs.settings(words), directory, "train", hidden=())
    printed = capsys.readouterr().out
    assert "round  judged" in printed
    assert f"next: rlnlp feedback {directory}" in printed
    facts = json.loads((directory / "run.json").read_text())["result"]
    assert [each["round"] for each in facts["history"]] == list(range(facts["rounds"] + 1))
    assert facts["win_rate_ties_half"] is not None
    assert (directory / "history.png").is_file()
    assert evaluate.main([str(directory), "--samples", "2", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["prompts"], record["samples"]) == (1, 2)
    assert "The score is the gold reward" in (directory / "report.md").read_text()
    page = (directory / "report.html").read_text()
    assert page.count("What came of each round") == 1
    assert "no held-out judge was asked" not in page
    assert (directory / "report-rounds-lengths.png").is_file()


def test_a_listing_is_text_in_the_terminal_and_in_markdown():
    table = Listing("caption", ("name", "figure"), [(NASTY, "1"), ("界", "22")])
    lines = listing_lines(table)
    assert not any("\x1b" in line for line in lines)
    assert lines[-1].endswith("界      22")
    assert "<b>" not in listing_table(table)


def test_the_result_has_the_win_rate_with_ties_as_halves_and_what_a_list_of_runs_shows():
    history = records.history(2)
    result = json.loads(json.dumps(rounds_result(history.rounds, history.over), allow_nan=False))
    assert result["win_rate"] == pytest.approx(0.78)
    assert result["win_rate_interval"] == pytest.approx([0.75, 0.81])
    assert result["win_rate_ties_half"] == pytest.approx(0.64)
    assert result["decided"] == pytest.approx(0.5)
    assert (result["judge"], result["judgements"], result["rounds"]) == ("gold", 400, 2)
    assert result["history"][2]["step"] == 160
    assert result["over_optimization"]["peak"] is None
    reached = outcome(result | {"n": 128})
    assert (reached.metric, reached.n, reached.before, reached.kl) == ("win_rate", 128, 0.5, 4.0)
    assert (reached.after, reached.difference) == pytest.approx((0.78, 0.28))
    assert reached.interval == pytest.approx((0.25, 0.31))
    assert ends(history.rounds) == {
        "heldout/gold": (0.4, pytest.approx(0.5)), "heldout/kl": (0, 4), "heldout/response_tokens": (12, 13),
    }  # fmt: skip
    undecided = rounds_result([records.first_policy(), records.round_record(1, win_rate=None)], history.over)
    assert undecided["win_rate"] is None
    assert outcome(undecided | {"n": 1}) is None


D = np.linspace(0.1, 4, 14)


def gains(alpha, beta, prompts=40):
    noise = 0.02 * np.random.default_rng(1).standard_normal((len(D), prompts))
    return (D * (alpha - beta * np.log(D)))[:, None] + noise


def test_the_turn_over_is_a_record_of_the_nearest_step_and_both_curves():
    steps, rng = list(range(105, 175, 5)), np.random.default_rng(0)
    record = json.loads(json.dumps(over_optimization(steps, D**2, gains(1.0, 0.1), gains(1.5, 1.0), rng)))
    top = math.exp(0.5)
    assert record["peak"]["d"] == pytest.approx(top, rel=0.02)
    assert record["peak"]["kl"] == pytest.approx(record["peak"]["d"] ** 2)
    assert record["peak"]["step"] == steps[int(np.abs(D - record["peak"]["d"]).argmin())]
    assert record["peak"]["gain"] == pytest.approx(top, rel=0.02)
    assert record["gold"]["beta"] == pytest.approx(1.0, abs=0.02)
    assert record["proxy"]["alpha"] == pytest.approx(1.0, abs=0.02)
    assert record["gold"]["points"] == record["proxy"]["points"] == 13
    assert record["points"][3] == {
        "step": 120, "kl": pytest.approx(D[3] ** 2), "d": pytest.approx(D[3]),
        "reward": pytest.approx(gains(1.0, 0.1)[3].mean()), "gold": pytest.approx(gains(1.5, 1.0)[3].mean()),
    }  # fmt: skip
    assert over_optimization_words(record).startswith("gold peaked at KL 2.7 [2.")
    unsure = record | {"peak": record["peak"] | {"step": 1140, "kl": 0.5, "kl_interval": [0.4, None]}}
    assert over_optimization_words(unsure) == "gold peaked at KL 0.50 [0.40, no upper end], best at step 1,140"


def test_no_turn_over_is_told_with_its_reason():
    steps, rng = list(range(14)), np.random.default_rng(0)
    rising = over_optimization(steps, D**2, gains(1.0, 0.1), gains(1.0, 0.2), rng)
    assert over_optimization_words(rising) == "no turn-over seen: the curve still rises at the last KL, 16"
    none = over_optimization(steps, D**2, gains(1.0, 0.1), None, rng)
    assert none["proxy"] is not None
    assert (none["gold"], none["peak"], none["points"][0]["gold"]) == (None, None, None)
    assert "no gold reward was measured" in over_optimization_words(none)
    few = over_optimization(steps[:5], D[:5] ** 2, gains(1.0, 0.1)[:5], gains(1.5, 1.0)[:5], rng)
    assert over_optimization_words(few).startswith("no turn-over seen: of 8 points with d = sqrt(KL) >= 0.3")
    nothing = over_optimization([], np.zeros(0), np.zeros((0, 4)), None, rng)
    assert over_optimization_words(nothing) == "no turn-over seen: no policy was measured on the way"
    with pytest.raises(ValueError, match="14 steps need as many"):
        over_optimization(steps, D[:5] ** 2, gains(1, 0)[:5], None, rng)
    one = over_optimization(steps, D**2, gains(1.0, 0.1, 1), gains(1.5, 1.0, 1), rng)
    assert json.dumps(one, allow_nan=False)
