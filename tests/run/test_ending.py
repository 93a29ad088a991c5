"""What is said when a run ends: status and exit code, and for an error the command that resumes the run."""

import signal
from pathlib import Path

import pytest
import torch

from rlnlp.errors import Exit, Failure, Stopped, ended_by
from rlnlp.run.ending import START, UPDATE, error_with_advice, status
from rlnlp.run.progress import Progress

RESUME = "continue with: rlnlp resume RUN"


@pytest.fixture
def progress(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    progress = Progress(tmp_path, keep=1)
    yield progress
    progress.close()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, ("done", Exit.DONE)),
        (KeyboardInterrupt(), ("interrupted", Exit.INTERRUPT)),
        (Failure(Exit.TERMINATED, "stopped"), ("interrupted", Exit.TERMINATED)),
        (Failure(Exit.REWARD, "no"), ("failed", Exit.REWARD)),
        (ValueError("x"), ("failed", Exit.BUG)),
    ],
)
def test_the_status_of_a_run_follows_from_its_error(error, expected):
    assert status(error) == expected


def raised(*errors):
    """The last of the errors, each raised while the one before was handled: a pair is raised ``from`` its second."""
    try:
        if len(errors) > 1:
            raised(*errors[:-1])
    finally:
        error = errors[-1]
        if isinstance(error, tuple):
            raise error[0] from error[1]
        raise error


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("broken", "broken"),
        ("odd broken", "broken"),
        ("stop broken", "stop"),
        ("stop odd broken", "stop"),
        ("stop broken said<broken", "stop"),
        ("stop said<stop", "said"),
        ("stop said<stop broken", "broken"),
        ("broken stop", "stop"),
        ("interrupt stop", "stop"),
    ],
)
def test_an_error_in_the_wake_of_an_interrupt_is_the_interrupts_doing(words, expected):
    made = {
        "stop": Stopped(signal.SIGTERM), "interrupt": KeyboardInterrupt(), "broken": KeyError("half done"),
        "odd": ValueError(), "said": Failure(Exit.CONFIG, "no such setting"),
    }  # fmt: skip
    errors = [tuple(made[name] for name in word.split("<")) if "<" in word else made[word] for word in words.split()]
    with pytest.raises(BaseException) as caught:
        raised(*errors)
    assert ended_by(caught.value) is made[expected]


@pytest.mark.parametrize(
    ("error", "phase", "code", "lines"),
    [
        (Stopped(signal.SIGTERM), UPDATE, Exit.TERMINATED,
         ["stopped by SIGTERM after step 0; no step is saved yet", RESUME]),
        (KeyboardInterrupt(), UPDATE, Exit.INTERRUPT, ["stopped by SIGINT after step 0; no step is saved yet", RESUME]),
        (Failure(Exit.STORAGE, "full"), UPDATE, Exit.STORAGE, ["full", RESUME]),
        (MemoryError("8 bytes"), UPDATE, Exit.MEMORY,
         ["out of memory in step 1 (the update): 8 bytes", "lower algo.micro_batch_size",
          f"{RESUME} algo.micro_batch_size=... resume.allow=algo.micro_batch_size"]),
        (MemoryError("8 bytes"), "sampling", Exit.MEMORY,
         ["out of memory in step 1 (sampling): 8 bytes", "lower algo.batch_size or sampler.max_new_tokens",
          f"{RESUME} algo.batch_size=... resume.allow=algo.batch_size"]),
        (MemoryError("8 bytes"), START, Exit.MEMORY,
         ["out of memory in step 1 (the start): 8 bytes", "lower model.path: a smaller one",
          f"{RESUME} model.path=... resume.allow=model.path"]),
        (Failure(Exit.NONFINITE, "step 5: grad_norm not finite\nlower it"), UPDATE, Exit.NONFINITE,
         ["step 5: grad_norm not finite; policy.weight is not", "lower it",
          "no checkpoint was saved yet; try: rlnlp resume RUN algo.learning_rate=... resume.allow=algo.learning_rate"]),
    ],
)  # fmt: skip
def test_an_error_is_shown_with_what_to_do_next(error, phase, code, lines, progress):
    broken = torch.nn.Linear(1, 1)
    broken.weight.data.fill_(float("nan"))
    shown = error_with_advice(error, Path("RUN"), progress, {"policy": broken}, phase)
    assert isinstance(shown, Failure)
    assert (shown.code, str(shown).split("\n")) == (code, lines)


def test_a_write_error_is_a_storage_failure_and_a_bug_stays_as_it_is(progress):
    shown = error_with_advice(OSError(28, "No space left on device"), Path("RUN"), progress, {}, UPDATE)
    assert str(shown).startswith("writing in RUN failed: ")
    assert str(shown).endswith(RESUME)
    for error in (ValueError("bug"), Failure(Exit.DATA, "no")):
        assert error_with_advice(error, Path("RUN"), progress, {}, UPDATE) is error
    shown = error_with_advice(Failure(Exit.REWARD, "no"), Path("a RUN"), progress, {}, UPDATE)
    assert (str(shown), shown.code) == ("no; 'a RUN/train.log' has the traceback", Exit.REWARD)
