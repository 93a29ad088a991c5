"""Mistakes in how reward models read texts, score them and are saved."""

MODEL, TEXT, SHARED, ENCODER = (
    f"models/test_{name}" for name in ("reward_model", "text_tokens", "shared_prompt", "reward_encoder")
)

GROUPS = [
    (
        "models/text_tokens.py", (TEXT,),
        [
            ("an end token twice", "behind if behind and behind[-1] == self.end else [*behind, self.end]",
             "[*behind, self.end]"),
            ("no end token where the turn has its own", "behind and behind[-1] == self.end else", "behind else"),
            ("a cut text loses its end", "(*answer[: kept - 1], self.end)", "tuple(answer[:kept])"),
            ("a cut text loses its start", "(*prompt[:first], *prompt[first + lost :])", "tuple(prompt[lost:])"),
            ("padding stays between prompt and answer", "(~mask).long().argsort", "(0 * mask).argsort"),
        ],
    ),
    (
        "models/shared_prompt.py", (SHARED,),
        [
            ("answers see each other", "((query == key) | (key == 0)) & before", "before"),
            ("positions run on", "range(begin, begin + answers[i])", "range(len(at), 2**20)[: answers[i]]"),
            ("rows longer than the window", "if max(rows) <= longest and", "if"),
            ("shared where it is more work", "best, least = 1, PAYS * size.work", "best, least = 1, 2 * size.work"),
        ],
    ),
    (
        "models/reward_pooling.py", (MODEL, SHARED),
        [
            ("the last place instead of the last token", "real.sum(1) - 1]", "-1]"),
            ("the mean of a text counts padding", "masked_fill(~there, 0).sum(1) / there.sum(1)", "mean(1)"),
        ],
    ),
    (
        "models/reward_model.py", (MODEL,),
        [
            ("a frozen trunk has gradients", "torch.is_grad_enabled() and not self.frozen", "torch.is_grad_enabled()"),
            ("scores in the order of lengths", "*found], dim=1)[:, places]", "*found], dim=1)"),
            ("every head starts the same", "\"reward-head\", number))", "\"reward-head\", 0))"),
        ],
    ),
    (
        "models/reward_classes.py", (MODEL, ENCODER),
        [
            ("the bias of a head is forgotten", "float((gain * biases + model.bias.double()).mean())",
             "float((gain * biases).mean())"),
            ("the gain is not folded in", "(gain.unsqueeze(1) * weights).mean(0", "weights.mean(0"),
            ("an encoder's gain is not folded in", "weight.mul_(model.gain[0])", "pass"),
            ("the end is padding", "config.get_text_config().pad_token_id = config.pad_token_id = model.pad", "pass"),
        ],
    ),
    (
        "models/reward_padding.py", (MODEL,),
        [("an end token fills up", "raw.pad_token_id is not None and raw.pad_token_id not in ends",
          "raw.pad_token_id is not None")],
    ),
    (
        "models/reward_check.py", (MODEL,),
        [("rows may depend on each other", "if not apart <= TOLERANCE:", "if False:")],
    ),
    (
        "models/reward_files.py", (MODEL,),
        [("changed files are loaded", "if file_sha256(path) != digest:", "if False:")],
    ),
]  # fmt: skip
