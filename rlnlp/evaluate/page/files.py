"""A report on the disk: the page, the same as Markdown, and its figures beside them."""

from collections.abc import Callable
from pathlib import Path

from rlnlp.evaluate.page.html import content_html
from rlnlp.evaluate.page.markdown import content_markdown
from rlnlp.evaluate.page.parts import Content
from rlnlp.run.disk import replace, storage_failure


def write_content(make: Callable[[Path], Content], directory: Path) -> Path:
    """Write ``report.html`` and ``report.md`` into ``directory``; the path of the first.

    ``make`` draws the figures into the directory that it is given.

    Raises:
        Failure: exit 5, if they cannot be written.
    """
    path = directory / "report.html"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        report = make(directory)
        replace(path, content_html(report))
        replace(directory / "report.md", content_markdown(report))
    except OSError as error:
        raise storage_failure("writing the report", directory, error) from error
    return path
