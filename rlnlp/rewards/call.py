"""A reward function called on a batch: what it is given, how it is waited for, and how its errors are told."""

import asyncio
import inspect
import threading
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent import futures
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

from rlnlp.errors import Exit, Failure, counted, describe, one_line
from rlnlp.rewards.arguments import Parameters
from rlnlp.rewards.values import Values, plain_values, reward_error

TEXT = 100  # characters of a text that an error shows


@dataclass(frozen=True)
class Batch:
    """What a function is given: for each name a list with an entry for each response.

    ``tokens`` is the number of tokens of each response, ``prompts`` the number of its prompt: responses side by side
    with the same are a group. ``first`` is the number of the first response in the batch that this is a part of.
    """

    lists: Mapping[str, list[Any]]
    tokens: Sequence[int]
    prompts: Sequence[int]
    first: int = 0

    def part(self, start: int, end: int) -> "Batch":
        """The responses from ``start`` to before ``end``."""
        lists = {word: values[start:end] for word, values in self.lists.items()}
        return Batch(lists, self.tokens[start:end], self.prompts[start:end], self.first + start)


@dataclass(frozen=True)
class Callee:
    """A function that can be called, wherever that is done: what it can be given, and the call."""

    parameters: Parameters
    call: Callable[[Batch, Mapping[str, Any]], Values]


def parameters_of(name: str, fn: Callable[..., Any]) -> Parameters:
    """What ``fn``, the function of the term ``name``, can be given.

    Raises:
        Failure: exit 2, if it has no signature.
    """
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError) as error:
        raise Failure(
            Exit.CONFIG, f"reward.terms.{name}.fn: the function has no signature, so its arguments are unknown"
        ) from error
    by_keyword = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    required = {p.name: p.default is p.empty for p in parameters if p.kind in by_keyword}
    return Parameters(required, any(p.kind is p.VAR_KEYWORD for p in parameters))


def call_function(name: str, fn: Callable[..., Any], batch: Batch, args: Mapping[str, Any]) -> Values:
    """What ``fn`` gives for the responses of ``batch``; it may be ``async``.

    Raises:
        Failure: exit 7, if it raises, or returns anything but a value for each response.
    """
    copies = {word: list(values) for word, values in batch.lists.items()}  # for the function may change them
    try:
        returned = fn(**copies, **args)
        if inspect.isawaitable(returned):
            returned = _awaited(returned)
    except Failure:
        raise
    except (Exception, SystemExit) as error:
        raise reward_error(name, f"raised {describe(error)}", _where(error, batch)) from error
    return plain_values(name, returned, batch.tokens, batch.first)


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """One event loop for all functions and calls, for clients belong to the loop that they were made in.

    It runs in a thread of its own: a notebook's main thread runs one already, and this one can be left at any time.
    """
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True, name="rewards").start()
    return loop


def _awaited(awaitable: Awaitable[Any]) -> Any:
    async def wait() -> Any:
        return await awaitable

    future = asyncio.run_coroutine_threadsafe(wait(), _loop())
    try:
        return future.result()
    finally:
        future.cancel()  # if a signal has ended the wait


def _where(error: BaseException, batch: Batch) -> str:
    """File and line where the user's code failed, and the text that it was given; empty if it was not reached."""
    frames = [pair for pair in traceback.walk_tb(error.__traceback__) if not _waiting(pair[0])]
    if not frames:
        return _first(batch)
    folder = Path(frames[0][0].f_code.co_filename).parent
    own = [pair for pair in frames if folder in _above(pair[0])] or frames
    file, line = own[-1][0].f_code.co_filename, own[-1][1]
    given = _given([frame for frame, _ in reversed(own)], batch)
    shown = f"given {one_line(repr(given), TEXT)}" if given is not None else _first(batch)
    return f"{one_line(file, 120)}:{line}, {shown}"


def _waiting(frame: FrameType) -> bool:
    """True for code that only calls the function and waits for it."""
    file = Path(frame.f_code.co_filename)
    return file == Path(__file__) or file.parent in (Path(asyncio.__file__).parent, Path(futures.__file__).parent)


def _above(frame: FrameType) -> set[Path]:
    return set(Path(frame.f_code.co_filename).parents)


def _given(frames: list[FrameType], batch: Batch) -> str | None:
    """The completion that the innermost frame was at work on, if a variable holds one."""
    completions = {text for text in batch.lists.get("completions", []) if isinstance(text, str) and text}
    for frame in frames:
        for value in reversed(list(frame.f_locals.values())):
            if isinstance(value, str) and value in completions:
                return value
    return None


def _first(batch: Batch) -> str:
    texts = batch.lists.get("completions") or next(iter(batch.lists.values()), [])
    text = one_line(repr(texts[0]), TEXT) if texts else "nothing"
    return f"given {counted(len(batch.tokens), 'completion')}, the first {text}"
