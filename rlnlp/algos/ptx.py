"""PPO-ptx: texts stay likely while the policy learns from rewards.

Ouyang et al. 2022 (arXiv:2203.02155), equation 2: the objective gains gamma E_pretrain[log pi(x)]. As there (appendix
C.4), each update adds the gradient on texts to that on responses; here gamma is ``ptx_coef``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rlnlp.algos.update import TokenLosses, accumulate_gradient
from rlnlp.batching import micro_batches
from rlnlp.build import Language
from rlnlp.config.data import as_text_data
from rlnlp.config.rlhf import PpoStage, ReinforceStage
from rlnlp.config.schema import RlhfRun
from rlnlp.data.order import rows_of_step
from rlnlp.data.texts import TextTable, check_texts, text_table
from rlnlp.evaluate.fit import text_losses
from rlnlp.maths.distribution import Distribution
from rlnlp.maths.losses import negative_log_likelihood
from rlnlp.maths.statistics import mean_interval
from rlnlp.models.policy import Policy
from rlnlp.processes.rows import own
from rlnlp.types import Rollout

Ptx = Callable[[int, int], dict[str, float]]  # of an update (0, 1, ...) of a step: adds its gradient, gives figures


def without_texts(step: int, update: int) -> dict[str, float]:
    """No texts are mixed in: no gradient, no figures."""
    return {}


@dataclass(frozen=True)
class PretrainingTexts:
    """The texts of ``data.texts``: those that are learned, and those of ``table.heldout`` that are only measured."""

    table: TextTable
    seed: int
    micro_batch_size: int
    device: torch.device

    @property
    def distribution(self) -> Distribution:
        """The model's own: texts were drawn neither with a filter nor with ``sampler.temperature``."""
        return Distribution(1.0, 0, 1.0, 0, self.table.tokenizer.end)

    def batch(self, number: int, size: int) -> Rollout:
        """The ``size`` texts of batch ``number`` (1, 2, ...): nothing else says which, so that a resumed run has them.

        The order is a stream of its own: that of the prompts would tie each text to a prompt.
        """
        train = self.table.train
        rows = rows_of_step(len(train), size, number, self.seed, "ptx")
        return self.table.batch([train[i] for i in rows.tolist()], self.device)

    def losses(self, policy: Policy) -> Tensor:
        """The mean nats per token of each held-out text, (N,)."""
        return text_losses(
            policy, self.distribution, self.table, self.table.heldout, self.micro_batch_size, self.device
        )


def pretraining_texts(config: RlhfRun, language: Language) -> PretrainingTexts | None:
    """The texts of ``data.texts``, some of which are held out; None if none are named.

    Raises:
        Failure: exit 3, for a file that cannot be read, a record that is no text, or if nothing is left to learn.
    """
    policy, algo = language.policy, config.algo.policy
    data = as_text_data(config.data)
    if data is None:
        return None
    table = text_table(data, config.heldout.size, config.seed, language.tokenizer, policy.context)
    check_texts(table)
    return PretrainingTexts(table, config.seed, algo.micro_batch_size, language.device)


def mixed_in(policy: Policy, texts: PretrainingTexts | None, algo: PpoStage | ReinforceStage, steps_before: int) -> Ptx:
    """What adds, to an update's gradient, that of ``ptx_coef`` times the mean of -log pi over its texts' tokens.

    An update has as many texts as responses; ``steps_before`` are those of earlier rounds, whose texts are not the
    next ones. The mean is over all tokens of the batch, as in sft: each token weighs the same, so that ``ptx_coef``
    means the same for texts of any length and number, and the figure ``ptx_loss`` is nats per token.
    """
    if texts is None or algo.ptx_coef == 0:
        return without_texts
    size = algo.minibatch if isinstance(algo, PpoStage) else algo.responses
    updates = algo.ppo_epochs * algo.responses // size if isinstance(algo, PpoStage) else 1

    def loss_fn(part: Rollout) -> TokenLosses:
        loss = negative_log_likelihood(policy(part, texts.distribution).logprobs)
        return TokenLosses(algo.ptx_coef * loss, part.mask, {"ptx_loss": loss})

    def add(step: int, update: int) -> dict[str, float]:
        batch = texts.batch((steps_before + step - 1) * updates + update + 1, size)
        mine = own(batch)
        parts = micro_batches(mine, mine, algo.micro_batch_size, tokens=algo.micro_batch_tokens)
        return accumulate_gradient(parts, loss_fn, batch.mask, "tokens")[1]

    return add


def perplexity(texts: PretrainingTexts, first: Tensor, now: Tensor) -> dict[str, Any]:
    """The perplexity of the held-out texts under two policies, for the record of a round.

    ``first`` and ``now`` (N,) are their ``losses``. A perplexity is exp of the mean over texts, as sft's. ``ratio`` is
    now over first, and the ends of its 95 % interval, paired by text; None with a single text. ``heldout`` is False if
    there were too few texts to hold any out: then some that are learned are measured.
    """
    ratio = [math.exp(end) for end in mean_interval(now - first)] if len(first) > 1 else None
    return {
        "texts": len(first), "first": math.exp(float(first.mean())), "now": math.exp(float(now.mean())),
        "ratio": ratio, "heldout": texts.table.heldout_is_separate,
    }  # fmt: skip
