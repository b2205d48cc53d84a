"""What of a network's layers is known from its settings: how many units and channels, which activations.

Imports no torch, so that commands that only look can tell whether two settings mean the same network.
"""

from typing import Literal, get_args

Activation = Literal["relu", "leaky_relu", "elu", "tanh", "gelu", "silu"]
ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)


def tapered(width: int, taper: float, layers: int) -> tuple[int, ...]:
    """Units of each hidden layer: each layer is `taper` times as wide as the one before, at least 1 unit."""
    return tuple(max(1, round(width * taper**i)) for i in range(layers))


def grown(channels: int, growth: float, blocks: int, divisor: int) -> tuple[int, ...]:
    """Output channels of each block: `growth` times those of the one before, as multiples of `divisor`."""
    exact = (channels * growth**i for i in range(blocks))
    return tuple(divisor * max(1, round(each / divisor)) for each in exact)
