"""Random numbers from named streams: what one part draws shifts nothing anywhere else, and nothing is to be saved."""

import hashlib

import numpy as np


def stream(seed: int, name: str, *index: int) -> np.random.Generator:
    """A fresh generator for (seed, name, index): the same words give the same numbers, on every machine.

    numpy's integers-to-doubles path is exact arithmetic; torch's own generators differ between instruction sets.
    """
    words = ":".join([str(seed), name, *map(str, index)])
    return np.random.Generator(
        np.random.Philox(key=int.from_bytes(hashlib.sha256(words.encode()).digest()[:16], "big"))
    )
