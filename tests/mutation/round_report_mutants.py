"""Known mistakes in what the rounds of an RLHF run are said to have come to, in words and in pictures."""

REPORT, PICTURES, LIVE = "evaluate/test_rounds_report", "evaluate/test_rounds_pictures", "run/test_live"

GROUPS = [  # file, tests, (name, what stands there, what is put there)
    ("evaluate/rounds/over_optimization.py", (REPORT,), [
        ("the peak is that of the proxy", 'else _peak(of_gold.peak, steps)', 'else _peak(of_proxy.peak, steps)'),
        ("the step is the number of the point", '"step": steps[peak.best]', '"step": peak.best'),
        ("without gold the proxy is the gold", "if gold is None else turn_over(kl, gold, rng)",
         "if False else turn_over(kl, proxy if gold is None else gold, rng)"),
    ]),
    ("evaluate/rounds/history.py", (REPORT, PICTURES), [
        ("the first policy scores as the last", "else now[0] - gain[0]", "else now[0]"),
    ]),
    ("evaluate/rounds/findings.py", (REPORT,), [
        ("a round has lost where it may not have", "found[1][1] < EVEN", "found[0] < EVEN"),
        ("the round is compared with the first policy", 'LAST if record["round"] > 1 else FIRST', "FIRST"),
        ("gold falls although the reward did not rise", "and rewarded[0] > start:", "and True:"),
        ("every judge is independent", "judge is not None and judge != GOLD", "False"),
        ("a peak at the end is over-optimization", 'peak["step"] < last', "True"),
    ]),
    ("evaluate/rounds/sentences.py", (REPORT,), [
        ("ties count as nothing", 'win_rate_of(last, FIRST, "ties_half")', "win_rate_of(last, FIRST)"),
    ]),
    ("evaluate/rounds/tables.py", (REPORT,), [
        ("the first round has a round before it", 'against == LAST and record["round"] < 2', "False"),
    ]),
    ("evaluate/rounds/finish.py", (REPORT,), [
        ("the difference is the win rate", '"mean": rate[0] - EVEN', '"mean": rate[0]'),
    ]),
    ("evaluate/rounds/distance.py", (PICTURES,), [
        ("gains over the KL and not over its root", 'root = [(math.sqrt(max(0.0, row["heldout/kl"])),',
         'root = [(max(0.0, row["heldout/kl"]),'),
        ("a curve is drawn to the last point", '[: curve["points"]]', ""),
        ("rewards are not gains", "Point(d, value - before)", "Point(d, value)"),
    ]),
    ("evaluate/rounds/panel.py", (PICTURES,), [
        ("0 is at two heights", "max(-low / (high - low) for low, high in ends)", "0.0"),
    ]),
    ("evaluate/rounds/bars.py", (PICTURES,), [
        ("bars begin at 0 on an axis that does not", "left=low, height", "left=0, height"),
    ]),
    ("evaluate/curves.py", (PICTURES,), [
        ("one line for all stages", '(row.get("round"), row.get("stage"))', "None"),
    ]),
    ("evaluate/stored.py", ("evaluate/test_compare_measured",), [
        ("a run has the steps of one round", 'algo["rounds"] * self.round_steps', "self.round_steps"),
    ]),
    ("evaluate/compare/measured.py", ("evaluate/test_compare_measured",), [
        ("it is all the same who judges", 'found |= {"judged by": run.result["judge"]} if', 'found |= {} if'),
    ]),
    ("run/live.py", (LIVE,), [
        ("a metric of two stages is one", "!= self.stage:  #", "== '?':  #"),
        ("what is past is shown first", "key=lambda name: not self._is_present(name)", "key=lambda name: 0"),
    ]),
]  # fmt: skip
