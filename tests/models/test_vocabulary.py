"""Tokens of the tokenizer against rows of the model, and the tokens and texts that end a response."""

import json
from dataclasses import replace

import pytest
import torch

from rlnlp import build
from rlnlp.config.model import Device, Fresh, Lora, Model
from rlnlp.errors import Failure
from rlnlp.maths.distribution import Distribution
from rlnlp.models.load import load_policy, load_tokenizer
from rlnlp.models.save import save_policy
from rlnlp.models.tokenizer import Tokenizer
from rlnlp.rollout.sampling import sample
from support import small

CPU = torch.device("cpu")
WORDS = len(small.tokenizer())


def settings(path, **changes):
    return replace(
        Model(
            str(path),
            None,
            False,
            Fresh(1, 8, 1, 8),
            False,
            "same",
            Lora(None, 32.0, "all-linear", False),
            False,
            "float32",
        ),
        **changes,
    )


def language(path, stop=(), **changes):
    return build.language(settings(path, **changes), Device("cpu", 1, "auto", "none", "float32"), 0, stop)


def saved(place, rows):
    small.lm(rows, tied=False, seed=4).save_pretrained(place)
    small.tokenizer().save_pretrained(place)
    return place


def test_rows_without_a_token_are_never_drawn_nor_counted(tmp_path):
    loaded = language(saved(tmp_path / "m", WORDS + 6))
    assert loaded.notes == (f"6 rows of the model's {WORDS + 6} have no token: they are never drawn",)
    prompts, uniforms = small.prompts([1, 5, 6], [7]), torch.linspace(0, 0.999999, 60, dtype=torch.float64)
    flat = Distribution(50.0, 0, 1.0, 0, (2,))  # nearly uniform: a row without a token would be drawn
    drawn = sample(loaded.policy, prompts, uniforms.view(2, 30), flat, pad=0)
    assert int(drawn.responses.max()) == WORDS - 1
    logits = loaded.policy.lm(torch.tensor([[1, 5, 6]])).logits[0, -1, :WORDS]
    want = torch.log_softmax(logits / 50.0, -1)[drawn.responses[0, 0]]
    torch.testing.assert_close(loaded.policy(drawn, flat).logprobs[0, 0], want)


def test_tokens_that_the_model_lacks_are_offered_and_added_as_the_mean_of_the_others(tmp_path):
    path = saved(tmp_path / "m", WORDS - 3)
    with pytest.raises(Failure, match=r"the model only 26\nmodel\.resize_embeddings=true adds 3 rows") as failure:
        language(path)
    assert failure.value.code == 4
    state = torch.random.get_rng_state()
    loaded = language(path, resize_embeddings=True)
    assert torch.equal(state, torch.random.get_rng_state())
    old = small.lm(WORDS - 3, tied=False, seed=4)
    for new, was in (
        (loaded.policy.lm.get_input_embeddings(), old.get_input_embeddings()),
        (loaded.policy.lm.get_output_embeddings(), old.get_output_embeddings()),
    ):
        assert torch.equal(new.weight[: WORDS - 3], was.weight)
        assert torch.equal(new.weight[WORDS - 3 :], was.weight.mean(0).expand(3, -1))
    assert loaded.policy.vocabulary == WORDS
    assert loaded.notes[0].startswith("3 rows added to the embedding")
    assert not {int(i) for i in loaded.policy.names if str(i).isdigit()}


def test_weights_that_the_config_has_no_place_for_are_said(tmp_path):
    path = small.save_model(tmp_path / "m")
    assert language(path).notes == ()
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 1}))
    assert [note[:60] for note in language(path).notes] == [
        "9 weights of the files not used, such as model.layers.1.input_layernorm.weight"[:60]
    ]


def two_ends(place, ends):
    path = small.save_model(place)
    stored = json.loads((path / "generation_config.json").read_text())
    (path / "generation_config.json").write_text(json.dumps({**stored, "eos_token_id": ends}))
    return path


def test_all_end_tokens_of_the_tokenizer_and_of_the_generation_config_end_a_response(tmp_path):
    dot = small.tokenizer().convert_tokens_to_ids(".")
    loaded = language(two_ends(tmp_path / "m", [dot, 2, 10_000]))
    assert loaded.tokenizer.end == (2, dot)
    uniforms = torch.rand(40, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn = sample(loaded.policy, small.prompts(*([5 + i % 9] for i in range(40))), uniforms, small.plain(end=2), pad=0)
    whole = sample(loaded.policy, drawn.prompts, uniforms, Distribution(1.0, 0, 1.0, 0, loaded.tokenizer.end), pad=0)
    lasts = {int(row[mask][-1]) for row, mask in zip(whole.responses, whole.mask, strict=True) if mask.sum() < 12}
    assert lasts == {2, dot}
    for row, mask, ended in zip(whole.responses, whole.mask, whole.ended, strict=True):
        assert not set(row[mask][:-1].tolist()) & {2, dot}
        assert bool(ended) == (int(row[mask][-1]) in (2, dot))


def test_an_end_token_that_is_a_word_stays_in_a_text_that_is_given(tmp_path):
    loaded = language(two_ends(tmp_path / "m", [2, small.tokenizer().convert_tokens_to_ids(".")]))
    assert loaded.tokenizer.encode("the film .") == small.tokenizer().encode("the film .")


def test_the_saved_model_keeps_all_end_tokens_for_transformers(tmp_path):
    path = two_ends(tmp_path / "m", small.tokenizer().convert_tokens_to_ids("."))
    loaded = language(path)
    assert len(loaded.tokenizer.end) == 2
    save_policy(tmp_path / "out", loaded.policy, loaded.tokenizer, settings(path))
    stored = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    assert set(stored["eos_token_id"]) == set(loaded.tokenizer.end)
    assert json.loads(loaded.policy.files()["generation_config.json"]) == stored
    again = language(tmp_path / "out")
    assert set(again.tokenizer.end) == set(loaded.tokenizer.end)


def test_a_tokenizer_without_an_end_token_will_do_where_the_generation_config_has_one(model_dir, tmp_path):
    raw = small.tokenizer()
    raw.eos_token = None
    raw.save_pretrained(tmp_path)
    assert load_tokenizer(str(tmp_path), True, (7,)).end == (7,)
    with pytest.raises(Failure, match="has no end token"):
        load_tokenizer(str(tmp_path), True, (10_000,))


@pytest.fixture(scope="module")
def stopping(model_dir):
    tokenizer = replace(load_tokenizer(str(model_dir), True), stop=("good", "is very"))
    return load_policy(str(model_dir), True, CPU)[0], tokenizer


def texts(tokenizer, drawn):
    rows = zip(drawn.prompts.tokens, drawn.prompts.mask, drawn.responses, drawn.mask, strict=True)
    return [tokenizer.raw.decode([*p[m].tolist(), *r[n].tolist()]) for p, m, r, n in rows]


def test_a_stop_text_ends_a_response_and_is_no_part_of_it(stopping):
    policy, tokenizer = stopping
    uniforms = torch.rand(60, 12, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    prompts, d = small.prompts(*([1, 4 + i % 20] for i in range(60))), small.plain()
    free = sample(policy, prompts, uniforms, d, 0)
    drawn = sample(policy, prompts, uniforms, d, 0, tokenizer.stopper)
    stopped = 0
    for i in range(60):
        long, got = free.responses[i][free.mask[i]].tolist(), drawn.responses[i][drawn.mask[i]].tolist()
        assert long[: len(got)] == got
        before = prompts.tokens[i].tolist()
        words = tokenizer.raw.decode(got)
        if len(got) < len(long):
            stopped += 1
            assert bool(drawn.ended[i])
            assert words.endswith(("good", "is very"))
            assert "good" not in tokenizer.raw.decode(got[:-1])
        assert "good" not in tokenizer.decode_rest(before, got)
        assert bool(drawn.ended[i]) == (got[-1] == 2 or "good" in words or "is very" in words)
    assert stopped >= 3


def test_a_stop_text_does_not_end_a_response_before_its_least_length(stopping):
    policy, tokenizer = stopping
    tokenizer = replace(tokenizer, stop=tuple(small.WORDS))
    uniforms = torch.full((4, 9), 0.3, dtype=torch.float64)
    d = Distribution(1.0, 0, 1.0, 5, (2,))
    drawn = sample(policy, small.prompts([5], [6], [7], [8]), uniforms, d, 0, tokenizer.stopper)
    assert drawn.mask.sum(1).tolist() == [6] * 4


def test_a_stop_text_of_the_prompt_is_none_of_the_response(stopping):
    _, tokenizer = stopping
    good = tokenizer.raw.convert_tokens_to_ids("good")
    assert not tokenizer.stops([1, good], [5, 6])
    assert tokenizer.stops([1, good], [5, good])
    assert tokenizer.stops([1], [5] * 30 + [good])


class Letters:
    """A tokenizer of one letter a token, which drops a space at the beginning as SentencePiece does."""

    eos_token_id = 2

    def decode(self, ids, **_):
        return "".join(chr(i) for i in ids).lstrip(" ")


@pytest.mark.parametrize("stop", [" end", "é!", "\n\nHuman:"])
def test_a_stop_text_of_several_tokens_and_bytes_is_found_when_its_last_token_comes(stop):
    tokenizer = Tokenizer(Letters(), (2,), 0, (), (stop,))
    ids = [ord(c) for c in "abc" * 7 + stop + "more"]
    found = [n for n in range(1, len(ids) + 1) if tokenizer.stops([ord("x")], ids[:n])]
    assert found[0] == 21 + len(stop)
    assert tokenizer.decode_rest([ord("x")], ids) == "abc" * 7
    only = [ord(c) for c in stop]
    assert tokenizer.stops([ord("x")], only)
    assert tokenizer.decode_rest([ord("x")], only) == ""


def test_without_a_stop_text_no_text_is_decoded_while_it_grows(model_dir):
    assert load_tokenizer(str(model_dir), True).stopper is None
