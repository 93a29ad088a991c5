"""Feed-forward blocks compute the places that are read, no others, and nothing that is read changes."""

from dataclasses import replace

import pytest
import torch

from rlnlp.models.critic import PolicyWithValueHead, critic_like, value_head
from rlnlp.models.fast import FeedForward, checkpointed
from rlnlp.models.policy import Policy
from rlnlp.rollout.sampling import sample
from support import small

CLOSE = {"rtol": 1e-4, "atol": 1e-5}
PROMPTS = [[(3 * i + 5 * j * j) % 13 + 3 for j in range(1 + i % 5)] for i in range(12)]


@pytest.fixture(params=["llama", "gpt2"])
def policy(request):
    return small.policy(seed=1, layers=3) if request.param == "llama" else Policy(small.gpt2())


@pytest.fixture
def rollout(policy):
    """Ragged on both sides; the second token of each longer response is read but was not chosen."""
    uniforms = torch.rand(12, 12, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    drawn = sample(policy, small.prompts(*PROMPTS), uniforms, small.plain(), pad=0)
    mask = drawn.mask.clone()
    mask[mask.sum(1) > 2, 1] = False
    return replace(drawn, mask=mask)


def computed(policy, rollout, module=None):
    """How many places each layer's block computes in a pass."""
    found = []
    layers = policy.lm.model.layers if hasattr(policy.lm, "model") else policy.lm.transformer.h
    inside = [layer.mlp.act_fn if hasattr(layer.mlp, "act_fn") else layer.mlp.act for layer in layers]
    hooks = [act.register_forward_hook(lambda *call: found.append(call[2].shape[:-1].numel())) for act in inside]
    (module or policy)(rollout, small.plain())
    for hook in hooks:
        hook.remove()
    return found


def test_a_block_computes_what_later_places_read_and_the_last_one_what_is_judged(policy, rollout):
    needed, read = int(rollout.attention.sum()) - 12, int(rollout.mask.sum())
    assert read < needed < rollout.attention[:, 1:].numel() * 0.97
    layers = policy.lm.config.num_hidden_layers
    assert computed(policy, rollout) == [needed] * (layers - 1) + [read]
    with_head = PolicyWithValueHead(policy, value_head(policy))
    assert computed(policy, rollout, with_head) == [needed] * (layers - 1) + [read]


def test_a_copy_has_blocks_of_its_own(policy, rollout):
    copy = policy.reference()
    assert computed(copy, rollout) == computed(policy, rollout)
    own = {id(m) for m in copy.modules()}
    assert all(id(block) in own for block in [*copy.feed_forward.inner, *copy.feed_forward.last])


def test_without_padding_every_place_is_computed(policy, rollout):
    full = replace(
        rollout, prompts=replace(rollout.prompts, mask=torch.ones_like(rollout.prompts.mask)),
        mask=torch.ones_like(rollout.mask), attention=torch.ones_like(rollout.attention),
    )  # fmt: skip
    layers, every = policy.lm.config.num_hidden_layers, full.attention[:, 1:].numel()
    assert computed(policy, full) == [every] * layers


def test_a_layer_that_computes_again_computes_every_place(policy, rollout):
    policy.recomputed = checkpointed(policy.lm)
    layers, every = policy.lm.config.num_hidden_layers, rollout.attention[:, 1:].numel()
    assert computed(policy, rollout) == [every] * layers


@pytest.mark.parametrize("kind", ["policy", "shared", "separate"])
def test_what_is_said_and_its_gradient_are_as_if_every_place_were_computed(policy, rollout, kind):
    seen = []
    for every in (True, False):
        critic = critic_like(policy)
        module = {"policy": policy, "shared": PolicyWithValueHead(policy, value_head(policy)), "separate": critic}[kind]
        owner = critic if kind == "separate" else policy
        owner.feed_forward = (
            FeedForward(torch.nn.Identity()) if every else FeedForward(owner.trunk if owner is critic else policy.lm)
        )
        assert bool(owner.feed_forward.last) != every
        generator = torch.Generator().manual_seed(4)
        if kind != "policy":
            module.head.linear.weight.data.copy_(torch.randn(module.head.linear.weight.shape, generator=generator))
        said = module(rollout) if kind == "separate" else module(rollout, small.plain())
        terms = [said] if kind == "separate" else list(vars(said).values())
        weights = torch.randn(rollout.mask.shape, generator=generator)
        module.zero_grad()
        sum((t * weights).sum() for t in terms).backward()
        seen.append([*terms, *(w.grad.clone() for w in module.parameters())])
    assert len(seen[0]) == len(seen[1]) > 8
    for narrow, full in zip(*seen, strict=True):
        torch.testing.assert_close(narrow, full, **CLOSE)


def test_after_a_pass_even_one_that_fails_the_blocks_are_as_they_were(policy, rollout):
    with pytest.raises(RuntimeError, match="midway"), policy.feed_forward.only_where_read(rollout):
        raise RuntimeError("midway")
    policy(rollout, small.plain())
    for module in policy.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


@pytest.mark.parametrize("call", [lambda block, x: block(hidden_states=x), lambda block, x: block(x, x)])
def test_a_block_that_is_asked_in_another_way_computes_every_place(rollout, call):
    class Odd(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.seen = torch.nn.Linear(4, 4), []

        def forward(self, hidden_states, residual=None):
            self.seen.append(hidden_states.shape)
            return self.linear(hidden_states) + (hidden_states if residual is None else residual)

    blocks = FeedForward(torch.nn.Linear(1, 1))
    blocks.last = [Odd()]
    x = torch.randn(*rollout.attention[:, 1:].shape, 4)
    want = call(blocks.last[0], x)
    with blocks.only_where_read(rollout):
        got = call(blocks.last[0], x)
    assert blocks.last[0].seen == [x.shape, x.shape]
    torch.testing.assert_close(got, want)


class Mixing(torch.nn.Module):
    """A block in which a place sees the others."""

    def __init__(self):
        super().__init__()
        self.rate = torch.nn.Parameter(torch.ones(()))

    def forward(self, x):
        """Running sums over the places."""
        return x.cumsum(1) * self.rate


def test_blocks_in_which_places_see_each_other_and_layers_that_cannot_be_told_are_left_alone():
    lm = small.lm(16)
    lm.model.layers[0].mlp = Mixing()
    assert (len(FeedForward(lm).inner), len(FeedForward(lm).last)) == (0, 1)
    lm.model.layers[1].mlp = Mixing()
    assert (len(FeedForward(lm).inner), len(FeedForward(lm).last)) == (0, 0)
    two = small.lm(16)
    two.model.others = torch.nn.ModuleList(small.lm(16).model.layers)
    assert FeedForward(two).last == []
    again = small.lm(16)
    again.model.layers = torch.nn.ModuleList([again.model.layers[0]] * 2)
    assert FeedForward(again).last == []
    assert FeedForward(torch.nn.Linear(2, 2)).last == []
