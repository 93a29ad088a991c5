"""How a setting is declared, once: what it means, its limits, what a resumed run may do with it, its other names."""

from dataclasses import MISSING, field
from typing import Any, Literal

Problem = tuple[str, str]  # key below the object's own, what is wrong
Resume = Literal["free", "allowed", "never"]
ACTOR, ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"  # groups of verl's settings


def setting(
    help: str,
    unit: str = "",
    *,
    gt: float | None = None,
    ge: float | None = None,
    lt: float | None = None,
    le: float | None = None,
    resume: Resume = "allowed",
    by_content: bool = False,
    code: bool = False,
    trl: str = "",
    verl: str = "",
    default: Any = MISSING,
) -> Any:
    """A field of a settings dataclass; its value is in conf/, and only below names of the user's has it a ``default``.

    ``resume``: what a resumed run may do with it. ``free``: no byte of the steps depends on it. ``allowed``: the steps
    from now on are others, so it must be asked for by name. ``never``: the state no longer fits. ``by_content``: the
    setting names a file or a model, and its content must not change rather than its name. ``code``: the value may be a
    function of the user's, ``file.py:function``. ``trl``, ``verl``: the names there; older or algorithm-bound ones
    after a comma, none where such a setting is missing or means something else.
    """
    limits = {name: limit for name, limit in (("gt", gt), ("ge", ge), ("lt", lt), ("le", le)) if limit is not None}
    metadata = {
        "help": help, "unit": unit, "resume": resume, "by_content": by_content, "code": code, "trl": trl, "verl": verl,
        **limits,
    }  # fmt: skip
    if isinstance(default, dict):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)
