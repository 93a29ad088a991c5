"""Whether a model is what training takes it for: a causal language model that gives a text the same logits anywhere.

A few short texts are read alone and in a batch, forwards and token by token. What must hold is refused otherwise; what
only forbids a shortcut turns it off.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor

from rlnlp.batching import left_padded
from rlnlp.device import exact_products
from rlnlp.errors import Exit, Failure, counted, describe, out_of_memory
from rlnlp.models.calling import hidden_of
from rlnlp.models.decoder import Decoder
from rlnlp.models.gradients import gradient_fault, gradient_norms
from rlnlp.models.policy import Policy
from rlnlp.models.reading_check import shares_prompts
from rlnlp.types import Prompts, Rollout

LENGTHS = ((7, 5), (4, 3), (2, 4))  # tokens of each text's prompt and response: padding on both sides
TOLERANCE = 1e-3  # of the logits' standard deviation; rounding is below 1e-4 of it, a fault above 1e-2
LEAST = 1e-6  # of it: what another order of the tokens must move


@dataclass(frozen=True)
class Findings:
    """What the check found: of ``content``, and how the model is to be used (as the fields of ``Policy``)."""

    content: str
    first_position: int
    cached: bool
    shrinks: bool
    width: int | None
    shares: bool

    def apply(self, policy: Policy) -> None:
        """Let ``policy`` be used so."""
        policy.first_position, policy.width = self.first_position, self.width
        policy.cached, policy.shrinks, policy.may_share = self.cached, self.shrinks, self.shares

    def notes(self) -> Iterator[str]:
        """What the user should know."""
        if not self.cached:
            yield "this model's cache cannot be used for sampling: each token costs a pass over the whole text"
        elif not self.shrinks:
            yield "this model's cache keeps all its rows: responses that have ended are computed until all have"
        if self.width is None:
            yield "this model gives no hidden states of one width: algo.critic=shared cannot be used"


def check_policy(policy: Policy, what: str, known: Mapping[str, Any] | None = None) -> Findings:
    """Check a model and set how ``policy`` uses it; ``known`` are the findings of an earlier check, as a dict.

    The findings of the same weights and versions are taken over.

    Raises:
        Failure: exit 4 with the name of the finding, if the model is not what training takes it for.
    """
    content = content_of(policy)
    if known is None or known.get("content") != content or known.keys() != Findings.__annotations__.keys():
        with exact_products(), torch.no_grad():
            known = vars(_Check(policy, what).findings(content))
    found = Findings(**known)
    found.apply(policy)
    return found


def recompute_layers(policy: Policy, what: str) -> None:
    """Let ``policy`` recompute its layers in the backward pass, with the gradients that it has without.

    Raises:
        Failure: exit 4, if the architecture cannot.
    """
    with exact_products():
        _Check(policy, what).recomputing()


def content_of(policy: Policy) -> str:
    """What the findings depend on, as one sha256: the config, the sum of each weight, the device and the versions."""
    sums = {name: float(weight.detach().sum()) for name, weight in policy.lm.named_parameters()}
    versions = [torch.__version__, transformers.__version__, policy.device.type, policy.lm.config.to_json_string()]
    return hashlib.sha256(json.dumps([versions, sums]).encode()).hexdigest()


class _Check:
    def __init__(self, policy: Policy, what: str) -> None:
        self.policy, self.what = policy, what
        room = min(sum(LENGTHS[0]), policy.context)
        self.lengths = [(max(1, min(p, room - r)), min(r, room - 1)) for p, r in LENGTHS]
        ids, total = ordinary_tokens(policy), sum(p + r for p, r in self.lengths)
        ids = (ids * (-(-total // len(ids))))[:total]
        ends = [sum(p + r for p, r in self.lengths[: i + 1]) for i in range(len(self.lengths))]
        self.texts = [ids[end - p - r : end] for end, (p, r) in zip(ends, self.lengths, strict=True)]
        self.alone: list[Tensor] = []  # the logits (L, V) of each text by itself, as transformers gives them
        self.scale = 1.0
        self.width: int | None = None

    def findings(self, content: str) -> Findings:
        """What was found.

        Raises:
            Failure: exit 4.
        """
        self.alone = [self._read(text)[0] for text in self.texts]
        self.scale = float(torch.cat(self.alone).std(-1).mean())
        if not all(bool(logits.isfinite().all()) for logits in self.alone):
            raise self._refusal("finite", "its logits are not finite", "look for broken weights")
        self._text()
        self._padding()
        cached, shrinks = self._cache()
        self._gradient()
        shares = shares_prompts(self.policy, self.rollout(), TOLERANCE * self.scale)
        return Findings(content, self.policy.first_position, cached, shrinks, self.width, shares)

    def _read(self, *texts: list[int]) -> Tensor:
        """The logits (B, L, V) of texts of one length, without anything that is for padding."""
        tokens = torch.tensor(texts, device=self.policy.device)
        out = self._tried(lambda: self.policy.call(input_ids=tokens, use_cache=False, output_hidden_states=True))
        logits = out.get("logits") if isinstance(out, Mapping) else None
        if not isinstance(logits, Tensor) or logits.shape[:2] != tokens.shape:
            raise self._refusal("logits", "it gives no logits for each token", "it must be a causal language model")
        with suppress(Failure):
            self.width = hidden_of(out).shape[-1]
        return logits.float()

    def _tried(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:
            if out_of_memory(error):
                raise
            raise self._refusal(
                "forward", f"a text of {counted(sum(self.lengths[0]), 'token')} cannot be read: {describe(error)}",
                "its config.json does not fit its code, or it needs more than text",
            ) from error  # fmt: skip

    def _refusal(self, finding: str, problem: str, advice: str) -> Failure:
        return Failure(Exit.MODEL, f"{self.what} cannot be used ({finding}): {problem}\n{advice}", f"model-{finding}")

    def _apart(self, one: Tensor, other: Tensor) -> float:  # in standard deviations of the logits
        return float((one - other).abs().max()) / max(self.scale, 1e-30) if one.numel() else 0.0

    def _text(self) -> None:
        """Check that a token changes nothing before it, and that the order of the tokens is read."""
        text = self.texts[0]
        reordered = [*text[:-3], *text[-3:-1][::-1], text[-1]]  # near the end: a window of attention may be short
        changed, swapped = self._read([*text[:-1], self.texts[1][0]], reordered)
        apart = self._apart(changed[:-1], self.alone[0][:-1])
        if not apart <= TOLERANCE:
            raise self._refusal(
                "causal", f"another last token changes the logits before it, by {apart:.2g} standard deviations",
                "it sees what it should predict, as BERT does; use a causal model"
                ' (a decoder of BERT\'s kind needs "is_decoder": true in its config.json)',
            )  # fmt: skip
        if reordered != text and not self._apart(swapped[-1], self.alone[0][-1]) > LEAST:
            raise self._refusal(
                "positions", "the order of a text's tokens changes nothing",
                "its position weights are missing or not used; use another model",
            )  # fmt: skip

    def _padding(self) -> None:
        """Find the position of the first token with which a padded batch gives what each text gives by itself."""
        pad = self.policy.lm.config.get_text_config().to_dict().get("pad_token_id")
        firsts = [0, *([pad + 1] if isinstance(pad, int) and pad >= 0 else [])]  # as RoBERTa counts
        apart = []
        for first in firsts:
            self.policy.first_position = first
            batch = self._batch()
            apart.append(self._batch_apart(batch))
            if apart[-1] <= TOLERANCE:
                break
        else:
            raise self._refusal(
                "padding", f"in a padded batch a text has other logits, by {min(apart):.2g} standard deviations",
                "its code counts padding as text, or its rows depend on each other; use another model",
            )  # fmt: skip
        if not self._apart(batch, self._batch()) <= TOLERANCE:
            raise self._refusal("noise", "two passes differ", "there is dropout or noise in the model's own code")

    def _batch_apart(self, logits: Tensor) -> float:
        apart = []
        for row, (p, r), alone in zip(logits, self.lengths, self.alone, strict=True):
            apart.append(self._apart(row[:r], alone[p - 1 : p + r - 1, : self.policy.drawable]))
        return max(apart, key=lambda value: float("inf") if value != value else value)

    def _batch(self) -> Tensor:
        """The logits of all responses from one padded batch, (B, T, V)."""
        logits: Tensor = self._tried(lambda: self.policy.outputs(self.policy.reading(self.rollout())).logits).float()
        return logits

    def rollout(self) -> Rollout:
        """The texts as one padded batch."""
        prompts, device, longest = self._prompts(), self.policy.device, max(r for _, r in self.lengths)
        rows = [text[p:] + text[:1] * (longest - r) for text, (p, r) in zip(self.texts, self.lengths, strict=True)]
        mask = torch.arange(longest, device=device) < torch.tensor([[r] for _, r in self.lengths], device=device)
        attention = torch.cat([prompts.mask, mask], dim=1)
        return Rollout(prompts, torch.tensor(rows, device=device), mask, attention, mask[:, -1])

    def _prompts(self) -> Prompts:
        ids = [text[:p] for text, (p, _) in zip(self.texts, self.lengths, strict=True)]
        return left_padded(ids, range(len(ids)), self.texts[0][0], self.policy.device)

    def _cache(self) -> tuple[bool, bool]:
        """Whether decoding with a cache equals the full pass, and whether rows of the cache can be left out.

        Raises:
            Failure: exit 4, if decoding without a cache does not either.
        """
        for cached, shrinks in ((True, True), (True, False), (False, True)):
            self.policy.cached, self.policy.shrinks = cached, shrinks
            if cached and "past_key_values" not in self.policy.names:
                continue
            try:
                apart = self._decoded_apart(shrinks)
            except Exception as error:
                if out_of_memory(error):
                    raise
                apart = float("inf")
            if apart <= TOLERANCE:
                return cached, shrinks
        raise self._refusal(
            "decoding", "a text that grows token by token has other logits than the whole one",
            "its code depends on more than the tokens before; use another model",
        )  # fmt: skip

    def _decoded_apart(self, shrinks: bool) -> float:
        prompts, decoder = self._prompts(), Decoder(self.policy, self.lengths[0][1])
        rows, attention, inputs = torch.arange(len(self.texts), device=self.policy.device), prompts.mask, prompts.tokens
        worst = 0.0
        for t in range(min(4, self.lengths[0][1])):
            logits = decoder(inputs, attention).float()
            for row, got in zip(rows.tolist(), logits, strict=True):
                p, r = self.lengths[row]
                if t < r:
                    worst = max(worst, self._apart(got, self.alone[row][p + t - 1, : self.policy.drawable]))
            if shrinks and t == 1:
                keep = torch.tensor([0, 2], device=rows.device)
                decoder.keep(keep)
                rows, attention = rows[keep], attention[keep]
            following = [self.texts[row][self.lengths[row][0] + t :] or self.texts[row] for row in rows.tolist()]
            inputs = torch.tensor([rest[:1] for rest in following], device=rows.device)
            attention = torch.cat([attention, torch.ones_like(attention[:, :1])], dim=1)
        return worst

    def _gradient(self) -> None:
        """Check that a gradient can be computed as it will be, without dropout.

        Raises:
            Failure: exit 4.
        """
        if (fault := gradient_fault(self.policy, self.rollout())) is not None:
            raise self._refusal(
                "gradient", f"no gradient can be computed: {fault}",
                "its code trains with dropout only; use another model",
            )  # fmt: skip

    def recomputing(self) -> None:
        """Turn on recomputing, and check that it changes no gradient.

        Raises:
            Failure: exit 4.
        """
        rollout = self.rollout()
        plain = self._tried(lambda: gradient_norms(self.policy, rollout))
        self.policy.recompute_layers()
        again = self._tried(lambda: gradient_norms(self.policy, rollout))
        apart = float((again - plain).abs().max() / plain.max().clamp(min=1e-30))
        if not apart <= TOLERANCE:
            raise self._refusal(
                "recomputing", f"with model.gradient_checkpointing a gradient differs by {apart:.2g} of the largest",
                "set model.gradient_checkpointing=false, and lower algo.micro_batch_size instead",
            )  # fmt: skip


def ordinary_tokens(policy: Policy) -> list[int]:
    """Ids from the middle of the vocabulary, in an order of their own: not those that the config gives a meaning."""
    count = policy.vocabulary
    meant = {value for key, value in policy.lm.config.to_dict().items() if key.endswith(("_id", "_index"))
             and isinstance(value, int)}  # fmt: skip
    middle = [i for i in range(count // 4, max(count // 4 + 2, 3 * count // 4)) if i not in meant] or [0, 1]
    few = middle[:: max(1, len(middle) // 29)]
    return [few[(i * 7 + 3) % len(few)] for i in range(len(few))]
