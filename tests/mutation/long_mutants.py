"""Mistakes in sampling and learning from long texts, in micro-batches by tokens, and in the memory that is told."""

DECODER, READING, CHECK = "models/test_decoder", "models/test_reading", "models/test_check"
BATCHING, POLICY, PEAK = "test_batching", "models/test_policy", "commands/test_peak"
GRADIENT, RECORDED = "algos/test_gradient", "models/test_recorded_step"
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
    ("models/llama_step.py", (DECODER,), [
        ("padding is read by the step", "if not bool(real.all()):", "if False:"),
        ("a text that is left has the padding of another", "else self.hidden[rows]", "else self.hidden[: len(rows)]"),
        ("room for a text is made for all tokens at first", "max(ROOM, self.filled // 4)", "self.most"),
        ("the token stands one further", "attention.sum(1, keepdim=True) - 1", "attention.sum(1, keepdim=True)"),
        ("a token is turned the other way", "-sin[..., : width // 2], sin[..", "sin[..., : width // 2], -sin[.."),
        ("biases are lost", "None if layers[0].bias is None else", "None if True else"),
        ("wide models have a step", "int(lm.config.hidden_size) <= widest)", "True)"),
        ("a wide model with an adapter has none", "WIDEST_ADAPTED if adapted else WIDEST", "WIDEST"),
        ("an adapter is passed over", "    if not used:", "    if True:"),
        ("an adapter is rounded away", "        if dtype == weight.dtype:\n            return Weights(torch.addmm(",
         "        if True:\n            return Weights(torch.addmm("),
        ("an adapter is not scaled", "product.scale * product.lora_B.weight", "product.lora_B.weight"),
        ("a model's own code has a step", ' and type(lm).__module__.startswith("transformers.")', ""),
        ("products are in the precision of the weights", "if torch.is_autocast_enabled(kind) else", "if False else"),
    ]),
    ("models/recorded_step.py", (RECORDED,), [
        ("room is made as responses grow", "            layer.grow(responses.most)", "            layer.grow(1)"),
        ("padding is seen by a recorded step", "nn.functional.pad(real, (0,", "nn.functional.pad(real | True, (0,"),
        ("each token is written over the last one", "self.place.fill_(last - self.responses.width)", "pass"),
        ("a new token is not seen", "self.sees[self.rows, 0, 0, last] = attention[:, last]", "pass"),
        ("texts that left are counted", "self.rows = self.rows[rows]", "pass"),
        ("each token is recorded", "if self.play is None:", "if True:"),
        ("the step stands at the first token", "self.tokens[rows], self.at[rows] = tokens[:, 0], attention",
         "self.tokens[rows], self.at[:1] = tokens[:, 0], attention[:1]"),
        ("a recording has frequencies that texts change", " and lm.model.rotary_emb.rope_type in FIXED", ""),
    ]),
    ("models/decoder.py", (DECODER,), [
        ("the step is of the base", "            with self.policy.adapted():\n                self.step",
         "            if True:\n                self.step"),
    ]),
    ("device.py", ("test_device",), [
        ("a GPU computes in float32", 'fast = device.type == "cuda" and', "fast = False and"),
        ("emulated products are taken for fast ones", "including_emulation=False", "including_emulation=True"),
        ("float32 on a GPU is shorter", 'fast = device.type == "cpu" and not', "fast = not"),
    ]),
    ("models/reading.py", (DECODER,), [
        ("short texts are joined at each token", "LONG if alone else 0", "LONG"),
        ("the step looks past a window", "self.own_step and prompt + new <= self.window", "self.own_step"),
    ]),
    ("models/reading_check.py", (CHECK,), [
        ("the step is not compared", "for start in _starts(policy)]", "for start in ()]"),
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
