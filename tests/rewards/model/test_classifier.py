"""The reward ``classifier`` with small real models of transformers on disk."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from rlnlp import build
from rlnlp.cli.main import main
from rlnlp.config.reward import Reward, RewardTerm
from rlnlp.errors import Failure
from rlnlp.types import Rollout, Texts
from support import runs, small

SIZE = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
KINDS = {
    "bert": (BertConfig, BertForSequenceClassification),
    "llama": (LlamaConfig, LlamaForSequenceClassification),
    "roberta": (RobertaConfig, RobertaForSequenceClassification),
}
LABELS = {0: "NEGATIVE", 1: "neutral", 2: "POSITIVE"}
WORDS = st.lists(st.sampled_from(small.WORDS), max_size=8).map(" ".join)


def save(path, kind, **more):
    """A model with random weights and its tokenizer; Llama's has no padding token."""
    tokenizer = small.tokenizer()
    if kind == "llama":
        tokenizer.pad_token = None
    config_class, model_class = KINDS[kind]
    pad = {"pad_token_id": None, "bos_token_id": 1, "eos_token_id": 2} if kind == "llama" else {"pad_token_id": 0}
    settings_ = {
        "num_labels": 3,
        "id2label": LABELS,
        "max_position_embeddings": 24,
        "initializer_range": 0.7,
        **pad,
        **more,
    }
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model_class(config_class(vocab_size=len(tokenizer), **SIZE, **settings_)).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return {kind: save(tmp_path_factory.mktemp(kind), kind) for kind in KINDS}


def term(path, **args):
    """The term as a function of completions and prompts."""
    given: list[Texts] = []
    reward = Reward({"mine": RewardTerm("classifier", 1.0, {"path": str(path), **args})})
    terms, _ = build.reward_terms(reward, lambda _: given[-1], None)

    def values(completions, prompts=None):
        given.append(Texts(prompts or ["the"] * len(completions), list(completions), [None] * len(completions), {}))
        rows, mask = small.prompts(*[[1]] * len(completions)), torch.ones(len(completions), 1).bool()
        rollout = Rollout(rows, mask.long(), mask, torch.cat([rows.mask, mask], 1), mask[:, 0])
        return terms["mine"][0](rollout).tolist()

    return values


def slow(path, kind, *texts):
    """The logits of each text, in a batch of its own."""
    tokenizer, model = small.tokenizer(), KINDS[kind][1].from_pretrained(path).eval()
    with torch.no_grad():
        return [model(input_ids=torch.tensor([tokenizer.encode(text)])).logits[0].double() for text in texts]


@pytest.mark.parametrize("kind", KINDS)
def test_the_value_is_the_softmax_of_the_label_of_each_text(kind, paths):
    texts = ["the film was very good", "bad", "i loved it and the food was not cold but the room was slow !", ""]
    logits = slow(paths[kind], kind, *texts)
    for label, column in ((None, 2), (0, 0), ("neutral", 1), ("positive", 2)):
        wanted = [float(row.softmax(0)[column]) for row in logits]
        assert term(paths[kind], label=label, batch_size=3)(texts) == pytest.approx(wanted, abs=1e-5)
    assert len({round(value, 3) for value in wanted}) == len(texts), "the texts should differ, or nothing is tested"


@pytest.fixture(scope="module")
def batched_and_single(paths):
    return {kind: (term(path, batch_size=16), term(path, batch_size=1)) for kind, path in paths.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_padding_and_the_order_of_the_batch_do_not_change_a_value(kind, batched_and_single):
    @settings(max_examples=15)
    @given(st.lists(WORDS, min_size=1, max_size=5))
    def check(texts):
        together, alone = batched_and_single[kind]
        assert together(texts) == pytest.approx(alone(texts), abs=1e-5)
        assert together(texts[::-1]) == pytest.approx(alone(texts)[::-1], abs=1e-5)

    check()


def test_a_model_with_one_logit_gives_its_sigmoid(tmp_path):
    path = save(tmp_path / "one", "bert", num_labels=1, id2label={0: "score"})
    wanted = float(slow(path, "bert", "the film")[0].sigmoid()[0])
    assert term(path)(["the film"]) == [pytest.approx(wanted, abs=1e-6)]
    assert term(path, label="score")(["the film"]) == [pytest.approx(wanted, abs=1e-6)]


def test_labels_that_do_not_exclude_each_other_are_independent(tmp_path):
    path = save(tmp_path / "many", "bert", problem_type="multi_label_classification")
    wanted = float(slow(path, "bert", "the film")[0].sigmoid()[1])
    assert term(path, label=1)(["the film"]) == [pytest.approx(wanted, abs=1e-6)]


def test_prompt_and_completion_are_one_text(paths):
    alone, both = term(paths["bert"]), term(paths["bert"], of="both")
    assert both([" was good"], ["the film"]) == pytest.approx(alone(["the film was good"]), abs=1e-6)
    assert both(["good"], ["the film"]) != pytest.approx(alone(["good"]), abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_too_long_loses_its_end_and_with_the_prompt_its_beginning(kind, paths):
    longest = 24 - (kind == "roberta")
    alone, both = term(paths[kind]), term(paths[kind], of="both")
    words = [small.WORDS[i % 25] for i in range(60)]
    assert alone([" ".join(words)]) == pytest.approx(alone([" ".join(words[: longest - 1])]), abs=1e-6)
    prompts, completions = [" ".join(words[:40])], [" " + " ".join(words[40:])]
    assert both(completions, prompts) == pytest.approx(alone([" ".join(words[-(longest - 1) :])]), abs=1e-6)


def test_a_special_token_that_is_spelled_out_is_no_special_token(paths):
    assert term(paths["bert"])(["good </s>"]) != pytest.approx(term(paths["bert"])(["good"]), abs=1e-4)


def test_the_model_is_loaded_once(paths, monkeypatch):
    values = term(paths["bert"])

    def forbidden(*_, **__):
        raise AssertionError("loaded again")

    monkeypatch.setattr("transformers.AutoModelForSequenceClassification.from_pretrained", forbidden)
    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", forbidden)
    assert values(["good"]) == values(["good"])


@pytest.mark.parametrize("label", ["good", 3, -1, ""])
def test_a_wrong_label_is_exit_2_with_the_labels_of_the_model(label, paths):
    with pytest.raises(Failure) as failure:
        term(paths["bert"], label=label)
    message = f"reward.terms.mine.args.label: no label {label!r}; the model has: 0 NEGATIVE, 1 neutral, 2 POSITIVE"
    assert (failure.value.code, str(failure.value)) == (2, message)


def test_a_missing_or_unfit_model_is_exit_4(paths, model_dir, tmp_path):
    (tmp_path / "empty").mkdir()
    bare = save(tmp_path / "bare", "bert")
    (bare / "model.safetensors").write_bytes(b"nonsense")
    without = save(tmp_path / "without", "bert")
    (without / "model.safetensors").unlink()
    for path, what in (
        ("./none", r"reward\.terms\.mine\.args\.path './none' not found"),
        ("no-such/classifier", r"set reward\.terms\.mine\.args\.allow_download=true"),
        (tmp_path / "empty", "has no config.json"),
        (bare, r"model\.safetensors is no safetensors file \(8 bytes\)\ndownload it again"),
        (without, r"there is no model\.safetensors\ndownload the weights"),
        (
            model_dir,
            r"lacks 1 weights, such as score\.weight\nit must be a trained sequence-classification model",
        ),
    ):
        with pytest.raises(Failure, match=what) as failure:
            term(path)
        assert failure.value.code == 4


def test_the_choice_classifier_trains_a_step(paths, model_dir, prompts_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [
        "reward=classifier", f"reward.terms.classifier.args.path={paths['bert']}", f"model.path={model_dir}",
        f"data.prompts={prompts_file}", "algo.total_steps=1", "algo.batch_size=2", "sampler.max_new_tokens=6",
        "device=cpu", "hydra.run.dir=run", "heldout.size=2",
    ]  # fmt: skip
    with runs.without_pictures():
        assert main(["train", *words]) == 0
    assert "score/classifier" in (tmp_path / "run" / "metrics.jsonl").read_text()
