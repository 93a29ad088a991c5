"""A prompt that is computed once for several answers: the same vectors and gradients as of each text alone."""

import pytest
import torch
from transformers import BloomConfig, BloomModel, MistralConfig, MistralModel, Qwen2Config, Qwen2Model

from rlnlp.models.reward_check import check_trunks
from rlnlp.models.reward_pooling import last_token, mean_of_tokens
from rlnlp.models.reward_trunk import CausalTrunk
from rlnlp.models.shared_prompt import Size, answers_in_a_row
from rlnlp.models.text_tokens import TextTokens, text_batch
from support import small

CPU = torch.device("cpu")
SIZES = {"vocab_size": 16, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 2, "num_key_value_heads": 1, "attn_implementation": "eager"}
GROUPED = [(0, 3), (0, 6), (0, 1), (1, 2), (2, 4), (0, 2), (2, 2)]  # the prompt of each answer, its tokens
PROMPTS = [(1, 3, 5, 7, 9), (1, 11), ()]


def texts():
    answers = [tuple((3 + 5 * i + 2 * j) % 13 + 3 for j in range(n)) for i, (_, n) in enumerate(GROUPED)]
    return [TextTokens(PROMPTS[p], answer) for (p, _), answer in zip(GROUPED, answers, strict=True)]


def bodies():
    with torch.random.fork_rng():
        torch.manual_seed(5)
        yield "llama", small.lm(16).base_model
        yield "gpt2", small.gpt2().base_model.eval()
        yield "qwen2", Qwen2Model(Qwen2Config(**SIZES, **HEADS, initializer_range=0.3)).eval()


@pytest.mark.parametrize("pool", [last_token, mean_of_tokens])
@pytest.mark.parametrize("count", [2, 3, 8])
@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in bodies()])
def test_vectors_and_gradients_are_those_of_each_text_alone(body, count, pool):
    trunk, batch = CausalTrunk(body, pool), text_batch(texts(), 0, CPU)
    weights = torch.randn(len(GROUPED), 32, generator=torch.Generator().manual_seed(1))

    def gradients(vectors):
        return torch.autograd.grad((vectors * weights).sum(), list(body.parameters()), allow_unused=True)

    alone = torch.cat([trunk(text_batch([text], 0, CPU)) for text in texts()])
    shared = trunk.shared(batch, count)
    torch.testing.assert_close(shared, alone, rtol=1e-4, atol=1e-5)
    for got, want in zip(gradients(shared), gradients(alone), strict=True):
        assert (got is None) == (want is None)
        if want is not None:
            torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-4 * float(want.abs().max()) + 1e-6)


def checked(body):
    trunk = CausalTrunk(body.eval(), last_token)
    check_trunks([trunk], 0, CPU, "it")
    return trunk


def test_a_check_finds_the_models_that_may_share_prompts():
    with torch.random.fork_rng():
        torch.manual_seed(5)
        assert checked(small.lm(16).base_model).shares
        bloom = BloomConfig(vocab_size=16, hidden_size=32, n_layer=2, n_head=2, initializer_range=0.3)
        assert not checked(BloomModel(bloom)).shares, "it counts the distance of tokens by where they stand in the row"


def test_a_row_is_never_longer_than_what_a_token_sees():
    trunk = checked(MistralModel(MistralConfig(**SIZES, **HEADS, sliding_window=24)))
    batch = text_batch([TextTokens((3,) * 16, (4,) * n) for n in (1, 1, 3)], 0, CPU)
    assert trunk.shares
    assert answers_in_a_row(batch, trunk.size, trunk.longest_row) == 4
    assert answers_in_a_row(batch, trunk.size, 20) == 2
    assert answers_in_a_row(batch, trunk.size, 17) == 1
    assert trunk.longest_row == 24
    assert checked(small.lm(16, context=40).base_model).longest_row == 40
    assert not checked(MistralModel(MistralConfig(**SIZES, **HEADS, sliding_window=9))).shares


def test_prompts_are_shared_where_that_is_less_work_and_nowhere_else():
    small_model, big = Size(1_200_000, 4, 160), Size(106_000_000, 30, 576)

    def row_of(prompt, answer, times=2, groups=4):
        each = [TextTokens((3 + g,) * prompt, (4,) * answer) for g in range(groups) for _ in range(times)]
        return text_batch(each, 0, CPU)

    assert answers_in_a_row(row_of(128, 32), big, 10**6) == 2
    assert answers_in_a_row(row_of(128, 32), small_model, 10**6) == 2
    assert answers_in_a_row(row_of(1, 200), big, 10**6) == 1, "there is nothing to share"
    assert answers_in_a_row(row_of(128, 32, times=1), big, 10**6) == 1
    assert answers_in_a_row(row_of(128, 2048, times=8), small_model, 10**6) == 1, "a row's tokens look at all of it"
    assert answers_in_a_row(row_of(256, 8, times=8), big, 10**6) == 8
