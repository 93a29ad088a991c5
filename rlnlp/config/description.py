"""A run in words, from its settings alone: what a dry run prints, and the most of what a run prints at its start."""

from collections.abc import Mapping
from dataclasses import asdict

from rlnlp.config.data import PromptData, TextData, names_text
from rlnlp.config.measuring import measured_steps
from rlnlp.config.model import Lora, Model, Sampler
from rlnlp.config.reward import Reward
from rlnlp.config.reward_model import PAIRS, FitRewardModel
from rlnlp.config.rlhf import Rlhf
from rlnlp.config.rounds_text import rounds_description
from rlnlp.config.schema import OnPolicyRun, RewardModelRun, RlhfRun, Trained
from rlnlp.config.steps_text import FLOAT, optimizer_text, step_lines
from rlnlp.errors import counted, one_line

LABEL = 12  # columns of the labels of a block


def description(config: Trained, dtype: str | None = None) -> dict[str, str]:
    """What is trained, on what and in which steps: a text for each label, in the order to print. A text may have lines.

    Facts that only a loaded model, the data or the machine know are added by their labels where they are known;
    ``dtype``, what is computed in, is such a fact where the settings leave it open.
    """
    algo, kind = config.algo, thing(config)
    name = asdict(config)["algo"]["name"]
    title = (type(algo).__doc__ or name).split("\n")[0].rstrip(".")
    data = names_text(vars(config.data)[kind])
    reward = {"reward": _reward(config.reward)} if isinstance(config, OnPolicyRun | RlhfRun) else {}
    steps: list[str] = []
    if isinstance(config, RlhfRun):
        loop = {**_drawn(config), **rounds_description(config, reward["reward"])}
    else:
        loop = {**reward, **_drawn(config), "optimizer": optimizer_text(config.algo)}
        steps = step_lines(config.algo, config.sampler)
    return {
        "algorithm": f"{title} ({name})",
        "model": f"{_model(config.model)}{_computed(dtype or config.device.dtype)}",
        "device": f"{one_line(config.device.name, 40)}, {counted(config.device.threads, 'thread')}",
        kind: f"{one_line(data, 120)}, {_heldout(config, kind)}",
        **loop,
        "schedule": "\n".join([*steps, _checkpoints(config), _measurements(config, kind)]),
    }


def thing(config: Trained) -> str:
    """What the data are, which is also the name of the setting that names them."""
    if isinstance(config.data, PromptData):
        return "prompts"
    return "texts" if isinstance(config.data, TextData) else "preferences"


def left_out_lines(left: Mapping[str, str]) -> list[str]:
    """A line for each reward term that is left out, with the reason."""
    return [f"reward.terms.{one_line(name, 40)} of the default reward is left out: {why}" for name, why in left.items()]


def block(texts: Mapping[str, str]) -> str:
    """Labels and texts in two columns."""
    return "\n".join(
        f"{label if first else '':<{LABEL}}{line}"
        for label, text in texts.items()
        for first, line in ((i == 0, line) for i, line in enumerate(text.split("\n")))
    )


def measurements(config: Trained, done: int = 0) -> int:
    """How often a run of which ``done`` steps are done measures on held-out data, before and after included.

    Of rlhf without what is measured between the rounds.
    """
    every = config.heldout.every
    return 2 + len([step for step in measured_steps(config, every) if step > done] if every else [])


def duration(seconds: float) -> str:
    """Seconds in the unit that fits, at least one."""
    if seconds < 90:
        return counted(max(1, round(seconds)), "second")
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def saves(config: Trained) -> int:
    """How many checkpoints a whole run writes at most: of each step that is due, and of each that may be the best.

    Of rlhf there is one before the first step, and one after each stage of a round.
    """
    every, algo = config.checkpoint.every, config.algo
    due = set(range(every, algo.total_steps, every) if every else ())
    if isinstance(algo, Rlhf):
        fits = range(algo.reward_model.total_steps, algo.total_steps, algo.round_steps)
        return len({*due, *range(0, algo.total_steps + 1, algo.round_steps), *fits})
    measured = measured_steps(config, config.heldout.every) if config.heldout.every else set()
    return len({algo.total_steps, *due, *measured})


def _model(model: Model) -> str:
    if model.path is not None:
        return f"{one_line(model.path, 120)}{_adapter(model.lora)}"
    fresh = model.fresh
    size = f"{counted(fresh.layers, 'layer')} of width {fresh.width}"
    return f"fresh, {size}, tokenizer of {one_line(str(model.tokenizer), 120)}"


def _computed(dtype: str) -> str:
    return "" if dtype == "auto" else f", computed in {dtype}"


def _adapter(lora: Lora) -> str:
    """What learns, where that is an adapter."""
    if not lora.on:
        return ""
    layers = "all linear layers" if lora.targets is None else one_line(", ".join(lora.targets), 80)
    return f" with an adapter of rank {lora.rank} (alpha {lora.alpha:.{FLOAT}g}) on {layers}"


def _heldout(config: Trained, thing: str) -> str:
    size = config.heldout.size
    if not size:
        return f"none held out (heldout.size=0): measured on {thing} that are trained on"
    where = f" from {one_line(names_text(config.data.heldout), 120)}" if config.data.heldout else ""
    return f"at most {size:,} held out{where}"


def _reward(reward: Reward) -> str:
    """The sum in the order of the config; then the vetoes, and what is only logged because its weight is 0."""
    parts, vetoes, logged = [], [], []
    for key, term in reward.terms.items():
        name = one_line(key, 40) if key == term.fn else f"{one_line(key, 40)} ({one_line(term.fn, 80)})"
        if term.weight:
            sign = "-" if term.weight < 0 else "+"
            parts.append(f"{sign} {abs(term.weight):.{FLOAT}g} {name}")
        if term.floor is not None:
            vetoes.append(f"{name} below {term.floor:.{FLOAT}g}")
        elif not term.weight:
            logged.append(name)
    whole = " ".join(parts).removeprefix("+ ") or "nothing: every weight is 0"
    more = {"veto": vetoes, "logged, with weight 0": logged}
    return "\n".join([whole, *(f"{label}: {', '.join(names)}" for label, names in more.items() if names)])


def _drawn(config: Trained) -> dict[str, str]:
    """How responses are drawn, if any are; for a reward model, what its head is and how its scores are normalized."""
    if not isinstance(config, RewardModelRun):
        return {"responses": _responses(config.sampler)}
    algo = config.algo
    trunk = ", the trunk stays as it is" if algo.frozen_trunk else ""
    members = f", {algo.ensemble_size} {algo.ensemble} ({algo.ensemble_score})" if algo.ensemble_size > 1 else ""
    scores = {"scores": f"{algo.loss}, {algo.head} head{trunk}{members}, normalized on {_normalized_on(algo)}"}
    return scores if algo.normalize_on == PAIRS else {**scores, "responses": _responses(config.sampler)}


def _normalized_on(algo: FitRewardModel) -> str:
    return "the training answers" if algo.normalize_on == PAIRS else f"responses of {one_line(algo.normalize_on, 80)}"


def _responses(sampler: Sampler) -> str:
    least = f"{sampler.min_new_tokens} to " if sampler.min_new_tokens else "at most "
    filters = [f"top_k {sampler.top_k}"] if sampler.top_k else []
    filters += [f"top_p {sampler.top_p:.{FLOAT}g}"] if sampler.top_p < 1 else []
    filters += [f"until {' or '.join(one_line(repr(text), 40) for text in sampler.stop_texts)}"] if sampler.stop else []
    limits = f"{least}{counted(sampler.max_new_tokens, 'token')}"
    return ", ".join([limits, f"temperature {sampler.temperature:.{FLOAT}g}", *filters])


def _checkpoints(config: Trained) -> str:
    every, keep = config.checkpoint.every, config.checkpoint.keep
    best = bool(config.heldout.every) and not isinstance(config, RlhfRun)
    if saves(config) == 1 or not every:
        return f"a checkpoint at the end{', and of the best step' if best else ''}"
    last = "the last one" if keep == 1 else f"the last {keep}"
    kept = f"{last} and the best are" if best else f"{last} {'is' if keep == 1 else 'are'}"
    return f"a checkpoint {_each(every)}, {kept} kept"


def _measurements(config: Trained, thing: str) -> str:
    what = f"held-out {thing}" if config.heldout.size else f"training {thing}"
    every = config.heldout.every
    text = f"measured on {what} before and after{f', and {_each(every)} in between' if every else ''}"
    if isinstance(config, RlhfRun):
        text = text.replace("before and after", "before and after each round")
        several = " in the first round, later half as often" if config.algo.rounds > 1 else ""
        text = text.replace(" in between", f" of the policy{several}")
    text += "\nthe best step is the result" if config.checkpoint.result == "best" else ""
    patience = config.heldout.patience
    return text + (f"\nends early after {counted(patience, 'measurement')} without a better one" if patience else "")


def _each(every: int) -> str:
    return "each step" if every == 1 else f"every {every:,} steps"
