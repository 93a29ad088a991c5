"""Supervised fine-tuning: the loss that a step logs is that of its texts, at the temperature that is asked for."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM

from rlnlp.models.load import load_tokenizer
from support import runs


def nats_per_token(place, temperature):
    """Of all the texts but the one that is held out, from the saved model's own logits, one text at a time."""
    lm, tokenizer = AutoModelForCausalLM.from_pretrained(place / "model"), load_tokenizer(str(place / "model"), True)
    sums = []
    for line in (place / "data.jsonl").read_text().splitlines():
        ids = [*tokenizer.encode(json.loads(line)["text"]), tokenizer.end[0]]
        said = (lm(torch.tensor([ids])).logits[0, :-1] / temperature).log_softmax(-1)
        sums.append((-sum(said[i, token].item() for i, token in enumerate(ids[1:])), len(ids) - 1))
    return sums


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_the_loss_is_that_of_the_texts_at_the_temperature(tmp_path, temperature):
    words = runs.words(
        "sft", tmp_path, "algo.total_steps=1", "algo.batch_size=11", f"algo.loss_temperature={temperature}"
    )
    directory = runs.run(runs.settings(words), tmp_path / "run")
    (row,) = (json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines())
    before = json.loads((directory / "run.json").read_text())["result"]["before"]["loss"]
    sums = nats_per_token(tmp_path, temperature)
    wholes = [
        sum(n for n, _ in rest) / sum(t for _, t in rest)
        for out, (held, count) in enumerate(sums)
        if held / count == pytest.approx(before, rel=1e-4)
        for rest in [sums[:out] + sums[out + 1 :]]
    ]
    assert any(row["loss"] == pytest.approx(whole, rel=1e-4) for whole in wholes)
