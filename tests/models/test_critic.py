"""What a state is worth: values before each token, critics from a reward model, less memory for the same gradient."""

import copy
import shutil
from dataclasses import replace

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    GPT2ForSequenceClassification,
    LlamaForSequenceClassification,
)

from rlnlp.errors import Exit, Failure
from rlnlp.models.critic import Critic, PolicyWithValueHead, ValuesOfHead, critic_like, fitted_to, value_head
from rlnlp.models.fast import checkpointed
from rlnlp.models.load import load_critic
from rlnlp.models.policy import Policy
from rlnlp.rollout.sampling import sample
from rlnlp.types import Prompts, Rollout, take
from support import small

CLOSE = {"rtol": 1e-4, "atol": 1e-5}
PROMPTS = [[(3 * i + 5 * j * j) % 13 + 3 for j in range(1 + i % 4)] for i in range(8)]


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def policy(request):
    return small.policy(seed=1) if request.param == "llama" else Policy(small.gpt2())


def drawn(policy):
    """Ragged responses; the second token of the first long row is read but not chosen."""
    uniforms = torch.rand(8, 10, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    rollout = sample(policy, small.prompts(*PROMPTS), uniforms, small.plain(), pad=0)
    assert len(set(rollout.mask.sum(1).tolist())) > 2
    mask = rollout.mask.clone()
    mask[int(rollout.mask.sum(1).argmax()), 1] = False
    return replace(rollout, mask=mask)


def awake(head):
    """A head whose values are not 0."""
    generator = torch.Generator().manual_seed(4)
    for weight in head.parameters():
        weight.data.copy_(torch.randn(weight.shape, generator=generator))
    return head


def kinds(policy):
    """Values of a rollout by a head on the policy, with the policy's answers, alone, and by a critic of its own."""
    both, critic = PolicyWithValueHead(policy, awake(value_head(policy))), critic_like(policy)
    awake(critic.head)
    return {
        "shared": (lambda rollout: both(rollout, small.plain()).values, both.head),
        "alone": (ValuesOfHead(policy, both.head), both.head),
        "separate": (critic, critic.head),
    }


@pytest.mark.parametrize("kind", ["shared", "alone", "separate"])
@torch.no_grad()
def test_a_value_is_of_the_state_before_its_token_one_sequence_at_a_time_without_padding(policy, kind):
    rollout, (values, head) = drawn(policy), kinds(policy)[kind]
    got = values(rollout)
    assert got.shape == rollout.mask.shape
    for row in range(8):
        chosen = torch.cat([torch.zeros_like(rollout.prompts.mask[row]), rollout.mask[row]])[rollout.attention[row]]
        tokens = rollout.tokens[row][rollout.attention[row]]
        hidden = policy.lm.base_model(tokens.unsqueeze(0)).last_hidden_state[0]
        want = torch.stack([head.linear(hidden[t - 1])[0] for t in chosen.nonzero().flatten().tolist()])
        torch.testing.assert_close(got[row][rollout.mask[row]], want, **CLOSE)
        assert not got[row][~rollout.mask[row]].any()


@pytest.mark.parametrize("kind", ["shared", "alone", "separate"])
@torch.no_grad()
def test_padding_other_rows_and_what_stands_behind_the_mask_change_no_value(policy, kind):
    rollout, (values, _) = drawn(policy), kinds(policy)[kind]
    p, want = rollout.prompts, values(rollout)
    wide = Prompts(
        torch.cat([torch.full((8, 3), 13), p.tokens.where(p.mask, torch.tensor(11))], dim=1),
        torch.cat([torch.zeros(8, 3, dtype=torch.bool), p.mask], dim=1),
        p.rows,
    )
    read = rollout.attention[:, -rollout.mask.shape[1] :]
    off = torch.zeros(8, 2, dtype=torch.bool)
    responses = torch.cat([rollout.responses.where(read, torch.tensor(14)), torch.full((8, 2), 9)], dim=1)
    other = Rollout(
        wide, responses, torch.cat([rollout.mask, off], 1), torch.cat([wide.mask, read, off], 1), rollout.ended
    )
    got = values(other)
    torch.testing.assert_close(got[:, :-2], want, **CLOSE)
    assert not got[:, -2:].any()
    for row in range(8):
        torch.testing.assert_close(values(take(rollout, torch.tensor([row]))), want[row : row + 1], **CLOSE)


@torch.no_grad()
def test_a_head_leaves_the_policy_s_answers_as_they_are_and_starts_at_0(policy):
    rollout = drawn(policy)
    said, both = policy(rollout, small.plain()), PolicyWithValueHead(policy, value_head(policy))(rollout, small.plain())
    torch.testing.assert_close(both.logprobs, said.logprobs, **CLOSE)
    torch.testing.assert_close(both.entropy, said.entropy, **CLOSE)
    assert not both.values.any()
    assert not critic_like(policy)(rollout).any()


def test_the_values_alone_move_the_head_and_nothing_else(policy):
    alone = ValuesOfHead(policy, value_head(policy))
    alone(drawn(policy)).square().sub(1).sum().backward()
    alone(drawn(policy)).sum().backward()
    assert alone.head.linear.weight.grad.any()
    assert all(weight.grad is None for weight in policy.parameters())


def test_a_critic_of_its_own_shares_no_weight_with_the_policy(policy):
    critic = critic_like(policy)
    assert not {id(w) for w in critic.parameters()} & {id(w) for w in policy.parameters()}
    trunk = dict(critic.trunk.named_parameters())
    assert all(torch.equal(w, trunk[name]) for name, w in policy.lm.base_model.named_parameters())
    assert not any(module.training for module in critic.trunk.modules()), "no dropout in the critic either"


def reward_model(policy, place, labels=1, **changes):
    """A model for sequence classification as transformers saves it, with random weights."""
    config = type(policy.lm.config)(
        **{**policy.lm.config.to_dict(), "num_labels": labels, "pad_token_id": None, **changes}
    )
    kind = GPT2ForSequenceClassification if config.model_type == "gpt2" else LlamaForSequenceClassification
    with torch.random.fork_rng():
        torch.manual_seed(2)
        kind(config).save_pretrained(place)
    return place


@torch.no_grad()
def test_a_reward_model_is_a_critic_that_says_what_it_says_of_the_text_so_far(policy, tmp_path):
    place = reward_model(policy, tmp_path / "rm")
    critic, rollout = load_critic(str(place), True, policy), drawn(policy)
    judge = AutoModelForSequenceClassification.from_pretrained(place, attn_implementation="eager")
    got = critic(rollout)
    assert got[rollout.mask].std() > 0.1
    for row in range(8):
        tokens = rollout.tokens[row][rollout.attention[row]]
        first = int(rollout.prompts.mask[row].sum())
        read = rollout.attention[row, rollout.prompts.mask.shape[1] :]
        for t, place_ in enumerate(read.nonzero().flatten().tolist()):
            if rollout.mask[row, place_]:
                want = judge(tokens[: first + t].unsqueeze(0)).logits.item()
                assert got[row, place_].item() == pytest.approx(want, rel=1e-3, abs=1e-4)


def test_a_reward_model_with_more_tokens_than_the_policy_will_do(tmp_path):
    policy = small.policy(seed=1)
    critic = load_critic(str(reward_model(policy, tmp_path / "rm", vocab_size=20)), True, policy)
    assert critic.trunk.get_input_embeddings().num_embeddings == 20 > policy.lm.config.vocab_size
    assert critic(drawn(policy)).isfinite().all()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("nowhere", "cannot be loaded: "),
        ("empty", "cannot be loaded: "),
        ("two labels", "is no reward model: it has no score of one label"),
        ("a language model", "is no reward model: it lacks 1 weights, such as score.weight"),
        ("few tokens", "knows 9 tokens, the policy 16"),
        ("cut", "cannot be loaded: "),
    ],
)
def test_a_folder_that_is_no_reward_model_is_exit_4(kind, words, tmp_path):
    policy, place = small.policy(seed=1), tmp_path / "rm"
    if kind == "empty":
        place.mkdir()
    elif kind == "a language model":
        policy.lm.config.num_labels = 1
        policy.lm.save_pretrained(place)
    elif kind != "nowhere":
        few = {"vocab_size": 9} if kind == "few tokens" else {}
        reward_model(policy, place, labels=2 if kind == "two labels" else 1, **few)
    if kind == "cut":
        whole = (place / "model.safetensors").read_bytes()
        (place / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Failure) as failure:
        load_critic(str(place), True, policy)
    assert failure.value.code == Exit.MODEL == 4
    assert str(failure.value).startswith(f"algo.critic_path: '{place}' {words}")
    assert "\n" not in str(failure.value)
    shutil.rmtree(place, ignore_errors=True)


class Counted:
    """How often the attention of a model's layers has begun to compute."""

    def __init__(self, layers):
        self.calls = 0
        for layer in layers:
            (layer.self_attn if hasattr(layer, "self_attn") else layer.attn).register_forward_pre_hook(self.count)

    def count(self, *_):
        self.calls += 1


def blocks(trunk):
    return trunk.layers if hasattr(trunk, "layers") else trunk.h


@pytest.mark.parametrize("kind", ["policy", "shared", "separate"])
def test_gradient_checkpointing_computes_twice_and_gives_the_same_gradient(policy, kind):
    gradients, calls, rollout = [], [], drawn(policy)
    for recomputed in (False, True):
        own = policy.reference().requires_grad_(True)
        own.recomputed = checkpointed(own.lm) if recomputed else []
        module = {"policy": own, "shared": PolicyWithValueHead(own, value_head(own)), "separate": critic_like(own)}[
            kind
        ]
        if kind != "policy":
            awake(module.head)
        counted = Counted(blocks(module.trunk if kind == "separate" else own.lm.base_model))
        out = module(rollout) if kind == "separate" else module(rollout, small.plain())
        terms = [out] if kind == "separate" else list(vars(out).values())
        sum(t.square().sum() for t in terms).backward()
        gradients.append([w.grad for w in module.parameters()])
        calls.append(counted.calls)
        assert not any(m.training for m in own.modules() if m is not own), "what samples next needs its cache"
    assert calls == [2, 4]
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(again, plain, **CLOSE)


def test_a_policy_that_computes_again_draws_what_it_drew_before(policy):
    own = policy.reference().requires_grad_(True)
    own.recomputed = checkpointed(own.lm)
    uniforms = torch.rand(8, 10, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    first = sample(own, small.prompts(*PROMPTS), uniforms, small.plain(), pad=0)
    own(first, small.plain()).logprobs.sum().backward()
    again, plain = (sample(p, small.prompts(*PROMPTS), uniforms, small.plain(), pad=0) for p in (own, policy))
    assert torch.equal(first.responses, again.responses)
    assert torch.equal(plain.responses, again.responses)


def test_a_critic_from_files_computes_again_if_its_policy_does(policy):
    own = policy.reference().requires_grad_(True)
    own.recomputed = checkpointed(own.lm)
    critic = fitted_to(own, Critic(copy.deepcopy(policy.lm.base_model).requires_grad_(True), value_head(policy)))
    awake(critic.head)
    counted = Counted(blocks(critic.trunk))
    critic(drawn(policy)).square().sum().backward()
    assert counted.calls == 4


def test_a_model_whose_layers_cannot_compute_again_is_exit_4():
    with pytest.raises(Failure, match=r"model\.gradient_checkpointing: Linear has no layers that can do it") as failure:
        checkpointed(torch.nn.Linear(2, 2))
    assert failure.value.code == 4
