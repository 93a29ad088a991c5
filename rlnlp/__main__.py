"""``python -m rlnlp`` is the ``rlnlp`` command."""

from rlnlp.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
