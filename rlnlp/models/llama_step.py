"""One token further through a small model of Llama's kind, with few and large products.

transformers goes through ten modules a layer, multiplies by five weights where two would do, and joins keys and values
of all tokens into a fresh tensor. In a small model that is a large part of the time of sampling. Here a layer's weights
for query, key and value are one matrix, as are those of the gate and of what it gates, and keys and values grow in room
that is there.

Measured in float32 on one core beside another process, processor seconds of sampling, the least of three:

=====  ==============================  =============  ==========  ============  =====
width  prompts                         of tokens      new tokens  transformers  this
=====  ==============================  =============  ==========  ============  =====
64     4, 16 responses to each         8              40          .257          .160
128    64                              12             24          .214          .178
128    256                             12             24          .661          .574
160    16, 4 responses to each         12             24          .223          .195
160    8, 8 responses to each          114            32          .343          .299
160    8, 4 responses to each          18             200         1.51          1.25
384    16, 4 responses to each         12             24          1.15          1.10
384    8, 4 responses to each          100            64          2.27          2.13
512    8, 4 responses to each          100            64          3.22          3.13
=====  ==============================  =============  ==========  ============  =====

An adapter is added to the weights once, not at each token; in a shorter type it is a product of its own for each joined
weight. With rank 16: width 160, 16 prompts of 12 with 4 responses of 24 tokens to each, .283 and .180, in bfloat16 .278
and .186; width 576 (SmolLM2-135M), 8 prompts of 22 with one of 24, 3.39 and 2.52, in bfloat16 2.70 and 1.89.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from rlnlp.device import exact_products
from rlnlp.models.decoding import ROOM, ResponseCache
from rlnlp.models.lora import Product, product_in_use

KINDS = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM")  # of transformers
WIDEST = 384  # hidden states: in a wider model the products are nearly all of the time
WIDEST_ADAPTED = 1024  # with an adapter, which costs transformers' layers much


class Keys(Protocol):
    """Keys and values of the texts, of which each new token reads."""

    def begin(self, attention: Tensor) -> None:
        """Make ready for the token that ``attention`` (B, L) ends with."""

    def read(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """What the new token reads: query (B, H, D), key and value (B, K, D) of its own -> (B, H D)."""

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows only."""


class TextKeys:
    """Keys and values of each text by itself: B texts as ``cache`` has read them, with room for up to ``most`` more.

    ``real`` (B, P) marks what is no padding.
    """

    def __init__(self, cache: Any, most: int, real: Tensor, dtype: torch.dtype) -> None:
        self.most, self.filled = real.shape[1] + most, real.shape[1]
        self.keys = [layer.keys.to(dtype) for layer in cache.layers]
        self.values = [layer.values.to(dtype) for layer in cache.layers]
        self.hidden: Tensor | None = None
        if not bool(real.all()):
            never = torch.finfo(dtype).min
            self.hidden = torch.zeros(real.shape, dtype=dtype, device=real.device).masked_fill_(~real, never)

    def begin(self, attention: Tensor) -> None:
        """Make room for the token that ``attention`` (B, L) ends with."""
        self.filled = attention.shape[1]
        if self.filled > self.keys[0].shape[2]:
            added = min(self.most - self.filled + 1, max(ROOM, self.filled // 4))
            self.keys, self.values = (
                [functional.pad(x, (0, 0, 0, added)) for x in those] for those in (self.keys, self.values)
            )
            if self.hidden is not None:
                self.hidden = functional.pad(self.hidden, (0, added))

    def read(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """What the new token reads: query (B, H, D), key and value (B, K, D) of its own -> (B, H D)."""
        keys, values, end = self.keys[layer], self.values[layer], self.filled
        keys[:, :, end - 1], values[:, :, end - 1] = key, value
        asked = query.to(keys.dtype).unflatten(1, (keys.shape[1], -1))  # heads that read the same keys
        hidden = None if self.hidden is None else self.hidden[:, None, None, :end]
        with exact_products():  # also the faster ones: others are made for more than one row
            read = functional.scaled_dot_product_attention(asked, keys[:, :, :end], values[:, :, :end], hidden)
        return read.flatten(1)

    def keep(self, rows: Tensor) -> None:
        """Go on with these texts only."""
        self.keys, self.values = ([x[rows] for x in those] for those in (self.keys, self.values))
        self.hidden = None if self.hidden is None else self.hidden[rows]


class ResponseKeys:
    """Keys and values of responses behind prompts that are kept once."""

    def __init__(self, responses: ResponseCache) -> None:
        self.responses = responses
        self.sees: Tensor | None = None

    def begin(self, attention: Tensor) -> None:
        """Make room for the token that ``attention`` (B, L) ends with."""
        self.sees = self.responses.sees(attention)

    def read(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """What the new token reads: query (B, H, D), key and value (B, K, D) of its own -> (B, H D)."""
        assert self.sees is not None, "begun"
        own = self.responses.layers[layer]
        own.update(key.unsqueeze(2), value.unsqueeze(2))
        return self.responses.read(own, query.unsqueeze(2).to(own.keys.dtype), self.sees).flatten(1)

    def keep(self, rows: Tensor) -> None:
        """Go on with these responses only."""
        self.responses.keep(rows)


class Weights(NamedTuple):
    """A linear layer's weight and bias, or those of several one below the other.

    ``narrow`` (R, inputs) and ``wide`` (outputs, R) are what adapters add, where that is not in the weights.
    """

    weight: Tensor
    bias: Tensor | None
    narrow: Tensor | None = None
    wide: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """What the layers give, side by side."""
        out = functional.linear(x, self.weight, self.bias)
        if self.narrow is None or self.wide is None:
            return out
        return torch.addmm(out, functional.linear(x, self.narrow), self.wide.t())


class Layer(NamedTuple):
    """A layer's weights, and what is applied to the gate."""

    before: Tensor
    qkv: Weights
    out: Weights
    between: Tensor
    gate_up: Weights
    down: Weights
    activation: Callable[[Tensor], Tensor]


class LlamaStep:
    """The step of ``lm`` with the weights, and the adapter, that it has now; ``keys`` are of the texts that grow."""

    def __init__(self, lm: Any, keys: Keys) -> None:
        self.lm, self.keys = lm, keys
        self.heads = int(lm.config.num_attention_heads), int(lm.config.num_key_value_heads)
        self.eps = float(lm.config.rms_norm_eps)
        dtype = step_dtype(lm)
        self.layers = [_layer(each, dtype) for each in lm.model.layers]
        self.head = _joined(dtype, lm.lm_head)

    def __call__(self, tokens: Tensor, attention: Tensor) -> Tensor:
        """The logits after ``tokens`` (B, 1), the last of the texts that ``attention`` (B, L) marks: (B, V)."""
        self.keys.begin(attention)
        return self.logits(tokens[:, 0], attention.sum(1, keepdim=True) - 1)

    def keep(self, rows: Tensor) -> None:
        """Go on with these texts only."""
        self.keys.keep(rows)

    def logits(self, tokens: Tensor, at: Tensor) -> Tensor:
        """The logits after ``tokens`` (B,), which stand ``at`` (B, 1) in their texts: (B, V)."""
        hidden = self.lm.model.embed_tokens(tokens)
        cos, sin = self.lm.model.rotary_emb(hidden, at)
        width = cos.shape[-1]
        signed = torch.cat([-sin[..., : width // 2], sin[..., width // 2 :]], dim=-1)
        queries, rotated = self.heads[0], sum(self.heads)
        for number, layer in enumerate(self.layers):
            read = layer.qkv(self._normed(hidden, layer.before)).unflatten(1, (-1, width))
            turned = read[:, :rotated]
            turned = torch.addcmul(turned * cos, turned.roll(width // 2, -1), signed)
            read = self.keys.read(number, turned[:, :queries], turned[:, queries:], read[:, rotated:])
            hidden = hidden + layer.out(read)
            gate, up = layer.gate_up(self._normed(hidden, layer.between)).chunk(2, -1)
            hidden = hidden + layer.down(layer.activation(gate) * up)
        return self.head(self._normed(hidden, self.lm.model.norm.weight))

    def _normed(self, hidden: Tensor, weight: Tensor) -> Tensor:
        return functional.rms_norm(hidden, weight.shape, weight, self.eps)


def step_dtype(lm: Any) -> torch.dtype:
    """What products of ``lm`` are computed in at the moment."""
    kind = lm.device.type
    dtype: torch.dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else lm.dtype
    return dtype


def has_step(lm: Any, adapted: bool = False) -> bool:
    """True if ``lm`` is of a kind whose step is known here, and small enough for it to pay; on a GPU any size is.

    ``adapted``: with an adapter in use.
    """
    known = type(lm).__name__ in KINDS and type(lm).__module__.startswith("transformers.")
    widest = WIDEST_ADAPTED if adapted else WIDEST
    return known and (lm.device.type == "cuda" or int(lm.config.hidden_size) <= widest)


def _layer(layer: Any, dtype: torch.dtype) -> Layer:
    attention, mlp = layer.self_attn, layer.mlp
    return Layer(
        layer.input_layernorm.weight,
        _joined(dtype, attention.q_proj, attention.k_proj, attention.v_proj), _joined(dtype, attention.o_proj),
        layer.post_attention_layernorm.weight,
        _joined(dtype, mlp.gate_proj, mlp.up_proj), _joined(dtype, mlp.down_proj), mlp.act_fn,
    )  # fmt: skip


@torch.no_grad()
def _joined(dtype: torch.dtype, *layers: Any) -> Weights:
    weight = _below([layer.weight for layer in layers])
    bias = None if layers[0].bias is None else _below([layer.bias for layer in layers]).to(dtype)
    products = {layer: product_in_use(layer) for layer in layers}
    used = [product for product in products.values() if product is not None]
    if not used:
        return Weights(weight.to(dtype), bias)
    with torch.autocast(weight.device.type, enabled=False):
        narrow = _below([product.lora_A.weight for product in used])
        wide = torch.block_diag(*(_wide(layer.weight, product) for layer, product in products.items()))
        if dtype == weight.dtype:
            return Weights(torch.addmm(weight, wide, narrow), bias)
    # In a shorter type what an adapter adds would be rounded away: it is less than the last bit of most weights.
    return Weights(weight.to(dtype), bias, narrow.to(dtype), wide.to(dtype))


def _wide(weight: Tensor, product: Product | None) -> Tensor:
    """``scale`` B of a layer's product, (outputs, rank)."""
    return weight.new_zeros(len(weight), 0) if product is None else product.scale * product.lora_B.weight


def _below(tensors: list[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors)
