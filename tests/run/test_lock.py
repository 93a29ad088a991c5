"""The lock of a run directory: looking at it takes it from nobody."""

import fcntl
import threading

import pytest

from rlnlp.errors import Failure
from rlnlp.run.lock import is_owned, owned


def test_a_directory_is_owned_while_a_process_has_locked_it_and_no_longer(tmp_path):
    assert not is_owned(tmp_path)  # no lock was ever made
    with owned(tmp_path):
        assert is_owned(tmp_path)
        content = (tmp_path / "lock").read_text()
    assert not is_owned(tmp_path)
    assert (tmp_path / "lock").read_text() == content


def test_a_lock_that_cannot_be_written_can_be_looked_at(tmp_path):
    with owned(tmp_path):
        (tmp_path / "lock").chmod(0o444)
        assert is_owned(tmp_path)


def test_a_run_begins_though_another_process_looks_at_its_lock_at_that_moment(tmp_path):
    (tmp_path / "lock").touch()
    with (tmp_path / "lock").open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        release = threading.Timer(0.005, lambda: fcntl.flock(looking, fcntl.LOCK_UN))
        release.start()
        with owned(tmp_path):
            assert is_owned(tmp_path)
        release.join()


def test_a_lock_that_stays_is_refused_with_its_owner(tmp_path):
    with owned(tmp_path), pytest.raises(Failure, match=r"is in use by another process: .*pid"), owned(tmp_path):
        pass
