"""How a run ends: its status, and for an error what the user can do next, with the command that resumes the run."""

from pathlib import Path

from rlnlp.errors import (
    SIGNALED,
    WAITING,
    Exit,
    Failure,
    Lost,
    Paused,
    Stopped,
    command,
    exit_code,
    one_line,
    out_of_memory,
    shell_word,
)
from rlnlp.processes.launch import again
from rlnlp.run.checkpoint import checkpoints, step_of
from rlnlp.run.disk import storage_failure
from rlnlp.run.nonfinite import broken_weight
from rlnlp.run.parts import Parts
from rlnlp.run.progress import Progress

START, UPDATE = "the start", "the update"  # phases of a run; the loops name others
LESS_MEMORY = {  # by phase: the setting to lower, and more to say
    START: ("model.path", ": a smaller one"),
    "sampling": ("algo.batch_size", " or sampler.max_new_tokens"),
}


def status(error: BaseException | None) -> tuple[str, Exit]:
    """Status and exit code for ``run.json``: ``done``, ``interrupted`` (by a signal, or by people) or ``failed``."""
    if error is None:
        return "done", Exit.DONE
    code = exit_code(error)
    waits = isinstance(error, Failure) and error.name == WAITING
    return "interrupted" if waits or code in SIGNALED else "failed", code


def error_with_advice(
    error: BaseException, directory: Path, progress: Progress, parts: Parts, phase: str
) -> BaseException:
    """``error`` as it is shown to the user, with what to do next; ``error`` itself if there is nothing to add.

    After a signal, the last whole step is saved first if it can be. ``phase`` is what the run was doing.
    """
    if isinstance(error, KeyboardInterrupt):
        return _stopped(error, directory, progress)
    if isinstance(error, OSError):
        error = storage_failure("writing", directory, error)
    if isinstance(error, Failure) and error.code == Exit.STORAGE:
        return Failure(error.code, f"{error}\n{_resume(directory)}")
    if isinstance(error, Failure) and error.code == Exit.REWARD:
        return Failure(error.code, f"{error}; {shell_word(directory / 'train.log')} has the traceback")
    if isinstance(error, Failure) and error.code == Exit.NONFINITE:
        return _not_finite(error, directory, progress.saved, parts)
    if out_of_memory(error):
        return _out_of_memory(error, directory, progress.done + 1, phase)
    return error


def _resume(directory: Path) -> str:
    return f"continue with: {again(command('resume', directory))}"


def _stopped(error: KeyboardInterrupt, directory: Path, progress: Progress) -> Failure:
    name, code = str(error) if isinstance(error, Stopped) else "SIGINT", exit_code(error)
    try:
        progress.save_last_step()
    except Failure as failure:
        return failure
    if isinstance(error, Paused):
        return Failure(code, f"{error}; to go on: {again(command('resume', directory))}", WAITING)
    found = checkpoints(progress.folder)
    saved = f"step {step_of(found[-1])} is saved" if found else "no step is saved yet"
    meanwhile = f"; {error.meanwhile}" if isinstance(error, Stopped) and error.meanwhile else ""
    what = str(error) if isinstance(error, Lost) else f"stopped by {name}"
    return Failure(code, f"{what} after step {progress.done}; {saved}{meanwhile}\n{_resume(directory)}")


def _not_finite(error: Failure, directory: Path, saved: int, parts: Parts) -> Failure:
    tensor = broken_weight(parts)
    text = str(error)
    if tensor is not None and tensor not in text:
        text = text.replace("\n", f"; {tensor} is not\n", 1)
    last = f"the last good checkpoint is of step {saved}" if saved else "no checkpoint was saved yet"
    words = command("resume", directory, "algo.learning_rate=...", "resume.allow=algo.learning_rate")
    return Failure(error.code, f"{text}\n{last}; try: {again(words)}")


def _out_of_memory(error: BaseException, directory: Path, step: int, phase: str) -> Failure:
    key, more = LESS_MEMORY.get(phase, ("algo.micro_batch_size", ""))
    what = f"out of memory in step {step} ({phase}): {one_line(str(error), 120)}"
    return Failure(Exit.MEMORY, f"{what}\nlower {key}{more}\n{_resume(directory)} {key}=... resume.allow={key}")
