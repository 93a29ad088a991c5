"""The disk: a whole file or none, and in words what it refused."""

import errno
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

from rlnlp.errors import Exit, Failure

SPARE = 2**20  # bytes left free beside what is written: folders and short files take room too


def write_all(handle: int, data: bytes) -> None:
    """Write all of ``data``; a disk that takes a part of it is asked again for the rest.

    Raises:
        OSError: the disk takes no more.
    """
    left = memoryview(data)
    while left:
        taken = os.write(handle, left)
        if taken == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left = left[taken:]


def write(path: Path, data: bytes) -> None:
    """A file of ``data``, on the disk when this returns."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        write_all(handle, data)
        os.fsync(handle)
    finally:
        os.close(handle)


def replace(path: Path, text: str) -> None:
    """Make ``text`` the content of ``path``, at once and for good: a reader sees the old or the new, never a part."""
    staged = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        write(staged, text.encode())
        os.replace(staged, path)
    except BaseException:
        with suppress(OSError):
            staged.unlink()
        raise
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until the file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def apply_umask_and_fsync(file: Path) -> None:
    """Give a file the rights that the umask leaves (safetensors makes files for the owner only), and sync it."""
    mask = os.umask(0)
    os.umask(mask)
    file.chmod(0o666 & ~mask)
    sync(file)


def replace_directory(staged: Path, target: Path, aside: Path) -> None:
    """Rename the folder ``staged`` to ``target``; what stood there is ``aside`` until the new one stands."""
    if target.exists():
        target.rename(aside)
        try:
            staged.rename(target)
        except OSError:
            aside.rename(target)
            raise
        shutil.rmtree(aside, ignore_errors=True)
    else:
        staged.rename(target)
    sync(target.parent)


def check_room(folder: Path, needed: int) -> None:
    """Refuse to begin what the disk has no room for.

    Raises:
        OSError: ENOSPC, with what is needed.
    """
    if shutil.disk_usage(folder).free < needed + SPARE:
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}, {_mib(needed + SPARE)} needed")


def storage_failure(doing: str, path: Path, error: Exception) -> Failure:
    """Exit 5 with what was being done, where, and the room that is left."""
    try:
        room = f"{_mib(shutil.disk_usage(path).free)} free"
    except OSError:
        room = "the folder cannot be read"
    return Failure(Exit.STORAGE, f"{doing} in {path} failed: {error} ({room})\nfree disk space or fix the disk")


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
