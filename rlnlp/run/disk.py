"""Writing to disk: all of a file or none of it, and messages for what fails."""

import errno
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

from rlnlp.errors import Exit, Failure

SPARE = 2**20  # bytes to leave free: directories and small files take space too


def write_all(handle: int, data: bytes) -> None:
    """Write all of ``data``, with as many calls as it takes.

    Raises:
        OSError: the disk is full.
    """
    rest = memoryview(data)
    while rest:
        written = os.write(handle, rest)
        if written == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        rest = rest[written:]


def write(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` and wait until it is on the disk."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        write_all(handle, data)
        os.fsync(handle)
    finally:
        os.close(handle)


def replace(path: Path, content: str | bytes) -> None:
    """Replace the content of ``path`` atomically: a reader sees the old or the new content, never a part."""
    staged = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        write(staged, content.encode() if isinstance(content, str) else content)
        os.replace(staged, path)
    except BaseException:
        with suppress(OSError):
            staged.unlink()
        raise
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until the file or directory is on the disk (fsync)."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def apply_umask_and_fsync(file: Path) -> None:
    """Give a file the permissions of the umask (safetensors writes files for the owner only) and fsync it."""
    mask = os.umask(0)
    os.umask(mask)
    file.chmod(0o666 & ~mask)
    sync(file)


def replace_directory(staged: Path, target: Path, aside: Path) -> None:
    """Rename the directory ``staged`` to ``target``; an old ``target`` is kept at ``aside`` until that is done."""
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


def check_free_space(folder: Path, needed: int) -> None:
    """Check that the disk has ``needed`` bytes free, and ``SPARE`` more.

    Raises:
        OSError: ENOSPC, with what is needed, if it has not.
    """
    if shutil.disk_usage(folder).free < needed + SPARE:
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}, {size_text(needed + SPARE)} needed")


def storage_failure(action: str, path: Path, error: Exception) -> Failure:
    """Exit 5 with what was being done, where, and the space that is free."""
    try:
        free = f"{size_text(shutil.disk_usage(path).free)} free"
    except OSError:
        free = "the directory cannot be read"
    return Failure(Exit.STORAGE, f"{action} in {path} failed: {error} ({free})\nfree disk space or fix the disk")


def existing(directory: Path) -> Path:
    """The directory, or the nearest one above it that is there."""
    return next(path for path in (directory.absolute(), *directory.absolute().parents) if path.is_dir())


def size_text(size: int) -> str:
    """Bytes in the unit that fits."""
    return f"{size / 2**20:.1f} MiB" if size < 2**30 else f"{size / 2**30:.1f} GiB"
