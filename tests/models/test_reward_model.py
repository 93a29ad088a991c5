"""Reward models: what a text's score depends on, and what is saved of them."""

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from rlnlp.models.chat import Chat
from rlnlp.models.load import load_policy, load_tokenizer
from rlnlp.models.locate import locate_reward_model
from rlnlp.models.reward_files import save_reward_model
from rlnlp.models.reward_load import load_reward_model
from rlnlp.models.reward_model import reward_model_of
from rlnlp.models.reward_padding import padded_apart
from rlnlp.models.text_tokens import TextReader
from support import small

CPU = torch.device("cpu")
PAIRS = [("the cat is", "very good !"), ("the cat is", "so bad"), (None, "a nice day"), ("the", "dog"), ("the", "")]
KINDS = {
    "linear": ("linear", 1, "heads", "mean"),
    "heads": ("linear", 3, "heads", "mean"),
    "minimum": ("linear", 2, "heads", "minimum"),
    "models": ("linear", 2, "models", "mean-minus-uncertainty"),
    "mlp": ("mlp", 2, "heads", "mean"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small.save_model(tmp_path_factory.mktemp("policy"))


@pytest.fixture
def made(folder):
    """A reward model of a kind with its reader, on a trunk of its own."""

    def make(kind="linear", frozen=False):
        policy, _ = load_policy(str(folder), True, CPU)
        tokenizer = padded_apart(load_tokenizer(str(folder), True))
        head, members, of, combine = KINDS[kind]
        model = reward_model_of(policy, tokenizer, head, members, of, combine, 0.5, frozen, 7)
        model.normalize([1.5 + i for i in range(members)], [0.25 - i for i in range(members)])
        return model, TextReader(Chat(tokenizer, None, {}), 32)

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_a_reward_model_that_was_saved_and_loaded_gives_the_same_scores(made, kind, tmp_path):
    model, reader = made(kind)
    texts = [reader.tokens(*pair) for pair in PAIRS]
    want = model.scores(texts, 2)
    assert want.std() > 0.01
    save_reward_model(tmp_path / "run" / "reward_model", model, reader)
    loaded = load_reward_model(locate_reward_model("path", str(tmp_path / "run"), False), True, CPU)
    assert [loaded.reader.tokens(*pair) for pair in PAIRS] == texts
    torch.testing.assert_close(loaded.model.scores(texts, 3), want, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(loaded.model.raw_scores(texts, 3), model.raw_scores(texts, 3), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["linear", "heads"])
@torch.no_grad()
def test_transformers_loads_it_and_its_logit_and_the_stored_bias_are_the_score(made, kind, tmp_path):
    model, reader = made(kind)
    save_reward_model(tmp_path / "rm", model, reader)
    judge, words = (
        AutoModelForSequenceClassification.from_pretrained(tmp_path / "rm"),
        AutoTokenizer.from_pretrained(tmp_path / "rm"),
    )
    assert words.pad_token_id == judge.config.pad_token_id != words.eos_token_id
    texts = ["the cat is very good !", "so bad", "a nice day"]
    batch = words([text + words.eos_token for text in texts], padding=True, return_tensors="pt")
    assert not batch["attention_mask"].all()
    got = judge(batch["input_ids"], batch["attention_mask"]).logits[:, 0] + judge.config.rlnlp_score_bias
    torch.testing.assert_close(
        got, model.scores([reader.tokens(None, text) for text in texts], 3), rtol=1e-5, atol=1e-5
    )
