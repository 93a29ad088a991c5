"""The tables of a feedback set, and how a file that an earlier version made becomes one of this version."""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from rlnlp.errors import Exit, Failure, one_line
from rlnlp.run.disk import sync

APPLICATION = 0x524C4642  # "RLFB" in the header of the file: this is a feedback set
PATIENCE = 60.0  # seconds to wait for another process that writes
FIRST_VERSION = (
    "CREATE TABLE feedback_set (seed INTEGER NOT NULL, created TEXT NOT NULL)",
    """CREATE TABLE annotators (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL)""",
    """CREATE TABLE items (
        id INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, prompt TEXT NOT NULL, responses TEXT NOT NULL,
        run TEXT NOT NULL, step INTEGER NOT NULL, round INTEGER NOT NULL, overlap INTEGER NOT NULL CHECK (overlap >= 1),
        repeat_of INTEGER REFERENCES items, annotator INTEGER REFERENCES annotators,
        sha256 TEXT NOT NULL, more TEXT NOT NULL, created TEXT NOT NULL,
        CHECK ((repeat_of IS NULL) = (annotator IS NULL)), UNIQUE (repeat_of, annotator))""",
    """CREATE TABLE judgements (
        id INTEGER PRIMARY KEY, item INTEGER NOT NULL REFERENCES items,
        annotator INTEGER NOT NULL REFERENCES annotators, revision INTEGER NOT NULL CHECK (revision >= 1),
        kind TEXT NOT NULL CHECK (kind IN ('better', 'rated', 'skipped', 'undone')),
        preference REAL CHECK (preference IN (0, 0.5, 1)), rating INTEGER CHECK (rating BETWEEN 1 AND 10),
        confidence REAL CHECK (confidence BETWEEN 0 AND 1), shown_first INTEGER CHECK (shown_first IN (0, 1)),
        seconds REAL, request TEXT NOT NULL UNIQUE, made TEXT NOT NULL,
        UNIQUE (item, annotator, revision),
        CHECK ((kind = 'better') = (preference IS NOT NULL) AND (kind = 'rated') = (rating IS NOT NULL)))""",
    """CREATE TABLE leases (
        item INTEGER NOT NULL REFERENCES items, annotator INTEGER NOT NULL REFERENCES annotators,
        until REAL NOT NULL, PRIMARY KEY (item, annotator))""",
    "CREATE INDEX judgements_of_annotator ON judgements (annotator, item, revision)",
    """CREATE VIEW standing AS SELECT * FROM judgements AS j WHERE kind != 'undone' AND NOT EXISTS (
        SELECT 1 FROM judgements AS k
        WHERE k.item = j.item AND k.annotator = j.annotator AND k.revision > j.revision)""",
    """CREATE TABLE links (
        sha256 TEXT PRIMARY KEY, annotator INTEGER NOT NULL REFERENCES annotators, created TEXT NOT NULL)""",
)
MIGRATIONS: tuple[Sequence[str], ...] = (FIRST_VERSION,)  # the statements from each version to the next, from 0 on


def connect(path: Path, seed: int, create: bool) -> sqlite3.Connection:
    """The set at ``path``, brought to the present version; with ``create`` made with ``seed`` if it is not there.

    Raises:
        Failure: exit 3, if there is none, or what is there is no feedback set or one of a later version; exit 5, if it
            cannot be opened or written.
    """
    if not path.is_file() and not create:
        what = "is a folder" if path.is_dir() else "not found"
        raise Failure(Exit.DATA, f"feedback set {one_line(str(path))}: {what}", "no-feedback")
    with reported(path):
        new = not path.exists()
        connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
        try:
            _prepare(connection, path, seed)
        except BaseException:
            connection.close()
            raise
        if new:
            with suppress(OSError):  # a filesystem that cannot do it for directories
                sync(path.absolute().parent)
    return connection


def check_set(path: Path) -> None:
    """Check that the file at ``path`` is a feedback set of this version or an earlier one, or empty; change nothing.

    Raises:
        Failure: exit 3, if it is not; exit 5, if it cannot be read.
    """
    with reported(path), closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as connection:
        _check(connection, path)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """A block of which all is on the disk when it ends, or nothing."""
    connection.execute("BEGIN IMMEDIATE")  # a lock taken later could fail: another may have written what was read
    try:
        yield connection
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    try:
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def reported(path: Path) -> Iterator[None]:
    """A block whose errors of SQLite become those that a user sees.

    Raises:
        Failure: exit 3, for a file that is no feedback set; exit 5, if it cannot be read or written.
    """
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except sqlite3.OperationalError as error:
        where = f"feedback set {one_line(str(path))}"
        if "locked" in str(error) or "busy" in str(error):
            raise Failure(Exit.STORAGE, f"{where}: another process has been writing for {PATIENCE:.0f} s") from error
        raise Failure(
            Exit.STORAGE, f"{where}: {error}; what was not confirmed is not saved\nfree disk space or fix the disk"
        ) from error
    except sqlite3.DatabaseError as error:
        raise _not_one(path, str(error)) from error


def _prepare(connection: sqlite3.Connection, path: Path, seed: int) -> None:
    """Set durability, and bring the tables to the present version."""
    _check(connection, path)
    _patiently(lambda: connection.execute("PRAGMA journal_mode = WAL"))
    connection.execute("PRAGMA synchronous = FULL")  # in WAL mode each commit waits for the disk
    connection.execute("PRAGMA foreign_keys = ON")
    if _number(connection, "user_version") == len(MIGRATIONS):
        return
    with transaction(connection):
        version = _number(connection, "user_version")  # again: another process may have been faster
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        if version == 0:
            connection.execute("INSERT INTO feedback_set VALUES (?, ?)", (seed, now()))
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _check(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("BEGIN")  # all three as they are at one moment: another process may be making the set
    version, application = _number(connection, "user_version"), _number(connection, "application_id")
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    connection.execute("COMMIT")
    if application != APPLICATION and (tables or version or application):
        raise _not_one(path, "a database of another program")
    if version > len(MIGRATIONS):
        raise Failure(
            Exit.DATA, f"feedback set {one_line(str(path))}: made by a later version of rlnlp (its tables have version"
            f" {version}, this one reads {len(MIGRATIONS)})\nupdate rlnlp, or export the set there and import it here",
        )  # fmt: skip


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])


def _patiently(action: Callable[[], object]) -> None:
    """Do what SQLite refuses without waiting while another process does the same: change the mode of the journal."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            action()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.01)
        else:
            return


def _not_one(path: Path, why: str) -> Failure:
    return Failure(Exit.DATA, f"{one_line(str(path))} is no feedback set: {one_line(why)}\nname another file for it")


def now() -> str:
    """The time as it is noted: for people, nothing is ordered by it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def random_name() -> str:
    """128 random bits."""
    return os.urandom(16).hex()
