"""The user's functions of a reward, ready to be called: in this process, apart from what training finds in it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from rlnlp.rewards.call import Batch, Callee, call_function, parameters_of
from rlnlp.rewards.surroundings import Surroundings
from rlnlp.rewards.user import Loader
from rlnlp.rewards.values import Values

Around = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True)
class UserFunction:
    """A function of the user's, and the sha256 of its source file."""

    callee: Callee
    sha256: str


def load_functions(paths: Mapping[str, str], around: Around) -> dict[str, UserFunction]:
    """The functions at ``paths``, by term, in this process; code of the user's runs inside the block ``around``.

    Raises:
        Failure: exit 2, if there is no such file or function; exit 7, if a file's own code fails.
    """
    loader, surroundings = Loader(), Surroundings()

    @contextmanager
    def outside() -> Iterator[None]:
        with around(), surroundings.apart():
            yield

    def load(name: str, path: str) -> UserFunction:
        with outside():
            fn, sha256 = loader.function(name, path)

        def call(batch: Batch, args: Mapping[str, Any]) -> Values:
            with outside():
                return call_function(name, fn, batch, args)

        return UserFunction(Callee(parameters_of(name, fn), call), sha256)

    return {name: load(name, path) for name, path in paths.items()}
