"""``rlnlp guide [TOPIC]``: the handbook, one Markdown page for each topic."""

import argparse
import re
import sys
from pathlib import Path

from rlnlp.config.parse import nearest
from rlnlp.errors import Exit, Failure, one_line

PAGES = Path(__file__).resolve().parent.parent / "guide"
TOPICS = (  # in reading order
    "start", "data", "conversations", "models", "rewards", "sampling", "reinforce", "ppo", "reward-models", "rlhf",
    "people", "runs-and-resume", "evaluation", "sweeps", "processes", "nodes", "experiments", "metrics", "settings",
    "departures", "architecture", "adding-things",
)  # fmt: skip
PAGE_LINK = re.compile(r"\[([^\]]+)\]\([a-z-]+\.md\)")  # a link from page to page; its text is the command to type


def main(argv: list[str]) -> int:
    """List the topics, or show the page of one: rendered in a terminal, as it is written elsewhere.

    Raises:
        Failure: exit 2, for a topic that does not exist.
    """
    topic = arguments(argv).topic
    if topic is None:
        print("\n".join(overview()))
        return Exit.DONE
    if topic not in TOPICS:
        hint = nearest(topic, list(TOPICS))
        raise Failure(Exit.CONFIG, f"no topic '{one_line(topic, 60)}'{hint}\nthe topics are: {', '.join(TOPICS)}")
    content = (PAGES / f"{topic}.md").read_bytes()
    if sys.stdout.isatty():
        render(content.decode())
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
    return Exit.DONE


def arguments(argv: list[str]) -> argparse.Namespace:
    """The words of the command line."""
    parser = argparse.ArgumentParser(prog="rlnlp guide", description="Show the handbook, or list its topics.")
    parser.add_argument("topic", metavar="TOPIC", nargs="?", help=f"one of {', '.join(TOPICS)}")
    return parser.parse_args(argv)


def overview() -> list[str]:
    """Every topic with the first line of its page, and where the pages are."""
    lines = [f"  {topic:<17}{title(topic)}" for topic in TOPICS]
    return ["rlnlp guide TOPIC shows one of these pages:", "", *lines, "", f"They are Markdown files in {PAGES}"]


def title(topic: str) -> str:
    """The first line of a page, without the mark of a heading."""
    with (PAGES / f"{topic}.md").open(encoding="utf-8") as page:
        return page.readline().removeprefix("# ").rstrip()


def render(page: str) -> None:
    """Print a page in the terminal; links between pages become the commands that show them."""
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.markdown import Markdown, TableElement
    from rich.table import Table

    class FoldedTable(TableElement):
        """A table that breaks a long word; rich would cut it off."""

        def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
            for part in super().__rich_console__(console, options):
                if isinstance(part, Table):
                    for column in part.columns:
                        column.overflow = "fold"
                yield part

    class Page(Markdown):
        """Markdown with such tables."""

        elements = {**Markdown.elements, "table_open": FoldedTable}  # noqa: RUF012

    Console().print(Page(PAGE_LINK.sub(r"\1", page)))
