"""Reward models: what a text's score is and depends on, and how they are saved."""

import copy
import json
import math

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaForSequenceClassification,
    LlamaModel,
    PreTrainedTokenizerFast,
)

from rlnlp.errors import Exit, Failure
from rlnlp.models.chat import Chat
from rlnlp.models.files import REWARD_RECORD as RECORD
from rlnlp.models.load import load_policy, load_tokenizer
from rlnlp.models.locate import locate_reward_model
from rlnlp.models.reward_check import check_trunks
from rlnlp.models.reward_classes import SCORE_BIAS
from rlnlp.models.reward_files import MEMBERS, save_reward_model
from rlnlp.models.reward_heads import LinearHead, MlpHead
from rlnlp.models.reward_load import load_reward_model
from rlnlp.models.reward_model import reward_model_of
from rlnlp.models.reward_padding import padded_apart
from rlnlp.models.text_tokens import TextReader, text_batch
from rlnlp.rng import stream
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
def made(tmp_path_factory):
    """A reward model of a kind with its reader, on a trunk of its own."""
    folder = str(small.save_model(tmp_path_factory.mktemp("policy")))
    policy, tokenizer = load_policy(folder, True, CPU)[0], padded_apart(load_tokenizer(folder, True))

    def make(kind="linear", frozen=False):
        head, members, of, combine = KINDS[kind]
        model = reward_model_of(copy.deepcopy(policy), tokenizer, head, members, of, combine, 0.5, frozen, 7)
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
def test_transformers_loads_it_and_its_logit_and_the_stored_bias_are_the_score(made, kind, tmp_path):
    model, reader = made(kind)
    save_reward_model(tmp_path / "rm", model, reader)
    texts = ["the cat is very good !", "so bad", "a nice day"]
    want = model.scores([reader.tokens(None, text) for text in texts], 3)
    torch.testing.assert_close(of_transformers(tmp_path / "rm", texts), want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_score_is_of_the_last_token_or_the_mean_whatever_stands_beside_it(made, kind):
    model, reader = made(kind)
    texts = [reader.tokens(*pair) for pair in PAIRS]
    each = []
    for text in texts:
        scores = []
        for m, head in enumerate(model.heads):
            trunk = model.trunks[m if len(model.trunks) > 1 else 0]
            hidden = trunk.body(torch.tensor([text.whole])).last_hidden_state[0]
            scores.append(head(hidden.mean(0, keepdim=True) if kind == "mlp" else hidden[-1:])[0])
        each.append(torch.stack(scores))
    raw = torch.stack(each, dim=1)
    gain, bias = torch.tensor([1.5 + m for m in range(len(raw))]), torch.tensor([0.25 - m for m in range(len(raw))])
    scaled = raw * gain[:, None] + bias[:, None]
    spread = (scaled - scaled.mean(0)).square().mean(0).sqrt()
    want = {"minimum": scaled.min(0).values, "models": scaled.mean(0) - 0.5 * spread}.get(kind, scaled.mean(0))
    assert want.std() > 0.01
    for size in (1, 2, 5):
        torch.testing.assert_close(model.raw_scores(texts, size), raw, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(model.scores(texts, size), want, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(model.scores(texts[::-1], size), want.flip(0), rtol=1e-5, atol=1e-5)


def test_heads_start_from_streams_of_their_own(made):
    (model, _), (again, _) = made("heads"), made("heads")
    weights = torch.cat([head.linear.weight.detach() for head in model.heads])
    assert torch.equal(weights, torch.cat([head.linear.weight.detach() for head in again.heads]))
    assert len({float(row[0]) for row in weights}) == 3
    assert not any(head.linear.bias.any() for head in model.heads)
    big = LinearHead(4000)
    big.start(stream(1, "head"))
    assert float(big.linear.weight.detach().std() * math.sqrt(4001)) == pytest.approx(1, abs=0.05)


def test_a_frozen_trunk_learns_nothing_and_its_features_give_the_scores(made):
    model, reader = made("mlp", frozen=True)
    batch = text_batch([reader.tokens(*pair) for pair in PAIRS], model.pad, CPU)
    features = model.features(batch)
    assert not features.requires_grad
    torch.testing.assert_close(model.heads_on(features), model(batch))
    model(batch).sum().backward()
    assert all(weight.grad is None for weight in model.trunks.parameters())
    assert {id(w) for w in model.trainable()} == {id(w) for w in model.heads.parameters()}
    assert len(made("models", frozen=True)[0].trunks) == 1, "frozen models would be the same"


def test_members_that_are_models_learn_apart(made):
    model, reader = made("models")
    model(text_batch([reader.tokens(*pair) for pair in PAIRS], model.pad, CPU))[0].sum().backward()
    assert all(weight.grad is not None for weight in model.trunks[0].body.layers.parameters())
    assert not any(weight.grad.any() for weight in model.trunks[1].parameters())


def test_only_the_mlp_has_dropout_and_only_where_it_is_drawn(made):
    (mlp, reader), (linear, _) = made("mlp"), made("linear")
    batch = text_batch([reader.tokens(*pair) for pair in PAIRS], mlp.pad, CPU)

    def drawn(model):
        return model(batch, [stream(3, "drop", m) for m in range(len(model.heads))])

    assert torch.equal(drawn(mlp), drawn(mlp))
    assert not torch.allclose(drawn(mlp), mlp(batch))
    torch.testing.assert_close(drawn(linear), linear(batch))
    assert not any(module.training for module in mlp.train().modules())


def test_what_dropout_leaves_is_scaled_up_so_that_the_mean_stays():
    head, rng = MlpHead(4), stream(1, "drop")
    head.start(rng)
    with torch.no_grad():
        for weight in head.parameters():
            weight.abs_()  # no unit is off: the head is linear
        features = torch.ones(4000, 4)
        drawn, want = head(features, rng), head(features[:1])
    assert float((drawn.mean() - want).abs()) < 5 * float(drawn.std()) / math.sqrt(4000)
    assert float(drawn.std()) > 0.01 * float(want)


def test_padding_is_never_the_end_and_a_model_without_a_token_for_it_is_given_one(tmp_path):
    """As GPT-2, whose only special token ends a text; its learned positions forgive no moved text."""
    known = {word: i for i, word in enumerate(["</s>", *small.WORDS])}
    backend = Tokenizer(WordLevel(known, unk_token="</s>"))
    backend.pre_tokenizer = Whitespace()
    raw = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", unk_token="</s>", pad_token="</s>")
    sizes = {"vocab_size": len(raw), "n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 2}
    with torch.random.fork_rng():
        torch.manual_seed(4)
        lm = GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0))
    lm.save_pretrained(tmp_path / "lm"), raw.save_pretrained(tmp_path / "lm")
    loaded = load_tokenizer(str(tmp_path / "lm"), True)
    assert loaded.pad == loaded.end[0]
    tokenizer = padded_apart(loaded)
    assert tokenizer.raw.pad_token == "<|pad|>"
    assert tokenizer.pad == len(loaded.raw)
    assert loaded.raw.pad_token == "</s>", "the policy's own tokenizer stays as it is"
    assert padded_apart(tokenizer) is tokenizer
    policy, _ = load_policy(str(tmp_path / "lm"), True, CPU)
    model = reward_model_of(policy, tokenizer, "linear", 1, "heads", "mean", 1.0, False, 0)
    reader = TextReader(Chat(tokenizer, None, {}), 32)
    save_reward_model(tmp_path / "rm", model, reader)
    texts = [" ".join(small.WORDS[3:5]), " ".join(small.WORDS[:6])]
    want = model.scores([reader.tokens(None, text) for text in texts], 2)
    torch.testing.assert_close(of_transformers(tmp_path / "rm", texts), want, rtol=1e-5, atol=1e-5)


def of_transformers(place, texts):
    """Scores of texts as a user of transformers has them, in one padded batch."""
    judge, words = AutoModelForSequenceClassification.from_pretrained(place), AutoTokenizer.from_pretrained(place)
    batch = words([text + words.eos_token for text in texts], padding=True, return_tensors="pt")
    assert not batch["attention_mask"].all()
    assert words.pad_token_id == judge.config.pad_token_id != words.eos_token_id
    with torch.no_grad():
        return (
            judge(batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, 0]
            + judge.config.rlnlp_score_bias
        )


def test_a_note_says_what_only_rlnlp_can_load_and_transformers_finds_no_model_there(made, tmp_path):
    for kind in ("minimum", "mlp", "models"):
        model, reader = made(kind)
        assert "only rlnlp" in str(save_reward_model(tmp_path / kind, model, reader))
        with pytest.raises((OSError, ValueError)):
            AutoModelForSequenceClassification.from_pretrained(tmp_path / kind)
    assert save_reward_model(tmp_path / "linear", *made("linear")) is None


def test_another_s_model_gives_its_logit(made, tmp_path):
    model, reader = made("linear")
    save_reward_model(tmp_path / "rm", model, reader)
    for name in (RECORD, MEMBERS):
        (tmp_path / "rm" / name).unlink()
    stored = json.loads((tmp_path / "rm" / "config.json").read_text())
    (tmp_path / "rm" / "config.json").write_text(json.dumps({k: v for k, v in stored.items() if k != SCORE_BIAS}))
    loaded = load_reward_model(str(tmp_path / "rm"), True, CPU)
    texts = [loaded.reader.tokens(*pair) for pair in PAIRS]
    assert texts == [reader.tokens(*pair) for pair in PAIRS]
    want = model.scores(texts, 5) - stored[SCORE_BIAS]
    torch.testing.assert_close(loaded.model.scores(texts, 5), want, rtol=1e-5, atol=1e-5)
    assert loaded.model.gain.tolist() == [1.0]


def damaged_weights(place):
    path = place / "model.safetensors"
    stored = bytearray(path.read_bytes())
    stored[-5] ^= 1
    path.write_bytes(bytes(stored))


def two_labels(place):
    config = AutoConfig.from_pretrained(place, num_labels=2)
    LlamaForSequenceClassification(config).save_pretrained(place)
    (place / RECORD).unlink()


def no_head(place):
    LlamaModel(AutoConfig.from_pretrained(place)).save_pretrained(place)
    (place / RECORD).unlink()


def other_record(**changes):
    def change(place):
        stored = json.loads((place / RECORD).read_text())
        (place / RECORD).write_text(json.dumps({**stored, **changes}))

    return change


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (damaged_weights, "model.safetensors is not as it was written"),
        (lambda place: (place / MEMBERS).unlink(), f"{MEMBERS} is missing"),
        (lambda place: (place / RECORD).write_text("{"), f"{RECORD} is damaged"),
        (other_record(format=9), "of a later version"),
        (other_record(more=1), "is damaged"),
        (other_record(gain=[1.0, 2.0]), "do not fit"),
        (other_record(members="one"), "is damaged"),
        (other_record(trunks=["../other"]), "do not fit"),
        (two_labels, "has 2 labels: a score is one number"),
        (no_head, "it lacks 1 weights, such as score.weight"),
    ],
)
def test_what_is_damaged_or_no_reward_model_is_refused(made, tmp_path, damage, says):
    save_reward_model(tmp_path / "rm", *made("linear"))
    damage(tmp_path / "rm")
    with pytest.raises(Failure, match=says) as refused:
        load_reward_model(str(tmp_path / "rm"), True, CPU)
    assert refused.value.code == Exit.MODEL


def test_a_model_whose_rows_depend_on_each_other_is_refused(made):
    model, _ = made("linear")
    body = model.trunks[0].body
    forward = body.forward

    def leaking(*args, **kwargs):
        out = forward(*args, **kwargs)
        out.last_hidden_state = out.last_hidden_state + 0.05 * out.last_hidden_state.mean((0, 1))
        return out

    body.forward = leaking
    with pytest.raises(Failure, match=r"in a batch a text has another score, by 0\.\d+ of what texts differ by"):
        check_trunks(model.trunks, model.pad, CPU, "it")
