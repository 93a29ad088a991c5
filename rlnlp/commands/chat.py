"""A conversation in the terminal: what the user says in, what the policy answers out as it is drawn."""

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from rlnlp.errors import Exit, Failure, counted, safe_text

if TYPE_CHECKING:
    from rlnlp.models.chat import Messages
    from rlnlp.rollout.generate import LoadedPolicy

UNFINISHED = "\ufffd"  # what decoding puts for the first bytes of a character


def converse(policy: "LoadedPolicy") -> int:
    """Read turns and print answers until Ctrl-D, Ctrl-C or the end of standard input.

    Raises:
        Failure: exit 3, for what is no text or has no room in the model; exit 4, without a chat template.
    """
    terminal = sys.stdin.isatty()
    if terminal:
        with suppress(ImportError):
            import readline  # noqa: F401  input() edits lines with it
        print("a conversation: Ctrl-D or Ctrl-C ends it", file=sys.stderr, flush=True)
    messages: Messages = []
    with suppress(KeyboardInterrupt):
        while (said := heard("> " if terminal else "")) is not None:
            if said.strip():
                messages = answered(policy, [*messages, {"role": "user", "content": said}])
    print(flush=True)
    return Exit.DONE


def heard(prompt: str) -> str | None:
    """What the user says next; None at the end.

    Raises:
        Failure: exit 3, for what is not UTF-8.
    """
    try:
        return input(prompt)
    except EOFError:
        return None
    except UnicodeDecodeError as error:
        raise Failure(Exit.DATA, "what was typed is not UTF-8") from error


def answered(policy: "LoadedPolicy", messages: "Messages") -> "Messages":
    """The conversation with the policy's answer, which is printed while it is drawn.

    Raises:
        Failure: as ``converse``.
    """
    shown = 0

    def show(text: str) -> None:
        nonlocal shown
        whole = text.rstrip(UNFINISHED)
        print(safe_text(whole[shown:]), end="", flush=True)
        shown = max(shown, len(whole))

    response = policy.answer(messages, show)
    print(safe_text(response["response"][shown:]), flush=True)
    if not response["ended"]:
        print(
            f"(cut after {counted(response['tokens'], 'token')}: sampler.max_new_tokens)", file=sys.stderr, flush=True
        )
    return [*messages, {"role": "assistant", "content": response["response"]}]
