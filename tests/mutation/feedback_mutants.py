"""Mistakes in how judgements are kept, asked for and read."""

STORE, AT_ONCE = "feedback/test_store", "feedback/test_store_at_once"
SIMULATED, IMPORTING = "feedback/test_simulated", "feedback/test_importing"
AUDIT, RELIABILITY = "feedback/test_audit", "maths/test_reliability"

GROUPS = [
    (
        "feedback/store.py", (STORE, AT_ONCE),
        [
            ("an item is kept for whom it is shown to alone, for ever", "l.until > :now AND ", ""),
            ("nobody's items are kept", "AND l.annotator != :me) < i.overlap", "AND l.annotator = :me) < i.overlap"),
            ("what one skips nobody is asked",
             "(SELECT count(*) FROM standing AS s WHERE s.item = i.id AND s.kind != 'skipped') + (",
             "(SELECT count(*) FROM standing AS s WHERE s.item = i.id) + ("),
            ("an old window's answer counts", "!= question.revision:", "< question.revision:"),
            ("a request is saved twice",
             'request = ?", request) if request else ():', 'request = ?", request) if 0 else ():'),
            ("undo takes the first answer back", "ORDER BY id DESC LIMIT 1", "ORDER BY id LIMIT 1"),
            ("a repeat has its sides as before", "len(item.responses))[::-1]", "len(item.responses))"),
            ("what has been asked again is asked again", "r.repeat_of = i.id AND r.annotator = s.annotator)",
             "r.repeat_of = -1 AND r.annotator = s.annotator)"),
            ("an undone answer waits behind the one on the screen",
             "ORDER BY l.until DESC, l.rowid DESC", "ORDER BY l.rowid"),
            ("an item of a known name may ask something else", "if known and known[0].sha256 != sha256:", "if False:"),
        ],
    ),
    (
        "feedback/order.py", (STORE,),
        [
            ("a repeat comes too soon", "len(last) - position >= distance", "len(last) - position >= 5"),
            ("all see the same order", '{uid}:{annotator}").permutation', '{uid}").permutation'),
        ],
    ),
    (
        "feedback/schema.py", (STORE, AT_ONCE),
        [
            ("a commit does not wait for the disk", "synchronous = FULL", "synchronous = NORMAL"),
            ("a later version's set is written to", "if version > len(MIGRATIONS):", "if False:"),
            ("another program's database is written to",
             "if application != APPLICATION and (tables or version or application):",
             "if False:"),
            ("a migration that fails leaves half of it",
             "    with transaction(connection):\n        version",
             "    if True:\n        version"),
            ("old revisions count",
             "k.annotator = j.annotator AND k.revision > j.revision)", "k.annotator = j.annotator AND 0)"),
        ],
    ),
    (
        "feedback/simulated.py", (SIMULATED,),
        [
            ("the bias is for the second side",
             "/ self.temperature + self.position_bias", "/ self.temperature - self.position_bias"),
            ("twice the difference", "math.exp(d / 2 - top), self.nu", "math.exp(d - top), self.nu"),
            ("ties are flipped to nothing",
             "return (1 - e) * one + e * two, tie,", "return (1 - e) * one + e * two, (1 - e) * tie,"),
            ("an error is a random answer", "(1 - e) * one + e * two", "(1 - e) * one + e / 2"),
            ("the taste is of the item, not of what is shown",
             "tastes[i] for i in question.order", "tastes[i] for i in (0, 1)"),
            ("all raters draw alike", ":{rater.name}:{question.revision}", ":{question.revision}"),
            ("only the first rater works", "enumerate(people))", "enumerate(people[:1]))"),
            ("weights are not kept to their sum", "weights *= np.abs", "weights += 0 * np.abs"),
        ],
    ),
    (
        "feedback/incoming.py", (IMPORTING,),
        [
            ("what was preferred stays behind when the sides are swapped",
             "else 1 - verdict.preference", "else verdict.preference"),
            ("a second judgement of the same texts is lost", "if number == 1 else", "if number else"),
            ("the first text is always preferred", "FIRST if pair.chosen == i else SECOND", "FIRST"),
        ],
    ),
    (
        "feedback/platforms.py", (IMPORTING,),
        [
            ("a skipped task is an answer",
             'if annotation.get("was_cancelled") or annotation.get("skipped"):', "if False:"),
            ("the tag's names are not looked at", "if len(tags) == 2 and all", "if len(tags) == 9 and all"),
            ("the lowest rank is the worst", "FIRST if ranks[one] < ranks[two]", "FIRST if ranks[one] > ranks[two]"),
            ("equal ranks are an order", "int(one.get(\"rank\") or place)", "place"),
            ("a comment is a choice", ".lower() not in STEMS:", ".lower() is None:"),
            ("what was discarded counts", '== "discarded"', '== "thrown away"'),
        ],
    ),
    (
        "feedback/merge.py", (IMPORTING,),
        [
            ("a record is added twice", "if judgement.request not in requests:", "if True:"),
            ("a repeat is of the item with the old number",
             "replace(item, repeat_of=original,", "replace(item, repeat_of=person,"),
            ("a file that is read again is a revision",
             "== 0:\n                _make_room", "< 99:\n                _make_room"),
        ],
    ),
    (
        "feedback/from_file.py", (IMPORTING,),
        [
            ("the preference is of the file's order", "texts != one.item.responses:", "False:"),
            ("texts of others are saved", "sum(_key(one.item) not in items for one in found)", "0"),
        ],
    ),
    (
        "feedback/pairs.py", (IMPORTING,),
        [
            ("repeats are learned from", "== BETTER and item.repeat_of is None]", "== BETTER]"),
            ("the worse one is chosen", "== FIRST else Pair(", "== SECOND else Pair("),
        ],
    ),
    (
        "feedback/audit.py", (AUDIT,),
        [
            ("the bias is of the item's first, not of the shown one",
             "one.verdict.preference == one.shown_first for", "one.verdict.preference == 0 for"),
            ("ties count as a side", "and one.verdict.preference != TIE]", "]"),
            ("one is compared with oneself", "if other != person]", "]"),
            ("ratings must be the very same", "<= 1\n", "<= 0\n"),
            ("the number of raters that fewest items have",
             "raters = max(numbers, key=lambda number: (numbers[number], number))",
             "raters = 3 - 1 if len(numbers) > 1 else 9"),
            ("words are characters", "len(text.split())", "len(text)"),
        ],
    ),
    (
        "maths/reliability.py", (RELIABILITY,),
        [
            ("chance is not taken off", "(observed - chance) / (1 - chance)", "observed + 0 * chance"),
            ("an item with more answers counts more", "np.maximum(answers - 1, 1)[:, None, None]", "1.0"),
            ("an answer is paired with itself", "(counts[:, None, :] - np.eye(counts.shape[1]))", "counts[:, None, :]"),
            ("alpha forgets the size of the sample", "* (n - 1)\n", "* n\n"),
            ("the interval is that of Wald", "+ Z**2 / (4 * total**2))", ")"),
            ("answers of items with one annotator count",
             "coincidences(counts[counts.sum(1) >= 2])", "coincidences(counts[counts.sum(1) >= 0])"),
        ],
    ),
    (
        "feedback/selection.py", ("feedback/test_selection",),
        [
            ("what the members agree on most is asked", "(-differing[i], pairs[i])", "(differing[i], pairs[i])"),
            ("the deviation of a score, not of a difference", " - scores[pair.prompt][:, pair.second]", ""),
            ("all pairs of one prompt first", "turns.append((taken[pair.prompt], rank))", "turns.append((0, rank))"),
            ("equal responses are a pair", "{text.strip(): number for", "{number: number for"),
        ],
    ),
]  # fmt: skip
