"""What the check of a model at load finds, on small models that each have one fault."""

import json
from dataclasses import asdict

import pytest
import torch
from transformers import (
    BartConfig,
    BartForCausalLM,
    BertConfig,
    BertLMHeadModel,
    BloomConfig,
    BloomForCausalLM,
    Lfm2Config,
    Lfm2ForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    RobertaConfig,
    RobertaForCausalLM,
)

from rlnlp.errors import Exit, Failure
from rlnlp.maths.distribution import Distribution
from rlnlp.models.check import check_policy, ordinary_tokens, recompute_layers
from rlnlp.models.policy import Policy
from rlnlp.rollout.sampling import sample
from support import small

SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 40}
LAYERS = {**SIZE, "intermediate_size": 64, "max_position_embeddings": 64}
TOKENS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
OPT = OPTConfig(
    hidden_size=32, num_hidden_layers=2, num_attention_heads=2, ffn_dim=64, vocab_size=40, max_position_embeddings=64,
    word_embed_proj_dim=32, dropout=0.3, init_std=0.3, **TOKENS,
)  # fmt: skip
BLOOM = BloomConfig(hidden_size=32, n_layer=2, n_head=2, vocab_size=40, initializer_range=0.3, **TOKENS)
BART = BartConfig(
    d_model=32, decoder_layers=2, decoder_attention_heads=2, decoder_ffn_dim=64, max_position_embeddings=64,
    vocab_size=40, is_decoder=True, **TOKENS,
)  # fmt: skip
LFM2 = Lfm2Config(**LAYERS, num_key_value_heads=2, layer_types=["conv", "full_attention"], **TOKENS)
MADE = {
    "bert": lambda: BertLMHeadModel(BertConfig(**LAYERS, pad_token_id=0)),
    "bert decoder": lambda: BertLMHeadModel(BertConfig(**LAYERS, pad_token_id=0, is_decoder=True)),
    "bloom": lambda: BloomForCausalLM(BLOOM),
    "lfm2": lambda: Lfm2ForCausalLM(LFM2),
    "mamba": lambda: MambaForCausalLM(MambaConfig(**{**SIZE, "num_attention_heads": 1}, state_size=8, **TOKENS)),
    "opt": lambda: OPTForCausalLM(OPT),
    "roberta": lambda: RobertaForCausalLM(RobertaConfig(**LAYERS, is_decoder=True, pad_token_id=1)),
    "bart": lambda: BartForCausalLM(BART),
    "llama": lambda: small.lm(40),
    "gpt2": small.gpt2,
}


def made(kind):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Policy(MADE[kind]())


def refused(policy):
    with pytest.raises(Failure) as failure:
        check_policy(policy, "model 'x'")
    assert failure.value.code == Exit.MODEL == 4
    head, advice = str(failure.value).split("\n")
    assert advice
    return head


SOUND = {  # kind: first position, cached, shrinks
    "llama": (0, True, True), "gpt2": (0, True, True), "bloom": (0, True, True), "opt": (0, True, True),
    "bert decoder": (0, True, True), "lfm2": (0, True, False), "mamba": (0, False, True), "roberta": (2, True, True),
}  # fmt: skip


@pytest.mark.parametrize("kind", SOUND)
def test_a_sound_model_is_used_with_what_it_can_do(kind):
    policy = made(kind)
    found = check_policy(policy, "it")
    assert (found.first_position, found.cached, found.shrinks) == SOUND[kind]
    assert (policy.first_position, policy.cached, policy.shrinks) == SOUND[kind]
    assert policy.hidden_size == found.width == 32
    assert found.shares == (kind not in ("bloom", "lfm2", "mamba")), "a bias or a state counts where a token stands"
    assert policy.sharing is None, "until the settings allow it"
    assert len(list(found.notes())) == (kind in ("lfm2", "mamba"))


def test_a_model_whose_layers_do_more_than_their_weights_say_shares_no_prompts():
    policy = made("llama")  # its tokens are sampled by the weights, without the code of its layers
    policy.lm.model.layers[1].mlp.register_forward_hook(lambda module, given, out: 2 * out)
    assert not check_policy(policy, "it").shares
    policy = made("gpt2")
    policy.lm.transformer.h[1].mlp.register_forward_hook(lambda module, given, out: 2 * out)
    assert check_policy(policy, "it").shares


@torch.no_grad()
def likeliest(lm, prompt, longest):
    """The likeliest tokens, each from a pass over all before it, without cache, mask and padding."""
    ids = list(prompt)
    while len(ids) < len(prompt) + longest and ids[-1] != 2:
        ids.append(int(lm(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
    return ids[len(prompt) :]


@pytest.mark.parametrize("kind", SOUND)
def test_greedy_responses_are_those_of_transformers_and_the_batch_changes_none(kind):
    policy = made(kind)
    check_policy(policy, "it")
    prompts, uniforms = [[5, 9, 11, 13], [7, 8], [10]], torch.full((3, 7), 0.5, dtype=torch.float64)
    greedy = Distribution(1.0, 1, 1.0, 0, (2,))
    together = sample(policy, small.prompts(*prompts), uniforms, greedy, pad=0)
    for i, prompt in enumerate(prompts):
        got = together.responses[i][together.mask[i]].tolist()
        assert got == likeliest(policy.lm, prompt, 7)
        if kind != "roberta":  # transformers gives it positions from 0 when it generates, and from 2 otherwise
            ids = torch.tensor([prompt])
            asked = {"do_sample": False, "max_new_tokens": 7, "eos_token_id": 2, "pad_token_id": 0}
            want = policy.lm.generate(ids, attention_mask=torch.ones_like(ids), **asked)
            assert got == want[0, len(prompt) :].tolist()


def test_rows_that_have_ended_stay_where_the_cache_cannot_do_without_them():
    policy = made("lfm2")
    check_policy(policy, "it")
    uniforms = torch.rand(12, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    prompts = small.prompts(*([5 + i, 9] for i in range(12)))
    many = tuple(range(0, 40, 3))  # so many end tokens that rows end all the time
    drawn = sample(policy, prompts, uniforms, Distribution(1.0, 0, 1.0, 0, many), pad=0)
    assert len(set(drawn.mask.sum(1).tolist())) > 2
    alone = sample(policy, small.prompts([5 + 3, 9]), uniforms[3:4], Distribution(1.0, 0, 1.0, 0, many), pad=0)
    assert drawn.responses[3][drawn.mask[3]].tolist() == alone.responses[0][alone.mask[0]].tolist()


def test_a_model_that_sees_later_tokens_is_refused():
    assert refused(made("bert")).startswith(
        "model 'x' cannot be used (causal): another last token changes the logits before it, by "
    )


def test_a_model_for_which_padding_is_text_is_refused():
    assert refused(made("bart")).startswith(
        "model 'x' cannot be used (padding): in a padded batch a text has other logits, by "
    )


def test_rows_that_depend_on_each_other_are_refused():
    policy = made("llama")
    policy.lm.lm_head.register_forward_hook(lambda head, read, out: out + (out[1].mean() if len(out) > 2 else 0))
    assert "(padding)" in refused(policy)


def test_noise_is_refused():
    policy = made("llama")
    batches = []

    def noise(head, read, out):
        batches.extend([1] if len(out) == 3 else [])
        return out + (len(batches) > 1) * torch.arange(40.0)  # the second batch gives other logits than the first

    policy.lm.lm_head.register_forward_hook(noise)
    assert "(noise): two passes differ" in refused(policy)


def test_a_model_that_does_not_read_the_order_is_refused():
    policy = made("gpt2")
    policy.lm.transformer.wpe.weight.data.zero_()
    policy.lm.transformer.h = policy.lm.transformer.h[:1]  # a second layer would see how many came before
    policy.lm.config.n_layer = 1
    assert "(positions): the order of a text's tokens changes nothing" in refused(policy)


def test_logits_that_are_not_finite_are_refused():
    policy = made("llama")
    policy.lm.lm_head.register_forward_hook(lambda head, read, out: out / 0)
    assert "(finite): its logits are not finite" in refused(policy)


def test_a_forward_pass_that_fails_is_exit_4_with_its_error():
    policy = made("llama")
    policy.lm.lm_head.register_forward_hook(lambda head, read, out: out @ torch.ones(3, 3))
    assert "(forward): a text of 12 tokens cannot be read: RuntimeError" in refused(policy)


def test_out_of_memory_is_no_fault_of_the_model():
    policy = made("llama")

    def full(*_):
        raise MemoryError

    policy.lm.lm_head.register_forward_hook(full)
    with pytest.raises(MemoryError):
        check_policy(policy, "it")


def test_a_cache_that_is_wrong_is_not_used():
    policy = made("llama")

    def forgets(layer, args, kwargs):
        cache = kwargs.get("past_key_values")
        if cache is not None and cache.get_seq_length() > 0:
            for each in cache.layers:
                if each.is_initialized:
                    each.keys = torch.zeros_like(each.keys)

    policy.lm.model.layers[0].register_forward_pre_hook(forgets, with_kwargs=True)
    found = check_policy(policy, "it")
    assert not found.cached
    assert list(found.notes()) == [
        "this model's cache cannot be used for sampling: each token costs a pass over the whole text"
    ]


def test_findings_of_the_same_weights_are_taken_over_and_of_others_are_not():
    policy = made("roberta")
    known = asdict(check_policy(policy, "it"))
    again, passes = made("roberta"), []
    again.lm.register_forward_pre_hook(lambda *_: passes.append(1))
    check_policy(again, "it", json.loads(json.dumps(known)))
    assert not passes
    assert again.first_position == 2
    with torch.no_grad():
        again.lm.lm_head.bias += 1
    check_policy(again, "it", known)
    assert len(passes) > 5


@pytest.mark.parametrize("kind", ["llama", "gpt2", "opt"])
def test_recomputing_is_turned_on_where_it_gives_the_same_gradient(kind):
    policy = made(kind)
    recompute_layers(policy, "it")
    assert policy.recomputed
    assert not any(module.training for module in policy.lm.modules())


def test_a_model_that_gives_no_gradient_without_dropout_is_refused():
    policy = made("llama")

    class OnlyWhileTraining(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            raise AssertionError("use model.train()")

    policy.lm.model.layers[1].register_forward_hook(lambda layer, read, out: OnlyWhileTraining.apply(out))
    with pytest.raises(Failure, match=r"\(gradient\): no gradient can be computed: .*use model\.train\(\)"):
        check_policy(policy, "it")


def test_recomputing_that_gives_other_gradients_is_refused():
    policy, passes = made("llama"), []

    def other_each_time(layer, read, out):
        passes.append(1)
        return out * (1 + 0.1 * (len(passes) % 3))

    policy.lm.model.layers[0].mlp.register_forward_hook(other_each_time)
    with pytest.raises(Failure, match=r"\(recomputing\): with model\.gradient_checkpointing a gradient differs by"):
        recompute_layers(policy, "it")


def test_the_texts_of_the_check_have_no_token_with_a_meaning_of_its_own():
    policy = made("llama")
    policy.lm.config.image_token_id = 20
    tokens = ordinary_tokens(policy)
    assert len(set(tokens)) == len(tokens) > 10
    assert not {0, 1, 2, 20} & set(tokens)


def test_a_short_context_is_enough_for_the_check():
    policy = made("llama")
    policy.lm.config.max_position_embeddings = 6
    assert check_policy(policy, "it").cached


def test_positions_of_roberta_leave_room_in_its_table():
    policy = made("roberta")
    check_policy(policy, "it")
    assert policy.context == 62
    prompts, d = small.prompts([5] * 50, [7, 8]), Distribution(1.0, 0, 1.0, 0, (39,))
    uniforms = torch.full((2, 12), 0.5, dtype=torch.float64)
    assert sample(policy, prompts, uniforms, d, pad=0).responses.shape == (2, 12)
