"""Draw responses from a policy, one token at a time; a row's tokens depend on its prompt and its numbers alone."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from rlnlp.device import computing_in
from rlnlp.errors import Exit, Failure
from rlnlp.maths.distribution import Distribution, draw_logits, inverse_cdf
from rlnlp.models.decoder import Decoder
from rlnlp.models.policy import Policy
from rlnlp.models.tokenizer import Stopper
from rlnlp.processes.rows import own, process_count, whole, widest
from rlnlp.processes.sharding import whole_weights
from rlnlp.types import Prompts, Rollout

Collect = Callable[[Prompts, np.random.Generator], Rollout]


def sampler(
    policy: Policy, distribution: Distribution, max_new_tokens: int, pad: int, stops: Stopper | None = None
) -> Collect:
    """``collect(prompts, rng)``: one response per prompt, drawn from ``policy`` as it is when called."""

    def collect(prompts: Prompts, rng: np.random.Generator) -> Rollout:
        device = prompts.tokens.device
        numbers = rng.random((len(prompts.rows), max_new_tokens))
        uniforms = torch.from_numpy(numbers.astype(np.float32) if device.type == "mps" else numbers).to(device)
        with whole_weights(policy):
            part = sample(policy, own(prompts), own(uniforms), distribution, pad, stops)
        return part if process_count() == 1 else _of_all(part, prompts, pad)

    return collect


def _of_all(part: Rollout, prompts: Prompts, pad: int) -> Rollout:
    """The responses to all ``prompts``, of which each process has drawn a part."""
    rows, more = len(prompts.rows), widest(part.mask.shape[1]) - part.mask.shape[1]
    responses = whole(nn.functional.pad(part.responses, (0, more), value=pad), rows)
    mask = whole(nn.functional.pad(part.mask, (0, more)), rows)
    return Rollout(prompts, responses, mask, torch.cat([prompts.mask, mask], dim=1), whole(part.ended, rows))


@torch.no_grad()
def sample(
    policy: Policy, prompts: Prompts, uniforms: Tensor, distribution: Distribution, pad: int,
    stops: Stopper | None = None,
) -> Rollout:  # fmt: skip
    """One response per prompt; token t of row b is decided by ``uniforms[b, t]``, (B, T) in [0, 1).

    The numbers are drawn up front, so rows that end, other batch cuts and other rows change nothing of a row. Rows
    that have ended leave the batch as soon as a quarter of it has, where the policy's cache can do without them.

    A response ends with one of the distribution's end tokens, or with the token after which ``stops`` says so.

    Raises:
        Failure: exit 8, if a logit is not finite.
    """
    count, longest = uniforms.shape
    end = torch.tensor(distribution.end, device=uniforms.device)
    responses = prompts.tokens.new_full((count, longest), pad)
    mask = torch.zeros_like(responses, dtype=torch.bool)
    rows = torch.arange(count, device=uniforms.device)  # the rows still in the batch
    alive = torch.ones_like(rows, dtype=torch.bool)
    ended = torch.zeros_like(alive)
    attention, inputs, decoder = prompts.mask, prompts.tokens, Decoder(policy, longest)
    with computing_in(policy.dtype, uniforms.device):  # around all tokens: the weights are cast once
        for t in range(longest):
            logits = finite(decoder(inputs, attention), t, rows)
            token = inverse_cdf(draw_logits(logits, torch.full_like(rows, t), distribution), uniforms[rows, t])
            responses[rows, t] = token.where(alive, responses[rows, t])
            mask[rows, t] = alive
            attention = torch.cat([attention, alive.unsqueeze(1)], dim=1)
            last = torch.isin(token, end)
            if stops is not None and t >= distribution.min_new_tokens:
                last |= _stopped(prompts, responses[:, : t + 1], rows, alive, stops)
            ended[rows] |= alive & last
            alive = alive & ~last
            if not bool(alive.any()):
                break
            inputs = token.unsqueeze(1)
            if policy.shrinks and int(alive.sum()) <= 0.75 * len(alive):
                keep = alive.nonzero().squeeze(1)
                decoder.keep(keep)
                rows, inputs, attention, alive = rows[keep], inputs[keep], attention[keep], alive[keep]
    used = int(mask.any(0).sum())
    responses, mask = responses[:, :used], mask[:, :used]
    return Rollout(prompts, responses, mask, torch.cat([prompts.mask, mask], dim=1), ended)


def _stopped(prompts: Prompts, responses: Tensor, rows: Tensor, alive: Tensor, stops: Stopper) -> Tensor:
    """True where a response that is ``alive`` has ended by its text, for each of ``rows``."""
    said = torch.zeros_like(alive)
    for i in alive.nonzero().flatten().tolist():
        row = int(rows[i])
        said[i] = stops(prompts.tokens[row][prompts.mask[row]].tolist(), responses[row].tolist())
    return said


def finite(logits: Tensor, t: int, rows: Tensor) -> Tensor:
    """``logits`` (B, V) themselves; ``rows`` (B,) are their numbers in the whole batch.

    Raises:
        Failure: exit 8, if one is NaN or infinite: greedy decoding would return a token in silence.
    """
    least, most = logits.aminmax()  # NaN goes through both
    if not bool(least.isfinite() & most.isfinite()):
        row = int(rows[(~logits.isfinite()).any(-1)][0])
        raise Failure(
            Exit.NONFINITE,
            f"the policy's logits are not finite while sampling token {t} of response {row}\n"
            "the weights are broken: lower algo.learning_rate, and start from an earlier checkpoint",
        )
    return logits
