"""Mistakes in how a run waits for people, in what simulated ones like, and in what is drawn to be compared."""

TASTE, WAITING, DRAWING = "feedback/test_taste", "feedback/test_waiting", "commands/test_drawing"
IMPORTING, SIMULATED = "feedback/test_importing", "feedback/test_simulated"

GROUPS = [
    (
        "feedback/taste.py", (TASTE,),
        [
            ("the taste is not shaped", "self.shapings or (Shaping(),)", "(Shaping(),)"),
            ("a term that abstains counts 0", "~column.isnan()", "column.isnan() | True"),
            ("each rater has the texts scored anew", "if key not in known]", "]"),
        ],
    ),
    (
        "data/given.py", (TASTE,),
        [
            ("a text is what its tokens say", "completions=list(responses), messages=messages", "messages=messages"),
            ("a prompt has lost its columns",
             "**self._table.records[known]}",
             "'prompt': self._table.records[known]['prompt']}"),
        ],
    ),
    (
        "feedback/simulated.py", (TASTE, SIMULATED),
        [
            ("raters with weights of both signs grow",
             "np.abs(rater.taste.weights).sum() / size",
             "sum(rater.taste.weights) / size"),
            ("one rater ends the round for all", "at_work = any(each_judged)", "at_work = all(judged)"),
        ],
    ),
    (
        "feedback/waiting.py", (WAITING,),
        [
            ("a run goes on before all is judged", "    if not done():\n        raise Paused(so_far())\n", ""),
            ("what is skipped is waited for",
             "judged() == total or store.given_up(annotators.names, name, round_)",
             "judged() == total"),
            ("a signal forgets how far it was", "raise Stopped(stopped.number, so_far()) from stopped", "raise"),
            ("nothing judged is enough",
             "if skipped == total and pairs",
             "if not pairs"),
        ],
    ),
    (
        "feedback/store.py", (WAITING,),
        [
            ("what is shown to someone is given up",
             "EXISTS (SELECT 1 FROM leases AS l WHERE l.item = i.id AND l.until > :now) OR NOT",
             "NOT"),
            ("another round is waited for", "(:round IS NULL OR i.round = :round\n", "(:round IS NULL OR 1\n"),
        ],
    ),
    (
        "run/ending.py", (WAITING,),
        [
            ("a run that waits for a file has failed", "waits or code in SIGNALED", "code in SIGNALED"),
        ],
    ),
    (
        "feedback/from_file.py", (IMPORTING,),
        [
            ("of the same text only one item is judged",
             "for item in items.get(_key(one.item), ()):",
             "for item in items.get(_key(one.item), ())[:1]:"),
            ("an empty response cannot be found again",
             'answer if words(answer).strip() else EMPTY',
             "answer if True else EMPTY"),
            ("what one has judged is not asked for another", "judged[item.id] < item.overlap", "judged[item.id] < 1"),
        ],
    ),
    (
        "commands/drawing.py", (DRAWING,),
        [
            ("what was asked is drawn again", "if content not in known:", "if True:"),
            ("more is drawn than is wanted", "        if count == 0:\n            return\n", ""),
        ],
    ),
    (
        "commands/feedback.py", (DRAWING,),
        [
            ("a run that trains is drawn from", "if is_owned(run):", "if False:"),
            ("comparisons are drawn though some are open",
             "if run is not None and not any(",
             "if run is not None and any("),
        ],
    ),
]  # fmt: skip
