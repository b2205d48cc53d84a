"""Learning rate schedules: pure functions from the fraction of the run done to a multiplier."""

import math
from collections.abc import Callable
from typing import Literal

Schedule = Literal["constant", "cosine", "one_cycle"]

WARM_UP = 0.3
START = 1 / 25
END = START / 1e4
"""Smith's one-cycle shape with the defaults of torch.optim.lr_scheduler.OneCycleLR (cosine on both sides)."""


def constant(fraction: float) -> float:
    """1 throughout."""
    return 1.0


def cosine(fraction: float) -> float:
    """From 1 at fraction 0 down to 0 at fraction 1, half a cosine (SGDR without restarts)."""
    return _between(1.0, 0.0, fraction)


def one_cycle(fraction: float) -> float:
    """Up from 1/25 to 1 over the first 30 % of the run, then down to almost 0: lr is the peak."""
    if fraction < WARM_UP:
        return _between(START, 1.0, fraction / WARM_UP)
    return _between(1.0, END, (fraction - WARM_UP) / (1 - WARM_UP))


def _between(start: float, end: float, fraction: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * fraction)) / 2


SCHEDULES: dict[Schedule, Callable[[float], float]] = {
    "constant": constant,
    "cosine": cosine,
    "one_cycle": one_cycle,
}
