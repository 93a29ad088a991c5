"""Responses that grow in room that is there, and a step of our own, beside the cache and the models of transformers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, Qwen2Config

from rlnlp.device import computing_in
from rlnlp.maths.distribution import Distribution
from rlnlp.models.decoder import Decoder
from rlnlp.models.decoding import ROOM
from rlnlp.models.llama_step import WIDEST, WIDEST_ADAPTED, has_step
from rlnlp.models.lora import Adapters, let_use, linear_layers, new_adapter
from rlnlp.models.policy import Policy
from rlnlp.models.reading import LONG, Sharing, sharing_of
from rlnlp.rollout.sampling import sample
from rlnlp.types import take
from support import small

PROMPTS = [[3, 4, 5, 6], [7, 8], [9, 3, 4, 5, 6, 7]]
GROUP = torch.tensor([0, 1, 0, 2, 1, 0, 2])  # ragged groups, not side by side
MORE = 2 * ROOM + 3  # so that the room grows


LLAMA3 = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 16}  # fmt: skip


def biased(config):
    made = AutoModelForCausalLM.from_config(config)
    for name, weight in made.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(weight, std=0.3)
    return made


def policy(kind="llama"):
    sizes = {"vocab_size": 16, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
             "num_attention_heads": 4, "initializer_range": 0.3, "attn_implementation": "eager"}  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(5)
        made = {
            "llama": lambda: AutoModelForCausalLM.from_config(LlamaConfig(**sizes)),
            "biased": lambda: biased(LlamaConfig(attention_bias=True, mlp_bias=True, head_dim=16, **sizes)),
            "scaled": lambda: AutoModelForCausalLM.from_config(LlamaConfig(rope_parameters=LLAMA3, **sizes)),
            "mistral": lambda: AutoModelForCausalLM.from_config(
                MistralConfig(sliding_window=None, num_key_value_heads=1, **sizes)
            ),
            "qwen2": lambda: AutoModelForCausalLM.from_config(Qwen2Config(num_key_value_heads=2, **sizes)),
            "window": lambda: AutoModelForCausalLM.from_config(
                MistralConfig(sliding_window=8, num_key_value_heads=4, **sizes)
            ),
            "gpt2": small.gpt2,
        }[kind]()
    return Policy(made)


def adapted(made, spread=0.3, without=()):
    """The same with an adapter that has learned something, on all layers but those ``without``."""
    rng, adapters = np.random.default_rng(4), Adapters()
    layers = {name: x for name, x in linear_layers(made.lm).items() if not name.endswith(tuple(without))}
    adapter = new_adapter(layers, 2, 4.0, rng)
    with torch.no_grad():
        for product in adapter.products.values():
            b = product.lora_B.weight
            b.copy_(torch.from_numpy(rng.normal(0, spread, tuple(b.shape))))
    let_use(made.lm, adapters)
    made.learn(adapter, adapters)
    return made


def in_place(made, decoding_from=0):
    made.sharing = replace(sharing_of(made.lm, made.context), decoding_from=decoding_from, own_step=False)
    return made


def by_step(made, decoding_from=10**9):
    made.sharing = replace(sharing_of(made.lm, made.context), decoding_from=decoding_from)
    assert made.sharing.own_step
    return made


def logits(made, steps, drop_at=(), more=MORE):
    """The logits of each step for the rows that are left, of tokens that are given; and the decoder."""
    prompts = take(small.prompts(*PROMPTS), GROUP)
    tokens = torch.randint(3, 16, (len(GROUP), steps), generator=torch.Generator().manual_seed(2))
    rows, attention, inputs, found = torch.arange(len(GROUP)), prompts.mask, prompts.tokens, []
    decoder = Decoder(made, more)
    with torch.no_grad():
        for t in range(steps):
            found.append((rows, decoder(inputs, attention)))
            attention = torch.cat([attention, torch.ones_like(attention[:, :1])], dim=1)
            inputs = tokens[rows, t : t + 1]
            if t in drop_at:
                keep = torch.arange(len(rows))[torch.tensor(drop_at[t])]
                decoder.keep(keep)
                rows, attention, inputs = rows[keep], attention[keep], inputs[keep]
    return found, decoder


DROP_AT = {2: [0, 1, 3, 5, 6], 20: [0, 4]}  # at first of some prompts, then all of one prompt


@pytest.mark.parametrize("decoding_from", [0, 10**9])
@pytest.mark.parametrize("kind", ["llama", "qwen2", "mistral", "biased", "scaled"])
def test_logits_of_the_own_step_are_those_of_transformers_while_rows_leave(kind, decoding_from):
    want, _ = logits(policy(kind), MORE, DROP_AT)
    got, decoder = logits(by_step(policy(kind), decoding_from), MORE, DROP_AT)
    assert decoder.step is not None
    assert (decoder.responses is None) == (decoding_from > 0)
    for (rows, one), (other_rows, other) in zip(got, want, strict=True):
        assert torch.equal(rows, other_rows)
        torch.testing.assert_close(one, other, rtol=0, atol=2e-4)


@pytest.mark.parametrize("decoding_from", [0, 10**9])
def test_the_step_has_the_weights_of_the_moment_and_draws_what_is_drawn_without(decoding_from):
    made, plain = by_step(policy(), decoding_from), policy()
    for each in (made, plain):
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(8)
            for weight in each.parameters():
                weight.add_(0.1 * torch.randn_like(weight))
    prompts = take(small.prompts(*PROMPTS), GROUP.sort().values)
    numbers = torch.rand(len(GROUP), 40, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    drawn = Distribution(1.5, 0, 1.0, 0, (small.END,))
    want, got = (sample(each, prompts, numbers, drawn, pad=0) for each in (plain, made))
    assert len(set(want.mask.sum(1).tolist())) > 2
    assert torch.equal(got.responses, want.responses)
    assert torch.equal(got.mask, want.mask)


def test_room_for_texts_is_made_in_parts_and_never_larger_than_they_can_be():
    for more in (1, ROOM, MORE):
        _, decoder = logits(by_step(policy()), more + 1, more=more)
        assert decoder.step.keys.keys[0].shape[2] == 6 + more
    _, decoder = logits(by_step(policy()), 2, more=1000)
    assert decoder.step.keys.keys[0].shape[2] == 6 + ROOM


def test_the_own_step_is_of_small_models_of_known_kinds_and_within_a_window():
    assert has_step(small.lm(16, width=WIDEST))
    assert not has_step(small.lm(16, width=WIDEST + 4))
    assert has_step(small.lm(16, width=WIDEST + 4), adapted=True)
    assert not has_step(small.lm(16, width=WIDEST_ADAPTED + 4), adapted=True)
    assert not has_step(small.gpt2())
    windowed = policy("window")
    windowed.sharing = sharing_of(windowed.lm, 4 * LONG)
    assert windowed.sharing.own_step
    for more, expected in ((2, True), (3, False)):
        _, decoder = logits(windowed, 1, more=more)
        assert (decoder.step is not None) == expected


def test_in_bfloat16_what_an_adapter_adds_is_not_rounded_away():
    made = by_step(adapted(policy(), 0.001, without=("k_proj",)))
    layer = made.lm.model.layers[0].self_attn
    with torch.no_grad():
        for each in (layer.q_proj, layer.k_proj, layer.v_proj):
            each.weight.fill_(1.0)
    with computing_in(torch.bfloat16, torch.device("cpu")):
        step = logits(made, 1)[1].step
        x = torch.zeros(1, 32)
        x[0, :2] = torch.tensor([1.0, -1.0])  # the weights give 0, and the adapter's share is all there is
        found = step.layers[0].qkv(x)[0].float()
    q, v = (made.adapter.products[f"model.layers.0.self_attn.{name}"].delta() for name in ("q_proj", "v_proj"))
    assert float(q.abs().max()) < 2**-9  # less than half of the last bit of 1
    want = torch.cat([q @ x[0], torch.zeros(32), v @ x[0]])
    torch.testing.assert_close(found, want, rtol=0.02, atol=1e-5)
    assert float(want.abs().max()) > 1e-4


@pytest.mark.parametrize("decoding_from", [0, 10**9])
@pytest.mark.parametrize("without", [(), ("k_proj", "up_proj", "o_proj")])
@pytest.mark.parametrize("kind", ["llama", "biased"])
def test_the_own_step_adds_the_adapter_in_use(kind, without, decoding_from):
    made, plain = (adapted(policy(kind), without=without) for _ in range(2))
    by_step(made, decoding_from)
    (got, decoder), (want, _) = logits(made, MORE, DROP_AT), logits(plain, MORE, DROP_AT)
    assert decoder.step is not None
    for (_, one), (_, other) in zip(got, want, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2e-4)
    made.adapter = None
    (without, _), (base, _) = logits(made, 2), logits(policy(kind), 2)
    torch.testing.assert_close(without[1][1], base[1][1], rtol=0, atol=2e-4)
    assert not torch.allclose(got[1][1], base[1][1], atol=0.1)


def test_a_class_of_a_models_own_code_has_no_step():
    class LlamaForCausalLM(torch.nn.Module):
        config = small.lm(16).config

    assert not has_step(LlamaForCausalLM())


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gpt2"])
def test_logits_are_those_of_the_cache_of_transformers_while_rows_leave(kind):
    want, plain = logits(policy(kind), MORE, DROP_AT)
    got, decoder = logits(in_place(policy(kind)), MORE, DROP_AT)
    assert plain.responses is None
    assert decoder.responses is not None
    for (rows, one), (other_rows, other) in zip(got, want, strict=True):
        assert torch.equal(rows, other_rows)
        torch.testing.assert_close(one, other, rtol=0, atol=2e-4)
    assert len(got[-1][0]) == 2, "rows left"


def test_each_prompt_is_held_once_and_leaves_with_its_last_response():
    _, decoder = logits(in_place(policy()), 6, {2: [1, 4], 4: [0]})
    layer = decoder.responses.layers[0]
    assert layer.prompts[0].shape[:3] == (1, 4, 6)
    assert layer.keys.shape[:3] == (1, 4, ROOM + 1)
    _, before = logits(in_place(policy()), 2)
    assert before.responses.layers[0].prompts[0].shape[0] == 3
    assert before.responses.layers[0].keys.shape[0] == len(GROUP)


def test_the_room_of_the_responses_is_made_in_parts_and_never_larger_than_they_can_be():
    for more in (1, ROOM, MORE):
        _, decoder = logits(in_place(policy()), more + 1, more=more)
        layer = decoder.responses.layers[0]
        assert (layer.filled, layer.keys.shape[2]) == (more, more)
        assert layer.get_seq_length() == 6 + more


def test_only_long_texts_are_sampled_so_and_those_that_a_window_does_not_cut():
    made, longest = Policy(small.lm(16)), LONG - 6
    made.sharing = replace(sharing_of(made.lm, 4 * LONG), own_step=False)
    assert sharing_of(small.lm(16), 64).decoding_from == LONG
    assert sharing_of(small.gpt2(), 64).decoding_from == 0, "without a step of its own, which has room for short texts"
    for more, expected in ((longest - 1, False), (longest, True), (4 * LONG - 6, True), (4 * LONG - 5, False)):
        _, decoder = logits(made, 1, more=more)
        assert (decoder.responses is not None) == expected
    windowed = policy("window")
    windowed.sharing = Sharing(sharing_of(windowed.lm, 4 * LONG).size, 4 * LONG, decoding_from=0)
    _, decoder = logits(windowed, 1)
    assert decoder.responses is None, "a cache that slides is another kind"
    _, decoder = logits(policy(), 1, more=10 * LONG)
    assert decoder.responses is None, "never, without shared prompts"


def test_responses_are_those_that_are_drawn_without():
    prompts = take(small.prompts(*PROMPTS), GROUP.sort().values)
    numbers = torch.rand(len(GROUP), 40, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    drawn = Distribution(1.5, 0, 1.0, 0, (small.END,))
    want = sample(policy(), prompts, numbers, drawn, pad=0)
    got = sample(in_place(policy()), prompts, numbers, drawn, pad=0)
    assert want.ended.any()
    assert len(set(want.mask.sum(1).tolist())) > 2
    assert torch.equal(got.responses, want.responses)
    assert torch.equal(got.mask, want.mask)


@pytest.mark.parametrize("how", [in_place, by_step])
def test_in_bfloat16_the_products_are_of_it(how):
    made = how(policy())
    with computing_in(torch.bfloat16, torch.device("cpu")):
        found, decoder = logits(made, 4)
    plain, _ = logits(policy(), 4)
    for (_, one), (_, other) in zip(found, plain, strict=True):
        torch.testing.assert_close(one.float(), other, rtol=0, atol=0.2)
    if how is in_place:
        assert decoder.responses is not None
    else:
        layer = decoder.step.layers[0]
        assert {layer.qkv.weight.dtype, layer.down.weight.dtype, decoder.step.keys.keys[0].dtype} == {torch.bfloat16}
