"""The steps of an algorithm and its optimizer in words."""

from rlnlp.config.algos import OnPolicy, Optimization, Ppo
from rlnlp.config.model import Sampler
from rlnlp.config.reward_model import FitRewardModel
from rlnlp.errors import counted

FLOAT = 4  # significant digits of a setting


def optimizer_text(algo: Optimization) -> str:
    """The optimizer with its learning rates."""
    rate = f"{algo.optimizer}, learning rate {_rate(algo.learning_rate)}"
    if isinstance(algo, Ppo) and (algo.learning_rate, algo.critic_learning_rate) != (None, None):
        rate += f" (critic {_rate(algo.critic_learning_rate)})"
    warmup = f" after a rise over {counted(algo.warmup_steps, 'step')}" if algo.warmup_steps else ""
    return f"{rate}, {algo.lr_schedule}{warmup}"


def _rate(rate: float | None) -> str:
    return "by the size of the model" if rate is None else f"{rate:.{FLOAT}g}"


def step_lines(algo: Optimization, sampler: Sampler) -> list[str]:
    """How many steps there are, and of how much."""
    steps = counted(algo.total_steps, "step")
    if not isinstance(algo, OnPolicy):
        each = "row" if isinstance(algo, FitRewardModel) else "text"
        texts = counted(algo.total_steps * algo.batch_size, each)
        return [f"{steps} of {counted(algo.batch_size, each)}: {texts}", *_of_reward_model(algo)]
    responses = algo.batch_size * algo.num_generations
    total = algo.total_steps * responses
    lines = [
        f"{steps} of {counted(algo.batch_size, 'prompt')} x {algo.num_generations} = {counted(responses, 'response')}:"
        f" {counted(total, 'response')}, at most {counted(total * sampler.max_new_tokens, 'new token')}"
    ]
    if isinstance(algo, Ppo):
        batches = responses // algo.minibatch
        updates = algo.ppo_epochs * batches
        lines.append(
            f"each step {counted(algo.ppo_epochs, 'epoch')} x {counted(batches, 'minibatch', 'minibatches')} of"
            f" {algo.minibatch:,}: {counted(updates, 'update')}, {algo.total_steps * updates:,} in all"
        )
    return lines


def _of_reward_model(algo: Optimization) -> list[str]:
    """How much a reward model reads at once; and its further fits, by which the report tells how far to trust it."""
    if not isinstance(algo, FitRewardModel):
        return []
    parts = [f"{part:.{FLOAT}g}" for part in algo.learning_curve]
    fits = [f"to {', '.join(parts)} of the data"] if parts else []
    fits += ["to shuffled labels"] if algo.shuffled_labels else []
    fits += [f"to {counted(algo.folds, 'fold')}"] if algo.folds else []
    left_open = algo.micro_batch_size is None and algo.micro_batch_tokens is None
    lines = ["answers at once: by the size of the model and their lengths"] if left_open else []
    return [*lines, f"then fitted {', '.join(fits)}, for the report"] if fits else lines
