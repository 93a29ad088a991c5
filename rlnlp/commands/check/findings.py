"""What a check finds: each finding with a name for programs, how bad it is, what it is and what to do."""

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from rlnlp.errors import Exit, Failure

Severity = Literal["error", "warning"]
KEY = re.compile(r"(?:[a-z_]+\.)+[\w.]+(?=[ :\[])")  # a setting at the beginning of what is told of it
ADVICE = {  # where a message has none of its own
    Exit.CONFIG: "change the setting: rlnlp train --help lists what there is",
    Exit.DATA: "change the data, or name other data",
    Exit.MODEL: "name another model with model.path=",
    Exit.REWARD: "look at the function: rlnlp check-reward calls it on a few responses",
}
OF_ROWS = {  # what is to be done about rows of the data, by the end of the note's name
    "dropped": "to keep a part of each: data.too_long=cut; a lower sampler.max_new_tokens leaves prompts more room",
    "cut": "to leave them out: data.too_long=drop; a lower sampler.max_new_tokens leaves prompts more room",
    "unusable": "take the empty rows out of the data",
    "trained-on": "give more rows, or a file of its own: data.heldout=FILE",
    "pairs-prompts-differ": "nothing, if they are few; else look at how the rows were made",
    "pairs-unanswered": "nothing, if they are few; a judged conversation ends with the assistant's turn",
    "pairs-identical": "nothing: they say nothing",
    "pairs-empty": "nothing, if they are few; an empty answer is no answer",
    "pairs-alone": "nothing, if they are few; a judgement needs two answers",
    "pairs-cut": "take a model with a longer context, or shorter texts",
    "pairs-opposed": "nothing, if people differ; else look at how the labels were made: half of them are wrong",
    "empty": "take the empty rows out of the data, if they are not meant",
    "repeated": "take them out of the data, if they are not meant to count twice",
    "control-words": "nothing if they are meant as words; turns of a conversation are given as messages"
    " (rlnlp guide conversations)",
    "plain-texts": "nothing if texts are to be gone on with; else data.system=TEXT makes each prompt a user's turn",
}


@dataclass(frozen=True)
class Finding:
    """Something to know before a run; ``code`` is the exit code of an error."""

    name: str
    severity: Severity
    what: str
    fix: str
    code: Exit = Exit.DONE

    def record(self) -> dict[str, str]:
        """Its form for programs."""
        return {"name": self.name, "severity": self.severity, "what": self.what, "fix": self.fix}


@dataclass
class Report:
    """All that a check has found; ``sound`` has what is as it should be, and ``figures`` what the run takes."""

    findings: list[Finding] = field(default_factory=list)
    sound: dict[str, str] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    takes: dict[str, str] = field(default_factory=dict)  # the figures in words, by label

    def add(self, *found: Finding) -> None:
        """Add findings; one that is there already is not added again."""
        self.findings += [each for each in found if each not in self.findings]

    def warn(self, name: str, what: str, fix: str) -> None:
        """Add a warning."""
        self.add(Finding(name, "warning", what, fix))

    def fail(self, failure: Failure) -> None:
        """Add what has failed."""
        self.add(*of_failure(failure))

    @property
    def exit_code(self) -> Exit:
        """The exit code of the first error; 0 without one."""
        return next((each.code for each in self.findings if each.severity == "error"), Exit.DONE)

    def record(self) -> dict[str, Any]:
        """All of it for programs."""
        found = [each.record() for each in self.findings]
        return {"sound": self.exit_code == Exit.DONE, "findings": found, **self.figures, "checks": dict(self.sound)}


def of_failure(failure: Failure) -> list[Finding]:
    """A failure as findings: of settings one for each line, else what is wrong and, from its last line, what to do."""
    lines = str(failure).split("\n")
    if failure.code == Exit.CONFIG:
        return [_setting(line, failure) for line in lines]
    *what, fix = lines if len(lines) > 1 else [*lines, ADVICE.get(failure.code, "change it, and check again")]
    return [Finding(failure.name, "error", "; ".join(what), fix, failure.code)]


def _setting(line: str, failure: Failure) -> Finding:
    what, semicolon, fix = line.partition("; ")
    key = KEY.match(line)
    known = f"rlnlp explain {key[0]} says what it takes" if key else ADVICE[Exit.CONFIG]
    return Finding(failure.name, "error", what, fix if semicolon else known, failure.code)


def row_findings(told: Any) -> list[Finding]:
    """What is told of rows of the data, by its name, as warnings."""
    return [
        Finding(name, "warning", line, next(fix for end, fix in OF_ROWS.items() if name.endswith(end)))
        for name, line in told.items()
    ]
