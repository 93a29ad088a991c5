"""What the embedded model generates at temperature 1: sentences of its grammar, most of them not trained on."""

import itertools
import re

import numpy as np
import pytest
import torch

from rlnlp import build
from rlnlp.batching import left_padded
from rlnlp.config.model import Device, Fresh, Lora, Model, Sampler
from rlnlp.data.records import ASSETS
from rlnlp.embedded.grammar import corpus
from rlnlp.rollout.sampling import sampler
from support import forked

TEXTS = 330_000  # as in conf/experiment/embedded-model.yaml
FRESH = Fresh(4, 128, 4, 128)
MINIMUM = (0.94, 0.9)  # accepted, new; measured .96 and .92
PLAIN = Sampler(temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=100, min_new_tokens=0, stop=None)


@pytest.fixture(autouse=True)
def _precision():
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


def generated(path, count):
    """``count`` texts of the model at ``path``, from an empty prompt."""
    language = build.language(
        Model(str(path), None, False, FRESH, False, "same", Lora(None, 32.0, "all-linear", False), False, "float32"),
        Device("cpu", 1, "auto", "none", "float32"),
        0,
    )
    tokenizer, rng = language.tokenizer, np.random.default_rng(12)
    collect = sampler(language.policy, build.distribution(PLAIN, tokenizer.end), 100, tokenizer.pad)
    texts = []
    for _ in range(0, count, 100):
        rows = left_padded([list(tokenizer.start)] * 100, range(100), tokenizer.pad, language.device)
        rollout = collect(rows, rng)
        texts += [tokenizer.decode(row[m].tolist()) for row, m in zip(rollout.responses, rollout.mask, strict=True)]
    return texts


def accepted_and_new(texts):
    """The fraction of complete sentences that the grammar accepts, and of those that are not in the training texts."""
    readings = [corpus.reader().read(text) for text in texts]
    sentences = [s.strip() for text in texts for s in re.findall(r"[^.!?]+[.!?]", text)]
    known = {s for text in itertools.islice(corpus.text_stream(0), TEXTS) for s in text.sentences}
    accepted = sum(r.accepted_sentences for r in readings) / sum(r.sentences for r in readings)
    return accepted, sum(s not in known for s in sentences) / len(sentences)


@pytest.mark.slow
def test_its_sentences_are_accepted_and_most_of_them_are_new():
    accepted, new = accepted_and_new(generated(ASSETS / "embedded", 1000))
    print(f"accepted {accepted:.3f}, new {new:.3f}")
    assert accepted >= MINIMUM[0]
    assert new >= MINIMUM[1]


@pytest.mark.nightly
def test_it_is_made_anew_as_good(tmp_path):
    status, _, errors = forked.rlnlp(
        "train", "experiment=embedded-model", "hydra.run.dir=run", cwd=tmp_path, timeout=5400
    )
    assert status == 0, errors
    accepted, new = accepted_and_new(generated(tmp_path / "run" / "policy", 1000))
    assert accepted >= MINIMUM[0]
    assert new >= MINIMUM[1]
