"""Mistakes in what ``rlnlp evaluate`` compares."""

SIDES = "evaluate/test_before_after"

GROUPS = [
    ("evaluate/before_after/paired.py", (SIDES,), [
        ("a response that has no value counts as 0", "np.divide(totals, known.sum(1),", "np.divide(totals, len(x[0]),"),
        ("worse is told as better", 'return "better" if ends[0] > 0 else "worse"', 'return "better"'),
        ("an interval that holds 0 shows a difference", "or ends[0] <= 0 <= ends[1]", "or ends[0] == 0 == ends[1]"),
        ("win rates pair the same draws", "return pairs_of_different_draws if same else pairs_of_all",
         "return pairs_of_all"),
        ("the best stand first among the worst", "for p in order[:SHOWN] if", "for p in order[::-1][:SHOWN] if"),
        ("prompts without a value are counted", '"n": int(both.sum())', '"n": len(both)'),
    ]),
    ("evaluate/before_after/text_measures.py", (SIDES,), [
        ("one n-gram is distinct", "len(set(ngrams)) / len(ngrams)", "len(set(ngrams[:1])) / len(ngrams)"),
        ("repetition is what the reward calls so", "[1 - value for value", "[value for value"),
    ]),
    ("evaluate/before_after/frontier.py", (SIDES,), [
        ("the best of n has no KL", '"kl": best_of_n_kl(n)', '"kl": 0.0'),
        ("the best of n is a mean", "best_of_n_by_prompt(first.score, first.score, n)\n",
         "best_of_n_by_prompt(first.score, first.score, 1)\n"),
    ]),
    ("evaluate/before_after/evaluation.py", (SIDES,), [
        ("a model that has changed is taken for the first", "if then == now and known", "if False and known"),
        ("independent sides share their numbers", '"evaluate against" if request.independent else "evaluate"',
         '"evaluate"'),
        ("all prompts are new", "sum(table.records[row][\"prompt\"] in trained_on for row in rows)", "0"),
    ]),
    ("evaluate/before_after/sides.py", (SIDES,), [
        ("a reference stands against nothing", "[[str(text)] for text in texts]", "[[\"\"] for text in texts]"),
    ]),
    ("data/prompts.py", (SIDES,), [
        ("a text that is given has no end", "encode_behind(record[\"prompt\"], joint + text)[1], end]",
         "encode_behind(record[\"prompt\"], joint + text)[1]]"),
        ("a prompt for another model loses its columns", '(f"prompt {i}", table.records[row])',
         '(f"prompt {i}", {"prompt": table.records[row]["prompt"]})'),
    ]),
]  # fmt: skip
