"""Mistakes in what is handed from one stage of a run to the next, and in the texts that a policy is kept to."""

OPTIM, PTX = "algos/test_optim", "algos/test_ptx"

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
        ("the columns of the prompts are looked for in the texts", '"columns": {}', '"columns": data.columns'),
        ("the ratio is upside down", "mean_interval(now - first)]", "mean_interval(first - now)]"),
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
]  # fmt: skip
