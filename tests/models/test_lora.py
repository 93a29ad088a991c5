"""Adapters: what they compute, what they share, what is saved of them, and what of theirs is refused."""

import copy
import json
import re
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, GPT2LMHeadModel

from rlnlp import build
from rlnlp.commands.preflight import parse_run_config
from rlnlp.config.model import Device, Lora
from rlnlp.device import computing_in
from rlnlp.errors import Exit, Failure
from rlnlp.models.adapter_files import ADAPTER, ADAPTER_WEIGHTS, BASE_RECORD, is_plain
from rlnlp.models.adapter_weights import learn_adapter
from rlnlp.models.check import recompute_layers
from rlnlp.models.critic import adapter_critic, critic_like
from rlnlp.models.load import load_policy, load_tokenizer
from rlnlp.models.lora import linear_layers, target_names
from rlnlp.models.policy import Policy
from rlnlp.models.save import pretrained_files, save_policy
from rlnlp.models.tokenizer import Tokenizer
from rlnlp.types import Rollout
from support import runs, small

ALL = Lora(4, 8.0, "all-linear", False)
IDS = torch.tensor([[1, 5, 9, 7, 11], [3, 4, 8, 6, 2]])


def gpt2(place):
    small.gpt2().eval().save_pretrained(place)
    return place


def adapted(place, lora=ALL, spread=0.3):
    """A policy of the model in a folder, whose adapter has learned something: B is not 0."""
    policy = Policy(AutoModelForCausalLM.from_pretrained(place, attn_implementation="eager"))
    learn_adapter(policy, lora, str(place), None, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    with torch.no_grad():
        for product in policy.adapter.products.values() if spread else ():
            b = product.lora_B.weight
            b.copy_(torch.from_numpy(rng.normal(0, spread, tuple(b.shape))))
    return policy


def logits(policy):
    return policy.call(input_ids=IDS, use_cache=False).logits


def saved(policy, place, lora=ALL):
    """The folder of a policy as a run saves it."""
    model = build_model(lora)
    words = Tokenizer(small.tokenizer(), (small.END,), 0, (1,))
    policy.files = pretrained_files(policy, words)
    save_policy(place, policy, words, model)
    return place


def build_model(lora):
    asked = runs.settings(["algo=sft", f"model.lora.rank={lora.rank}", f"model.lora.alpha={lora.alpha}"])
    asked["model"]["lora"]["merge"] = lora.merge
    return parse_run_config(asked).model


def rollout():
    prompts = small.prompts([1, 4, 5], [1, 6])
    responses = torch.tensor([[7, 8, 2], [9, 10, 11]])
    mask = torch.ones_like(responses, dtype=torch.bool)
    return Rollout(prompts, responses, mask, torch.cat([prompts.mask, mask], 1), torch.tensor([True, False]))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return small.save_model(tmp_path_factory.mktemp("adapters") / "base")


@pytest.mark.parametrize("make", [lambda place: place, lambda place: gpt2(place.parent / "gpt2")])
def test_a_layer_gives_w_x_plus_alpha_over_rank_b_a_x(place, make):
    where = make(place)
    policy = adapted(where)
    by_hand = AutoModelForCausalLM.from_pretrained(where, attn_implementation="eager").eval()
    for name, product in policy.adapter.products.items():
        a, b = (each.weight.detach().double().numpy() for each in (product.lora_A, product.lora_B))
        weight = by_hand.get_submodule(name).weight
        delta = 8.0 / 4 * b @ a  # outputs x inputs; GPT-2 has its weights the other way round
        with torch.no_grad():
            weight += torch.from_numpy(delta.T if isinstance(by_hand, GPT2LMHeadModel) else delta)
    expected = by_hand(IDS).logits
    assert float((expected - policy.lm(IDS).logits).detach().abs().max()) > 0.1
    torch.testing.assert_close(logits(policy), expected, rtol=1e-4, atol=1e-4)


def test_an_adapter_starts_as_nothing_and_each_layer_but_the_head_has_one(place):
    plain, policy = (
        AutoModelForCausalLM.from_pretrained(place, attn_implementation="eager").eval(),
        adapted(place, spread=0),
    )
    torch.testing.assert_close(logits(policy), plain(IDS).logits, rtol=1e-5, atol=1e-5)
    names = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert {name.rpartition(".")[2] for name in policy.adapter.products} == names
    assert len(policy.adapter.products) == 2 * len(names)
    a = policy.adapter.products["model.layers.0.self_attn.q_proj"].lora_A.weight
    assert a.shape == (4, 32)
    assert float(a.detach().abs().max()) <= 32**-0.5
    assert float(a.detach().std()) == pytest.approx(32**-0.5 / 3**0.5, rel=0.2)  # uniform


def test_the_same_stream_starts_the_same_adapter_and_no_global_state_is_touched(place):
    before = torch.get_rng_state()
    one, other = adapted(place, spread=0), adapted(place, spread=0)
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(one.adapter.parameters(), other.adapter.parameters(), strict=True))


def test_only_the_adapter_learns_and_the_reference_is_the_base_without_a_copy(place):
    policy = adapted(place)
    assert {id(p) for p in policy.trainable()} == {id(p) for p in policy.adapter.parameters()}
    fresh = adapted(place, spread=0)
    reference = fresh.reference()
    assert reference.lm is fresh.lm
    assert reference.trainable() == []
    plain = AutoModelForCausalLM.from_pretrained(place, attn_implementation="eager").eval()(IDS).logits
    with torch.no_grad():
        for weight in fresh.adapter.parameters():
            weight.add_(0.2)
    torch.testing.assert_close(logits(reference), plain, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(logits(fresh), plain)


def test_the_reference_of_an_adapter_that_has_learned_is_as_it_was_at_the_start(place):
    policy = adapted(place)
    before, reference = logits(policy).detach(), policy.reference()
    with torch.no_grad():
        for weight in policy.adapter.parameters():
            weight.mul_(2)
    assert torch.equal(logits(reference), before)
    assert reference.trainable() == []


def test_policy_and_critic_are_two_adapters_of_one_base(place):
    policy = adapted(place)
    critic = adapter_critic(policy)
    assert {name.rpartition(".")[2] for name in critic.state_dict()} == {"weight", "bias"}
    learns = {id(p) for p in critic.parameters()}
    assert not learns & {id(p) for p in policy.parameters()}
    assert sum(p.numel() for p in critic.parameters()) == sum(p.numel() for p in policy.adapter.parameters()) + 33
    with torch.no_grad():
        critic.head.linear.weight.fill_(1.0)
    before = critic(rollout())
    with torch.no_grad():
        for weight in policy.adapter.parameters():
            weight.mul_(2)
    assert torch.equal(critic(rollout()), before)
    with torch.no_grad():
        for weight in critic.adapter.parameters():
            weight.mul_(2)
    assert not torch.allclose(critic(rollout()), before)


def test_an_adapter_critic_has_the_values_of_a_whole_copy_and_a_separate_one_starts_where_the_policy_is(place):
    policy = adapted(place)
    critic, whole = adapter_critic(policy), critic_like(policy)
    for each in (critic, whole):
        torch.nn.init.constant_(each.head.linear.weight, 0.5)
    torch.testing.assert_close(critic(rollout()), whole(rollout()), rtol=1e-4, atol=1e-4)
    assert all(weight.requires_grad for weight in whole.parameters())
    assert not any(weight.requires_grad for weight in policy.lm.parameters())
    assert {p.data_ptr() for p in whole.parameters()}.isdisjoint(p.data_ptr() for p in policy.lm.parameters())


def test_layers_that_are_recomputed_use_the_adapter_of_their_first_pass(place):
    """The policy's graph is walked back after the critic has used the same layers with its own adapter."""

    def gradients(policy):
        critic = adapter_critic(policy)
        with torch.no_grad():
            critic.head.linear.weight.fill_(0.3)
            for product in critic.adapter.products.values():
                product.lora_B.weight.mul_(-1)
        said, values = policy(rollout(), small.plain()).logprobs.sum(), critic(rollout()).sum()
        said.backward()
        values.backward()
        return [p.grad.clone() for p in (*policy.adapter.parameters(), *critic.parameters())]

    plain, recomputed = adapted(place), adapted(place)
    recompute_layers(recomputed, "the model")
    assert recomputed.recomputed
    assert all(p.grad is None for p in recomputed.parameters())
    for one, other in zip(gradients(plain), gradients(recomputed), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("make", [lambda place: place, lambda place: gpt2(place.parent / "gpt2")])
def test_in_bfloat16_the_base_is_cast_once_and_gives_the_same(make, place):
    where = make(place)
    policy, plain = adapted(where), AutoModelForCausalLM.from_pretrained(where, attn_implementation="eager").eval()
    with computing_in(torch.bfloat16, torch.device("cpu")):
        assert torch.equal(policy.lm(IDS, use_cache=False).logits, plain(IDS, use_cache=False).logits)
        cast = {name: layer.forward.cast for name, layer in linear_layers(policy.lm).items()}
        logits(policy)
    assert all(weight is not None and weight.dtype == torch.bfloat16 for weight in cast.values())
    assert all(layer.forward.cast is cast[name] for name, layer in linear_layers(policy.lm).items())
    assert torch.equal(policy.lm(IDS).logits, plain(IDS).logits)


@pytest.mark.parametrize("make", [lambda place: place, lambda place: gpt2(place.parent / "gpt2")])
def test_gradients_are_those_of_autograd_on_merged_weights(make, place):
    """Of W + s B A the gradient G gives s B^T G for A and s G A^T for B; layers below see gradients through both."""
    where = make(place)
    policy, whole = adapted(where), AutoModelForCausalLM.from_pretrained(where, attn_implementation="eager").eval()
    products, turned = policy.adapter.products, isinstance(whole, GPT2LMHeadModel)
    with torch.no_grad():
        for name, product in products.items():
            weight, delta = whole.get_submodule(name).weight, product.delta()
            weight.add_(delta.t() if turned else delta)
    policy(rollout(), small.plain()).logprobs.sum().backward()
    Policy(whole)(rollout(), small.plain()).logprobs.sum().backward()
    for name, product in products.items():
        a, b = product.lora_A.weight, product.lora_B.weight
        found = whole.get_submodule(name).weight.grad
        gradient = found.t() if turned else found
        torch.testing.assert_close(a.grad, product.scale * b.detach().t() @ gradient, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(b.grad, product.scale * gradient @ a.detach().t(), rtol=1e-3, atol=1e-3)


def test_the_base_gets_no_gradient_and_every_product_gets_one(place):
    policy = adapted(place)
    policy(rollout(), small.plain()).logprobs.sum().backward()
    assert all(weight.grad is None for weight in policy.lm.parameters())
    assert all(bool(weight.grad.any()) for weight in policy.adapter.parameters())


def test_a_folder_holds_what_learns_and_is_read_without_peft_as_whole_weights(place, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    policy = adapted(place)
    folder = saved(policy, tmp_path / "adapter")
    tensors = load_file(folder / ADAPTER_WEIGHTS)
    assert "base_model.model.model.layers.1.mlp.down_proj.lora_B.weight" in tensors
    assert sum(t.numel() for t in tensors.values()) == sum(p.numel() for p in policy.adapter.parameters())
    assert not (folder / "config.json").exists()
    config = json.loads((folder / ADAPTER).read_text())
    assert (config["r"], config["lora_alpha"], config["base_model_name_or_path"]) == (4, 8.0, str(place))
    loaded, _ = load_policy(str(folder), True, torch.device("cpu"))
    torch.testing.assert_close(logits(loaded), logits(policy), rtol=1e-4, atol=1e-4)
    assert all(weight.requires_grad for weight in loaded.parameters())
    assert loaded.adapter is None
    assert load_tokenizer(str(folder), True).raw.get_vocab() == small.tokenizer().get_vocab()


def test_merged_weights_are_a_whole_model_that_needs_no_base(place, tmp_path):
    policy = adapted(place)
    before = copy.deepcopy(policy.lm.state_dict())
    folder = saved(policy, tmp_path / "merged", Lora(4, 8.0, "all-linear", True))
    assert not (folder / ADAPTER).exists()
    whole = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    torch.testing.assert_close(whole(IDS).logits, logits(policy), rtol=1e-4, atol=1e-4)
    assert all(torch.equal(tensor, before[name]) for name, tensor in policy.lm.state_dict().items())


def test_an_adapter_learns_on_where_it_was(place, tmp_path):
    policy = adapted(place)
    folder = saved(policy, tmp_path / "adapter")
    model = build_model(ALL)
    found = build.adapted_language(replace(model, path=str(folder)), Device("cpu", 1, "auto", "none", "float32"), 0)
    assert torch.equal(logits(found.policy), logits(policy))
    assert torch.equal(logits(found.policy.reference()), logits(policy))
    files = found.policy.files()
    assert json.loads(files[ADAPTER])["base_model_name_or_path"] == str(place)
    assert files[BASE_RECORD] == (folder / BASE_RECORD).read_bytes()


@pytest.mark.parametrize(
    ("lora", "words"),
    [
        (Lora(8, 8.0, "all-linear", False), "is an adapter of model.lora.rank=4 model.lora.alpha=8, and "
         "model.lora.rank=8 model.lora.alpha=8 is asked for"),
        (Lora(4, 16.0, "all-linear", False), "to learn on with it: model.lora.rank=4 model.lora.alpha=8;"),
        (Lora(4, 8.0, ["q_proj", "v_proj"], False), "of other layers than model.lora.target_modules says\n"
         "to learn on with it: 'model.lora.target_modules=[down_proj,"),
    ],
)  # fmt: skip
def test_an_adapter_of_another_kind_is_not_learned_on(lora, words, place, tmp_path):
    folder = saved(adapted(place), tmp_path / "adapter")
    plain = Policy(AutoModelForCausalLM.from_pretrained(place))
    with pytest.raises(Failure, match=re.escape(words)) as failure:
        learn_adapter(plain, lora, str(folder), str(place), np.random.default_rng(0))
    assert failure.value.code == Exit.MODEL
    assert len(str(failure.value).splitlines()) <= 3


def test_an_adapter_of_a_base_that_has_changed_is_refused(place, tmp_path):
    base = shutil.copytree(place, tmp_path / "base")
    folder = saved(adapted(base), tmp_path / "adapter")
    small.lm(len(small.tokenizer()), seed=1).save_pretrained(base)
    with pytest.raises(Failure, match="is an adapter of other weights than") as failure:
        load_policy(str(folder), True, torch.device("cpu"))
    assert failure.value.code == Exit.MODEL


@pytest.mark.parametrize(
    "spoil",
    [
        lambda tensors: {k.replace("layers.1", "layers.7"): t for k, t in tensors.items()},
        lambda tensors: {k: t for k, t in tensors.items() if not k.endswith("layers.1.mlp.up_proj.lora_A.weight")},
        lambda tensors: {k: t[:, :-1].contiguous() if "lora_A" in k else t for k, t in tensors.items()},
    ],
)
def test_an_adapter_that_does_not_fit_its_base_is_refused(spoil, place, tmp_path):
    folder = saved(adapted(place), tmp_path / "adapter")
    (folder / BASE_RECORD).unlink()
    save_file(spoil(load_file(folder / ADAPTER_WEIGHTS)), folder / ADAPTER_WEIGHTS)
    with pytest.raises(Failure, match=r"does not fit its base: layer 'model\.layers\.") as failure:
        load_policy(str(folder), True, torch.device("cpu"))
    assert failure.value.code == Exit.MODEL


@pytest.mark.parametrize(
    ("change", "plain"),
    [
        ({}, True),
        ({"init_lora_weights": "pissa"}, False),
        ({"use_dora": True}, False),
        ({"use_rslora": True}, False),
        ({"bias": "all"}, False),
        ({"modules_to_save": ["score"]}, False),
        ({"rank_pattern": {"q_proj": 2}}, False),
        ({"peft_type": "IA3"}, False),
        ({"something_new": 3}, False),
        ({"use_dora": False, "rank_pattern": {}, "revision": None, "peft_version": "0.21.2"}, True),
    ],
)
def test_what_peft_alone_can_load_is_left_to_it(change, plain, place, tmp_path):
    folder = saved(adapted(place), tmp_path / "adapter")
    config = json.loads((folder / ADAPTER).read_text()) | change
    (folder / ADAPTER).write_text(json.dumps(config))
    assert is_plain(folder) == plain


def test_layers_are_named_by_the_end_of_their_names(place):
    policy = adapted(place, Lora(2, 4.0, ["q_proj", "layers.1.mlp.up_proj"], False))
    assert sorted(policy.adapter.products) == [
        "model.layers.0.self_attn.q_proj", "model.layers.1.mlp.up_proj", "model.layers.1.self_attn.q_proj",
    ]  # fmt: skip
    named = json.loads(policy.adapter_files[ADAPTER])["target_modules"]
    assert named == sorted(policy.adapter.products)  # up_proj alone would mean the other layer's too
    layers = {name: layer for name, layer in linear_layers(policy.lm).items() if name.endswith("q_proj")}
    assert target_names(policy.lm, layers) == ["q_proj"]


def test_a_layer_that_is_not_there_is_told_with_those_that_are(place):
    with pytest.raises(Failure, match="no linear layer is called 'q_projj'; did you mean 'q_proj'") as failure:
        adapted(place, Lora(2, 4.0, ["q_projj"], False))
    assert failure.value.code == Exit.CONFIG
    assert "this model has: down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj" in str(failure.value)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")  # of peft
@pytest.mark.parametrize("make", [lambda place: place, lambda place: gpt2(place.parent / "gpt2")])
def test_peft_reads_the_folder_and_gives_the_same_logits_gradients_and_merged_weights(place, make, tmp_path):
    peft = pytest.importorskip("peft", reason="needs peft: pip install 'rlnlp[lora]'")
    where = make(place)
    policy = adapted(where)
    folder = saved(policy, tmp_path / "adapter")
    base = AutoModelForCausalLM.from_pretrained(where, attn_implementation="eager").eval()
    theirs = peft.PeftModel.from_pretrained(base, folder, is_trainable=True).eval()
    torch.testing.assert_close(theirs(IDS).logits, logits(policy), rtol=1e-5, atol=1e-5)
    theirs(IDS).logits.log_softmax(-1)[..., 3].sum().backward()
    logits(policy).log_softmax(-1)[..., 3].sum().backward()
    got = {name: p.grad for name, p in policy.adapter.named_parameters()}
    wanted = {n.replace(".default", ""): p.grad for n, p in theirs.named_parameters() if p.requires_grad}
    assert got.keys() == wanted.keys()
    for name, gradient in got.items():
        torch.testing.assert_close(gradient, wanted[name], rtol=1e-4, atol=1e-4)
    merged = theirs.merge_and_unload()
    ours, _ = load_policy(str(folder), True, torch.device("cpu"))
    for name, weight in merged.named_parameters():
        torch.testing.assert_close(ours.lm.get_parameter(name), weight, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_an_adapter_of_peft_is_read_with_and_without_peft_alike(place, tmp_path, monkeypatch):
    peft = pytest.importorskip("peft", reason="needs peft: pip install 'rlnlp[lora]'")
    lora = peft.LoraConfig(r=2, target_modules=["q_proj", "up_proj"], task_type="CAUSAL_LM", init_lora_weights=False)
    wrapped = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(place), lora)
    wrapped.save_pretrained(tmp_path / "theirs")
    assert is_plain(tmp_path / "theirs")
    expected = wrapped(IDS).logits
    monkeypatch.setitem(sys.modules, "peft", None)
    policy, _ = load_policy(str(tmp_path / "theirs"), True, torch.device("cpu"))
    torch.testing.assert_close(logits(policy), expected, rtol=1e-4, atol=1e-4)
