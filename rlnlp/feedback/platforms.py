"""The JSON exports of Label Studio and of Argilla, as they write them, and the fields of their projects.

Label Studio: a list of tasks with ``data`` and ``annotations``; an answer of the Pairwise tag is ``{"type": "pairwise",
"to_name": "a,b", "value": {"selected": "left"}}``. The short export (JSON_MIN) has the fields of ``data`` and the
answers side by side. Argilla: a list of records with ``fields`` and, by question, ``responses`` of ``value`` and
``user_id``.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

from rlnlp.data.answers import BadRecord
from rlnlp.data.formats import Record
from rlnlp.feedback.incoming import Incoming, answered, compared, rated
from rlnlp.feedback.records import BETTER, FIRST, SECOND, SKIPPED, TIE, Verdict

ASKED = ("prompt", "instruction", "question", "input", "context", "query", "dialog", "conversation", "messages")
SAME = ("tie", "equal", "both", "same", "neither", "none", "similar", "no preference")
ENDING = re.compile(r"([0-9]+|(?:(?<=[\W_])|^)[abAB]|(?<=[a-z])[AB])$")  # response-1, answer2, response_b, replyA
STEMS = ("", "response", "answer", "reply", "option", "text", "completion", "output", "model", "summary")
SIDES = {"left": FIRST, "right": SECOND}


def is_label_studio(record: Record) -> bool:
    """True for a task of an export of Label Studio, long or short."""
    return isinstance(record.get("data"), dict) or any(_selected(value) for value in record.values())


def is_argilla(record: Record) -> bool:
    """True for a record of an export of Argilla."""
    return isinstance(record.get("fields"), dict) and isinstance(record.get("responses"), dict)


def from_label_studio(record: Record) -> Iterator[Incoming]:
    """The judgements of a task: of each annotator the choice of a side, or that the task was skipped.

    Raises:
        BadRecord: it cannot be said which texts were compared.
        Unusable: they are the same.
    """
    if not isinstance(record.get("data"), dict):
        yield from _short(record)
        return
    data = record["data"]
    for annotation in record.get("annotations", record.get("completions")) or []:
        results = [one for one in annotation.get("result") or [] if isinstance(one, dict)]
        pairwise = next((one for one in results if one.get("type") == "pairwise"), None)
        both = answered(_prompt(data), _sides(data, str(pairwise.get("to_name", "")) if pairwise else ""))
        who, seconds = _completed_by(annotation.get("completed_by")), _time(annotation.get("lead_time"))
        if annotation.get("was_cancelled") or annotation.get("skipped"):
            verdict = Verdict(SKIPPED)
        elif pairwise is not None:
            verdict = Verdict(BETTER, _side(pairwise.get("value")))
        elif any(_says_tie(one.get("value")) for one in results):
            verdict = Verdict(BETTER, TIE)
        else:
            continue  # saved without an answer
        yield compared(*both, verdict, who, seconds, 0)


def from_argilla(record: Record) -> Iterator[Incoming]:
    """The judgements of a record: rankings of fields, labels that name one, ratings of a single response.

    Raises:
        BadRecord: it cannot be said which fields were compared.
        Unusable: they are the same.
    """
    fields, prompt = record["fields"], _prompt(record["fields"])
    texts = {name: value for name, value in fields.items() if name.lower() not in ASKED and value is not None}
    for answers in record["responses"].values():
        for answer in answers if isinstance(answers, list) else []:
            value, who = answer.get("value"), str(answer.get("user_id"))
            if answer.get("status") == "discarded":
                continue
            if isinstance(value, int) and not isinstance(value, bool) and len(texts) == 1:
                yield rated(*answered(prompt, texts), value, who)
            elif ranks := _ranks(value, list(texts)):
                for one, two in combinations(ranks, 2):
                    preference = TIE if ranks[one] == ranks[two] else FIRST if ranks[one] < ranks[two] else SECOND
                    both = answered(prompt, {name: texts[name] for name in (one, two)})
                    yield compared(*both, Verdict(BETTER, preference), who)


def _short(record: Record) -> Iterator[Incoming]:
    answer = next(value for value in record.values() if _selected(value))
    data = {name: value for name, value in record.items() if name not in ("created_at", "updated_at")}
    who, seconds = _completed_by(record.get("annotator")), _time(record.get("lead_time"))
    verdict = Verdict(BETTER, _side(answer[0]))
    yield compared(*answered(_prompt(record), _sides(data, "")), verdict, who, seconds, 0)


def _selected(value: Any) -> bool:
    return (
        isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict) and value[0].get("selected") in SIDES
    )


def _side(value: Any) -> float:
    if not isinstance(value, dict) or value.get("selected") not in SIDES:
        raise BadRecord("an answer of the Pairwise tag must have 'selected': left or right")
    return SIDES[value["selected"]]


def _says_tie(value: Any) -> bool:
    choices = value.get("choices") if isinstance(value, dict) else None
    said = choices[0] if isinstance(choices, list) and len(choices) == 1 else ""
    return isinstance(said, str) and said.strip().lower() in SAME


def _sides(data: Mapping[str, Any], to_name: str) -> dict[str, Any]:
    """The two answers of a task, the left one first: those that the tag names, else the fields beside the prompt."""
    tags = [name.strip() for name in to_name.split(",")]
    if len(tags) == 2 and all(tag in data for tag in tags):
        names = tags
    else:
        others = [name for name, value in data.items() if name.lower() not in ASKED and isinstance(value, str)]
        names = others if len(others) == 2 else _numbered(others)
    if len(names) != 2:
        raise BadRecord(
            f"which two texts were compared? the task has: {', '.join(map(str, data)) or 'nothing'}; let two fields end"
            " in 1 and 2, as response1 and response2"
        )
    return {name: data[name] for name in names}


def _numbered(names: list[str]) -> list[str]:
    """The fields of one stem that end in 1 and 2, or in a and b."""
    stems: dict[str, dict[str, str]] = {}
    for name in names:
        if end := ENDING.search(name):
            stems.setdefault(name[: end.start(1)].lower(), {})[end[1].lower()] = name
    pairs = [[ends[one], ends[two]] for ends in stems.values() for one, two in (("1", "2"), ("a", "b"))
             if one in ends and two in ends and len(ends) == 2]  # fmt: skip
    return pairs[0] if len(pairs) == 1 else []


def _ranks(value: Any, fields: list[str]) -> dict[str, int] | None:
    """The rank of each field, 1 for the best: of a ranking with or without ranks, or of a label that names the best.

    None for an answer that ranks nothing, such as a comment.
    """
    if isinstance(value, list) and value and all(isinstance(one, dict) and "value" in one for one in value):
        said = {str(one["value"]): int(one.get("rank") or place) for place, one in enumerate(value, 1)}
    elif isinstance(value, list) and len(value) > 1 and all(isinstance(one, str) for one in value):
        said = {one: place for place, one in enumerate(value, 1)}
    elif isinstance(value, str) and len(fields) == 2:
        if value.strip().lower() in SAME:
            return dict.fromkeys(fields, 1)
        best = _field(value, fields)
        return {field: 1 if field == best else 2 for field in fields} if best else None
    else:
        return None
    named = {_field(option, fields): rank for option, rank in said.items()}
    if set(named) == {None}:
        return None  # labels of something else
    if None in named or len(named) != len(said):
        raise BadRecord(f"the ranking's {', '.join(said)} are none of the fields {', '.join(fields)}")
    return {str(field): rank for field, rank in named.items()}


def _field(option: str, fields: list[str]) -> str | None:
    """The field that an option of a question stands for: of the same name, else of the same number at its end."""
    flat = {re.sub(r"\W|_", "", field).lower(): field for field in fields}
    if (same := flat.get(re.sub(r"\W|_", "", option).lower())) is not None:
        return same
    end = ENDING.search(option.strip())
    if end and re.sub(r"[\W_]", "", option[: end.start(1)]).lower() not in STEMS:
        return None
    ends = [field for field in fields if end and (own := ENDING.search(field)) and own[1].lower() == end[1].lower()]
    return ends[0] if len(ends) == 1 else None


def _prompt(data: Mapping[str, Any]) -> Any:
    return next((data[each] for known in ASKED for each in data if each.lower() == known), None)


def _completed_by(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("email") or value.get("id")
    return "label-studio" if value in (None, "") else str(value)


def _time(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 else None
