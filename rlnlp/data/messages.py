"""Records that are conversations, however their authors wrote them, as one form: ``messages`` of role and content."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rlnlp.data.formats import Record
from rlnlp.data.records import Located, bad_lines_error
from rlnlp.models.chat import Message, Messages

SPEAKERS = {  # the roles, as conversations of all kinds call them
    "system": "system", "developer": "system",
    "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "model": "assistant", "bot": "assistant", "chatgpt": "assistant",
    "bard": "assistant", "bing": "assistant",
}  # fmt: skip
LISTS = ("messages", "conversations", "conversation")  # fields that hold a whole conversation
ALPACA = ("instruction", "input", "output")


class NoConversation(Exception):
    """What a record has is no conversation; the message says why."""


def as_prompt(record: Record) -> Record:
    """A record of prompts with its conversation as ``messages`` that end with the user's turn; others as they are.

    Of a conversation that goes on, what the assistant said last is the ``reference``, if the record has none.

    Raises:
        NoConversation: with the reason.
    """
    record = _without_null(record)
    if isinstance(record.get("prompt"), list):
        messages = messages_of("prompt", record["prompt"])
        if messages[-1]["role"] != "user":
            raise NoConversation(f"'prompt' must end with a turn of the user, not the {messages[-1]['role']}'s")
        return _made(record, ("prompt",), messages)
    field, whole = _whole(record)
    if whole is None:
        return record
    users = [i for i, message in enumerate(whole) if message["role"] == "user"]
    if not users:
        raise NoConversation(f"'{field}' has no turn of the user")
    prompt, answer = whole[: users[-1] + 1], whole[users[-1] + 1 :]
    made = _made(record, (field, "prompt") if field in LISTS else ALPACA, prompt)
    answers = [message["content"] for message in answer if message["role"] == "assistant"]
    return {"reference": answers[-1], **made} if answers and made.get("reference") is None else made


def as_example(record: Record) -> Record:
    """A record of texts with its conversation, which has a turn of the assistant, as ``messages``; others as they are.

    Raises:
        NoConversation: with the reason.
    """
    record = _without_null(record)
    completion = record.get("completion", record.get("response"))
    if isinstance(record.get("prompt"), list):
        answer = [{"role": "assistant", "content": completion}] if isinstance(completion, str) else completion
        messages = messages_of("prompt", record["prompt"]) + messages_of("completion", answer)
        field = "completion"
    elif isinstance(completion, list):
        raise NoConversation("'completion' is a list of messages, and 'prompt' is not")
    else:
        field, found = _whole(record)
        if found is None:
            return record
        messages = found
    if all(message["role"] != "assistant" for message in messages):
        raise NoConversation(f"'{field}' has no turn of the assistant")
    return _made(record, (*LISTS, "prompt", "completion", "response"), messages)


def read_conversations(key: str, name: str, records: Located, form: Callable[[Record], Record]) -> Located:
    """Records of a file, in the ``form`` that ``as_prompt`` or ``as_example`` gives them.

    Raises:
        Failure: exit 3, with file and line of each conversation that is none.
    """
    found, faults = [], []
    for location, record in records:
        try:
            found.append((location, form(record)))
        except NoConversation as fault:
            faults.append(f"{location}: {fault}")
    if faults:
        raise bad_lines_error(key, name, faults)
    return found


def messages_of(field: str, value: Any) -> Messages:
    """``value``, what the record has as ``field``, as messages: role and content, or sharegpt's from and value.

    Raises:
        NoConversation: with the number of the turn that is none.
    """
    if not isinstance(value, list):
        raise NoConversation(f"'{field}' must be a list of messages, got {type(value).__name__}")
    if not value:
        raise NoConversation(f"'{field}' is a conversation without a turn")
    return [_message(f"'{field}', turn {i}", turn) for i, turn in enumerate(value, 1)]


def _whole(record: Record) -> tuple[str, Messages | None]:
    """The conversation that a record holds in one field or as an instruction, with the field; None if there is none."""
    for field in LISTS:
        if isinstance(record.get(field), list):
            return field, messages_of(field, record[field])
    if "instruction" not in record or {"prompt", "text", "completion"} & set(record):
        return "", None
    words = [_text(f"'{name}'", record.get(name) or "") for name in ALPACA]
    asked = "\n\n".join(part for part in words[:2] if part)
    if not asked:
        raise NoConversation("'instruction' is empty")
    answer = [{"role": "assistant", "content": words[2]}] if words[2] else []
    return "output", [{"role": "user", "content": asked}, *answer]


def _message(where: str, turn: Any) -> Message:
    if not isinstance(turn, Mapping):
        raise NoConversation(f"{where} must be an object with 'role' and 'content', got {type(turn).__name__}")
    names = ("from", "value") if "from" in turn and "role" not in turn else ("role", "content")
    missing = [name for name in names if name not in turn]
    if missing:
        raise NoConversation(f"{where} has no '{missing[0]}' (it has: {', '.join(map(str, turn)) or 'nothing'})")
    speaker = turn[names[0]]
    role = SPEAKERS.get(speaker.lower()) if isinstance(speaker, str) else None
    if role is None or turn.get("tool_calls"):
        said = f"role {speaker!r}" if role is None else "calls of tools"
        raise NoConversation(f"{where}: {said}: only turns of the system, the user and the assistant are read")
    more = {key: value for key, value in turn.items() if key not in names and isinstance(value, str)}
    content = _text(f"the {names[1]} of {where}", turn[names[1]])
    if role == "user" and not content.strip():
        raise NoConversation(f"{where}: the user says nothing")
    return {"role": role, "content": content, **{key: _text(f"'{key}' of {where}", text) for key, text in more.items()}}


def _text(what: str, value: Any) -> str:
    if isinstance(value, list):  # parts of a message, as some interfaces write them
        if not all(isinstance(part, Mapping) and isinstance(part.get("text"), str) for part in value):
            raise NoConversation(f"{what} must be text: pictures, sounds and other parts are not read")
        value = "".join(part["text"] for part in value)
    if not isinstance(value, str):
        raise NoConversation(f"{what} must be text, got {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise NoConversation(f"{what} has half a surrogate pair, which is not valid text") from error
    return value


def _without_null(record: Record) -> Record:
    """A record of a table of which other rows have messages."""
    return {name: value for name, value in record.items() if name != "messages" or value is not None}


def _made(record: Record, read: Sequence[str], messages: Messages) -> Record:
    return {**{name: value for name, value in record.items() if name not in read}, "messages": messages}
