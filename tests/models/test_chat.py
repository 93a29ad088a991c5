"""Conversations as a model reads them: the tokens of a chat template, and words of control tokens that stay words."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlnlp.config.conversations import Conversations
from rlnlp.errors import Failure
from rlnlp.models.chat import Chat, Unreadable, chat_of, prompt_text
from rlnlp.models.control import ControlWords, special_words
from rlnlp.models.tokenizer import Tokenizer
from support import chat, small

TEMPLATES = {
    "chatml": chat.CHATML, "llama": chat.LLAMA, "gemma": chat.GEMMA, "qwen": chat.QWEN, "no-ends": chat.NO_ENDS,
}  # fmt: skip
WORDS = st.sampled_from([*chat.SPECIAL, *chat.THINK, "the", " the", "\n", "\n\n", "  ", "é", "字", "<|", "|>", ": "])
MANY = settings(max_examples=30)
CONTENT = st.lists(WORDS | st.text(max_size=4), min_size=1, max_size=6).map("".join).filter(str.strip)
CHATS = {name: chat.chat(template) for name, template in TEMPLATES.items()}


def applied(made: Chat, messages, **args):
    return made.tokenizer.raw.apply_chat_template(messages, add_generation_prompt=True, return_dict=False, **args)


@pytest.mark.parametrize("name", TEMPLATES)
@MANY
@given(contents=st.lists(CONTENT, min_size=1, max_size=5).filter(lambda texts: len(texts) % 2))
def test_a_prompt_has_the_tokens_of_apply_chat_template_and_no_control_token_comes_from_people(name, contents):
    made = CHATS[name]
    messages = chat.turns(*contents)
    ids = made.prompt(messages)
    neutral = [{**turn, "content": "x"} for turn in messages]
    control = set(made.control.ids.values())
    assert [i for i in ids if i in control] == [i for i in applied(made, neutral) if i in control]
    if not any(word in text for word in made.control.ids for text in contents):
        assert ids == applied(made, messages)
    elif name == "chatml":
        found = made.tokenizer.raw.decode([i for i in ids if i not in control])
        assert found == "".join(f"\n{text}\n" for text in contents) + "\n", "what people said is all there"


def test_around_a_control_word_of_people_s_the_text_is_cut_as_if_it_were_any_word():
    made = chat.chat()
    ids = made.prompt(chat.turns("</s> the <|end|>"))
    shown = made.tokenizer.raw.convert_ids_to_tokens(ids)
    spelled = ["</", "s", ">", "Ġthe", "Ġ", "<", "|", "e", "n", "d", "|", ">"]
    assert shown == ["<|user|>", "Ċ", *spelled, "<|end|>", "Ċ", "<|assistant|>", "Ċ"]


def test_a_plain_text_with_control_words_is_spelled_as_transformers_spells_it():
    for raw in (chat.spelling(), small.tokenizer()):
        words = Tokenizer(raw, (2,), 0, (1,))
        for text in ("<s> the </s> x", "<pad>", "the</s>"):
            assert words.encode(text) == raw.encode(text, split_special_tokens=True)


def test_a_vocabulary_whose_merges_or_pieces_are_control_words_gives_no_control_token():
    from tokenizers import Tokenizer as RawTokenizer
    from tokenizers import models
    from transformers import PreTrainedTokenizerFast

    pieces = [("<unk>", 0.0), ("</s>", -1.0), *((letter, -2.0) for letter in "</s>ab ")]
    raw = PreTrainedTokenizerFast(
        tokenizer_object=RawTokenizer(models.Unigram(pieces, unk_id=0)), eos_token="</s>", unk_token="<unk>"
    )
    assert 1 in raw.encode("a </s> b", split_special_tokens=True), "transformers lets it through"
    words = Tokenizer(raw, (1,), 1, ())
    assert 1 not in words.encode("a </s> b")
    assert raw.convert_ids_to_tokens(words.encode("a </s> b")) == list("a </s> b")


def test_a_noncharacter_in_a_text_does_not_name_a_control_token():
    made = chat.chat()
    for mark in ("\ufdd0", "\ufdd1"):
        text = f"{mark}6{mark} <|end|> {mark}w6{mark}"
        ids = made.prompt(chat.turns(text))
        assert ids.count(made.control.ids["<|end|>"]) == 1
        assert text in made.tokenizer.raw.decode(ids)


def test_a_role_that_a_template_refuses_or_leaves_out_is_told():
    with_system, twice = chat.turns("a", system="be kind"), [*chat.turns("a"), *chat.turns("b")]
    for template, messages, words in (
        (chat.GEMMA, with_system, "the chat template refuses it: System role not supported"),
        (chat.LLAMA, twice, "the chat template refuses it: roles must alternate"),
        (chat.SILENT, with_system, "the chat template leaves out turn 1, the system's"),
        ("{{ messages[0]['content'] + 1 }}", twice, "the chat template refuses it: can only concatenate str"),
        ("{{ nothing.at.all }}", twice, "the chat template refuses it: 'nothing' is undefined"),
    ):
        with pytest.raises(Unreadable, match=words):
            chat.chat(template).prompt(messages)


@pytest.mark.parametrize(
    ("name", "end"),
    [("chatml", "<|end|>"), ("llama", "</s>"), ("gemma", "<|end|>"), ("qwen", "<|end|>"), ("no-ends", None)],
)
def test_the_token_that_ends_a_turn_is_found_in_the_template(name, end):
    made = CHATS[name]
    assert made.end == (None if end is None else made.added.ids[end])
    assert made.ending_turns().end == tuple(dict.fromkeys([2, made.end or 2]))


def test_the_arguments_of_a_template_reach_it():
    thinking = chat.chat(chat.QWEN, args={"enable_thinking": False})
    messages = chat.turns("hello")
    assert thinking.prompt(messages) == applied(thinking, messages, enable_thinking=False)
    assert thinking.prompt(messages) != CHATS["qwen"].prompt(messages)


def test_a_system_s_turn_is_put_before_conversations_without_one_and_makes_texts_turns_of_the_user():
    made = chat.chat(system="be kind")
    assert made.messages("hi") == made.messages(chat.turns("hi")) == chat.turns("hi", system="be kind")
    own = chat.turns("hi", system="be curt")
    assert made.messages(own) == own
    assert chat.chat(system="").messages("hi") == chat.turns("hi")
    assert chat.chat().messages("hi") is None


def test_without_a_template_conversations_are_refused_or_read_as_people_read_them():
    messages = chat.turns("a", "b", "c", system="d")
    assert prompt_text(messages) == "System: d\n\nUser: a\n\nAssistant: b\n\nUser: c\n\nAssistant: "
    plain = chat.chat(None, plainly=True)
    assert plain.prompt(messages) == plain.tokenizer.encode(prompt_text(messages).rstrip())
    with pytest.raises(Failure, match="the model has no chat template") as failure:
        chat.chat(None).prompt(messages)
    assert failure.value.code == 4


def test_the_setting_chooses_the_template(tmp_path):
    words = chat.chat().tokenizer
    file = tmp_path / "t.jinja"
    file.write_text("{{ messages[0]['content'] }}")
    found = [chat_of(Conversations(name, None, {}), words) for name in ("auto", "none", str(file))]
    assert [(each.template, each.plainly) for each in found] == [
        (chat.CHATML, False), (None, True), ("{{ messages[0]['content'] }}", False),
    ]  # fmt: skip
    file.write_text("{% for %}")
    for name, said in ((str(file), "t.jinja:1 is not Jinja"), ("non", r"did you mean 'data.template=none'\?")):
        with pytest.raises(Failure, match=said) as failure:
            chat_of(Conversations(name, None, {}), words)
        assert failure.value.code == 2


def test_texts_with_control_words_are_counted_once():
    made = chat.chat()
    assert made.notes(["a", "b <|end|>", "</s> <s>"], spoken=True) == {
        "control-words": "2 of 3 texts with words of control tokens (<|end|>, </s>): they are read as words"
    }
    assert "plain texts" in made.notes(["a"], spoken=False)["plain-texts"]
    assert chat.chat(None).notes(["a"], spoken=False) == {}


def test_control_words_of_one_character_and_of_words_within_words_are_found_longest_first():
    raw = small.tokenizer()
    words = ControlWords(raw, {"<": 7, "<s>": 1})
    assert words.within("a <s> <") == ["<s>", "<"]
    assert special_words(raw)["</s>"] == small.END
