"""Judgements inside a run: it waits for whoever judges, goes on by itself, and loses nothing if it ends meanwhile."""

from collections.abc import Callable

from rlnlp.errors import WAITING, Exit, Failure, Paused, Stopped, command, counted
from rlnlp.feedback.annotating import Annotators
from rlnlp.feedback.pairs import comparisons
from rlnlp.feedback.store import Store
from rlnlp.run.run import Run

WHAT = "judged"


def collect_in_run(run: Run, annotators: Annotators, store: Store, round_: int) -> None:
    """Have what ``run`` asked last in this round judged, between two steps: until as many as are wanted are in the set.

    They may come from other processes too. What all ``annotators`` have skipped is not waited for.

    Raises:
        Failure: exit 3, if all was skipped, and nothing that was judged before can be learned from.
        Paused: the people have left before, or what they are to judge is in a file now.
        Stopped: a signal has arrived.
    """
    name = str(run.facts["id"])
    total = store.asked(name, round_)

    def judged() -> int:
        return total - store.wanted(name, round_)

    def done() -> bool:
        return judged() == total or store.given_up(annotators.names, name, round_)

    if not done():
        _collect(run, annotators, store, total, judged, done)
    skipped = total - judged()
    pairs = any(len(item.responses) == 2 for item in store.items() if (item.run, item.round) == (name, round_))
    if skipped == total and pairs and not comparisons(store.standing()):
        again = command("feedback", store.path)
        what = f"all that was to be judged was skipped: there is nothing to learn from\nu takes a skip back: {again}"
        raise Failure(Exit.DATA, what, "all-skipped")
    if skipped:
        run.log_message(f"{counted(skipped, 'judgement')} of {total:,} skipped: going on without")


def _collect(
    run: Run, annotators: Annotators, store: Store, total: int, judged: Callable[[], int], done: Callable[[], bool]
) -> None:
    def so_far() -> str:
        return f"{judged():,} of {total:,} {WHAT}"

    try:
        if annotators.draws:
            with run.display.suspended():
                annotators.collect(store, done)
        else:
            with run.display.counting(WHAT, total) as tell:
                annotators.collect(store, lambda: tell(judged()) or done())
    except Stopped as stopped:
        raise Stopped(stopped.number, so_far()) from stopped
    except Failure as failure:
        if failure.name != WAITING:
            raise
        raise Paused(str(failure), failure.code) from failure
    if not done():
        raise Paused(so_far())
