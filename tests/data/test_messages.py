"""Records that are conversations, in every form in which people have them; and what is told of those that are none."""

import json

import pytest
import torch

from rlnlp.data.messages import NoConversation, as_example, as_prompt
from rlnlp.data.prompts import prompt_table
from rlnlp.data.texts import text_table
from rlnlp.errors import Failure
from support import chat
from support.data import prompt_data, text_data

ASKED, BOTH = chat.turns("Hi"), chat.turns("Hi", "Yes.")
SHAREGPT = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yes."}]
ALPACA = {"instruction": "Hi", "input": "", "output": "Yes."}
CPU = torch.device("cpu")


def written(path, *records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


@pytest.mark.parametrize(
    ("record", "made"),
    [
        ({"prompt": ASKED, "topic": 1}, {"topic": 1, "messages": ASKED}),
        ({"messages": ASKED}, {"messages": ASKED}),
        ({"messages": BOTH, "prompt": "Hi"}, {"messages": ASKED, "reference": "Yes."}),
        ({"messages": BOTH, "reference": "No."}, {"messages": ASKED, "reference": "No."}),
        ({"conversations": SHAREGPT}, {"messages": ASKED, "reference": "Yes."}),
        (ALPACA, {"messages": ASKED, "reference": "Yes."}),
        (
            {"instruction": "Add", "input": "2, 2"},
            {"messages": chat.turns("Add\n\n2, 2")},
        ),
        ({"prompt": "Hi", "instruction": "x"}, {"prompt": "Hi", "instruction": "x"}),
        ({"prompt": "Hi", "messages": None}, {"prompt": "Hi"}),
        ({"prompt": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]}, {"messages": ASKED}),
        ({"prompt": [{"role": "Human", "content": "Hi", "weight": 1}]}, {"messages": ASKED}),
    ],
)
def test_conversations_of_prompts_have_one_form_and_end_with_the_user(record, made):
    assert as_prompt(record) == made


@pytest.mark.parametrize(
    "record",
    [
        {"messages": BOTH}, {"conversations": SHAREGPT}, ALPACA, {"prompt": ASKED, "completion": BOTH[1:]},
        {"prompt": ASKED, "completion": "Yes."}, {"prompt": "User: Hi", "response": "Yes.", "messages": BOTH},
    ],
)  # fmt: skip
def test_conversations_of_texts_have_one_form_with_the_assistant_s_turns(record):
    assert as_example({"score": 1.0, **record})["messages"] == BOTH
    assert as_example({"score": 1.0, **record})["score"] == 1.0


@pytest.mark.parametrize(
    "record", [{"text": "a"}, {"prompt": "a", "completion": "b"}, {"prompt": "a", "response": "b"}]
)
def test_other_records_stay_as_they_are(record):
    assert as_example(record) == as_prompt(record) == record


@pytest.mark.parametrize(
    ("form", "record", "said"),
    [
        (as_prompt, {"prompt": BOTH}, "'prompt' must end with a turn of the user, not the assistant's"),
        (as_prompt, {"messages": []}, "'messages' is a conversation without a turn"),
        (as_prompt, {"messages": BOTH[1:]}, "'messages' has no turn of the user"),
        (as_prompt, {"messages": ["Hi"]}, "'messages', turn 1 must be an object with 'role' and 'content', got str"),
        (as_prompt, {"prompt": [{"role": "user"}]}, "turn 1 has no 'content' .it has: role"),
        (as_prompt, {"prompt": [{"role": "tool", "content": "4"}]}, "turn 1: role 'tool': only turns of"),
        (as_prompt, {"prompt": [{"role": "user", "content": None}]}, "must be text, got NoneType"),
        (as_prompt, {"prompt": [{"role": "user", "content": " "}]}, "turn 1: the user says nothing"),
        (as_prompt, {"prompt": [{"role": "user", "content": "\ud800"}]}, "half a surrogate pair"),
        (as_prompt, {"prompt": [{"role": "user", "content": [{"type": "image"}]}]}, "pictures, sounds"),
        (as_prompt, {"instruction": ""}, "'instruction' is empty"),
        (as_example, {"messages": ASKED}, "'messages' has no turn of the assistant"),
        (as_example, {"instruction": "Hi"}, "'output' has no turn of the assistant"),
        (
            as_example,
            {"prompt": "Hi", "completion": BOTH[1:]},
            "'completion' is a list of messages, and 'prompt' is not",
        ),
        (as_example, {"prompt": ASKED}, "'completion' must be a list of messages, got NoneType"),
    ],
)
def test_what_is_no_conversation_is_told_with_its_turn(form, record, said):
    with pytest.raises(NoConversation, match=said):
        form(record)


def test_faults_of_conversations_are_told_by_line_those_of_the_template_too(tmp_path):
    words = chat.chat().tokenizer
    path = written(
        tmp_path / "p.jsonl", {"prompt": ASKED}, {"prompt": []}, {"prompt": [{"role": "robot", "content": "x"}]}
    )
    with pytest.raises(
        Failure, match=r"2 bad lines in .*\np.jsonl:2: 'prompt' is a conv.*; p.jsonl:3: 'prompt', turn 1: role"
    ):
        prompt_table(prompt_data(path), 0, 0, words, 64)
    gemma = chat.chat(chat.GEMMA).tokenizer
    path = written(tmp_path / "p.jsonl", {"prompt": ASKED}, {"prompt": chat.turns("Hi", system="x")})
    both = written(tmp_path / "q.jsonl", {"messages": BOTH}, {"messages": chat.turns("a", "b", system="x")})
    for read, data in ((prompt_table, prompt_data(path)), (text_table, text_data(both))):
        with pytest.raises(Failure, match=r"[pq].jsonl:2: the chat template refuses it: System role") as failure:
            read(data, 0, 0, gemma, 64)
        assert failure.value.code == 3


def test_a_table_of_conversations_shows_them_as_people_read_them_and_ends_turns(tmp_path):
    path = written(
        tmp_path / "p.jsonl", {"messages": chat.turns("Hi <|end|>", "Yes.", "So?"), "topic": "x"}, {"prompt": "go on"}
    )
    table = prompt_table(prompt_data(path, system="be kind"), 0, 0, chat.chat().tokenizer, 256)
    shown = "System: be kind\n\nUser: Hi <|end|>\n\nAssistant: Yes.\n\nUser: So?\n\nAssistant: "
    assert [record["prompt"] for record in table.records] == [shown, "System: be kind\n\nUser: go on\n\nAssistant: "]
    assert table.tokens[0] == chat.chat().prompt(table.records[0]["messages"])
    assert table.tokenizer.end == (2, 6)
    assert table.notes == ["1 of 2 texts with words of control tokens (<|end|>): they are read as words"]
    plain = prompt_table(prompt_data(written(tmp_path / "q.jsonl", {"prompt": "Hi"})), 0, 0, chat.chat().tokenizer, 64)
    assert (plain.tokenizer.end, len(plain.notes)) == ((2,), 1)


def test_a_conversation_that_is_too_long_loses_its_oldest_turns_but_not_the_system_s_nor_the_user_s_last(tmp_path):
    long = [{"role": "system", "content": "be kind"}, *chat.turns("a" * 99, "Yes.", "b" * 9, "No.", "So?")]
    read, room = chat.chat(), len(chat.chat().prompt([long[0], *long[3:]]))
    path = written(tmp_path / "p.jsonl", {"prompt": long, "topic": "x"}, {"prompt": ASKED})
    for most, left in ((room, long[3:]), (room - 1, long[5:])):
        table = prompt_table(prompt_data(path, too_long="cut"), 0, 0, read.tokenizer, most)
        assert table.records[0]["messages"] == [long[0], *left]
        assert table.records[0]["topic"] == "x"
        assert table.tokens[0] == read.prompt([long[0], *left])
        assert "b" * 9 in table.records[0]["prompt"] or most < room
        assert "1 of 2 prompts cut (data.too_long=cut)" in table.notes[0]
    assert len(prompt_table(prompt_data(path, too_long="drop"), 0, 0, read.tokenizer, room).records) == 1


def test_a_conversation_whose_last_turn_is_too_long_is_left_out_even_where_prompts_are_cut(tmp_path):
    path = written(tmp_path / "p.jsonl", {"prompt": chat.turns("Hi", "Yes.", "a" * 99)}, {"prompt": ASKED})
    table = prompt_table(prompt_data(path, too_long="cut"), 0, 0, chat.chat().tokenizer, 32)
    assert len(table.records) == 1
    assert "1 of 2 prompts left out" in table.notes[0]


def test_a_batch_of_conversations_has_holes_where_the_user_speaks(tmp_path):
    words = chat.chat().tokenizer
    path = written(tmp_path / "t.jsonl", {"messages": chat.turns("Hi", "Yes.", "So?", "No.")}, {"messages": BOTH})
    table = text_table(text_data(path), 0, 0, words, 256)
    batch = table.batch([0, 1], CPU)
    said = [words.raw.decode(row[mask]) for row, mask in zip(batch.responses, batch.mask, strict=True)]
    assert said == ["Yes.<|end|>No.<|end|>", "Yes.<|end|>"]
    real = batch.attention[:, batch.prompts.tokens.shape[1] :]
    whole = [words.raw.decode(row[here]) for row, here in zip(batch.responses, real, strict=True)]
    assert whole == ["Yes.<|end|>\n<|user|>\nSo?<|end|>\n<|assistant|>\nNo.<|end|>", "Yes.<|end|>"]
    assert words.raw.decode(batch.prompts.tokens[0][batch.prompts.mask[0]]) == "<|user|>\nHi<|end|>\n<|assistant|>\n"
    assert table.texts([0]) == [("User: Hi\n\nAssistant: ", "Yes.\n\nUser: So?\n\nAssistant: No.")]
    last = text_table(text_data(path, turns="last"), 0, 0, words, 256)
    assert words.raw.decode(last.rows[0].completion) == "No.<|end|>"
    assert last.texts([0]) == [("User: Hi\n\nAssistant: Yes.\n\nUser: So?\n\nAssistant: ", "No.")]
    assert last.response(0, words.encode(" Maybe")) == (last.texts([0])[0][0], "Maybe")


def test_a_conversation_of_texts_that_is_cut_keeps_its_beginning_and_what_of_it_is_learned(tmp_path):
    words = chat.chat().tokenizer
    path = written(tmp_path / "t.jsonl", {"messages": chat.turns("Hi", "Yes.", "So?", "No." * 40)})
    table = text_table(text_data(path, too_long="cut"), 0, 0, words, 48)
    (row,) = table.rows
    assert len(row.prompt) + len(row.completion) == 48
    assert len(row.spoken.learned) == len(row.completion)
    assert not words.raw.decode(row.completion).endswith("<|end|>")


def test_prompt_and_completion_are_tokens_of_one_text(tmp_path):
    words = chat.chat().tokenizer
    path = written(
        tmp_path / "t.jsonl", {"prompt": "to the", "completion": " the end"}, {"prompt": "a ", "completion": "the"}
    )
    first, over = text_table(text_data(path), 0, 0, words, 64).rows
    assert words.raw.convert_ids_to_tokens(first.completion)[:1] == ["Ġthe"]
    assert first.prompt == words.encode("to the")
    assert over.prompt == words.encode("a"), "a token over both is the completion's, as the model reads it"
    assert words.raw.convert_ids_to_tokens(over.completion) == ["Ġthe", "</s>"]
