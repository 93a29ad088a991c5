"""The stages of a round of RLHF: asking, fitting the reward model, optimizing the policy, measuring."""
