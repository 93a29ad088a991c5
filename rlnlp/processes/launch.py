"""Which of several processes this one is, as ``torchrun`` and its kind tell it; without torch."""

import os
from typing import NamedTuple


class Place(NamedTuple):
    """One of so many ``processes``: its ``rank`` from 0 on, and its number on its machine, of ``here`` in all."""

    rank: int
    processes: int
    local: int
    here: int


ALONE = Place(0, 1, 0, 1)


def place() -> Place:
    """The place of this process, by its environment; alone where that names none."""
    try:
        rank, processes = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        local, here = int(os.environ.get("LOCAL_RANK", rank)), int(os.environ.get("LOCAL_WORLD_SIZE", processes))
    except (KeyError, ValueError):
        return ALONE
    return Place(rank, processes, local, here) if 0 <= rank < processes else ALONE


def is_started() -> bool:
    """True if something has started this process as one of a number of processes, which may be one."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def again(words: str) -> str:
    """The command line that starts as many processes as these with the command ``words``."""
    where = place()
    if where.processes == 1:
        return words
    more = f" --nnodes {where.processes // where.here}" if where.here < where.processes else ""
    return f"torchrun{more} --nproc-per-node {where.here} -m {words}"


def follows() -> bool:
    """True for every process but the first: it writes and prints nothing."""
    return place().rank > 0
