"""Mistakes in how much a reward model reads at once, and in the time that its features take."""

MEMORY, BATCHING = "models/test_reward_memory", "test_batching"
FIT, OPENING = "algos/test_reward_model", "algos/test_opening"
GROUPS = [
    ("models/reward_memory.py", (MEMORY,), [
        ("models that learn together count as one", "token = sum(KEPT", "token = max(KEPT"),
        ("a number of answers is not taken", "if texts is not None or tokens is not None:", "if False:"),
        ("no token fits", "max(1, MEMORY // token)", "MEMORY // token"),
    ]),
    ("batching.py", (BATCHING,), [
        ("padding takes no memory", "whole * widest > tokens", "whole * length > tokens"),
        ("tokens are not counted", "(tokens is not None and whole * widest > tokens)", "False"),
        ("the last part is lost", "    if count:\n        yield slice(first, i + 1)", "    if False:\n        yield"),
    ]),
    ("algos/reward_updates.py", (FIT,), [
        ("lengths do not count in a step", "own_of(rows), *self.at_once)", "own_of(rows), self.at_once.texts)"),
    ]),
    ("algos/reward_scores.py", (FIT,), [
        ("features that are known count as left", "self.lengths[~self.known]", "self.lengths"),
        ("only the last features were any work", "self.spent += time.monotonic()", "self.spent = time.monotonic()"),
    ]),
    ("algos/reward_model.py", (FIT,), [
        ("a trial computes the features", "    if model.frozen:\n", "    if False:\n"),
        ("nothing is done once", "partial(trial_step, model, fitting), cache)", "partial(trial_step, model, fitting))"),
    ]),
    ("algos/opening.py", (FIT, OPENING), [
        ("every measurement computes the features", "(once.spent if once else 0)", "0"),
        ("the features are not in the whole time", "duration(once + (steps", "duration((steps"),
    ]),
]  # fmt: skip
