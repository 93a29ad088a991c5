"""Rows of data sets of the Hugging Face hub: of the copies on this machine, fetched only where that is allowed."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from rlnlp.config.data import Reading
from rlnlp.config.hub import HELDOUT, HubName, cached_subsets, hub_name
from rlnlp.config.parse import nearest
from rlnlp.data.records import MAX_FILE_SIZE, Read
from rlnlp.errors import Exit, Failure, describe, one_line

FEW = 1000  # rows that are looked at before a run begins


def hub_records(key: str, name: str, reading: Reading, most: int | None = None) -> Read:
    """The rows of the data set that the setting ``key`` means by ``name``, each with its place ``owner/name:row``.

    The split is ``data.split``, for held-out data ``data.heldout_split``; with ``most``, only its first rows are read.

    Raises:
        Failure: exit 2, for a name, subset or split that does not exist; exit 3, if the data set is not here and may
            not be fetched, or cannot be read.
    """
    what = f"{key}: {one_line(name)}"
    found = hub_name(name)
    if found is None:
        raise Failure(Exit.CONFIG, f"{what}: a data set of the hub is hub:owner/name, or hub:owner/name/subset")
    spec = find_spec("datasets")
    if spec is None or spec.origin is None:
        raise Failure(Exit.DATA, f"{what} needs the library datasets\ninstall it: pip install 'rlnlp[hub]'")
    subset = _subset(what, found, reading.allow_download)
    with _quiet():
        table = _table(key, what, found, subset, reading)
        rows = table if most is None else table.select(range(min(FEW, len(table))))
        records: list[dict[str, Any]] = rows.to_list()
    located = [(f"{found.repository}:{number}", row) for number, row in enumerate(records, 1)]
    return Read(located, len(table) if len(located) == len(table) else None)


def _subset(what: str, found: HubName, allow_download: bool) -> str | None:
    """The subset to read, where the copies leave no doubt.

    Raises:
        Failure: exit 3, without a copy; exit 2, if there are several and none is named.
    """
    copies = cached_subsets(found.repository)
    if found.subset in copies or (found.subset is None and len(copies) == 1):
        return found.subset or copies[0]
    if allow_download:
        return found.subset
    if found.subset is None and copies:
        names = ", ".join(f"hub:{found.repository}/{each}" for each in copies)
        raise Failure(Exit.CONFIG, f"{what} has several subsets here\nchoose one: {one_line(names, 300)}")
    here = f" (here are: {one_line(', '.join(copies))})" if copies else ""
    raise Failure(
        Exit.DATA, f"{what} is not in the local cache of the hub{here}\nset data.allow_download=true to fetch it"
    )


def _table(key: str, what: str, found: HubName, subset: str | None, reading: Reading) -> Any:
    """The split that is asked for, on the disk.

    Raises:
        Failure: as ``hub_records``.
    """
    from datasets import load_dataset_builder
    from datasets.packaged_modules.cache.cache import Cache

    setting = "data.heldout_split" if key == HELDOUT else "data.split"
    split = reading.heldout_split if key == HELDOUT else reading.split
    try:
        if subset not in cached_subsets(found.repository):
            fetched = load_dataset_builder(found.repository, subset)
            fetched.download_and_prepare()
            subset = fetched.config.name
        builder = Cache(
            repo_id=found.repository, dataset_name=found.repository.partition("/")[2], config_name=subset,
            version="auto", hash="auto",
        )  # fmt: skip
        splits = list(builder.info.splits or {})
        if split.partition("[")[0] not in splits:
            hint = nearest(split, splits, f"{setting}=")
            names = one_line(", ".join(splits)) or "none"
            raise Failure(Exit.CONFIG, f"{what} has no split '{one_line(split, 60)}'{hint}\nchoose from: {names}")
        table = builder.as_dataset(split=split)
    except Failure:
        raise
    except Exception as error:  # of whatever library below: the network, the hub, the files
        raise Failure(Exit.DATA, f"{what} cannot be read: {describe(error)}") from error
    if table.data.nbytes > MAX_FILE_SIZE:
        raise Failure(
            Exit.DATA, f"{what} has more than {MAX_FILE_SIZE // 2**30} GiB in its split '{one_line(split, 60)}'\n"
            f"take a part of it: '{setting}={split.partition('[')[0]}[:10000]'",
        )  # fmt: skip
    return table


@contextmanager
def _quiet() -> Iterator[None]:
    """A block in which datasets prints neither bars nor warnings: what matters is raised."""
    import datasets

    shown, level = datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity()
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    try:
        yield
    finally:
        datasets.logging.set_verbosity(level)
        if not shown:
            datasets.enable_progress_bars()
