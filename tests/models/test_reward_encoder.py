"""Encoders as reward models: the scores of their class in transformers, whatever it pools."""

import json
import random

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BartConfig,
    BartModel,
    BertConfig,
    BertForMaskedLM,
    ModernBertConfig,
    ModernBertModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
)

from rlnlp.errors import Exit, Failure
from rlnlp.models.chat import Chat
from rlnlp.models.reward_encoder_load import encoder_tokenizer, is_encoder, load_encoder, reward_model_of_encoder
from rlnlp.models.reward_files import save_reward_model
from rlnlp.models.reward_load import load_reward_model
from rlnlp.models.reward_padding import padded_apart
from rlnlp.models.text_tokens import reader_of, text_batch
from support import small

CPU = torch.device("cpu")
WORDS = [f"w{i}" for i in range(40)]
SIZES = {
    "vocab_size": 45, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
    "initializer_range": 0.3,
}  # fmt: skip
MARKS = {"bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
KINDS = {
    "bert": lambda: BertForMaskedLM(BertConfig(**SIZES, max_position_embeddings=32)),
    "roberta": lambda: RobertaForMaskedLM(RobertaConfig(**SIZES, max_position_embeddings=34, pad_token_id=1)),
    "modernbert": lambda: ModernBertModel(
        ModernBertConfig(**SIZES, **MARKS, pad_token_id=0, max_position_embeddings=32, classifier_pooling="mean")
    ),
}
TEXTS = [("w1 w2 w3", " w4 w5"), ("w1 w2 w3", " w6"), (None, "w7 w8 w9 w10 w11 w12")]


def saved(place, kind):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        KINDS[kind]().save_pretrained(place)
    first, second, pad = ("<s>", "</s>", "<pad>") if kind == "roberta" else ("[CLS]", "[SEP]", "[PAD]")
    special = [first, pad, second] if kind == "roberta" else [pad, first, second]
    backend = Tokenizer(WordLevel({w: i for i, w in enumerate([*special, "[UNK]", "[MASK]", *WORDS])}, "[UNK]"))
    backend.pre_tokenizer = Whitespace()
    marks = [(word, special.index(word)) for word in (first, second)]
    backend.post_processor = TemplateProcessing(single=f"{first} $A {second}", special_tokens=marks)
    PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token=pad, cls_token=first, sep_token=second, unk_token="[UNK]",
        **({"bos_token": first, "eos_token": second} if kind == "roberta" else {}),
    ).save_pretrained(place)  # fmt: skip
    return str(place)


def made(place, members=1, of="heads"):
    tokenizer = padded_apart(encoder_tokenizer(place, True))
    encoder = load_encoder(place, True, CPU)
    model = reward_model_of_encoder(encoder, tokenizer, members, of, "mean", 1.0, False, 5, CPU)
    model.normalize([2.0] * members, [0.7] * members)
    return model, reader_of(Chat(tokenizer, None, {}), model.context)


@pytest.mark.parametrize("kind", KINDS)
def test_the_saved_class_of_transformers_gives_the_scores_of_padded_texts(kind, tmp_path):
    place = saved(tmp_path / "base", kind)
    model, reader = made(place)
    assert is_encoder(place, True)
    assert model.context == 32
    texts = [reader.tokens(*pair) for pair in TEXTS]
    assert all(text.whole.count(reader.end) == 1 for text in texts)
    want = model.scores(texts, 2)
    assert want.std() > 0.1
    assert save_reward_model(tmp_path / "rm", model, reader) is None
    judge = AutoModelForSequenceClassification.from_pretrained(tmp_path / "rm")
    words = AutoTokenizer.from_pretrained(tmp_path / "rm")
    batch = words([(prompt or "") + answer for prompt, answer in TEXTS], padding=True, return_tensors="pt")
    assert not batch["attention_mask"].all()
    with torch.no_grad():
        logits = judge(batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, 0]
    torch.testing.assert_close(logits + judge.config.rlnlp_score_bias, want, rtol=1e-5, atol=1e-5)
    loaded = load_reward_model(str(tmp_path / "rm"), True, CPU)
    assert [loaded.reader.tokens(*pair) for pair in TEXTS] == texts
    torch.testing.assert_close(loaded.model.scores(texts, 3), want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("members", "of"), [(3, "heads"), (2, "models")])
def test_members_have_heads_of_their_own_and_are_loaded_by_us(members, of, tmp_path):
    model, reader = made(saved(tmp_path / "base", "bert"), members, of)
    texts = [reader.tokens(*pair) for pair in TEXTS]
    raw = model.raw_scores(texts, 3)
    assert all(not torch.allclose(raw[0], other) for other in raw[1:])
    assert "only rlnlp" in str(save_reward_model(tmp_path / "rm", model, reader))
    loaded = load_reward_model(str(tmp_path / "rm"), True, CPU)
    torch.testing.assert_close(loaded.model.raw_scores(texts, 3), raw, rtol=1e-5, atol=1e-5)


def test_an_encoder_learns_body_and_head(tmp_path):
    model, reader = made(saved(tmp_path / "base", "roberta"))
    model(text_batch([reader.tokens(*pair) for pair in TEXTS], model.pad, CPU)).sum().backward()
    lacking = {name.rpartition(".")[0] for name, weight in model.named_parameters() if weight.grad is None}
    assert not {name for name in lacking if "pooler" not in name}


def test_what_is_no_encoder_or_has_a_decoder_too_is_told_apart(tmp_path):
    assert not is_encoder(str(small.save_model(tmp_path / "llama")), True)
    sizes = {f"{part}_{name}": 2 for part in ("encoder", "decoder") for name in ("layers", "attention_heads")}
    BartModel(BartConfig(vocab_size=45, d_model=16, **sizes)).save_pretrained(tmp_path / "bart")
    with pytest.raises(Failure, match="an encoder with a decoder") as refused:
        load_encoder(str(tmp_path / "bart"), True, CPU)
    assert refused.value.code == Exit.MODEL


@pytest.mark.slow
def test_a_run_fits_an_encoder_and_rank_reads_it(tmp_path):
    place, pairs = saved(tmp_path / "base", "bert"), tmp_path / "pairs.jsonl"
    rng = random.Random(0)

    def text(good):
        return " " + " ".join(rng.choice(WORDS[:20] if rng.random() < good else WORDS[20:]) for _ in range(6))

    rows = [{"prompt": f"w{i % 40} w{i // 40}", "chosen": text(0.9), "rejected": text(0.1)} for i in range(240)]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, out, err = small.rlnlp(
        "train", "algo=reward-model", f"model.path={place}", f"data.preferences={pairs}", "heldout.size=80",
        "algo.total_steps=40", "algo.learning_rate=2e-3", "algo.learning_curve=[]", "algo.shuffled_labels=false",
        "hydra.run.dir=run", "device=cpu", cwd=tmp_path,
    )  # fmt: skip
    assert code == 0, err
    assert "newly initialized" not in out + err
    assert json.loads((tmp_path / "run" / "run.json").read_text())["result"]["accuracy"] > 0.6
    code, out, err = small.rlnlp("rank", "run", text(1.0), text(0.0), "--json", cwd=tmp_path)
    assert code == 0, err
    code, out, err = small.rlnlp(
        "train", "algo=reward-model", f"model.path={place}", f"data.preferences={pairs}", "algo.head=mlp", cwd=tmp_path
    )
    assert code == Exit.CONFIG
    assert "an encoder has the head of its class" in err
