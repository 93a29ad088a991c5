"""What a run of PPO is going to do, told before it starts."""

from rlnlp.config.algos import Ppo

FILTERED = (
    "warning: sampler.top_k, top_p or min_new_tokens is on: tokens are drawn under it and scored without it;"
    " sampling_mismatch in metrics.jsonl is the gap, nats per token"
)


def schedule_text(c: Ppo, longest: int, seconds: float) -> str:
    """The schedule in words: ``longest`` tokens at most per response, ``seconds`` per step in a trial."""
    responses, updates = c.responses, c.ppo_epochs * c.responses // c.minibatch
    return "\n".join(
        [
            f"{c.total_steps} steps of {c.batch_size} prompts x {c.num_generations} = {responses} responses:"
            f" {c.total_steps * responses:,} responses, at most {c.total_steps * responses * longest:,} new tokens",
            f"each step {c.ppo_epochs} epochs x {responses // c.minibatch} minibatches of {c.minibatch}:"
            f" {updates} updates, {c.total_steps * updates:,} in all",
            f"about {duration(c.total_steps * seconds)} (a trial step took {seconds:.2g} s)",
        ]
    )


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
