"""A step that is recorded once, with torch's operations for kernels; with a CUDA graph: tests/test_cuda.py."""

from types import SimpleNamespace

import pytest
import torch

from models.test_decoder import DROP_AT, GROUP, MORE, PROMPTS, adapted, logits, policy
from rlnlp.device import computing_in
from rlnlp.maths.distribution import Distribution
from rlnlp.models import decoder as decoders
from rlnlp.models import reading
from rlnlp.models.reading import sharing_of
from rlnlp.models.recorded_step import RecordedStep, may_be_recorded
from rlnlp.rollout.sampling import sample
from rlnlp.types import Prompts, take
from support import small
from support.replay import replayed


@pytest.fixture
def recordings(monkeypatch):
    """As on a GPU, with operations for kernels: a list that has an entry for each recording."""
    made = []

    def record(function):
        made.append(function)
        return replayed(function)

    for module in (decoders, reading):
        monkeypatch.setattr(module, "may_be_recorded", lambda lm: True)
    monkeypatch.setattr(decoders, "cuda_graph", record)
    return made


def sharing(made):
    made.sharing = sharing_of(made.lm, made.context)
    return made


def drawn(made, device="cpu"):
    prompts = take(small.prompts(*PROMPTS), GROUP.sort().values)
    prompts = Prompts(prompts.tokens.to(device), prompts.mask.to(device), prompts.rows.to(device))
    numbers = torch.rand(len(GROUP), 40, generator=torch.Generator().manual_seed(3), dtype=torch.float64).to(device)
    return sample(made, prompts, numbers, Distribution(1.5, 0, 1.0, 0, (small.END,)), pad=0)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "mistral", "biased", "scaled"])
def test_a_step_that_is_recorded_once_has_the_logits_of_transformers_while_rows_leave(kind, recordings):
    want, _ = logits(policy(kind), MORE, DROP_AT)
    got, decoder = logits(sharing(policy(kind)), MORE, DROP_AT)
    assert isinstance(decoder.step, RecordedStep)
    assert len(recordings) == 1
    for (rows, one), (other_rows, other) in zip(got, want, strict=True):
        assert torch.equal(rows, other_rows)
        torch.testing.assert_close(one, other, rtol=0, atol=2e-4)


def test_short_and_long_texts_are_recorded_with_room_for_all_their_tokens(recordings):
    for more in (1, MORE, 300):
        _, decoder = logits(sharing(policy()), 2, more=more)
        layer = decoder.responses.layers[0]
        assert layer.keys.shape[2] == more
        assert decoder.step.keys.sees.shape[-1] == 6 + more
    assert len(recordings) == 3


def test_what_is_drawn_is_what_is_drawn_without(recordings):
    want, got = drawn(policy()), drawn(sharing(policy()))
    assert len(recordings) == 1
    assert len(set(want.mask.sum(1).tolist())) > 2
    assert torch.equal(got.responses, want.responses)
    assert torch.equal(got.mask, want.mask)


def test_an_adapter_is_recorded_with_the_weights(recordings):
    made = sharing(adapted(policy()))
    assert torch.equal(drawn(made).responses, drawn(adapted(policy())).responses)
    assert len(recordings) == 1


def test_in_bfloat16_the_products_are_of_it(recordings):
    with computing_in(torch.bfloat16, torch.device("cpu")):
        found, decoder = logits(sharing(policy()), 4)
    assert decoder.step.step.head.weight.dtype == torch.bfloat16
    for (_, one), (_, other) in zip(found, logits(policy(), 4)[0], strict=True):
        torch.testing.assert_close(one.float(), other, rtol=0, atol=0.2)


def test_a_recording_is_of_a_gpu_and_of_frequencies_that_no_text_changes():
    def model(device, kind):
        rotary = SimpleNamespace(rope_type=kind)
        return SimpleNamespace(device=torch.device(device), model=SimpleNamespace(rotary_emb=rotary))

    assert may_be_recorded(model("cuda", "default"))
    assert may_be_recorded(model("cuda", "llama3"))
    assert not may_be_recorded(model("cuda", "dynamic"))
    assert not may_be_recorded(model("cpu", "default"))
    assert not may_be_recorded(policy().lm)


def test_what_no_graph_can_hold_is_found():
    x = torch.ones(2)
    for function in (lambda: x[x > 0], lambda: x * float(x[0]), lambda: x + torch.tensor([1, 2]), lambda: x.nonzero()):
        with pytest.raises(AssertionError, match="in a recorded step"):
            replayed(function)
