"""What RLHF hands over: the policy of the last round or the best, the last reward model, and the report."""

from rlnlp.algos.rounds.draws import Draws
from rlnlp.algos.rounds.loop import Loop
from rlnlp.evaluate.best import policy_result
from rlnlp.evaluate.rounds.finish import finish_run
from rlnlp.models.reward_files import save_reward_model
from rlnlp.processes.rows import is_first
from rlnlp.run.manifest import POLICY, REWARD_MODEL


def finish(loop: Loop) -> None:
    """Save policy/ and reward_model/, and report."""
    run, setup, rounds = loop.run, loop.setup, loop.rounds
    best, step = run.progress.best_step, run.progress.done
    result = policy_result(run, setup.policy, setup.tokenizer)
    with run.display.waiting("saving the models"):
        if loop.config.checkpoint.result == "best" and best is not None:
            run.progress.load_model(best, POLICY, setup.policy)
            step = best
        result.settle()
        result.save()
        model = loop.model
        if is_first() and (note := save_reward_model(run.directory / REWARD_MODEL, model.model, model.reader)):
            run.log_message(note)
    rows = zip(loop.first.rows(), Draws.from_json(rounds.last).rows(), strict=True)
    heldout = [
        {"prompt": before.pop("prompt"), "before": before, "after": {k: v for k, v in after.items() if k != "prompt"}}
        for before, after in rows
    ]
    if not loop.gold:
        for row in heldout:
            row["before"].pop("gold"), row["after"].pop("gold")
    facts = {
        "n": len(heldout), "heldout": setup.table.heldout_is_separate, "policy_step": step, "best_step": best,
        "last_step": run.progress.done,
    }  # fmt: skip
    over = loop.over_optimization()
    finish_run(run, loop.config, rounds.history, over, facts, heldout, setup.policy.device)
