"""The annotators that the settings name, and what tells beforehand that they could not work."""

import getpass
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rlnlp.config.annotator import Annotator
from rlnlp.errors import Exit, Failure
from rlnlp.feedback.annotating import Annotators
from rlnlp.feedback.from_file import FileAnnotators

if TYPE_CHECKING:
    from rlnlp.feedback.taste import Taste  # torch, which no check needs

RATER = "rater"


def annotators_of(settings: Annotator, taste: "Taste", seed: int, say: Callable[[str], None]) -> Annotators:
    """Whoever judges for a run: people, who are told by ``say`` where, or raters that judge by ``taste``.

    Raises:
        Failure: exit 2, as ``check_annotators``.
    """
    check_annotators(settings)
    made: dict[str, Callable[[], Annotators]] = {
        "simulated": lambda: _simulated(settings, taste, seed),
        "terminal": lambda: _terminal(settings),
        "web": lambda: _web(settings, say),
        "file": lambda: FileAnnotators(_path(settings)),
    }
    return made[settings.name]()


def check_annotators(settings: Annotator) -> None:
    """Check what needs no model: a terminal to ask in, what serves the page, a file that can be read.

    Raises:
        Failure: exit 2, with another way to judge; exit 3, for a file of judgements that is not one.
    """
    if settings.name == "terminal" and not at_terminal():
        what = "annotator=terminal needs a terminal to ask in"
        ways = "annotator=web (in the browser) or annotator=file annotator.path=FILE"
        raise Failure(Exit.CONFIG, f"{what}\nwithout one: {ways}", "no-terminal")
    if settings.name == "web":
        check_web("annotator=web")
    if settings.name == "file":
        FileAnnotators(_path(settings)).check()


def at_terminal() -> bool:
    """True if somebody can be asked here."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def check_web(asked: str) -> None:
    """Check that what serves the page is installed; ``asked`` is what needs it, as it was typed.

    Raises:
        Failure: exit 2, with the words to install it.
    """
    try:
        import rlnlp.feedback.web.server  # noqa: F401
    except ModuleNotFoundError as error:
        what = f"{asked} needs the package {error.name}"
        raise Failure(Exit.CONFIG, f"{what}\nto install it: pip install 'rlnlp[web]'", "no-web") from error


def own_name() -> str:
    """The name of who works on this machine."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no name is known to the system
        return "annotator"


def _simulated(settings: Annotator, taste: "Taste", seed: int) -> Annotators:
    from rlnlp.feedback.simulated import Rater, SimulatedAnnotators, differing

    one = Rater(
        RATER, taste, settings.temperature, settings.position_bias, settings.tie_coef, settings.error_rate,
        settings.tie_width,
    )  # fmt: skip
    return SimulatedAnnotators(differing(one, settings.raters, settings.spread, seed), seed)


def _terminal(settings: Annotator) -> Annotators:
    from rlnlp.feedback.terminal.collect import TerminalAnnotator

    return TerminalAnnotator((settings.names or [own_name()])[0], settings.instructions, stays=True)


def _web(settings: Annotator, say: Callable[[str], None]) -> Annotators:
    from rlnlp.feedback.web.server import WebAnnotators

    return WebAnnotators(settings.names or [own_name()], settings.port, settings.instructions, say)


def _path(settings: Annotator) -> Path:
    if settings.path is None:  # with annotator=file the settings are refused without it
        raise Failure(Exit.CONFIG, "annotator.path must name the file of judgements")
    return Path(settings.path).expanduser()
