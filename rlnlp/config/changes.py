"""Which settings may change when a run goes on.

``free``: no byte of the steps depends on it. ``allowed``: the steps from now on are others, so it must be asked for by
name. ``never``: what is there does not fit any more. For the keys of ``BY_CONTENT``, which name places, it is what
lies there that must not change, not the name.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from rlnlp.errors import Exit, Failure, one_line

FREE, ALLOWED, NEVER = "free", "allowed", "never"
CLASSES = {
    "seed": NEVER,
    "checkpoint.every": FREE,
    "checkpoint.keep": FREE,
    "heldout.prompts": NEVER,  # it decides which prompts are trained on
    "heldout.every": FREE,
    "samples.every": FREE,
    "samples.show": FREE,
    "algo.name": NEVER,
    "algo.total_steps": FREE,  # allowed, where the learning rate falls towards the last step
    "algo.batch_size": ALLOWED,
    "algo.micro_batch_size": ALLOWED,
    "algo.learning_rate": ALLOWED,
    "algo.optimizer": NEVER,
    "algo.lr_schedule": ALLOWED,
    "algo.warmup_steps": ALLOWED,
    "algo.max_grad_norm": ALLOWED,
    "algo.weight_decay": ALLOWED,
    "algo.fit_temperature": ALLOWED,
    "algo.num_generations": ALLOWED,
    "algo.kl_coef": ALLOWED,
    "algo.entropy_coef": ALLOWED,
    "algo.missing_eos_penalty": ALLOWED,
    "algo.loss_reduction": ALLOWED,
    "algo.baseline": NEVER,
    "algo.ema_decay": ALLOWED,
    "algo.normalize_advantages": ALLOWED,
    "algo.ppo_epochs": ALLOWED,
    "algo.mini_batch_size": ALLOWED,
    "algo.cliprange": ALLOWED,
    "algo.cliprange_high": ALLOWED,
    "algo.target_kl": ALLOWED,
    "algo.gamma": ALLOWED,
    "algo.lam": ALLOWED,
    "algo.kl_estimator": ALLOWED,
    "algo.kl_target": NEVER,
    "algo.kl_horizon": ALLOWED,
    "algo.whiten_rewards": ALLOWED,
    "algo.critic": NEVER,
    "algo.critic_path": NEVER,
    "algo.critic_learning_rate": ALLOWED,
    "algo.critic_warmup_steps": ALLOWED,
    "algo.vf_coef": ALLOWED,
    "algo.cliprange_value": ALLOWED,
    "model.path": ALLOWED,
    "model.tokenizer": ALLOWED,
    "model.allow_download": FREE,
    "model.fresh.layers": NEVER,
    "model.fresh.width": NEVER,
    "model.fresh.heads": NEVER,
    "model.fresh.context": NEVER,
    "model.gradient_checkpointing": ALLOWED,
    "data.prompts": ALLOWED,
    "data.texts": ALLOWED,
    "data.heldout": ALLOWED,
    "data.best": NEVER,
    "sampler.temperature": ALLOWED,
    "sampler.top_k": ALLOWED,
    "sampler.top_p": ALLOWED,
    "sampler.max_new_tokens": ALLOWED,
    "sampler.min_new_tokens": ALLOWED,
    "reward.terms": ALLOWED,
    "reward.terms.<name>.fn": ALLOWED,
    "reward.terms.<name>.weight": ALLOWED,
    "reward.terms.<name>.args": ALLOWED,
    "reward.terms.<name>.scale": ALLOWED,
    "reward.terms.<name>.shift": ALLOWED,
    "reward.terms.<name>.clip": ALLOWED,
    "reward.terms.<name>.floor": ALLOWED,
    "device.name": ALLOWED,
    "device.threads": ALLOWED,
    "device.dtype": ALLOWED,
}
BY_CONTENT = {"model.path", "model.tokenizer", "data.prompts", "data.texts", "data.heldout"}


def class_of(key: str) -> str:
    """The class of a full key; names of the user's stand in it."""
    return CLASSES[generic(key)]


def generic(key: str) -> str:
    """``key`` with ``<name>`` for a name of the user's, and without what is below an argument."""
    parts = key.split(".")
    if parts[:2] != ["reward", "terms"] or len(parts) < 4:
        return key
    return ".".join(["reward", "terms", "<name>", parts[3]])


def leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Each value of nested settings with its full key."""
    if isinstance(node, Mapping) and node:
        for name, value in node.items():
            yield from leaves(value, f"{key}.{name}" if key else str(name))
    else:
        yield key, node


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Old and new value of each key that differs; null where there was or is none."""
    before, after = dict(leaves(old)), dict(leaves(new))
    keys = [*before, *(key for key in after if key not in before)]
    return {k: [before.get(k), after.get(k)] for k in keys if repr(before.get(k)) != repr(after.get(k))}  # nan is nan


def check_allowed(changed: Mapping[str, list[Any]], allow: Collection[str], way: str, falling: bool) -> None:
    """Refuse changes that need to be allowed, and are not, and those that never can be.

    ``falling``: the learning rate falls towards the last step, so that another last step is another rate at each.

    Raises:
        Failure: exit 6, naming them, with the words that allow them; exit 2, for an allowance that nothing needs.
    """
    bound = {"algo.total_steps"} if falling else set()
    for key in allow:
        known = CLASSES.get(generic(key))
        if known != ALLOWED and key not in bound:
            why = "is no setting" if known is None else f"is of the class '{known}'"
            raise Failure(Exit.CONFIG, f"resume.allow: '{one_line(key, 60)}' {why}; it cannot be allowed")
    lost = [key for key in changed if class_of(key) == NEVER]
    if lost:
        told = "; ".join(f"{key} {_show(changed[key][0])} -> {_show(changed[key][1])}" for key in lost)
        raise Failure(Exit.RUN, f"{told}: this cannot change within a run\nstart a new one with rlnlp train")
    asked = [key for key in changed if class_of(key) == ALLOWED or key in bound]
    asked = [key for key in asked if key not in {*allow, *BY_CONTENT}]
    if asked:
        told = "; ".join(f"{key} {_show(changed[key][0])} -> {_show(changed[key][1])}" for key in asked)
        raise Failure(
            Exit.RUN, f"{told}: the run would not be the one it was\nto have it so, add: {way}{_listed(asked, allow)}"
        )


def _listed(asked: list[str], allow: Collection[str]) -> str:
    keys = [*sorted(allow), *asked]
    return f"[{','.join(keys)}]" if len(keys) > 1 else keys[0]


def _show(value: Any) -> str:
    return one_line("null" if value is None else str(value), 40)
