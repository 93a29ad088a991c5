"""Known bugs of the fit of a reward model, put back one at a time."""

FIT, TABLE, ORDER = "algos/test_reward_model", "data/test_preference_table", "data/test_order"
GROUPS = [
    ("algos/reward_updates.py", (FIT,), [
        ("a row's pairs do not share its weight", "(weights / batch.pairs_of_row)[batch.row_of_pair]",
         "weights[batch.row_of_pair]"),
        ("the mean of a pair is not pulled to 0", "algo.centering_coef * centering(chosen, rejected)",
         "algo.centering_coef * (chosen - rejected)"),
        ("labels are never wrong", "batch.margin, algo.label_noise)", "batch.margin, 0.0)"),
        ("margins are forgotten", "batch.target, batch.margin,", "batch.target, batch.margin * 0,"),
        ("a row's answers do not share its weight", "(weights / batch.texts_of_row)[batch.row_of_text]",
         "weights[batch.row_of_text]"),
        ("weights are forgotten", "total = sum(fitting.table.rows[r].row.weight for r in rows)", "total = len(rows)"),
        ("members learn from every prompt", "batch.weights * of, algo", "batch.weights, algo"),
        ("a row is used often in a step of few rows", "max(1, min(WINDOW, len(lengths) // self.algo.batch_size))",
         "WINDOW"),
    ]),
    ("algos/reward_scores.py", (FIT,), [
        ("features are computed of other texts", "self.kept[batch.numbers[part]] = found",
         "self.kept[batch.numbers[part]] = found.flip(0)"),
        ("the scale is that of all answers", "normalization_within_prompts(scores, prompts) if several",
         "normalization_overall(scores) if several"),
    ]),
    ("algos/further_fits.py", (FIT,), [
        ("a further fit goes on with the run's trunk",
         "language if frozen else build.reading_language(*place)", "language"),
    ]),
    ("data/preference_table.py", (TABLE,), [
        ("held-out rows may be trained on", "known = set(trained_on(found.rows, of_held.rows))", "known = set()"),
        ("a part of the data parts prompts", "kept = set(distinct[: max(1, round(part * len(distinct)))])",
         "kept = set(distinct)"),
        ("what is too long is not refused", 'if too_long == "refuse" and any(cut):', "if False:"),
        ("what is too long is not left out", 'if too_long == "drop":', "if False:"),
        ("shuffled labels are the labels", "if turn else pair", "if False else pair"),
    ]),
    ("data/judged_batch.py", (TABLE, FIT), [
        ("a bootstrap draws no unit twice", "for i, count in Counter(drawn.tolist()).items():",
         "for i, count in dict.fromkeys(drawn.tolist(), 1).items():"),
        ("ratings are not on a scale", "(rating - scale.mean) / scale.deviation", "rating"),
    ]),
]  # fmt: skip
