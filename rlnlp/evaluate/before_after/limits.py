"""What an evaluation does not show, in sentences."""

from collections.abc import Iterator, Sequence
from typing import Any

from rlnlp.config.reward import Reward, RewardTerm
from rlnlp.config.schema import OnPolicyRun
from rlnlp.errors import counted, one_line
from rlnlp.models.locate import saved_reward_model


def trained_on(judge: Reward, reward: Reward) -> bool:
    """True if ``reward`` has every term that the judge goes by: then the judge has been seen by training."""
    rewarded = [_essence(term) for term in reward.terms.values() if term.weight]
    return all(_essence(term) in rewarded for term in judge.terms.values() if term.weight)


def _essence(term: RewardTerm) -> tuple[str, dict[str, Any]]:
    """What a term is apart from its weight: its function and its arguments, a reward model by its folder."""
    args = {word: value for word, value in term.args.items() if value is not None}
    for word in {"run", "path"} & set(args):
        if isinstance(args[word], str) and (folder := saved_reward_model(args[word])) is not None:
            args["model"] = folder.resolve()
            del args[word]
    return term.fn, args


def not_shown(
    config: OnPolicyRun, record: dict[str, Any], seen: int, judges: Sequence[str], rewarded: bool
) -> Iterator[str]:
    """Whose preferences these are, what was not measured, and on how little it rests.

    ``rewarded`` is False if training was not rewarded by the reward of ``config``.
    """
    names = ", ".join(one_line(name, 40) for name, term in config.reward.terms.items() if term.weight)
    yield (
        f"Whether people like it better. The score stands for what its terms reward ({names}), and for the preferences"
        " of whoever wrote them."
    )
    if not judges and rewarded:
        yield (
            "Whether something that training did not see agrees: no held-out judge was asked. A policy can find the"
            " faults of its reward; --judge names another."
        )
    prompts = record["score"]["n"]
    yield f"How it answers other prompts than these: {counted(prompts, 'prompt')} of one kind of data were asked."
    if seen:
        yield f"How it does on prompts that are new to it: of these, {seen} were seen in training."
    missing = [
        words
        for name, words in (("rouge_l", "nearness to references (the data have none)"),)
        if name not in record["measures"]
    ]
    if record["kl"] is None:
        missing.append("KL (the other side's tokenizer is another, or its texts were not drawn)")
    if missing:
        yield f"What was not measured: {'; '.join(missing)}."
    yield "Whether another seed of the same settings comes out alike: this is one run; rlnlp compare takes several."
