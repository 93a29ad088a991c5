"""Tokenizers from files: what is used is what ``tokenizer.json`` says, whatever class the config names."""

from pathlib import Path
from typing import Any

from rlnlp.errors import Exit, Failure, describe, one_line

SAMPLES = (
    "Hello, world! It's 12345.67 o'clock.",
    " two  spaces,\ttab\nline\n\n  indented: def f(x): return x**2",
    "Café naïve ÄÖÜ ñ — “quotes” … 你好，世界 Привет עברית 🙂👍🏽",
    'camelCase snake_case https://example.org/a?b=c&d=%20 <tag> {"k": [1, 2]}',
)


def tokenizer_of_files(model_id: str, what: str, local_only: bool) -> tuple[Any, str | None]:
    """The tokenizer of transformers at ``model_id``, a directory or hub id; and what the user should know of it.

    ``what`` names it in messages.

    Raises:
        Failure: exit 4, if it cannot be loaded.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    asked: dict[str, Any] = {"local_files_only": local_only, "trust_remote_code": False}
    file = tokenizer_file(model_id)
    try:
        raw = AutoTokenizer.from_pretrained(model_id, **asked)
    except Exception as error:
        if file is None:
            raise unloadable(what, error) from error
        built, differs = "the class that its config names", "fails"
    else:
        if file is None or type(raw) is PreTrainedTokenizerFast or not (different := differing(raw, file)):
            return raw, None
        built, differs = type(raw).__name__, f"splits {different} of {len(SAMPLES)} sample texts otherwise"
    try:
        raw = PreTrainedTokenizerFast.from_pretrained(model_id, **asked)
    except Exception as error:
        raise unloadable(what, error) from error
    return raw, f"{what}: tokenizer.json is used as it is; {built} {differs}"


def tokenizer_file(model_id: str) -> str | None:
    """Where ``tokenizer.json`` of a directory or a cached hub id is; None without one."""
    from transformers.utils import cached_file

    if Path(model_id).is_dir():
        path = Path(model_id) / "tokenizer.json"
        return str(path) if path.is_file() else None
    found: str | None = cached_file(
        model_id, "tokenizer.json", local_files_only=True, _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False, _raise_exceptions_for_gated_repo=False,
    )  # fmt: skip
    return found


def differing(raw: Any, file: str) -> int:
    """How many sample texts a tokenizer encodes otherwise than ``tokenizer.json`` alone; special tokens aside."""
    import tokenizers

    as_stored: Any = tokenizers.Tokenizer.from_file(file)
    return sum(
        raw.encode(text, add_special_tokens=False) != as_stored.encode(text, add_special_tokens=False).ids
        for text in SAMPLES
    )


def unloadable(what: str, error: Exception) -> Failure:
    """Exit 4 with the first lines of what was raised."""
    text = "\n".join(str(error).strip().split("\n")[:3]) or describe(error)
    return Failure(Exit.MODEL, f"{what} cannot be loaded: {one_line(text, 300)}")
