"""PPO-ptx: each update adds the gradient of the texts' likelihood, whatever the cut, and nothing when it is off."""

import json
import math
from dataclasses import replace
from itertools import chain
from types import SimpleNamespace

import pytest
import torch

from rlnlp.algos import ppo, reinforce
from rlnlp.algos.baselines import group_leave_one_out
from rlnlp.algos.optim import optimizers
from rlnlp.algos.ptx import (
    PretrainingTexts,
    mixed_in,
    perplexity,
    pretraining_texts,
    without_texts,
)
from rlnlp.config.algos import Reinforce
from rlnlp.config.data import RlhfData, as_text_data
from rlnlp.config.rlhf import PpoStage, ReinforceStage
from rlnlp.data.order import rows_of_step
from rlnlp.data.texts import Row, TextTable
from rlnlp.models.policy import Policy, logprob_fn
from rlnlp.models.tokenizer import Tokenizer
from rlnlp.rollout.sampling import sampler
from support import data, slow_ppo, small

CPU, D = torch.device("cpu"), torch.float64
ROWS = [  # prompt, completion: of many lengths, none like another
    ([1, 3], [4, 5, 2]), ([1], [2]), ([3, 4, 5, 1], [1, 1, 2]), ([5], [5, 4, 3, 3, 1, 2]), ([1], [4, 2]),
    ([4, 4], [3, 5, 4, 1, 2]), ([1], [3, 3, 2]), ([3], [1, 5, 4, 2]),
]  # fmt: skip
HELD = [([1, 5], [3, 2]), ([4], [4, 1, 3, 5, 2])]


def texts(policy_rows=ROWS, seed=3, micro_batch_size=64) -> PretrainingTexts:
    rows = [Row(*row) for row in [*policy_rows, *HELD]]
    count = len(policy_rows)
    tokenizer = Tokenizer(None, (small.END,), 0, (1,))
    table = TextTable(rows, list(range(count)), list(range(count, count + len(HELD))), tokenizer)
    return PretrainingTexts(table, seed, micro_batch_size, CPU)


def stage(kind, algo, coef):
    """The stage of RLHF that has the settings of a run of ``algo``."""
    return kind(**vars(algo), ptx_coef=coef)


def nats(policy: Policy, rows) -> torch.Tensor:
    """The mean nats per token of ``rows`` together: one text at a time, from the model's own logits, no padding."""
    total, tokens = torch.zeros((), dtype=D), 0
    for prompt, completion in rows:
        said = policy.lm(torch.tensor([[*prompt, *completion]])).logits[0].log_softmax(-1)
        for t, token in enumerate(completion):
            total = total - said[len(prompt) - 1 + t, token]
            tokens += 1
    return total / tokens


def gradients(*modules):
    flat = [torch.zeros_like(w) if w.grad is None else w.grad for m in modules for w in m.parameters()]
    return torch.cat([g.flatten() for g in flat])


class Seen:
    """``texts`` that remember which rows each update was given."""

    def __init__(self, real: PretrainingTexts) -> None:
        self.real, self.distribution, self.rows, self.numbers = real, real.distribution, [], []

    def batch(self, number, size):
        batch = self.real.batch(number, size)
        self.numbers.append(number)
        self.rows.append(batch.prompts.rows.tolist())
        return batch


@pytest.mark.parametrize("micro_batch_size", [1, 3, 64])
@pytest.mark.parametrize("critic", ["shared", "separate"])
def test_a_step_of_ppo_is_down_the_gradient_of_the_whole_objective_at_once(critic, micro_batch_size, monkeypatch):
    coef = 0.7
    c = slow_ppo.settings(
        critic=critic, micro_batch_size=micro_batch_size, mini_batch_size=4, learning_rate=2e-2, ppo_epochs=2,
        total_steps=2, entropy_coef=0.05, loss_reduction="sequences",
    )  # fmt: skip
    play = slow_ppo.Play(c, small.plain(0.7), reference=slow_ppo.policy(1)).wake()
    seen = Seen(texts(micro_batch_size=micro_batch_size))
    play.ptx = mixed_in(play.policy, seen, stage(PpoStage, c, coef), 0)
    parts_of, unlike, logged, real = [], [], [], (ppo.accumulate_gradient, ppo.descend)

    def accumulate(parts, loss_fn, mask, reduction):
        parts_of[:] = parts
        return real[0](iter(parts_of), loss_fn, mask, reduction)

    def descend(optimizer, step, algo):
        modules = [play.policy, play.critic]
        of_policy = optimizer is play.actor.optimizers
        fast = gradients(*modules)
        kept = [[w.grad for w in m.parameters()] for m in modules]
        for m in modules:
            m.zero_grad()
        if of_policy:
            logged.append(nats(play.policy, [ROWS[r] for r in seen.rows[-1]]).item())
        policy_loss, value_loss, _ = slow_ppo.losses(play, [p.rollout for p in parts_of], memory(len(unlike)))
        mixed = policy_loss + coef * nats(play.policy, [ROWS[r] for r in seen.rows[-1]])
        whole = mixed + c.vf_coef * value_loss if critic == "shared" else mixed if of_policy else value_loss
        whole.backward()
        slow = gradients(*modules)
        unlike.append(float((fast - slow).norm() / slow.norm()))
        for m, old in zip(modules, kept, strict=True):
            for w, g in zip(m.parameters(), old, strict=True):
                w.grad = g
        return real[1](optimizer, step, algo)

    remembered = {}

    def memory(done):
        if len(play.rollouts) not in remembered:
            with torch.no_grad():
                remembered[len(play.rollouts)] = slow_ppo.remember(play, play.rollouts[-1], c.kl_coef)
        return remembered[len(play.rollouts)]

    monkeypatch.setattr(ppo, "accumulate_gradient", accumulate)
    monkeypatch.setattr(ppo, "descend", descend)
    rows = play.train()
    assert len(unlike) == 8 * (1 if critic == "shared" else 2)
    assert max(unlike) < 1e-6
    assert seen.numbers == list(range(1, 9)), "each update has texts of its own"
    assert {len(each) for each in seen.rows} == {4}, "as many texts as responses"
    for row, of_step in zip(rows, (logged[:4], logged[4:]), strict=True):
        assert row["ptx_loss"] == pytest.approx(sum(of_step) / 4, rel=1e-9), "nats per token, without its weight"


def test_a_step_of_reinforce_is_down_the_gradient_of_both_and_is_clipped_after_both(monkeypatch):
    policy, d, asked = slow_ppo.policy(), small.plain(), small.prompts([1, 3], [4])
    algo = Reinforce(
        micro_batch_tokens=None,
        total_steps=2, batch_size=2, micro_batch_size=3, learning_rate=0.01, lr_schedule="constant", warmup_steps=0,
        max_grad_norm=1e-3, weight_decay=0.0, optimizer="adamw", name="reinforce", num_generations=2, baseline="none",
        ema_decay=0.9, missing_eos_penalty=0.0, normalize_advantages="none", kl_coef=0.1, entropy_coef=0.0,
        loss_reduction="tokens",
    )  # fmt: skip
    seen, left, alone, real = Seen(texts()), [], [], reinforce.descend
    desk = slow_ppo.Desk()

    def descend(optimizer, step, algo):
        left.append(gradients(policy))
        total = left[-1].norm()
        kept = [w.grad for w in policy.parameters()]
        policy.zero_grad()
        loss = nats(policy, [ROWS[r] for r in seen.rows[-1]])
        (2.5 * loss).backward()
        alone.append((gradients(policy), loss.item()))
        for w, g in zip(policy.parameters(), kept, strict=True):
            w.grad = g
        norm = real(optimizer, step, algo)
        assert norm == pytest.approx(float(total), rel=1e-9)
        return norm

    def train(ptx):
        left.clear(), alone.clear(), desk.rows.clear()
        policy.load_state_dict(slow_ppo.policy().state_dict())
        reinforce.train(
            policy, optimizers(policy, algo), d, lambda step: asked, sampler(policy, d, 4, 0), slow_ppo.dense,
            logprob_fn(slow_ppo.policy(1), d, 8), group_leave_one_out(2), lambda *figures: figures[-1], ptx, algo, desk,
        )  # fmt: skip
        return left[0]

    monkeypatch.setattr(reinforce, "descend", descend)
    mixed = train(mixed_in(policy, seen, stage(ReinforceStage, algo, 2.5), 0))
    (first, loss), figures = alone[0], dict(desk.rows[0])
    assert seen.numbers == [1, 2]
    assert {len(each) for each in seen.rows} == {4}
    pure = train(without_texts)
    assert float((mixed - pure - first).norm() / first.norm()) < 1e-9
    assert figures["ptx_loss"] == pytest.approx(loss, rel=1e-9)
    assert "ptx_loss" not in desk.rows[0]
    assert figures["policy_loss"] == desk.rows[0]["policy_loss"], "the policy's loss is told apart"


def test_the_cut_into_micro_batches_changes_nothing_but_rounding():
    policy, found = slow_ppo.policy(), []
    for size in (1, 2, 3, 64):
        policy.zero_grad()
        c = stage(PpoStage, slow_ppo.settings(micro_batch_size=size), 0.3)
        figures = mixed_in(policy, texts(), c, 0)(1, 0)
        found.append((gradients(policy), figures["ptx_loss"]))
    for gradient, loss in found[1:]:
        torch.testing.assert_close(gradient, found[0][0], rtol=1e-9, atol=1e-12)
        assert loss == pytest.approx(found[0][1], rel=1e-12)


def test_the_gradient_is_added_to_what_is_there():
    policy = slow_ppo.policy()
    add = mixed_in(policy, texts(), stage(PpoStage, slow_ppo.settings(), 0.3), 0)
    add(1, 0)
    once = gradients(policy)
    add(1, 0)
    torch.testing.assert_close(gradients(policy), 2 * once)


def test_updates_read_the_texts_in_order_through_steps_and_rounds_and_each_once_an_epoch():
    c = slow_ppo.settings(mini_batch_size=2, ppo_epochs=2)  # 8 responses: 8 updates a step
    policy, seen = slow_ppo.policy(), Seen(texts())
    for round_, steps_before in enumerate((0, 3)):
        add = mixed_in(policy, seen, stage(PpoStage, c, 1.0), steps_before)
        for step in (1, 2, 3)[: 3 - round_]:
            for update in range(8):
                add(step, update)
    assert seen.numbers == list(range(1, 41))
    epochs = [tuple(chain.from_iterable(seen.rows[i : i + 4])) for i in range(0, 40, 4)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(8))] * 10
    assert len(set(epochs)) > 5, "in another order each time"
    again = Seen(texts())
    mixed_in(policy, again, stage(PpoStage, c, 1.0), 3)(2, 5)
    assert again.rows == [seen.rows[4 * 8 + 5]], "the number of a step says all, for a run that is resumed"
    other = texts(seed=4)
    assert other.batch(1, 8).prompts.rows.tolist() != texts().batch(1, 8).prompts.rows.tolist()


def test_texts_are_in_an_order_of_their_own_or_each_would_meet_the_same_prompt():
    assert texts().batch(1, 8).prompts.rows.tolist() != rows_of_step(8, 8, 1, 3).tolist()


def test_without_a_coefficient_or_without_texts_nothing_is_added():
    policy, c = slow_ppo.policy(), slow_ppo.settings()
    assert mixed_in(policy, texts(), stage(PpoStage, c, 0.0), 0) is without_texts
    assert mixed_in(policy, None, stage(PpoStage, c, 0.0), 0) is without_texts
    assert without_texts(1, 0) == {}
    assert not gradients(policy).any()


def test_where_only_the_critic_learns_and_where_updates_are_stopped_no_texts_are_read():
    seen = Seen(texts())
    c = slow_ppo.settings(total_steps=3, critic_warmup_steps=2, critic="shared", ppo_epochs=1)
    play = slow_ppo.Play(c).wake()
    play.ptx = mixed_in(play.policy, seen, stage(PpoStage, c, 1.0), 0)
    rows = play.train()
    assert seen.numbers == [3]
    assert ["ptx_loss" in row for row in rows] == [False, False, True]

    seen.numbers.clear()
    c = slow_ppo.settings(learning_rate=0.3, target_kl=1e-4)
    play = slow_ppo.Play(c).wake()
    play.ptx = mixed_in(play.policy, seen, stage(PpoStage, c, 1.0), 0)
    (row,) = play.train()
    assert row["updates"] == len(seen.numbers) == 1
    assert not gradients(play.policy).any(), "nothing is left for the next step"


def test_the_texts_of_rlhf_are_read_as_sft_reads_them_and_some_are_held_out(tmp_path):
    words = small.tokenizer()
    tokenizer, policy = Tokenizer(words, (small.END,), 0, (1,)), small.policy(len(words))
    path = tmp_path / "texts.jsonl"
    lines = [{"text": f"the {a} is {b}"} for a in ("film", "food", "room") for b in ("good", "bad", "slow", "cold")]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    asked = RlhfData(
        **{**data.READING, "columns": {"prompt": "question"}}, prompts="embedded", heldout=None, too_long="drop",
        feedback=None, texts=str(path),
    )  # fmt: skip
    assert as_text_data(replace(asked, texts=None)) is None
    algo = SimpleNamespace(policy=SimpleNamespace(micro_batch_size=5))
    config = SimpleNamespace(data=asked, algo=algo, heldout=SimpleNamespace(size=9), seed=1)
    language = SimpleNamespace(policy=policy, tokenizer=tokenizer, device=CPU)
    found = pretraining_texts(config, language)
    assert pretraining_texts(SimpleNamespace(**{**vars(config), "data": replace(asked, texts=None)}), language) is None
    table = found.table
    assert (len(table.train), len(table.heldout)) == (11, 1), "a tenth at most"
    assert not set(table.train) & set(table.heldout)
    batch = found.batch(1, 4)
    assert batch.mask.sum() == 4 * 5, "all tokens but the start, and the end"
    row = table.rows[table.heldout[0]]
    want = nats(policy, [(row.prompt, row.completion)])
    assert found.losses(policy).tolist() == pytest.approx([want.item()], rel=1e-5)


def test_perplexity_is_exp_of_the_mean_over_the_held_out_texts_with_an_interval_paired_by_text():
    policy, other, given = slow_ppo.policy(), slow_ppo.policy(1), texts(micro_batch_size=1)
    first, now = given.losses(policy), given.losses(other)
    assert first.tolist() == pytest.approx([nats(policy, [row]).item() for row in HELD], rel=1e-9)
    record = perplexity(given, first, now)
    wants = [[nats(p, [row]).item() for row in HELD] for p in (policy, other)]
    assert record["texts"] == 2
    assert record["heldout"] is True
    assert record["first"] == pytest.approx(math.exp(sum(wants[0]) / 2), rel=1e-9)
    assert record["now"] == pytest.approx(math.exp(sum(wants[1]) / 2), rel=1e-9)
    differences = [b - a for a, b in zip(*wants, strict=True)]
    mean, half = sum(differences) / 2, 12.706204736 * abs(differences[0] - differences[1]) / 2  # Student's t, 1 degree
    assert record["ratio"] == pytest.approx([math.exp(mean), math.exp(mean - half), math.exp(mean + half)], rel=1e-6)
    json.dumps(record, allow_nan=False)
    assert perplexity(given, first[:1], now[:1])["ratio"] is None
