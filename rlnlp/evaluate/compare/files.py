"""The files of a comparison: compare.md, compare.json, compare.csv and the pictures, in one directory."""

import json
from collections.abc import Mapping
from pathlib import Path

from rlnlp.errors import safe_text
from rlnlp.evaluate.compare.comparison import Comparison
from rlnlp.evaluate.compare.pages import markdown
from rlnlp.evaluate.compare.pictures import draw
from rlnlp.evaluate.compare.record import record
from rlnlp.evaluate.compare.sheets import as_csv
from rlnlp.run.disk import replace

NAMES = ("compare.md", "compare.json", "compare.csv")


def write_all(comparison: Comparison, directory: Path) -> dict[str, Path]:
    """Write them; by name, where each is. The directory is made.

    Raises:
        OSError: something cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    pictures = draw(comparison, directory)
    document, data, sheet = (directory / name for name in NAMES)
    files = {"markdown": document, "json": data, "csv": sheet, **pictures}
    replace(sheet, as_csv(comparison))
    replace(data, json_text(comparison, files))
    replace(document, markdown(comparison, pictures))
    return files


def json_text(comparison: Comparison, files: Mapping[str, Path]) -> str:
    """The record of the comparison as strict JSON."""
    return json.dumps(record(comparison, files), indent=1, allow_nan=False) + "\n"


def where_line(files: Mapping[str, Path]) -> str:
    """Where the files are."""
    directory = next(iter(files.values())).parent
    return f"written to {safe_text(str(directory))}/: {', '.join(path.name for path in files.values())}"
