"""Mistakes in what is handed from one stage of a run to the next, and in the texts that a policy is kept to."""

OPTIM = "algos/test_optim"

GROUPS = [
    ("algos/optim.py", (OPTIM,), [
        ("optimizers remember", "        optimizer.state.clear()\n", "        pass\n"),
        ("only one optimizer forgets", "        optimizer.state.clear()\n",
         "        optimizer.state.clear()\n        break\n"),
    ]),
]  # fmt: skip
