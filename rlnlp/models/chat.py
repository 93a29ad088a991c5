"""Conversations: as people read them, and as a model reads them, by its chat template. Imports nothing heavy."""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from rlnlp.config.conversations import AUTO, NONE, Conversations
from rlnlp.config.parse import nearest
from rlnlp.errors import Exit, Failure, counted, one_line
from rlnlp.models.control import ControlWords, added_words, unused_character
from rlnlp.models.tokenizer import Tokenizer

Message = dict[str, str]  # "role" and "content", and further texts that a template may read
Messages = list[Message]
Prompt = str | Messages
ROLES = ("system", "user", "assistant")
PLAIN = (  # the template without a template
    "{% for message in messages %}{{ '' if loop.first else '\n\n' }}"
    "{{ message['role'] | capitalize }}: {{ message['content'] }}{% endfor %}"
    "{{ '\n\nAssistant:' if add_generation_prompt else '' }}"
)
TEXTS_FOR_CHAT = (
    "plain texts are gone on with as they are, though the model has a chat template; to have them answered as a user's"
    " turn give messages, or data.system=TEXT (generate: --system TEXT)"
)


class Unreadable(Exception):
    """A conversation that a chat template cannot show to the model; the message says why."""


def conversation_text(messages: Sequence[Message]) -> str:
    """A conversation as people read it: each turn with its role, empty lines between."""
    return "\n\n".join(f"{message['role'].capitalize()}: {message['content']}" for message in messages)


def prompt_text(messages: Sequence[Message]) -> str:
    """The same up to the assistant's next turn, which is to be put behind it."""
    return f"{conversation_text(messages)}\n\nAssistant: "


def with_system(messages: Sequence[Message], system: str | None) -> Messages:
    """The conversation with the system's turn before it, if there is one and it has none of its own."""
    own = not system or messages[0]["role"] == "system"
    return list(messages) if own else [{"role": "system", "content": str(system)}, *messages]


@dataclass(frozen=True)
class Chat:
    """How a model is shown conversations.

    ``template`` is the Jinja text of a chat template; None where the model has none and none was given. ``system`` is
    the system's turn of conversations without one. ``plainly``: conversations are shown as people read them, with the
    tokenizer's own start.
    """

    tokenizer: Tokenizer
    template: str | None
    args: Mapping[str, Any]
    system: str | None = None
    plainly: bool = False

    def messages(self, prompt: Prompt) -> Messages | None:
        """The conversation that a prompt begins, with the system's turn that is to be in it; None for a plain text.

        A text is the user's turn where there is a setting for the system's, even an empty one.
        """
        if isinstance(prompt, str):
            return None if self.system is None else with_system([{"role": "user", "content": prompt}], self.system)
        return with_system(prompt, self.system)

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """The tokens of a conversation up to where the assistant's next turn begins.

        They are those of transformers' ``apply_chat_template`` with ``add_generation_prompt``, except that the words of
        control tokens within the messages are read as words.

        Raises:
            Failure: exit 4, if there is no template.
            Unreadable: the template refuses the conversation, or leaves out a turn of it.
        """
        mark = self.mark(messages)
        shown = self.spelled(messages, mark)
        text = self.render(shown, generation=True)
        for i, message in enumerate(shown):
            if message["role"] != "assistant" and message["content"].strip() not in text:
                raise left_out(i, message["role"])
        if mark not in text:
            return [*self.lead, *self.tokenizer.raw.encode(text, add_special_tokens=False)]
        return [*self.lead, *self.control.encode(self.named(text, mark), mark)[0]]

    def ending_turns(self) -> Tokenizer:
        """The tokenizer, whose responses end with the token that ends a turn too."""
        known, end = self.tokenizer.end, self.end
        return self.tokenizer if end is None or end in known else replace(self.tokenizer, end=(*known, end))

    def notes(self, texts: Sequence[str], spoken: bool) -> dict[str, str]:
        """What is to be told of ``texts`` of people's, by name; ``spoken``: there are conversations among them."""
        held = [words for text in texts if (words := self.tokenizer.control.within(text))]
        found = {}
        if held:
            examples = one_line(", ".join(dict.fromkeys(words[0] for words in held)), 80)
            some = f"{len(held):,} of {counted(len(texts), 'text')}"
            found["control-words"] = f"{some} with words of control tokens ({examples}): they are read as words"
        if not spoken and self.template is not None:
            found["plain-texts"] = TEXTS_FOR_CHAT
        return found

    @cached_property
    def lead(self) -> list[int]:
        """What stands before a text: a template writes it itself."""
        return self.tokenizer.encode("") if self.plainly else []

    @cached_property
    def end(self) -> int | None:
        """The token with which the template ends a turn of the assistant; None if it has none."""
        messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "\ufdd0b\ufdd0"}]
        if self.plainly or self.template is None:
            return None
        text = self._probe(messages, generation=False)
        found = self.ending(text.rpartition("\ufdd0")[2])
        return None if found is None else self.added.ids[found]

    def ending(self, text: str) -> str | None:
        """The control word with which ``text`` begins, apart from white space."""
        found = self.added.pattern.match(text.lstrip())
        return found[0] if found else None

    @cached_property
    def added(self) -> ControlWords:
        """Every word that the tokenizer reads as one token wherever it stands."""
        return ControlWords(self.tokenizer.raw, added_words(self.tokenizer.raw))

    @cached_property
    def control(self) -> ControlWords:
        """The words that messages must not turn into tokens: special ones, and those that part the turns."""
        ids = dict(self.tokenizer.control.ids)
        if self.template is not None:
            turn = [{"role": "user", "content": "a"}]
            before, after = (self._probe(turn, generation) for generation in (False, True))
            opening = self.added.within(after.removeprefix(before))[:1]
            ids |= {word: self.added.ids[word] for word in [*self.added.within(before), *opening]}
            ids |= {word: i for word, i in self.added.ids.items() if i == self.end}
        return ControlWords(self.tokenizer.raw, ids)

    def mark(self, messages: Sequence[Message]) -> str:
        """A character to mark control words with, which is in none of the messages.

        Raises:
            Unreadable: there is none.
        """
        try:
            return unused_character(text for message in messages for text in message.values())
        except ValueError as error:
            raise Unreadable(str(error)) from error

    def spelled(self, messages: Sequence[Message], mark: str) -> Messages:
        """The messages with a note between two of ``mark`` for each control word: any left is the template's own."""

        def spell(text: str) -> str:
            return self.control.pattern.sub(lambda found: f"{mark}w{self.control.ids[found[0]]}{mark}", text)

        held = [any(map(self.control.within, message.values())) for message in messages]
        return [
            {key: text if key == "role" else spell(text) for key, text in message.items()} if words else message
            for message, words in zip(messages, held, strict=True)
        ]

    def named(self, text: str, mark: str) -> str:
        """A rendered text for ``control.encode``: the template's control words by name, the words of people as such."""
        words = {i: word for word, i in self.control.ids.items()}

        def name(found: re.Match[str]) -> str:
            return words[int(found[1])] if found[1] else self.control.name(found[0], mark)

        return re.sub(rf"{mark}w(\d+){mark}|{self.control.pattern.pattern}", name, text)

    def render(self, messages: Sequence[Message], generation: bool) -> str:
        """The text that the template makes of the messages; with ``generation`` the assistant's next turn begins.

        Raises:
            Failure: exit 4, if there is no template.
            Unreadable: the template refuses them.
        """
        template = PLAIN if self.plainly else self.template
        if template is None:
            raise no_template()
        try:
            text: str = self.tokenizer.raw.apply_chat_template(
                list(messages), chat_template=template, tokenize=False, add_generation_prompt=generation, **self.args
            )
        except Exception as error:  # a template is a program of the model's authors: it may raise anything
            raise Unreadable(f"the chat template refuses it: {one_line(str(error))}") from error
        return text

    def _probe(self, messages: Messages, generation: bool) -> str:
        """``render`` of a conversation of our own; of one with a system's turn if the template wants that."""
        try:
            return self.render(messages, generation)
        except Unreadable:
            try:
                return self.render([{"role": "system", "content": "c"}, *messages], generation)
            except Unreadable:
                return ""


def chat_of(settings: Conversations, tokenizer: Tokenizer) -> Chat:
    """How the settings have conversations shown to a model with this tokenizer.

    Raises:
        Failure: exit 2, for a template that cannot be read.
    """
    template: str | None = None
    if settings.template == AUTO:
        with suppress(ValueError):  # transformers' way to say that there is none
            template = tokenizer.raw.get_chat_template()
    elif settings.template != NONE:
        template = template_file(settings.template)
    return Chat(tokenizer, template, settings.template_args, settings.system, settings.template == NONE)


def template_file(name: str) -> str:
    """The text of a chat template.

    Raises:
        Failure: exit 2, if it cannot be read or is no Jinja.
    """
    path = Path(name).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        near = nearest(name, [AUTO, NONE], "data.template=")
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise Failure(Exit.CONFIG, f"data.template: '{one_line(name, 60)}' cannot be read: {why}{near}") from error
    from jinja2 import Environment
    from jinja2.exceptions import TemplateSyntaxError
    from jinja2.ext import loopcontrols

    try:
        Environment(extensions=[loopcontrols]).parse(re.sub(r"{%-?\s*(end)?generation\s*-?%}", "", text))
    except TemplateSyntaxError as error:
        where = f"{one_line(path.name, 60)}:{error.lineno}"
        raise Failure(Exit.CONFIG, f"data.template: {where} is not Jinja: {one_line(str(error.message))}") from error
    if not text.strip():
        raise Failure(Exit.CONFIG, f"data.template: {one_line(name, 60)} is empty")
    return text


def left_out(i: int, role: str) -> Unreadable:
    """The fault of a template that has no room for a role, and says nothing."""
    return Unreadable(f"the chat template leaves out turn {i + 1}, the {role}'s")


def no_template() -> Failure:
    """The fault of a model for texts that is to read conversations."""
    return Failure(
        Exit.MODEL,
        "the model has no chat template, which conversations need\n"
        "give one with data.template=FILE, or have them read as people read them with data.template=none",
        "no-chat-template",
    )


def check_template(settings: Conversations, folder: str, needed: bool) -> None:
    """Check what files alone tell of the chat template; ``folder`` has the tokenizer, or it is a hub id.

    Raises:
        Failure: exit 2, for a file that is no template; exit 4, where one is ``needed`` and there is none.
    """
    if settings.template not in (AUTO, NONE):
        template_file(settings.template)
    elif needed and settings.template == AUTO and Path(folder).is_dir() and not _has_template(Path(folder)):
        raise no_template()


def _has_template(folder: Path) -> bool:
    """True if a tokenizer's folder has a chat template, or it cannot be told without transformers."""
    try:
        stored: Any = json.loads((folder / "tokenizer_config.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return True
    named = isinstance(stored, dict) and bool(stored.get("chat_template"))
    return named or (folder / "chat_template.jinja").is_file() or (folder / "additional_chat_templates").is_dir()
