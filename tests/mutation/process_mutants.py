"""Mistakes in what several processes do of a batch, and in how they end."""

ROWS, LIFELINE, SEVERAL = "processes/test_rows", "processes/test_lifeline", "processes/test_several"

GROUPS = [
    (
        "processes/rows.py", (ROWS,),
        [
            ("each process does the first rows", "dist.get_rank() * each)", "0 * each)"),
            ("rows that fill up are counted", "torch.cat(_gathered(x))[:rows]", "torch.cat(_gathered(x))"),
            ("what fills up a part is a row", "torch.cat(_gathered(filled))[torch.cat(_gathered(there))]",
             "torch.cat(_gathered(filled))"),
            ("each process answers by itself", "[function() if is_first() else None]", "[function()]"),
            ("a process alone does its part", "dist.is_initialized() and not _alone", "dist.is_initialized()"),
            ("a sum is that of one process", "_together(lambda: dist.all_reduce(sums))", "pass"),
            ("each process decides for itself", "_together(lambda: dist.broadcast(flag, 0))", "pass"),
        ],
    ),
    (
        "rewards/divided.py", (ROWS,),
        [("a function sees a part of the batch", "else by_first(term)", "else by_rows(term)")],
    ),
    (
        "processes/lifeline.py", (LIFELINE,),
        [
            ("a process that is gone is not missed", "if rank not in self._finished:", "if False:"),
            ("a process that is done is missed", "self._finished.add(rank)", "pass"),
            ("an error is raised twice", "fault, self._fault = self._fault, None", "fault = self._fault"),
            ("the others end with another exit code", "self._leave(Exit.TERMINATED if code is None else code)",
             "self._leave(Exit.TERMINATED)"),
        ],
    ),
    (
        "algos/ptx.py", (f"{SEVERAL}::test_rounds_of_two_processes_have_the_curve_of_one_which_goes_on_with_them",),
        [("each process learns from all texts", "mine = own(batch)", "mine = batch")],
    ),
    (
        "commands/processes.py", (LIFELINE,),
        [("rows need not come out even", "if stage.batch_size % count:", "if False:")],
    ),
]  # fmt: skip
