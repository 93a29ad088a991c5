"""A key-value cache for sampling: a prompt is kept once for its responses, and these grow in room that is there.

transformers joins keys and values of all tokens into a fresh tensor, once a token and layer, and reads a prompt for
each of its responses. Here a layer keeps the prompts as they were read, (G, H, P, D), and for the responses a tensor of
zeros (B, H, room, D), of which all is attended to and what is not yet written is hidden: a part of it would be copied
by the products. Responses of one prompt ask it in one product.

Measured in float32 on one core of a busy machine, processor seconds of sampling, and the most that the process held in
MB; a Llama of 1.6 million random weights, 8 responses to each of 8 prompts, or 4 to each of 16:

==========  ==========  ====================  ==========  ====================  ==========
prompts     new tokens  joined, seconds       MB          this, seconds         MB
==========  ==========  ====================  ==========  ====================  ==========
12          24          .302                  464         .318                  430
100 to 128  32          .763                  550         .455                  461
12 to 24    200         3.67                  804         3.20                  558
==========  ==========  ====================  ==========  ====================  ==========

With plain products for a single query, as there are now, on an AMD EPYC: the first line .238 and .223; SmolLM2-135M, 8
prompts of 22 and 24 new tokens, 2.81 and 2.74; a Llama of width 512, 16 prompts of 12 with 4 responses of 24, 1.69 and
1.55.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.cache_utils import DynamicCache, DynamicLayer

from rlnlp.device import exact_products
from rlnlp.models.block_attention import check_known, masked_weights, scale_of
from rlnlp.models.group_attention import switched_attention

NAME = "rlnlp_decoding"
ROOM = 16  # tokens at least by which the responses' room grows


class ResponseLayer(DynamicLayer):  # type: ignore[misc]  # transformers has no types
    """A layer of the cache: keys and values of ``prompts`` (G, H, P, D), and of B responses with room for more."""

    def __init__(self, read: DynamicLayer, count: int) -> None:
        super().__init__()
        self.lazy_initialization(read.keys, read.values)
        self.prompts: tuple[Tensor, Tensor] = read.keys, read.values
        self.filled = 0
        self.keys, self.values = (x.new_empty((count, x.shape[1], 0, x.shape[3])) for x in self.prompts)

    def grow(self, room: int) -> None:
        """Make room for ``room`` tokens. It is zeros: a weight of 0 on what is no number would be none."""
        added = room - self.keys.shape[2]
        self.keys, self.values = (nn.functional.pad(x, (0, 0, 0, added)) for x in (self.keys, self.values))

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """The room of the responses, with the new token (B, H, 1, D) in its place."""
        self.keys[:, :, self.filled] = key_states[:, :, 0]
        self.values[:, :, self.filled] = value_states[:, :, 0]
        self.filled += 1
        return self.keys, self.values

    def get_seq_length(self) -> int:
        """Tokens read so far."""
        return int(self.prompts[0].shape[2]) + self.filled

    def keep(self, rows: Tensor, prompts: Tensor | None) -> None:
        """Go on with these responses, and with these prompts."""
        self.keys, self.values = self.keys[rows], self.values[rows]
        if prompts is not None:
            self.prompts = self.prompts[0][prompts], self.prompts[1][prompts]


class Groups:
    """Which response asks which prompt: in slots, as many for each prompt, so that one product asks for all."""

    def __init__(self, group: Sequence[int], device: torch.device) -> None:
        self.group, self.prompts = list(group), max(group) + 1
        members: list[list[int]] = [[] for _ in range(self.prompts)]
        for row, number in enumerate(group):
            members[number].append(row)
        self.most = max(map(len, members))
        slots = [row for own in members for row in [*own, *own[:1] * (self.most - len(own))]]
        self._slots: Tensor | None = None
        self._places: Tensor | None = None
        if slots != [*range(len(group))]:
            first = {row: place for place, row in reversed([*enumerate(slots)])}
            self._slots = torch.tensor(slots, device=device)
            self._places = torch.tensor([first[row] for row in range(len(group))], device=device)

    def together(self, x: Tensor) -> Tensor:
        """By response to by prompt: (B, H, S, E) -> (G, H, C S, E)."""
        of_slots = x if self._slots is None else x[self._slots]
        return of_slots.unflatten(0, (self.prompts, self.most)).transpose(1, 2).flatten(2, 3)  # type: ignore[no-any-return]

    def apart(self, x: Tensor) -> Tensor:
        """By prompt to by response: (G, H, C S, E) -> (B, H, S, E)."""
        x = x.unflatten(2, (self.most, -1)).transpose(1, 2).flatten(0, 1)
        return x if self._places is None else x[self._places]


class ResponseCache:
    """The cache after prompts were read: ``cache`` goes on as the model's own, with the prompt of each of ``group``."""

    def __init__(self, cache: DynamicCache, group: Sequence[int], most: int) -> None:
        self.cache, self.most, self.width = cache, most, cache.get_seq_length()
        device = cache.layers[0].keys.device
        self.groups = Groups(group, device)
        self.layers = [ResponseLayer(layer, len(group)) for layer in cache.layers]
        cache.layers = self.layers

    def sees(self, attention: Tensor) -> Tensor:
        """What the next token sees of its prompt and of the room, with room for it: (B, P + t) -> (B, 1, 1, P + room).

        ``attention`` marks the real tokens of each text, the next one included.
        """
        length, room = attention.shape[1] - self.width, self.layers[0].keys.shape[2]
        if length > room:
            room = max(length, min(self.most, length + max(ROOM, length // 4)))
            for layer in self.layers:
                layer.grow(room)
        return nn.functional.pad(attention, (0, room - length))[:, None, None]

    @contextmanager
    def attending(self, config: Any) -> Iterator[None]:
        """A context in which the model of this config attends so."""
        AttentionInterface.register(NAME, self.attention)
        with switched_attention(config, NAME):
            yield

    def attention(
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor,
        scaling: float | None = None, **more: Any,
    ) -> tuple[Tensor, None]:  # fmt: skip
        """As an attention function of transformers, for one new token: (B, H, 1, D) -> (B, 1, H, D).

        Raises:
            NotImplementedError: the model's attention is of another kind.
        """
        check_known(more)
        layer = self.layers[int(module.layer_idx)]  # type: ignore[arg-type]
        if key is not layer.keys:
            raise NotImplementedError("attention to other keys than those of the cache")
        return self.read(layer, query, attention_mask, scaling), None

    def read(self, layer: ResponseLayer, query: Tensor, sees: Tensor, scaling: float | None = None) -> Tensor:
        """What one new token reads in ``layer``, of what it ``sees``: (B, H, 1, D) -> (B, 1, H, D)."""
        rows, heads, _, width = query.shape
        (keys, values), key, value = layer.prompts, layer.keys, layer.values
        kept = key.shape[1]
        asked = (query * scale_of(query, scaling)).reshape(rows, kept, heads // kept, width)
        with exact_products():  # also the faster ones: others are made for more than one row
            of_prompts = self.groups.apart(self.groups.together(asked) @ keys.transpose(2, 3))
            scores = torch.cat([of_prompts, asked @ key.transpose(2, 3)], dim=-1)
            weights = masked_weights(scores, sees, value)
            of_prompts = self.groups.apart(self.groups.together(weights[..., : self.width]) @ values)
            return (of_prompts + weights[..., self.width :] @ value).reshape(rows, 1, heads, width)

    def keep(self, rows: Tensor) -> None:
        """Go on with these responses only, and with the prompts that they have."""
        left = [self.groups.group[row] for row in rows.tolist()]
        prompts = sorted(set(left))
        numbers = {prompt: number for number, prompt in enumerate(prompts)}
        fewer = None if len(prompts) == self.groups.prompts else torch.tensor(prompts, device=rows.device)
        self.groups = Groups([numbers[prompt] for prompt in left], rows.device)
        for layer in self.layers:
            layer.keep(rows, fewer)


def response_cache(cache: Any, group: Sequence[int], most: int) -> ResponseCache | None:
    """The cache of prompts as one that responses grow in, by at most ``most`` tokens; None if it is of another kind."""
    plain = type(cache) is DynamicCache and all(type(layer) is DynamicLayer for layer in cache.layers)
    return ResponseCache(cache, group, most) if plain and cache.get_seq_length() else None
