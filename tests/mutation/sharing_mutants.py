"""Mistakes in computing a prompt once: what is seen, where tokens stand, which rows belong together, when it pays."""

READING, CHECK, BATCHING = "models/test_reading", "models/test_check", "test_batching"
RUN = "algos/test_sharing"
GROUPS = [
    ("models/group_attention.py", (READING,), [
        ("a response sees none of its own tokens", " + weights[..., prompt:] @ own_values", ""),
        ("what is computed again attends as usual", "return switched_attention(config, config._attn_implementation)",
         'return switched_attention(config, "eager")'),
    ]),
    ("models/block_attention.py", (READING,), [
        ("padding before a prompt is seen in it", "before & real[:, None, None, None, :end]", "before & True"),
        ("an attention with more to it is taken", "if more.get(name) is not None", "if False"),
    ]),
    ("models/reading.py", (READING,), [
        ("positions go on over the responses", "at[:, :, prompt:].flatten(1)", "at[:, :, prompt:].flatten(1) * 0"),
        ("a first token is predicted from its own place", "(count, 1), prompt - 1)", "(count, 1), prompt)"),
        ("what fills a row up counts", "rollout.mask & there.unsqueeze(1)", "rollout.mask"),
        ("figures stay in the order of the rows", "figures if self.order is None else figures[self.order]", "figures"),
        ("a window is no limit", "if prompt + response > self.window:", "if False:"),
        ("any saving counts", "1, PAYS * self.size", "1, 1.0 * self.size"),
        ("the last count that pays is taken", "if work <= least:", "if work <= 1e30:"),
    ]),
    ("models/shared_prompt.py", (READING,), [
        ("responses do not look at the prompt", "behind * (prompt + response))", "behind * response)"),
    ]),
    ("models/decoder.py", (READING,), [
        ("each row of a group has the first row's prompt", "batch_select_indices(rows)\n        if sharing",
         "batch_select_indices(rows * 0)\n        if sharing"),
    ]),
    ("models/critic.py", (READING,), [
        ("a critic never shares", "        critic.sharing = policy.sharing\n", "        pass\n"),
    ]),
    ("models/reading_check.py", (CHECK,), [
        ("every model may share", "<= tolerance", "<= 1e30"),
    ]),
    ("batching.py", (BATCHING,), [
        ("groups are torn apart", "size, tokens) if together else single", "size, tokens) if False else single"),
        ("a part has more than fits", "for i in range(0, len(own), most)", "for i in range(0, len(own), len(own))"),
    ]),
    ("models/policy.py", (RUN,), [
        ("never is auto", 'if how == "auto" and', "if"),
    ]),
]  # fmt: skip
