"""Mistakes in sampling and learning from long texts, in micro-batches by tokens, and in the memory that is told."""

DECODER, READING, CHECK = "models/test_decoder", "models/test_reading", "models/test_check"
BATCHING, POLICY, PEAK = "test_batching", "models/test_policy", "commands/test_peak"
GRADIENT = "algos/test_gradient"
GROUPS = [
    ("models/decoding.py", (DECODER,), [
        ("room that is not written is seen", "nn.functional.pad(attention, (0, room - length))",
         "nn.functional.pad(attention, (0, room - length), value=True)"),
        ("room is made for all tokens at first", "min(self.most, length + max(ROOM, length // 4))", "self.most"),
        ("prompts stay when their last response has left", "None if len(prompts) == self.groups.prompts else",
         "None if True else"),
        ("a response asks another prompt", "return x if self._places is None else x[self._places]", "return x"),
        ("slots are filled in the order of the rows", "of_slots = x if self._slots is None", "of_slots = x if True"),
        ("the prompt is not counted", "int(self.prompts[0].shape[2]) + self.filled", "self.filled"),
    ]),
    ("models/decoder.py", (DECODER, "rollout/test_sampling"), [
        ("the sampler moves a padded prompt", "positions(attention, self.policy.first_position)[:, -tokens.shape[1] :]",
         "torch.arange(attention.shape[1]).expand_as(attention)[:, -tokens.shape[1] :]", "rollout/test_sampling"),
        ("short texts are sampled so too", "sharing.decodes_in_place(prompts.shape[1], self.more)", "True"),
    ]),
    ("models/reading.py", (READING,), [
        ("a window does not forbid blocks", "self.blocks_from <= prompt + response <= self.window",
         "self.blocks_from <= prompt + response"),
    ]),
    ("models/block_attention.py", (READING,), [
        ("weights are kept for the backward pass", "if block is None or not torch.is_grad_enabled():", "if True:"),
        ("a block sees what is behind its end", ".tril(start)", ".tril(start + 1)"),
        ("blocks are as large as they may be", "return -(-length // -(-length // most))", "return min(most, length)"),
    ]),
    ("batching.py", (BATCHING,), [
        ("padding between prompts takes no memory", "count * sum(widest) > tokens",
         "sum(sum(texts[row]) for row in part + piece) > tokens"),
        ("a rollout of too many tokens is not cut", "(tokens is None or rollout.attention.numel() <= tokens)", "True"),
    ]),
    ("algos/reinforce.py", (GRADIENT,), [
        ("the tokens of a micro-batch do not count", "policy.shares, algo.micro_batch_tokens)", "policy.shares)"),
    ]),
    ("models/policy.py", (POLICY,), [
        ("the policy learns in the precision of its reference", "nn.Parameter(p.detach().to(dtype, copy=True)",
         "setattr(p, 'data', p.data.to(dtype)) or nn.Parameter(p.detach()"),
    ]),
    ("commands/check/costs.py", (PEAK,), [
        ("the optimizer has no state", "peak(device) + moments", "peak(device)"),
        ("loading takes no memory", "max(held, peak(device) + moments)", "peak(device) + moments"),
        ("what the check draws counts", "    restart_peak(device_of(modules))\n", ""),
    ]),
]  # fmt: skip
