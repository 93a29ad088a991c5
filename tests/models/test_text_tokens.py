"""Texts to be scored: their tokens, what is cut of them, and the rows of a batch."""

import pytest
import torch

from rlnlp.models.chat import Chat, Unreadable
from rlnlp.models.load import load_tokenizer
from rlnlp.models.text_tokens import TextBatch, TextReader, TextTokens, reader_of, text_batch
from support import small

CPU = torch.device("cpu")
END, START = 2, 1
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }} : {{ m['content'] }} ENDOFTURN\n{% endfor %}"
    "{% if add_generation_prompt %}assistant : {% endif %}"
)
ASKED = [{"role": "user", "content": "is the cat good ?"}]
ANSWER = {"role": "assistant", "content": "the cat is very good !"}


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    place = tmp_path_factory.mktemp("words")
    raw = small.tokenizer()
    raw.add_special_tokens({"additional_special_tokens": ["<turn>"]})
    raw.save_pretrained(place)
    return load_tokenizer(str(place), True)


@pytest.fixture(scope="module")
def reader(words):
    return reader_of(Chat(words, None, {}), 40)


def spoken(words, end, system=None, max_tokens=80):
    return TextReader(Chat(words, TEMPLATE.replace("ENDOFTURN", end), {}, system), max_tokens)


def test_a_text_has_the_tokenizer_s_start_before_it_and_one_end_token_behind(words, reader):
    got = reader.tokens("the cat is", " very good !")
    assert got == TextTokens((START, *words.encode("the cat is")[1:]), (*words.encode("very good !")[1:], END))
    assert got.whole.count(END) == 1
    assert len(got) == len(got.whole)
    assert reader.tokens(None, "a nice day") == TextTokens((START,), (*words.encode("a nice day")[1:], END))
    assert reader.tokens("the cat", "") == TextTokens(tuple(words.encode("the cat")), (END,))


def test_the_words_of_control_tokens_are_words_and_end_nothing(reader):
    got = reader.tokens("the </s> cat", " is good </s>")
    assert got.whole.count(END) == 1
    assert got.whole[-1] == END


def test_a_text_s_tokens_do_not_depend_on_where_its_prompt_ends(reader):
    """``cat is`` is split within a word: its tokens are those of the whole text."""
    whole = reader.tokens(None, "the cat is good")
    for prompt, answer in (("the cat", " is good"), ("the c", "at is good"), ("", "the cat is good")):
        assert reader.tokens(prompt, answer).whole == whole.whole


@pytest.mark.parametrize("end", ["</s>", "<turn>"])
def test_a_conversation_ends_in_one_end_token_whether_its_last_turn_does_or_not(words, end):
    got, turn = spoken(words, end).tokens(ASKED, ANSWER), words.raw.convert_tokens_to_ids(end)
    said = words.encode(ANSWER["content"])[1:]
    assert list(got.answer) == ([*said, END] if turn == END else [*said, turn, END])
    assert list(got.prompt) == spoken(words, end).chat.prompt(ASKED), "an answer stands where it would be drawn"


def test_an_answer_may_be_a_text_a_message_or_messages_and_a_prompt_a_text(words):
    reader = spoken(words, "</s>")
    want = reader.tokens(ASKED, ANSWER)
    assert reader.tokens(ASKED, ANSWER["content"]) == want
    assert reader.tokens(ASKED, [ANSWER]) == want
    assert reader.tokens(ASKED[0]["content"], ANSWER) == want
    assert reader.tokens(None, [*ASKED, ANSWER]) == want


def test_texts_are_turns_where_there_is_a_system_s_turn(words):
    with_system = spoken(words, "</s>", system="be nice")
    want = spoken(words, "</s>").tokens([{"role": "system", "content": "be nice"}, *ASKED], ANSWER)
    assert with_system.tokens(ASKED[0]["content"], ANSWER["content"]) == want
    assert with_system.tokens(ASKED, ANSWER) == want
    plain = spoken(words, "</s>").tokens("is the cat good ?", " the cat is very good !")
    assert START in plain.prompt
    assert len(plain) < len(want), "without one, a text is not made a conversation"


def test_a_conversation_without_an_answer_cannot_be_scored(words):
    with pytest.raises(Unreadable, match="no turn of the assistant"):
        spoken(words, "</s>").tokens(None, ASKED)


def test_a_long_text_loses_the_front_of_its_prompt_then_the_end_of_its_answer(words, reader):
    whole = reader.tokens("the cat is very good", " so nice a day !")
    prompt, answer = whole
    for most in range(3, len(whole) + 1):
        short = reader_of(reader.chat, most)
        got = short.tokens("the cat is very good", " so nice a day !")
        assert len(got) == min(most, len(whole))
        assert got.prompt[0] == START
        assert got.answer[-1] == END
        kept = most - 1 - len(answer)
        if kept >= 0:
            assert got == TextTokens((START, *prompt[len(prompt) - kept :]), answer)
        else:
            assert got == TextTokens((START,), (*answer[: most - 2], END))
        assert short.cuts("the cat is very good", " so nice a day !") == (most < len(whole))
    with pytest.raises(ValueError, match="3 tokens or more"):
        reader_of(reader.chat, 2)


def test_equal_prompts_are_one_row_and_rows_are_the_texts_again():
    texts = [TextTokens((1, 3, 4), (5, 2)), TextTokens((), (6, 7, 8, 2)), TextTokens((1, 3, 4), (2,))]
    batch = text_batch(texts, 9, CPU)
    assert batch.prompts.tolist() == [[1, 3, 4], [9, 9, 9]]
    assert batch.prompt_mask.tolist() == [[True] * 3, [False] * 3]
    assert batch.answers.tolist() == [[5, 2, 9, 9], [6, 7, 8, 2], [2, 9, 9, 9]]
    assert batch.group.tolist() == [0, 1, 0]
    tokens, mask = batch.rows()
    assert [row[real].tolist() for row, real in zip(tokens, mask, strict=True)] == [text.whole for text in texts]
    assert tokens.shape == (3, 5)
    assert all(real.tolist() == sorted(real.tolist(), reverse=True) for real in mask), "padding on the right alone"


def test_parts_of_a_batch_that_do_not_fit_are_refused():
    batch = text_batch([TextTokens((1,), (5, 2)), TextTokens((1,), (6, 2))], 0, CPU)
    parts = vars(batch)
    with pytest.raises(ValueError, match="group"):
        TextBatch(**{**parts, "group": batch.group[:1]})
    with pytest.raises(ValueError, match="shapes differ"):
        TextBatch(**{**parts, "prompt_mask": batch.answer_mask})
    with pytest.raises(ValueError, match="no tokens"):
        text_batch([TextTokens((1,), (5, 2)), TextTokens((1,), ())], 0, CPU)
