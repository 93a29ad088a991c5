"""The command inside the process of the tests: what it prints and its exit status, without the start of another one."""

import io
import os
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

from rlnlp.cli.main import main


def rlnlp(*words, cwd: Path, env: dict[str, str] | None = None):
    """As ``small.rlnlp``: (exit status, stdout, stderr)."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with (
        chdir(cwd),
        mock.patch.dict(os.environ, env or {}),
        mock.patch.object(sys, "path", [str(cwd), *sys.path]),  # as python -m has it
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            code = main([*map(str, words)])
        except SystemExit as left:
            code = left.code
    return code, *(stream.buffer.getvalue().decode() for stream in (out, err))
