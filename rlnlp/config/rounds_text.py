"""The rounds of RLHF in words: who judges what, what is fitted to it, and how the policy is then optimized."""

import re

from rlnlp.config.annotator import Annotator
from rlnlp.config.data import names_in
from rlnlp.config.rlhf import RewardModelStage, Rlhf
from rlnlp.config.schema import RlhfRun
from rlnlp.config.steps_text import FLOAT, optimizer_text, step_lines
from rlnlp.errors import counted, one_line

GOLD = "gold-"  # how the built-in terms begin that read by the embedded language's grammar
EMBEDDED = re.compile(r"embedded(/(?!randomwalks|opinions).*)?")
IN_RUN = "feedback.sqlite in the run directory"


def rounds_description(config: RlhfRun, reward: str) -> dict[str, str]:
    """What a description of RLHF has in place of that of a single loop; ``reward`` is the gold reward in words."""
    algo, annotator = config.algo, config.annotator
    gold = "gold, by which the annotator judges" if annotator.name == "simulated" else "gold, only measured"
    shown = [f"{gold}: {reward}"] if has_gold(config) else []
    return {
        "annotator": "\n".join([_judges(annotator), *_asked(algo, annotator), _kept(config)]),
        "reward": "\n".join(["the reward model's, fitted to these judgements", *shown, *_unread(config)]),
        "rounds": "\n".join(_rounds(config)),
        "optimizer": "\n".join(
            [f"reward model: {optimizer_text(algo.reward_model)}", f"policy: {optimizer_text(algo.policy)}"]
        ),
    }


def judgements(algo: Rlhf, annotator: Annotator) -> int:
    """How many judgements are asked for in all rounds, ratings included and repeats left out."""
    compared = algo.rounds * annotator.comparisons_per_round * annotator.overlap
    return compared + (algo.rounds + 1) * annotator.ratings_per_round


def blind_terms(config: RlhfRun) -> list[str]:
    """The terms of the gold reward that read the embedded language alone, where prompts are of another."""
    others = [name for name in names_in(config.data.prompts) if not EMBEDDED.fullmatch(name)]
    terms = [name for name, term in config.reward.terms.items() if term.fn.startswith(GOLD) and term.weight]
    return terms if others else []


def has_gold(config: RlhfRun) -> bool:
    """True if the gold reward says something of the responses: it is who judges, or can read them."""
    return config.annotator.name == "simulated" or not blind_terms(config)


def _unread(config: RlhfRun) -> list[str]:
    """A warning, where terms that read the embedded language alone are to judge prompts of another."""
    terms = blind_terms(config)
    if not terms:
        return []
    known = f"{', '.join(one_line(name, 40) for name in terms)} read the embedded language alone"
    if config.annotator.name == "simulated":
        return [f"warning: {known}: the annotator would judge by chance; choose another reward= for it to judge by"]
    return [f"warning: {known}: of these prompts gold is not measured"]


def _judges(annotator: Annotator) -> str:
    if annotator.name == "simulated":
        return _simulated(annotator)
    if annotator.name == "file":
        return f"a file, {one_line(str(annotator.path), 120)}"
    names = f": {', '.join(one_line(name, 40) for name in annotator.names)}" if annotator.names else ""
    return f"people, {'at this terminal' if annotator.name == 'terminal' else 'in browsers'}{names}"


def _simulated(annotator: Annotator) -> str:
    """How many, and how they differ from a judge who is always right."""
    several = annotator.raters > 1
    faults = [f"differing by {annotator.spread:.{FLOAT}g}"] if several and annotator.spread else []
    if annotator.temperature:
        faults.append(f"at temperature {annotator.temperature:.{FLOAT}g}")
    elif annotator.tie_width:
        faults.append(f"a tie up to a difference of {annotator.tie_width:.{FLOAT}g}")
    faults += [f"leaning to the first by {annotator.position_bias:.{FLOAT}g}"] if annotator.position_bias else []
    wrong = f"wrong in {100 * annotator.error_rate:.{FLOAT}g} % of what is decided"
    faults += [wrong] if annotator.error_rate else []
    who = f"{annotator.raters:,} simulated raters" if several else "a simulated rater"
    return ", ".join([who, *(faults or ["never wrong"])])


def _asked(algo: Rlhf, annotator: Annotator) -> list[str]:
    """The judgements of a round, and of all of them."""
    by = f" by {annotator.overlap} each" if annotator.overlap > 1 else ""
    parts = [f"{counted(annotator.comparisons_per_round, 'comparison')}{by}"]
    ratings = annotator.ratings_per_round
    parts += [f"{counted(ratings, 'rating')} (as many before the first)"] if ratings else []
    repeated = 100 * annotator.repeat_fraction
    again = f"; {repeated:.{FLOAT}g} % again for the audit" if repeated else ""
    whole = judgements(algo, annotator)
    return [f"each round {' and '.join(parts)}: {counted(whole, 'judgement')} in all{again}"]


def _kept(config: RlhfRun) -> str:
    feedback = config.data.feedback
    return f"kept in {IN_RUN if feedback is None else one_line(feedback, 120)}"


def _rounds(config: RlhfRun) -> list[str]:
    """The stages of a round, a line or two for each."""
    algo = config.algo
    whole = f"{counted(algo.rounds, 'round')} of {counted(algo.round_steps, 'step')}"
    return [
        whole if algo.rounds == 1 else f"{whole}: {algo.total_steps:,} in all",
        f"responses to compare: {algo.num_generations} to each of {counted(algo.prompts_per_round, 'prompt')},"
        f" {_pairs(algo)}",
        *_fit(algo),
        *_optimization(config),
    ]


def _pairs(algo: Rlhf) -> str:
    if algo.selection == "random":
        return "pairs at random"
    return "the pairs that the reward models disagree about most (at random in the first round)"


def _fit(algo: Rlhf) -> list[str]:
    stage = algo.reward_model
    steps = f"{counted(stage.total_steps, 'step')} of {counted(stage.batch_size, 'comparison')}"
    data = f", of which each counts {algo.decay:.{FLOAT}g} times as much a round later" if algo.decay < 1 else ""
    return [f"reward model: {steps}, anew on all comparisons so far{data}", *_what_is_fitted(stage)]


def _what_is_fitted(stage: RewardModelStage) -> list[str]:
    """What is not as in a plain reward model on the policy's own model."""
    parts = [] if stage.model is None else [f"on {one_line(stage.model, 120)}"]
    parts += ["three layers on a mean"] if stage.head == "mlp" else []
    parts += ["only the head learns"] if stage.frozen_trunk else []
    members = f"{stage.ensemble_size} {stage.ensemble} ({stage.ensemble_score})"
    parts += [members] if stage.ensemble_size > 1 else []
    return [", ".join(parts)] if parts else []


def _optimization(config: RlhfRun) -> list[str]:
    """The policy's steps, what holds it near the first policy, and the texts that are mixed in."""
    algo = config.algo
    stage = algo.policy
    first, *more = step_lines(stage, config.sampler)
    nats = algo.kl_budget
    budget = f"; a round ends above {nats:.{FLOAT}g} nats a response" if nats is not None else ""
    lines = [f"policy, by {stage.name}: {first}", *more]
    lines.append(f"KL coefficient {stage.kl_coef:.{FLOAT}g} to the first policy{budget}")
    if stage.ptx_coef:
        lines.append(f"texts of data.texts mixed in with weight {stage.ptx_coef:.{FLOAT}g}")
    return lines
