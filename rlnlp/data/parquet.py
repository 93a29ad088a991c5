"""Rows of parquet files, by pyarrow where it is installed."""

from importlib.util import find_spec

from rlnlp.data.formats import Row
from rlnlp.errors import Exit, Failure, describe


def parquet_rows(key: str, name: str, content: bytes) -> list[Row]:
    """Each row with its number from 1.

    Raises:
        Failure: exit 3, without pyarrow, or if it cannot read the file.
    """
    if find_spec("pyarrow") is None:
        raise Failure(Exit.DATA, f"{key}: {name}: reading parquet needs pyarrow\ninstall it: pip install 'rlnlp[hub]'")
    import pyarrow
    from pyarrow import parquet

    try:
        found = parquet.read_table(pyarrow.BufferReader(content)).to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise Failure(Exit.DATA, f"{key}: {name} cannot be read as parquet: {describe(error)}") from error
    return list(enumerate(found, 1))
