"""A step of sampling that is recorded once for a batch of texts, as a CUDA graph, and played for each token.

On a GPU a token of a small model is hundreds of kernels, most of which are done before Python has started the next one.
A graph starts them all at once. For that nothing may change from token to token but what tensors hold: responses have
room for all their tokens from the start, what is not yet written is hidden, and those that have ended stay in the
batch.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from rlnlp.models.decoding import ResponseCache
from rlnlp.models.llama_step import LlamaStep

Play = Callable[[], Tensor]  # the logits (B, V) by what the tensors of a step hold at the moment
Record = Callable[[Play], Play]  # something that does the same again and again
WARM_UP = 3  # passes before the recording, in which libraries choose their kernels and make room for them
FIXED = ("default", "linear", "llama3", "yarn")  # frequencies of positions that no text changes


class FixedKeys:
    """Keys and values of responses behind prompts that are kept once, in tensors that stay the same ones.

    ``real`` (B, P) marks what is no padding of the prompts.
    """

    def __init__(self, responses: ResponseCache, real: Tensor) -> None:
        self.responses = responses
        for layer in responses.layers:
            layer.grow(responses.most)
        self.sees = nn.functional.pad(real, (0, responses.most))[:, None, None]
        self.place = torch.zeros(1, dtype=torch.long, device=real.device)
        self.rows = torch.arange(len(real), device=real.device)  # those that go on

    def begin(self, attention: Tensor) -> None:
        """Make ready for the token that ``attention`` (b, L) ends with, in the texts that go on."""
        last = attention.shape[1] - 1
        self.place.fill_(last - self.responses.width)
        self.sees[self.rows, 0, 0, last] = attention[:, last]

    def read(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """What the new token reads: query (B, H, D), key and value (B, K, D) of its own -> (B, H D)."""
        own = self.responses.layers[layer]
        own.keys.index_copy_(2, self.place, key.unsqueeze(2).to(own.keys.dtype))
        own.values.index_copy_(2, self.place, value.unsqueeze(2).to(own.values.dtype))
        return self.responses.read(own, query.unsqueeze(2).to(own.keys.dtype), self.sees).flatten(1)

    def keep(self, rows: Tensor) -> None:
        """Go on with these texts only."""
        self.rows = self.rows[rows]


class RecordedStep:
    """The step of ``lm`` by ``record``: as ``LlamaStep`` of texts whose prompts ``responses`` have in common."""

    def __init__(self, lm: Any, responses: ResponseCache, real: Tensor, record: Record) -> None:
        self.keys, self.record = FixedKeys(responses, real), record
        self.step = LlamaStep(lm, self.keys)
        self.tokens = torch.zeros(len(real), dtype=torch.long, device=real.device)
        self.at = torch.zeros(len(real), 1, dtype=torch.long, device=real.device)
        self.play: Play | None = None

    def __call__(self, tokens: Tensor, attention: Tensor) -> Tensor:
        """The logits after ``tokens`` (b, 1), the last of the texts that ``attention`` (b, L) marks: (b, V)."""
        rows = self.keys.rows
        self.tokens[rows], self.at[rows] = tokens[:, 0], attention.sum(1, keepdim=True) - 1
        self.keys.begin(attention)
        if self.play is None:
            self.play = self.record(lambda: self.step.logits(self.tokens, self.at))
        return self.play()[rows]

    def keep(self, rows: Tensor) -> None:
        """Go on with these texts only."""
        self.keys.keep(rows)


def cuda_graph(function: Play) -> Play:
    """``function`` as a CUDA graph; it may be called some times at once, and has the same result each time."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM_UP):
            function()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        result = function()

    def play() -> Tensor:
        graph.replay()
        return result

    return play


def may_be_recorded(lm: Any) -> bool:
    """True if a step of ``lm``, which ``has_step``, can be a CUDA graph where it is."""
    return lm.device.type == "cuda" and lm.model.rotary_emb.rope_type in FIXED
