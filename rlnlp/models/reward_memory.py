"""How much text goes through a reward model at once where the settings leave it open: by the sizes of both.

Kept for the backward pass, bytes for each token, layer and unit of width, measured in float32 and in bfloat16:

==========================================  ===========  ============
model                                       float32      bfloat16
==========================================  ===========  ============
SmolLM2-135M, 480 tokens                    79.5         80.5
the embedded model, 120 tokens              85.5         83.7
SmolLM2-135M, eager attention, 480 tokens   99.8         105.6
==========================================  ===========  ============

SmolLM2-135M has 30 layers of width 576: 1.4 MB a token, so that 3,106 tokens are read at once.
"""

from typing import Any

from rlnlp.batching import AtOnce

KEPT = 80  # bytes for each token, layer and unit of width
MEMORY = 4 * 2**30  # bytes that are kept at most, but for a text that needs more alone
TEXTS = 64  # at most: more of a small model's are no faster


def at_once(bodies: list[Any], texts: int | None, tokens: int | None = None) -> AtOnce:
    """``texts`` and ``tokens`` if one is a number; else what the models ``bodies``, which learn together, may keep.

    It depends on sizes alone, never on the machine: a run can be repeated on any.
    """
    if texts is not None or tokens is not None:
        return AtOnce(TEXTS if texts is None else texts, tokens)
    sizes = [body.config.get_text_config() for body in bodies]
    token = sum(KEPT * int(size.num_hidden_layers) * int(size.hidden_size) for size in sizes)
    return AtOnce(TEXTS, max(1, MEMORY // token))
