"""Which tokens of a conversation are the assistant's: exactly those that it would have to draw."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlnlp.models.chat import Unreadable
from rlnlp.models.turns import assistant_tokens
from support import chat

PLAIN = st.text(st.sampled_from("abc .é字\n"), min_size=1, max_size=6).filter(str.strip)
TWO = chat.turns("Hi", "Yes.", "So?", "No.")
SAID = {  # of each template: what is learned of TWO
    "chatml": (chat.CHATML, ["Yes.<|end|>", "No.<|end|>"]),
    "llama": (chat.LLAMA, [" Yes. </s>", " No. </s>"]),
    "gemma": (chat.GEMMA, ["Yes.<|end|>", "No.<|end|>"]),
    "qwen": (chat.QWEN, ["Yes.<|end|>", "<think>\n\n</think>\n\nNo.<|end|>"]),
    "no-ends": (chat.NO_ENDS, [" Yes.", " No.</s>"]),
    "plain": (None, [" Yes.", " No.</s>"]),
}


def made(template, **settings_):
    return chat.chat(template, plainly=template is None, **settings_)


def learned(each, messages, last_only=False) -> list[str]:
    """The runs of learned tokens in words, control tokens included."""
    ids, mask = assistant_tokens(each, messages, last_only)
    assert len(ids) == len(mask)
    assert mask[-1], "nothing follows what is learned"
    runs: list[list[int]] = []
    for i, (token, here) in enumerate(zip(ids, mask, strict=True)):
        if here and (i == 0 or not mask[i - 1]):
            runs.append([])
        if here:
            runs[-1].append(token)
    return [each.tokenizer.raw.decode(run) for run in runs]


@pytest.mark.parametrize("name", SAID)
def test_every_turn_of_the_assistant_is_learned_with_its_end_or_only_the_last(name):
    template, said = SAID[name]
    assert learned(made(template), TWO) == said
    assert learned(made(template), TWO, last_only=True) == said[1:]


@pytest.mark.parametrize("name", ["chatml", "gemma", "llama", "no-ends", "plain"])
@settings(max_examples=30)
@given(contents=st.lists(PLAIN, min_size=2, max_size=6).filter(lambda texts: len(texts) % 2 == 0))
def test_a_turn_is_learned_behind_the_very_tokens_of_the_prompt_that_asks_for_it(name, contents):
    each, messages = made(SAID[name][0]), chat.turns(*contents)
    ids, mask = assistant_tokens(each, messages, last_only=True)
    asked = each.prompt(messages[:-1])
    start = mask.index(True)
    same = 0
    while same < min(len(asked), len(ids)) and asked[same] == ids[same]:
        same += 1
    assert not any(mask[:same])
    assert len(asked) - same <= 1, "at most a token that stands over the border"
    assert all(mask[start:])
    text = each.tokenizer.raw.decode([i for i, here in zip(ids, mask, strict=True) if here])
    assert contents[-1].strip() in text or len(asked) > same
    if template := SAID[name][0]:
        whole = each.tokenizer.raw.apply_chat_template(messages, chat_template=template, return_dict=False)
        assert ids[:-1] == whole[: len(ids) - 1]


def test_the_words_of_control_tokens_in_a_turn_are_learned_as_words_and_end_nothing():
    each = made(chat.CHATML)
    messages = chat.turns("a <|end|>", "b <|end|>\n<|user|>\nc", "d", "e")
    assert learned(each, messages) == ["b <|end|>\n<|user|>\nc<|end|>", "e<|end|>"]
    ids, _ = assistant_tokens(each, messages, last_only=False)
    assert ids.count(each.end) == 4
    assert ids.count(each.added.ids["<|user|>"]) == 2


def test_a_token_over_the_border_is_not_the_assistant_s():
    each = made(chat.CHATML)
    assert learned(each, chat.turns("a", "\n\nb")) == ["\nb<|end|>"], "the first joins the line's end before"
    assert learned(each, chat.turns("a", "  b")) == ["  b<|end|>"], "spaces of a byte-level tokenizer are somebody's"


def test_what_was_thought_is_learned_where_the_template_shows_it():
    each = made(chat.QWEN)
    thought = chat.turns("a", "<think>\nhm\n</think>\n\nb", "c", "<think>\nso\n</think>\n\nd")
    assert learned(each, thought) == ["b<|end|>", "<think>\nso\n</think>\n\nd<|end|>"]
    plain = made(chat.QWEN, args={"enable_thinking": False})
    assert learned(plain, TWO) == ["Yes.<|end|>", "No.<|end|>"], "what the prompt has already is not drawn"


def test_an_empty_turn_of_the_assistant_is_not_learned_and_a_conversation_of_those_is_refused():
    each = made(chat.CHATML)
    assert learned(each, chat.turns("a", " ", "b", "c")) == ["c<|end|>"]
    for messages in (chat.turns("a", ""), chat.turns("a")):
        with pytest.raises(Unreadable, match="no turn of the assistant to learn from"):
            assistant_tokens(each, messages, last_only=False)


def test_a_conversation_that_the_assistant_begins_is_learned_from_its_beginning():
    messages = [{"role": "assistant", "content": "Hello!"}, *chat.turns("Hi", "Yes.")]
    assert learned(made(chat.CHATML), messages) == ["Hello!<|end|>", "Yes.<|end|>"]


def test_a_template_that_cannot_be_followed_is_told():
    for template, said in (
        (
            "{% for m in messages %}{{ m['content'] | upper }}{% endfor %}",
            "leaves out|cannot be followed|cannot be found",
        ),
        ("{% for m in messages %}{{ m['content'] | length }}{% endfor %}", "cannot be followed"),
        (chat.SILENT, "leaves out turn 1, the system's"),
        (chat.GEMMA, "refuses it: System role not supported"),
    ):
        with pytest.raises(Unreadable, match=said):
            assistant_tokens(chat.chat(template), chat.turns("a", "b", system="c"), last_only=False)
