"""Tables of prompts: what is trained on, what is held out, and batches of them."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlnlp.data.prompts import FALLBACK, PromptTable, _split, prompt_table, table_of
from rlnlp.data.sources import check_context_length
from rlnlp.errors import Failure
from rlnlp.models.chat import Chat
from rlnlp.models.tokenizer import Tokenizer
from rlnlp.rollout.sampling import sampler
from support import small
from support.data import prompt_data

CPU = torch.device("cpu")


def words(**changes) -> Tokenizer:
    return Tokenizer(**{"raw": small.tokenizer(), "end": (small.END,), "pad": 0, "start": (1,), **changes})


def plainly() -> Chat:
    return Chat(words(), None, {})


def written(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def table(prompts, heldout=64, own=None, seed=0, max_tokens=32, tokenizer=None, too_long="refuse") -> PromptTable:
    data = prompt_data(str(prompts), own, too_long=too_long)
    return prompt_table(data, heldout, seed, tokenizer or words(), max_tokens)


def error(code, fn, *args, **kwargs):
    with pytest.raises(Failure) as failure:
        fn(*args, **kwargs)
    assert failure.value.code == code
    return str(failure.value)


def prompts_of(made, rows):
    return [made.records[row]["prompt"] for row in rows]


def test_batches_are_padded_on_the_left_and_know_their_rows(tmp_path):
    made = table(written(tmp_path / "p.jsonl", [{"prompt": "the film"}, {"prompt": ""}, {"prompt": "food"}]))
    batch = made.batch([2, 0, 1], CPU)
    the, film, food = (made.tokenizer.raw.convert_tokens_to_ids(word) for word in ("the", "film", "food"))
    assert batch.tokens.tolist() == [[0, 1, food], [1, the, film], [0, 0, 1]]
    assert batch.mask.tolist() == [[False, True, True], [True] * 3, [False, False, True]]
    assert batch.rows.tolist() == [2, 0, 1]


def test_a_rollout_is_read_back_with_references_and_columns(tmp_path):
    rows = [{"prompt": "the film", "reference": "good", "topic": "x"}, {"prompt": "food", "length": 3}]
    made = table(written(tmp_path / "p.jsonl", rows))
    rollout = sampler(small.policy(len(made.tokenizer.raw)), small.plain(), 5, 0)(
        made.batch([1, 0, 1], CPU), np.random.default_rng(0)
    )
    texts = made.texts(rollout)
    assert texts.prompts == ["food", "the film", "food"]
    assert texts.references == [None, "good", None]
    assert texts.columns == {"length": [3, None, 3], "topic": [None, "x", None]}
    for row, completion in enumerate(texts.completions):
        ids = rollout.responses[row][rollout.mask[row]].tolist()
        assert completion.split() == made.tokenizer.decode(ids).split()


def test_special_tokens_in_a_prompt_stay_text(tmp_path):
    text = "the film </s> is <pad> good <s> !"
    made = table(written(tmp_path / "p.jsonl", [{"prompt": text}]))
    assert made.tokens[0][0] == 1
    assert not {0, 1, small.END} & set(made.tokens[0][1:])
    assert prompts_of(made, [0]) == [text]
    assert not {0, 1, small.END} & set(made.tokenizer.encode(text)[1:])


@given(
    st.lists(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), min_size=1, max_size=60),
    st.integers(0, 9),
    st.integers(0, 3),
)
def test_held_out_prompts_are_never_trained_on_and_at_most_a_tenth_of_the_distinct_ones(prompts, heldout, seed):
    train, held = _split(prompts, heldout, seed)
    distinct, chosen = set(prompts), {prompts[row] for row in held}
    part = min(heldout, len(distinct) // 10)
    if part == 0:
        assert train == list(range(len(prompts)))
        assert held == [row % len(prompts) for row in range(heldout or FALLBACK)]
        return
    assert len(held) == len(chosen) == part
    assert train == [row for row, prompt in enumerate(prompts) if prompt not in chosen]


def test_the_held_out_part_is_a_matter_of_the_seed(prompts_file):
    made = table(prompts_file)
    assert (len(made.train), len(made.heldout), made.heldout_is_separate) == (36, 4, True)
    assert table(prompts_file).heldout == made.heldout
    assert len({tuple(table(prompts_file, seed=seed).heldout) for seed in range(6)}) > 3
    assert len(table(prompts_file, heldout=2).heldout) == 2


def test_copies_of_a_held_out_prompt_are_not_trained_on(tmp_path):
    rows = [{"prompt": f"{word} {other}"} for word in small.WORDS[:5] for other in small.WORDS[:4]]
    made = table(written(tmp_path / "p.jsonl", rows * 3))
    assert (len(made.train), len(made.heldout), made.heldout_is_separate) == (54, 2, True)
    assert not set(prompts_of(made, made.train)) & set(prompts_of(made, made.heldout))


def test_a_held_out_file_leaves_every_prompt_to_training(prompts_file, tmp_path):
    own = written(tmp_path / "own.jsonl", [{"prompt": f"hated {word}"} for word in ("it", "food", "film")])
    made = table(prompts_file, own=own)
    assert made.train == list(range(40))
    assert prompts_of(made, made.heldout) == ["hated it", "hated food", "hated film"]
    assert made.heldout_is_separate
    assert prompts_of(table(prompts_file, heldout=2, own=own), [40, 41]) == ["hated it", "hated food"]


def test_of_several_held_out_sets_prompts_of_each_are_measured_in_their_proportions(prompts_file, tmp_path):
    ends = ["it", "so", "fun", "film", "food", "the"]
    sets = {"hated": ends[:3], "loved": ends}
    own = [
        written(tmp_path / f"{first}.jsonl", [{"prompt": f"{first} {last}"} for last in of_set])
        for first, of_set in sets.items()
    ]
    every = [f"{first} {last}" for first, of_set in sets.items() for last in of_set]
    for count, hated in ((3, 1), (6, 2), (9, 3), (99, 3)):
        made = table(prompts_file, heldout=count, own=own)
        measured = prompts_of(made, made.heldout)
        assert [prompt.startswith("hated") for prompt in measured].count(True) == hated
        assert len(measured) == min(count, 9)
        assert [prompt for prompt in every if prompt in measured] == measured


def test_a_held_out_file_that_shares_a_prompt_with_training_is_not_called_separate(prompts_file, tmp_path):
    shared = json.loads(prompts_file.read_text().split("\n")[7])
    assert not table(
        prompts_file, own=written(tmp_path / "own.jsonl", [{"prompt": "hated it"}, shared])
    ).heldout_is_separate


def test_without_held_out_prompts_training_prompts_are_measured_and_not_called_separate(prompts_file, tmp_path):
    made = table(prompts_file, heldout=0)
    assert (made.train, made.heldout_is_separate) == (list(range(40)), False)
    assert made.heldout == [row % 40 for row in range(FALLBACK)]
    few = table(written(tmp_path / "few.jsonl", [{"prompt": word} for word in small.WORDS[:9]]), heldout=20)
    assert (few.train, few.heldout_is_separate) == (list(range(9)), False)
    assert few.heldout == [row % 9 for row in range(20)]


def test_a_prompt_that_leaves_no_room_is_exit_3_and_reported_with_its_length(tmp_path):
    rows = [{"prompt": "the " * count} for count in (3, 4, 5)]
    path = written(tmp_path / "p.jsonl", rows)
    message = error(3, table, path, max_tokens=5)
    assert "1 bad line in" in message
    assert "6 tokens, but the model has room for 5 besides the response" in message
    assert len(table(path, max_tokens=6).tokens[2]) == 6


def test_a_response_that_fills_the_context_is_exit_2():
    check_context_length(63, 64)
    assert "sampler.max_new_tokens 64" in error(2, check_context_length, 64, 64)


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"text": "a"}, "no field 'prompt' (it has: text)"),
        ({"prompt": None}, "'prompt' must be text, got NoneType"),
        ({"prompt": 3}, "'prompt' must be text, got int"),
        ({"prompt": "\ud800"}, "'prompt' has half a surrogate pair"),
        ({"prompt": "a", "reference": 3}, "'reference' must be text, got int"),
        ({"prompt": "a", "reference": "\udfff"}, "'reference' has half a surrogate pair"),
    ],
)
def test_a_record_that_is_not_a_prompt_is_exit_3_with_its_file_and_line(row, fault, tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text(f'{{"prompt": "a"}}\n\n\n{json.dumps(row)}\n')
    message = error(3, table, path)
    assert f"1 bad line in {path}\n" in message
    assert fault in message
    assert "p.jsonl:4: " in message


def test_a_reference_that_is_null_is_none(tmp_path):
    made = table(written(tmp_path / "p.jsonl", [{"prompt": "a", "reference": None}]))
    assert made.records == [{"prompt": "a", "reference": None}]


def test_an_empty_prompt_is_the_start_token_or_refused_where_there_is_none(tmp_path):
    path = written(tmp_path / "p.jsonl", [{"prompt": ""}])
    assert table(path).tokens == [[1]]
    bare = small.tokenizer()
    bare.backend_tokenizer.post_processor = None
    bare.bos_token = None
    assert "no start token" in error(3, table, path, tokenizer=words(raw=bare, start=()))


def test_the_file_of_held_out_prompts_is_named_by_its_own_setting(prompts_file, tmp_path):
    assert error(3, table, prompts_file, own=f"{tmp_path}/no.jsonl").startswith("data.heldout: no such file")


def test_prompts_of_the_command_line_are_all_used_in_order():
    made = table_of(["b", "a", "b"], plainly(), 9)
    assert made.train == made.heldout == [0, 1, 2]
    assert prompts_of(made, [0, 1, 2]) == ["b", "a", "b"]
    assert "6 tokens" in error(3, table_of, ["the " * 5], plainly(), 5)


@given(st.lists(st.text(max_size=6) | st.none() | st.integers() | st.sampled_from(["</s>", "\ud800"]), max_size=5))
def test_any_texts_give_a_table_or_a_failure_3(tmp_path_factory, texts):
    path = written(tmp_path_factory.getbasetemp() / "any.jsonl", [{"prompt": text} for text in texts])
    sound = texts and all(isinstance(t, str) and not any("\ud800" <= c <= "\udfff" for c in t) for t in texts)
    if not sound:
        error(3, table, path, max_tokens=64)
        return
    made = table(path, max_tokens=64)
    assert prompts_of(made, range(len(texts))) == texts
    assert all(tokens and not {0, small.END} & set(tokens) for tokens in made.tokens)
