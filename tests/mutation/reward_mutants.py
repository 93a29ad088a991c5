"""Mistakes around the user's reward functions: what they return and leave behind, their processes, what is left out."""

ABSTAINING, SURROUNDINGS, LOADER, CALL, WORKERS, DEFAULTS, USER_CODE, ANSWERS = (
    "rewards/test_abstaining", "rewards/test_surroundings", "rewards/test_loader", "rewards/test_call",
    "rewards/test_workers", "commands/test_default_terms", "run/test_user_code",
    "rewards/text/test_exact_answer",
)  # fmt: skip

GROUPS = [
    (
        "rewards/terms.py", (ABSTAINING, CALL),
        [
            ("a term that abstains is shifted", ".masked_fill(~here.to(parts[name].device), 0)", ""),
            ("a term that abstains is a veto", "vetoes[name] & here.to(vetoes[name].device)", "vetoes[name]"),
            ("a column stands in for the response", "**texts.columns, **said(texts, conversational),",
             "**said(texts, conversational), **texts.columns,"),
        ],
    ),
    (
        "evaluate/measure.py", (ABSTAINING,),
        [
            ("abstentions are averaged as 0", "term if name not in given else term[given[name].to(term.device)]",
             "term"),
            ("a difference has the prompts of one side", "both = both & measurement.given.get(name, both)",
             "both = both"),
        ],
    ),
    (
        "rewards/surroundings.py", (SURROUNDINGS,),
        [
            ("what a function changes reaches training", "            _put(ours)\n", ""),
            ("a function does not find what it has changed", "        _put(self._theirs)\n", ""),
            ("an alarm is left", "signal.setitimer(signal.ITIMER_REAL, 0)", "pass"),
        ],
    ),
    (
        "rewards/user.py", (LOADER,),
        [
            ("a file hides modules of Python", "sys.path.append(str(folder))", "sys.path.insert(0, str(folder))"),
            ("a file has a name that nobody can import", "if _found(name) == file:", "if False:"),
            ("what is beside an earlier file stays", "        for name in _BESIDE:", "        for name in ():"),
        ],
    ),
    (
        "rewards/workers.py", (WORKERS,),
        [
            ("a group is split", "if prompts[i] != prompts[i - 1]]", "]"),
            ("the values are in the order of arrival", "return [found[i] for i, _ in asked]",
             "return list(found.values())[::-1]"),
        ],
    ),
    (
        "rewards/worker.py", (WORKERS,),
        [
            ("a worker outlives its parent", "    os.killpg(0, signal.SIGKILL)", "    threading.Event().wait()"),
        ],
    ),
    (
        "commands/default_terms.py", (DEFAULTS,),
        [
            ("a term that was asked for is left out", "if term == defaults.get(name)]", "if name in defaults]"),
            ("a term that can be served is left out", "if _needs_reference(name, config.reward.terms[name])", ""),
        ],
    ),
    (
        "run/handlers.py", (USER_CODE,),
        [
            ("a forked process keeps the handlers of the run", "    for number, handler in _replaced.items():",
             "    for number, handler in ():"),
        ],
    ),
    (
        "run/lock.py", (USER_CODE,),
        [
            ("a forked process holds the lock", "    for lock in _held:\n", "    for lock in ():\n"),
        ],
    ),
    (
        "rewards/text/exact_answer.py", (ANSWERS,),
        [
            ("the first mark has the answer", "for mark in reversed(list(MARK.finditer(text))):",
             "for mark in MARK.finditer(text):"),
            ("the first box has the answer", "for box in reversed(list(BOX.finditer(text))):",
             "for box in BOX.finditer(text):"),
            ("the first number is the answer", "next(reversed(list(NUMBER.finditer(text))), None)",
             "NUMBER.search(text)"),
            ("strict is flexible", 'if method == "flexible" else None', "if method else None"),
            ("a comma ends a number", '(?:,[0-9]{3})+(?![0-9])|[0-9]+)"', '(?:,[0-9]{9})+(?![0-9])|[0-9]+)"'),
            ("a minus behind a bracket is a sign", r"(?<![)\]}}])(?P<sign>", "(?P<sign>"),
            ("signs are lost", '(-1 if "-" in (found["sign"] or "") else 1)', "1"),
            ("numbers are compared as texts", "float(answer(c, method) == r)", "float(str(r) in c)"),
            ("a number of any length is read", "if len(found[0]) > LONGEST:", "if False:"),
            ("nothing is divided by", "if below == 0:", "if False:"),
        ],
    ),
    (
        "rewards/arguments.py", (ANSWERS,),
        [
            ("only the first row is named", "            faults.append(location)\n",
             "            faults = faults or [location]\n"),
            ("all rows are named", "faults[:MAX_REPORTED]))", "faults))"),
        ],
    ),
]  # fmt: skip
