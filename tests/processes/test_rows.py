"""What two real processes, a group of torch.distributed, do of a batch, against all of it in one."""

from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from rlnlp.config.reward import RewardTerm
from rlnlp.processes import rows
from rlnlp.rewards.divided import divided
from rlnlp.rewards.terms import PartlyGiven
from rlnlp.types import Prompts, Rollout
from support import forked, small

FIVE = torch.arange(10.0).view(5, 2)


@contextmanager
def group(rank: int, path: str):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
    yield
    dist.destroy_process_group()


def in_two(work, tmp_path: Path) -> list[dict]:
    """What ``work(rank)`` returns in each of two processes."""
    context = forked.server()
    answers = context.SimpleQueue()
    both = [context.Process(target=answer, args=(work, rank, str(tmp_path / "meet"), answers)) for rank in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
        assert process.exitcode == 0
    found = dict(answers.get() for _ in both)
    return [found[rank] for rank in range(2)]


def answer(work, rank: int, path: str, answers) -> None:
    with group(rank, path):
        answers.put((rank, work(rank)))


def rollout(count: int) -> Rollout:
    prompts = small.prompts(*([3 + i % 2] for i in range(count)))
    responses = torch.arange(2 * count).view(count, 2) + 5
    mask = torch.tensor([[True, i % 3 > 0] for i in range(count)])
    return Rollout(prompts, responses, mask, torch.cat([prompts.mask, mask], 1), torch.ones(count, dtype=torch.bool))


def divide(rank: int) -> dict:
    """Rows, sums and decisions."""
    batch, weights = rollout(5), [torch.nn.Parameter(torch.zeros(2)) for _ in range(3)]
    weights[0].grad = torch.tensor([1.0 + rank, 2.0])
    weights[1].grad = torch.tensor([1.0, 1.0]) if rank else None
    mine = rows.own(batch)
    rows.sum_gradients(weights)
    with rows.alone():
        alone = rows.process_count(), rows.own_of("abcde"), rows.told(lambda: rank)
    return {
        "alone": alone, "told": rows.told(lambda: {"one": 1 // (1 - rank)}),
        "own": rows.own(FIVE).tolist(), "whole": rows.whole(rows.own(FIVE), 5).tolist(), "first": rows.is_first(),
        "prompts": mine.prompts.tokens.tolist(), "mask": rows.whole(mine, 5).mask.tolist(),
        "joined": rows.joined_rows(FIVE[: 1 + 2 * rank]).tolist(), "own_of": rows.own_of("abcde"),
        "widest": rows.widest(3 + rank), "summed": rows.summed([1.5 + rank, 2]),
        "gradients": [None if w.grad is None else w.grad.tolist() for w in weights],
        "of_first": rows.of_first(lambda: FIVE / (1 - rank)).tolist(), "agreed": rows.agreed(rank == 0),
        "not_agreed": rows.agreed(rank == 1),
    }  # fmt: skip


def test_rows_are_shared_and_put_together_and_gradients_are_added(tmp_path):
    one, other = in_two(divide, tmp_path)
    assert one["own"] == FIVE[:3].tolist()
    assert other["own"] == FIVE[[3, 4, 4]].tolist()
    assert (one["first"], other["first"]) == (True, False)
    assert one["prompts"] == rollout(5).prompts.tokens[:3].tolist()
    assert (one["own_of"], other["own_of"]) == (["a", "b", "c"], ["d", "e", "e"])
    assert (one["alone"], other["alone"]) == ((1, [*"abcde"], 0), (1, [*"abcde"], 1))
    for key in ("own", "first", "prompts", "own_of", "alone"):
        del one[key], other[key]
    assert one == other
    assert one == {
        "joined": FIVE[[0, 0, 1, 2]].tolist(), "told": {"one": 1},
        "whole": FIVE.tolist(), "mask": rollout(5).mask.tolist(), "widest": 4, "summed": [4.0, 4.0],
        "gradients": [[3.0, 4.0], [1.0, 1.0], None], "of_first": FIVE.tolist(), "agreed": True, "not_agreed": False,
    }  # fmt: skip


def reward(rank: int) -> dict:
    """A function's values, a model's, a term that abstains, and one with a value for each token."""
    batch, asked = rollout(5), []

    def function(whole: Rollout) -> torch.Tensor:
        asked.append(len(whole.mask))
        return whole.responses[:, 0].float() - whole.responses[:, 0].float().mean()

    def abstaining(whole: Rollout) -> PartlyGiven:
        return PartlyGiven(whole.responses[:, 0].float() * torch.tensor([1, 0, 1, 1, 1]), torch.arange(5) != 1)

    def of_model(part: Rollout) -> torch.Tensor:
        asked.append(len(part.mask))
        return part.responses[:, 1].float()

    mine, model = RewardTerm(fn="mine.py:f"), RewardTerm(fn="classifier")
    partly = divided(abstaining, mine)(batch)
    assert isinstance(partly, PartlyGiven)
    return {
        "function": divided(function, mine)(batch).tolist(), "model": divided(of_model, model)(batch).tolist(),
        "partly": (partly.values.tolist(), partly.given.tolist()),
        "tokens": divided(lambda whole: whole.responses.float(), mine)(batch).tolist(), "asked": asked,
    }  # fmt: skip


def test_functions_are_called_once_with_all_and_models_read_their_part(tmp_path):
    one, other = in_two(reward, tmp_path)
    assert (one.pop("asked"), other.pop("asked")) == ([5, 3], [3])
    assert one == other
    assert one["function"] == [-4.0, -2.0, 0.0, 2.0, 4.0]
    assert one["model"] == [6.0, 8.0, 10.0, 12.0, 14.0]
    assert one["partly"] == ([5.0, 0.0, 9.0, 11.0, 13.0], [True, False, True, True, True])
    assert one["tokens"] == rollout(5).responses.tolist()


def test_in_one_process_nothing_is_copied():
    batch, term = rollout(2), object()
    assert rows.own(batch) is batch
    assert rows.whole(batch, 2) is batch
    assert divided(term, RewardTerm(fn="mine.py:f")) is term
    assert (rows.process_count(), rows.is_first(), rows.agreed(True)) == (1, True, False)
    assert isinstance(batch.prompts, Prompts)


@pytest.fixture(autouse=True)
def _no_group():
    yield
    assert not dist.is_initialized()
