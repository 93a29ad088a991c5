"""Mistakes in how judgements are kept, asked for and read."""

STORE, AT_ONCE = "feedback/test_store", "feedback/test_store_at_once"

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
            ("a request is saved twice", "for row in self._read(f\"SELECT {JUDGEMENT} FROM judgements WHERE request",
             "for row in self._read(f\"SELECT {JUDGEMENT} FROM judgements WHERE ''"),
            ("undo takes the first answer back", "ORDER BY id DESC LIMIT 1", "ORDER BY id LIMIT 1"),
            ("a repeat has its sides as before", "len(item.responses))[::-1]", "len(item.responses))"),
            ("what has been asked again is asked again", "r.repeat_of = i.id AND r.annotator = s.annotator)",
             "r.repeat_of = -1 AND r.annotator = s.annotator)"),
            ("an undone answer waits behind the one on the screen",
             "ORDER BY l.until DESC, l.rowid DESC", "ORDER BY l.rowid"),
            ("an item of a known name may ask something else", "if known[1] != sha256:", "if False:"),
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
]  # fmt: skip
