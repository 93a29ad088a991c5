"""What files and settings tell of rounds of RLHF before they begin: the feedback set, the models, who is asked what."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from math import comb
from typing import Any

from rlnlp.config.annotator import Annotator
from rlnlp.config.data import RlhfData, as_text_data, path_of
from rlnlp.config.model import Model
from rlnlp.config.observing import Heldout
from rlnlp.config.rlhf import Rlhf
from rlnlp.data.sources import data_sources, heldout_part
from rlnlp.errors import Exit, Failure, one_line
from rlnlp.models.locate import locate_tokenizer, locate_weights

MOST = 20 * 2**20  # bytes of a data file that are read


def round_faults(groups: Mapping[str, Any]) -> Iterator[Failure]:
    """What is wrong with the ``groups`` of settings of rounds; groups with wrong settings are left out."""
    algo, data, model, annotator = (groups.get(name) for name in ("algo", "data", "model", "annotator"))
    checks: list[Callable[[], None]] = []
    if isinstance(data, RlhfData):
        checks += [partial(check_feedback, data.feedback), partial(_check_texts, data, groups.get("heldout"))]
    if isinstance(algo, Rlhf) and isinstance(model, Model):
        checks.append(partial(_check_start, algo.reward_model.model, model))
    if isinstance(annotator, Annotator):
        checks.append(partial(_check_annotators, annotator))
    if isinstance(algo, Rlhf) and isinstance(data, RlhfData) and isinstance(annotator, Annotator):
        checks.append(partial(_check_enough, algo, data, annotator, groups.get("heldout")))
    for check in checks:
        try:
            check()
        except Failure as failure:
            yield failure


def check_feedback(name: str | None) -> None:
    """Check that a feedback set can be at ``name``, or is there; nothing is changed.

    Raises:
        Failure: exit 2, for a directory or a file in none; exit 3 or 5, for a file that is no feedback set.
    """
    if name is None:
        return
    path = path_of(name)
    if path.is_dir():
        raise Failure(Exit.CONFIG, f"data.feedback '{one_line(name)}' is a directory; name a file for the feedback set")
    if not path.parent.is_dir():
        raise Failure(
            Exit.CONFIG, f"data.feedback '{one_line(name)}': there is no directory {one_line(str(path.parent))}"
        )
    if path.exists():
        from rlnlp.feedback.schema import check_set  # sqlite3, which no other run needs

        check_set(path)


def _check_annotators(annotator: Annotator) -> None:
    """Check that those who are to judge can be asked.

    Raises:
        Failure: exit 2 or 3.
    """
    from rlnlp.feedback.chosen import check_annotators  # what no other run needs

    check_annotators(annotator)


def _check_texts(data: RlhfData, heldout: Any) -> None:
    """Check the texts that are mixed in.

    Raises:
        Failure: exit 3, as those of sft.
    """
    texts = as_text_data(data)
    for source in data_sources(texts, heldout.size if isinstance(heldout, Heldout) else 1) if texts else []:
        source.checked(MOST)


def _check_start(name: str | None, model: Model) -> None:
    """Check that what the reward model starts from is there.

    Raises:
        Failure: exit 4.
    """
    if name is None:
        return
    start = replace(model, path=name, tokenizer=None)
    try:
        locate_weights(start)
        locate_tokenizer(start)
    except Failure as failure:
        raise Failure(failure.code, str(failure).replace("model.path", "algo.reward_model.model", 1)) from failure


def _check_enough(algo: Rlhf, data: RlhfData, annotator: Annotator, heldout: Any) -> None:
    """Check that there are as many prompts, and pairs of responses to them, as a round is to have.

    Raises:
        Failure: exit 2.
    """
    there = _train_prompts(data, heldout.size) if isinstance(heldout, Heldout) else None
    if there is not None and algo.prompts_per_round > there:
        asked = min(annotator.comparisons_per_round, there * comb(algo.num_generations, 2))
        fewer = [f"algo.prompts_per_round={there}"]
        fewer += [f"annotator.comparisons_per_round={asked}"] if asked < annotator.comparisons_per_round else []
        what = f"algo.prompts_per_round is {algo.prompts_per_round:,}, and there are {there:,} to train on"
        raise Failure(Exit.CONFIG, f"{what}\nset {' '.join(fewer)}")


def _train_prompts(data: RlhfData, size: int) -> int | None:
    """How many prompts there are to train on, before a model leaves any out; None if that is not known."""
    try:
        source, *others = data_sources(data, size)
        read = source.checked(MOST)
    except Failure:  # which is told of the data already
        return None
    if read.total is None or read.total != len(read.records):
        return None
    distinct = {str(record.get("prompt", record.get("messages"))) for _, record in read.records}
    return read.total - (0 if others else heldout_part(len(distinct), size))
