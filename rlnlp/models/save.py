"""Models as folders that transformers loads."""

import copy
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from rlnlp.models.policy import Policy
from rlnlp.models.tokenizer import Tokenizer
from rlnlp.run.checkpoint import STAGED
from rlnlp.run.disk import apply_umask_and_fsync, replace_directory, storage_failure, sync


def pretrained_files(policy: Policy, tokenizer: Tokenizer) -> Callable[[], Mapping[str, bytes]]:
    """What ``Policy.files`` is: made when it is first asked for, as training changes none of it."""
    lm, raw = policy.lm, tokenizer.raw

    @cache
    def files() -> Mapping[str, bytes]:
        config = copy.deepcopy(lm.config)
        config.dtype, config.architectures = str(lm.dtype).rpartition(".")[2], [type(lm).__name__]  # as save_pretrained
        with tempfile.TemporaryDirectory() as directory:
            config.save_pretrained(directory)
            if lm.can_generate():
                lm.generation_config.save_pretrained(directory)
            raw.save_pretrained(directory)
            return {path.name: path.read_bytes() for path in sorted(Path(directory).iterdir()) if path.is_file()}

    return files


def save_policy(directory: Path, policy: Policy, tokenizer: Tokenizer) -> None:
    """Save the model and its tokenizer as a directory that transformers loads, atomically.

    Raises:
        Failure: exit 5, if the disk fails.
    """
    staged, aside = (directory.with_name(f"{STAGED}{word}{directory.name}") for word in ("", "old-"))
    try:
        for left in (staged, aside):
            shutil.rmtree(left, ignore_errors=True)
        policy.lm.save_pretrained(staged)
        tokenizer.raw.save_pretrained(staged)
        for file in staged.iterdir():
            apply_umask_and_fsync(file)
        sync(staged)
        replace_directory(staged, directory, aside)
    except Exception as error:
        shutil.rmtree(staged, ignore_errors=True)
        raise storage_failure("saving the policy", directory.parent, error) from error
