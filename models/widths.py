"""How many units and channels the layers of a network have, from its settings.

Imports no torch, so that commands that only look can tell whether two settings mean the same network.
"""


def tapered(width: int, taper: float, layers: int) -> tuple[int, ...]:
    """Units of each hidden layer: each layer is `taper` times as wide as the one before, at least 1 unit."""
    return tuple(max(1, round(width * taper**i)) for i in range(layers))


def grown(channels: int, growth: float, blocks: int, divisor: int) -> tuple[int, ...]:
    """Output channels of each block: `growth` times those of the one before, as multiples of `divisor`."""
    exact = (channels * growth**i for i in range(blocks))
    return tuple(divisor * max(1, round(each / divisor)) for each in exact)
