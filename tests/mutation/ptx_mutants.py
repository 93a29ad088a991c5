"""Mistakes in what is handed from one stage of a run to the next, and in the texts that a policy is kept to."""

OPTIM, PTX, STAGE = "algos/test_optim", "algos/test_ptx", "algos/test_policy_stage"
BUDGET = f"{STAGE}::test_a_round_ends_with_the_step_that_passes_the_budget_and_the_run_is_done"
LAST = f"{STAGE}::test_a_round_whose_last_step_passes_the_budget_had_all_its_steps"

GROUPS = [
    ("algos/optim.py", (OPTIM,), [
        ("optimizers remember", "        optimizer.state.clear()\n", "        pass\n"),
        ("only one optimizer forgets", "        optimizer.state.clear()\n",
         "        optimizer.state.clear()\n        break\n"),
    ]),
    ("algos/ptx.py", (PTX,), [
        ("the texts have no weight", "TokenLosses(algo.ptx_coef * loss,", "TokenLosses(loss,"),
        ("the weight is in the figure", '{"ptx_loss": loss}', '{"ptx_loss": algo.ptx_coef * loss}'),
        ("a long text weighs no more than a short one", 'batch.mask, "tokens")', 'batch.mask, "sequences")'),
        ("each round begins with the same texts", "(steps_before + step - 1)", "(step - 1)"),
        ("the updates of a step have the same texts", "* updates + update + 1,", "* updates + 1,"),
        ("each text meets the same prompt", 'self.seed, "ptx")', "self.seed)"),
        ("texts are scored as prompts are sampled", "Distribution(1.0, 0,", "Distribution(0.7, 0,"),
        ("the ratio of perplexities is upside down", "mean_interval(now - first)]", "mean_interval(first - now)]"),
    ]),
    ("config/data.py", (PTX,), [
        ("the columns of the prompts are looked for in the texts", '{**reading, "columns": {}}', "reading"),
    ]),
    ("algos/ppo.py", (PTX,), [
        ("the critic learns texts too", 'if "policy_loss" in found:', "if True:"),
        ("every update is the first", "figures |= more(number)", "figures |= more(0)"),
    ]),
    ("algos/reinforce.py", (PTX,), [
        ("texts are learned a step later",
         "        of_texts = ptx(step, 0)\n        grad_norm = descend(optimizer_parts, step, algo)\n",
         "        grad_norm = descend(optimizer_parts, step, algo)\n        of_texts = ptx(step, 0)\n"),
    ]),
    ("algos/rounds/loop.py", (BUDGET,), [
        ("the budget is ignored", 'metrics["kl"] > budget', "False"),
        ("an early end is forgotten", "            self.rounds.ended.append(step)\n",
         "            pass\n"),
        ("the last step ends a round early", "if over and step % self.config.algo.round_steps:", "if over:", LAST),
        ("each round mixes in the same texts", "self.config.algo.policy, earlier)", "self.config.algo.policy, 0)",
         f"{STAGE}::test_a_round_goes_on_with_the_texts_where_the_last_one_ended_and_records_their_perplexity"),
    ]),
]  # fmt: skip
