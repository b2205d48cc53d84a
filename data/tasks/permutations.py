"""Compositions that are the same in every study: seeds made of words, and permutations drawn from them.

Without torch, so that commands which only read can tell which digits a validation example is made of. The
permutations are bit for bit those of torch.randperm on the CPU, by which the first studies were composed.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


def seed_of(*key: str | int) -> int:
    """A seed made of all of `key`: the first 8 bytes of SHA-256 over its repr, as a signed integer.

    Neighboring keys thus give unrelated streams, which seed + epoch would not: seed 1 in epoch 2 and
    seed 2 in epoch 1 would be the same.
    """
    digest = hashlib.sha256(repr(key).encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


@lru_cache(maxsize=32)
def columns(size: int, count: int, *key: str | int) -> NDArray[np.int64]:
    """int64 (size, count), read-only: in each column all of 0 .. size - 1 in an order drawn from one stream.

    How: the Mersenne Twister is seeded with the lower 32 bits of the key's seed; for each column, place i is
    swapped with one of those from i on, chosen by the remainder of a 32-bit number. A column of 54,000 takes
    60 ms, hence the cache.
    """
    stream = np.random.RandomState(seed_of(*key) & 0xFFFFFFFF)
    found = np.empty((size, count), dtype=np.int64)
    for column in range(count):
        raw = stream.randint(0, 2**32, size=max(0, size - 1), dtype=np.uint32)
        steps = raw % np.arange(size, 1, -1, dtype=np.uint32)
        places = list(range(size))
        for place, step in enumerate(steps.tolist()):
            places[place], places[place + step] = places[place + step], places[place]
        found[:, column] = places
    found.setflags(write=False)
    return found
