"""The report as one page of HTML that needs nothing but itself."""

import base64
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlnlp.errors import safe_text
from rlnlp.evaluate.page.content import content
from rlnlp.evaluate.page.parts import Content, Figure


def report_html(record: Mapping[str, Any], figures: Sequence[Figure]) -> str:
    """The page of an evaluation."""
    return content_html(content(record, figures))


def content_html(report: Content) -> str:
    """The page: its style and its figures are inside, and whatever a model or a user wrote is shown as text."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        loader=FileSystemLoader(Path(__file__).parent),
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_safe,
    )
    environment.filters |= {"data_uri": data_uri, "tied": tied}
    return environment.get_template("report.html.j2").render(report=report) + "\n"


def _safe(value: Any) -> Any:
    """Texts without control characters, which would be no HTML, and without marks that turn the reading direction."""
    return safe_text(value) if type(value) is str else value


def tied(text: str) -> str:
    """``text`` in which no line ends between a figure and its percent sign, or within an interval."""
    return re.sub(r"(?<=\d) (?=%)|(?<=\d,) (?=[-+\d])", "\u00a0", text)


def data_uri(png: bytes) -> str:
    """A picture as an address that holds the picture."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
