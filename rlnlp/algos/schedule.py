"""The schedule of a PPO run, printed before it starts."""

from rlnlp.config.algos import Ppo

FILTERED = (
    "warning: sampler.top_k, top_p or min_new_tokens is on: tokens are drawn under it and scored without it;"
    " sampling_mismatch in metrics.jsonl is the gap, nats per token"
)


def schedule_text(algo: Ppo, longest: int, seconds: float) -> str:
    """The schedule in words: ``longest`` tokens at most per response, ``seconds`` per step in a trial."""
    responses, total = algo.responses, algo.total_steps * algo.responses
    updates = algo.ppo_epochs * responses // algo.minibatch
    return "\n".join(
        [
            f"{algo.total_steps} steps of {algo.batch_size} prompts x {algo.num_generations} = {responses} responses:"
            f" {total:,} responses, at most {total * longest:,} new tokens",
            f"each step {algo.ppo_epochs} epochs x {responses // algo.minibatch} minibatches of {algo.minibatch}:"
            f" {updates} updates, {algo.total_steps * updates:,} in all",
            f"about {duration(algo.total_steps * seconds)} (a trial step took {seconds:.2g} s)",
        ]
    )


def duration(seconds: float) -> str:
    """Seconds in the unit that fits."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
