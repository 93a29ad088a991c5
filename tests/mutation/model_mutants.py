"""Mistakes in the check of a model, in what is told of its files, in its tokens, and in what is saved of it."""

CHECK, FILES, VOCABULARY, SAVE = (
    "models/test_check", "models/test_files", "models/test_vocabulary", "models/test_save",
)  # fmt: skip

GROUPS = [
    (
        "models/check.py", (CHECK,),
        [
            ("a model that sees later tokens passes", "self._apart(changed[:-1], self.alone[0][:-1])",
             "self._apart(changed[:1], changed[:1])"),
            ("the order need not be read", "if reordered != text and not", "if reordered == text and not"),
            ("padding may move a text", "if apart[-1] <= TOLERANCE:", "if apart[-1] <= 1e9:"),
            ("positions from another number are not tried",
             "[pad + 1] if isinstance(pad, int)", "[pad] if isinstance(pad, int)"),
            ("two passes may differ", "self._apart(batch, self._batch())", "self._apart(batch, batch)"),
            ("a cache that is wrong is used",
             "            if apart <= TOLERANCE:\n                return cached, shrinks",
             "            if apart <= 1e9:\n                return cached, shrinks"),
            ("recomputing may change gradients",
             "float((again - plain).abs().max()", "0 * float((again - plain).abs().max()"),
            ("findings of other weights are taken over", 'known.get("content") != content', "False"),
            ("tokens with a meaning are read", "if i not in meant]", "]"),
        ],
    ),
    (
        "models/files.py", (FILES,),
        [
            ("a cut file of weights is whole", "if size != expected:", "if size > expected:"),
            ("a pointer is a file",
             "        if head.startswith(POINTER):\n            return _pointer(path)\n        file.seek(8)",
             "        file.seek(8)"),
            ("a missing shard is not missed", "if not (directory / name).is_file():", "if False:"),
        ],
    ),
    (
        "models/load.py", (FILES,),
        [
            ("weights may be infinite", "if not finite(weight.detach())]", "if bool(weight.isnan().any())]"),
            ("a sum that overflows is a fault", " or bool(weight.isfinite().all())", ""),
        ],
    ),
    (
        "models/tokenizer.py", (VOCABULARY,),
        [
            ("an end token that is a word is cut off a text",
             "ids[-1] == self.raw.eos_token_id", "ids[-1] in self.end"),
            ("a stop text stays in the response", "return self._until_stop(self._rest(before, ids))",
             "return self._rest(before, ids)"),
            ("a long stop text is not seen", "max((len(text.encode()) for text in self.stop), default=0) + 4", "3"),
        ],
    ),
    (
        "rollout/sampling.py", (VOCABULARY,),
        [
            ("a stop text ends no response", "last |= _stopped(", "last & _stopped("),
            ("a stop text ends a response at once", "t >= distribution.min_new_tokens:", "t >= 0:"),
        ],
    ),
    (
        "models/vocabulary.py", (VOCABULARY,),
        [
            ("rows without a token are drawn", "policy.drawable = tokens", "policy.drawable = None"),
            ("new rows are as transformers draws them", "weight[old:] = weight[:old].mean(0)", "weight[old:] *= 1"),
        ],
    ),
    (
        "models/save.py", (SAVE, VOCABULARY),
        [
            ("what is measured is not what is saved", "weight.copy_(weight.to(dtype))", "weight.to(dtype)"),
            ("the saved model knows one end token", "        keep_ends(staged, tokenizer)\n", ""),
        ],
    ),
    (
        "evaluate/card.py", (SAVE,),
        [
            ("the card tells secrets", "*words_of(redacted(asdict(asked), hidden))", "*words_of(asdict(asked))"),
        ],
    ),
    (
        "config/differing.py", (SAVE,),
        [("the card's command lacks what was left out", "if name not in terms]", "if name in ()]")],
    ),
]  # fmt: skip
