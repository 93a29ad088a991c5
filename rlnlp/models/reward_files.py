"""Reward models as folders: the files of transformers where it has a class for them, and a record of ours."""

import copy
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from rlnlp.errors import one_line
from rlnlp.models.chat import PLAIN
from rlnlp.models.files import OF_CLASS, REWARD_RECORD, read_object
from rlnlp.models.reward_classes import classifier_of
from rlnlp.models.reward_encoder import EncoderTrunk, with_body
from rlnlp.models.reward_heads import HEADS
from rlnlp.models.reward_model import APART, COMBINED, SHARED, RewardModel
from rlnlp.models.save import save_directory
from rlnlp.models.text_tokens import TextReader
from rlnlp.run.checksums import file_sha256

FORMAT = 1
MEMBERS, TRUNK = "rlnlp_heads.safetensors", "trunk"
HERE = "."  # the folder of a trunk that is beside the record, with a head as transformers reads it
NO_CLASS = "transformers has no class that gives this reward model's scores: only rlnlp can load it"


@dataclass(frozen=True)
class Record:
    """What the files of transformers do not say of a reward model, as JSON beside them.

    ``files`` has the sha256 of every other file; ``trunks`` the folder of each trunk, "." for its own; the template and
    what belongs to it are of ``Chat``.
    """

    format: int
    head: str
    members: int
    of: str
    combine: str
    uncertainty_coef: float
    gain: list[float]
    bias: list[float]
    width: int
    first_position: int
    max_tokens: int
    template: str | None
    template_args: dict[str, Any]
    system: str | None
    plainly: bool
    trunks: list[str]
    files: dict[str, str]

    @classmethod
    def read(cls, directory: Path) -> Self:
        """The record in ``directory``, of files that are as they were written.

        Raises:
            ValueError: it is none, or a file differs; the message says how.
        """
        stored = read_object(directory / REWARD_RECORD)
        if stored.get("format") != FORMAT:
            raise ValueError(f"{REWARD_RECORD} is damaged, or of a later version of rlnlp")
        try:
            record = cls(**stored)
            sound = _sound(record)
        except TypeError as error:
            raise ValueError(f"{REWARD_RECORD} is damaged: {one_line(str(error))}") from error
        if not sound:
            raise ValueError(f"{REWARD_RECORD} is damaged: its values do not fit each other")
        for name, digest in record.files.items():
            path = directory / name
            if Path(name).is_absolute() or ".." in Path(name).parts or path.is_symlink() or not path.is_file():
                raise ValueError(f"{one_line(name, 80)} is missing")
            if file_sha256(path) != digest:
                raise ValueError(f"{one_line(name, 80)} is not as it was written (sha256)")
        return record


def _sound(record: Record) -> bool:
    numbers = [*record.gain, *record.bias, record.uncertainty_coef]
    return (
        record.head in (*HEADS, OF_CLASS)
        and record.combine in COMBINED
        and record.of in (SHARED, APART)
        and len(record.gain) == len(record.bias) == record.members >= 1
        and record.trunks in ([HERE], [f"{TRUNK}-0"], [f"{TRUNK}-{i}" for i in range(record.members)])
        and all(isinstance(number, float) and math.isfinite(number) for number in numbers)
        and {MEMBERS} <= record.files.keys()
    )


def save_reward_model(directory: Path, model: RewardModel, reader: TextReader) -> str | None:
    """Save a reward model, with how it reads texts, as a directory, atomically; what the user should know of it.

    One with a linear head, or several on one trunk that are combined by their mean, is a model for sequence
    classification of transformers with one label: ``gain`` is folded into its score, and what that leaves of ``bias``
    stands in its ``config.json`` as ``rlnlp_score_bias``.

    Raises:
        Failure: exit 5, if the disk fails.
    """
    return save_directory(directory, "the reward model", lambda staged: _write(staged, model, reader))


def _write(staged: Path, model: RewardModel, reader: TextReader) -> str | None:
    """All files of a reward model; what the user should know."""
    from safetensors.torch import save_file

    classifier = classifier_of(model)
    names = [HERE] if classifier is not None else [f"{TRUNK}-{i}" for i in range(len(model.trunks))]
    for number, name in enumerate(names):
        _saved(classifier, model, number).save_pretrained(staged / name)
        saved_tokenizer(reader).save_pretrained(staged / name)
    heads = {name: weight.detach().cpu().contiguous() for name, weight in model.heads.state_dict().items()}
    save_file(heads, staged / MEMBERS)
    files = {
        path.relative_to(staged).as_posix(): file_sha256(path) for path in sorted(staged.rglob("*")) if path.is_file()
    }
    (staged / REWARD_RECORD).write_text(json.dumps(asdict(record_of(model, reader, names, files)), indent=2) + "\n")
    return NO_CLASS if classifier is None else None


def record_of(model: RewardModel, reader: TextReader, trunks: list[str], files: Mapping[str, str]) -> Record:
    """What the files of transformers do not say of a reward model whose files are these."""
    chat = reader.chat
    return Record(
        format=FORMAT,
        head=head_name(model),
        members=len(model.heads),
        of=APART if len(model.trunks) > 1 else SHARED,
        combine=model.combine,
        uncertainty_coef=float(model.uncertainty_coef),
        gain=model.gain.tolist(),
        bias=model.bias.tolist(),
        width=0 if head_name(model) == OF_CLASS else model.trunks[0].width,
        first_position=model.trunks[0].first_position,
        max_tokens=reader.max_tokens,
        template=chat.template,
        template_args=dict(chat.args),
        system=chat.system,
        plainly=chat.plainly,
        trunks=trunks,
        files=dict(files),
    )


def head_name(model: RewardModel) -> str:
    """What the heads are called in the record."""
    return next((name for name, kind in HEADS.items() if isinstance(model.heads[0], kind)), OF_CLASS)


def _saved(classifier: Any, model: RewardModel, number: int) -> Any:
    """What transformers saves of a trunk: the ``classifier`` of all, else the class of an encoder, else the body."""
    if classifier is not None:
        return classifier
    trunk = model.trunks[number]
    return with_body(model.heads[number], trunk) if isinstance(trunk, EncoderTrunk) else trunk.body


def saved_tokenizer(reader: TextReader) -> Any:
    """The tokenizer of transformers as it is saved: it pads on the right, and its chat template is the reader's."""
    raw = copy.deepcopy(reader.chat.tokenizer.raw)
    raw.padding_side = raw.truncation_side = "right"
    template = PLAIN if reader.chat.plainly else reader.chat.template
    if template is not None:
        raw.chat_template = template
    return raw
