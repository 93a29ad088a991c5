"""Random numbers from named streams: draws from one stream do not affect any other, and no state has to be saved."""

import hashlib

import numpy as np


def stream(seed: int, name: str, *index: int) -> np.random.Generator:
    """A new generator for (seed, name, index): the same arguments give the same numbers on every machine.

    numpy, because its conversion from integers to doubles is exact; torch's generators differ between instruction sets.
    """
    key = ":".join([str(seed), name, *map(str, index)])
    return np.random.Generator(np.random.Philox(key=int.from_bytes(hashlib.sha256(key.encode()).digest()[:16], "big")))
