"""The prompt that answers share, whether it stands beside them or in front of each; of texts and of messages."""

from typing import Any

from rlnlp.data.messages import NoConversation, messages_of
from rlnlp.data.records import text_fault
from rlnlp.models.chat import Message, Messages, Prompt

Answer = str | Message  # a message where the prompt is messages
HUMAN, ASSISTANT = "Human:", "\n\nAssistant:"  # how dialogues that are one text mark their turns
DIFFER = "the prompts differ before the last turn"
UNANSWERED = "the last turn is not the assistant's"
IDENTICAL = "the answers are identical"


class Unusable(Exception):
    """A row that is well formed and says nothing of which answer is better; the message is the reason."""


class BadRecord(Exception):
    """A record that is no judgement; the message says why."""


def words(answer: Answer) -> str:
    """What an answer says."""
    return answer if isinstance(answer, str) else answer["content"]


def prompt_and_answers(prompt: Any, answers: list[tuple[str, Any]]) -> tuple[Prompt | None, list[Answer]]:
    """The prompt of a row, and what each of its ``answers`` has behind it; these come with the names of their fields.

    Raises:
        BadRecord: they are neither texts nor messages.
        Unusable: they are to different prompts, or cannot be split from it.
    """
    try:
        return _apart(prompt, answers)
    except NoConversation as fault:
        raise BadRecord(str(fault)) from fault


def _apart(prompt: Any, answers: list[tuple[str, Any]]) -> tuple[Prompt | None, list[Answer]]:
    lists = [isinstance(value, list) for _, value in answers]
    if any(lists) and not all(lists):
        raise BadRecord("some answers are texts and some are lists of messages")
    if not all(lists):
        for name, value in answers:
            _check_text(name, value)
    if prompt is not None and not isinstance(prompt, list):
        _check_text("prompt", prompt)
    if all(lists):
        return _last_turns([_conversation(prompt, messages_of(name, value)) for name, value in answers])
    texts = [value for _, value in answers]
    if isinstance(prompt, list):
        return messages_of("prompt", prompt), [{"role": "assistant", "content": text} for text in texts]
    return _behind_prompt(prompt or None, texts)


def _conversation(prompt: Any, answer: Messages) -> Messages:
    """The whole conversation of an answer, which may have its prompt in front already."""
    if isinstance(prompt, list):
        before = messages_of("prompt", prompt)
        return answer if answer[: len(before)] == before else before + answer
    if not prompt or answer[0]["role"] != "assistant":
        return answer
    return [{"role": "user", "content": prompt}, *answer]


def _last_turns(conversations: list[Messages]) -> tuple[Messages, list[Answer]]:
    if all(each == conversations[0] for each in conversations) and len(conversations) > 1:
        raise Unusable(IDENTICAL)
    if any(each[:-1] != conversations[0][:-1] for each in conversations):
        raise Unusable(DIFFER)
    if any(each[-1]["role"] != "assistant" for each in conversations):
        raise Unusable(UNANSWERED)
    return conversations[0][:-1], [each[-1] for each in conversations]


def _behind_prompt(prompt: str | None, texts: list[str]) -> tuple[str | None, list[Answer]]:
    """Texts that are whole dialogues are split before the assistant's last turn; others are answers as they are.

    The prompt keeps the mark of that turn, and the answer all behind it, so that both together are the text as it was.
    """
    dialogues = [_is_dialogue(text) for text in texts]
    beside = prompt is not None and not any(text.startswith(prompt) for text in texts)
    if beside or not any(dialogues):
        return prompt, list(texts)
    if all(text == texts[0] for text in texts) and len(texts) > 1:
        raise Unusable(IDENTICAL)
    if not all(dialogues) or (prompt is not None and not all(text.startswith(prompt) for text in texts)):
        raise Unusable(DIFFER)
    ends = [text.rindex(ASSISTANT) + len(ASSISTANT) for text in texts]
    before, answers = texts[0][: ends[0]], [text[end:] for text, end in zip(texts, ends, strict=True)]
    if any(text[:end] != before for text, end in zip(texts, ends, strict=True)):
        raise Unusable(DIFFER)
    if any(f"\n\n{HUMAN}" in answer for answer in answers):
        raise Unusable(UNANSWERED)
    return before, list(answers)


def _is_dialogue(text: str) -> bool:
    return text.lstrip().startswith(HUMAN) and ASSISTANT in text


def _check_text(name: str, value: Any) -> None:
    if fault := text_fault({name: value}, name):
        raise BadRecord(fault)
