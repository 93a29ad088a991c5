"""Where responses come from: ``collect(prompts, rng) -> Rollout``."""
