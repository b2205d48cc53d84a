"""The same network, wider."""

from __future__ import annotations

from collections.abc import Mapping

from search.records import Value
from search.space.defaults import BY_NAME, in_effect
from tune.space import Int


def widened(settings: Mapping[str, Value], factor: float) -> dict[str, Value]:
    """The settings of a network with `factor` times the channels and the hidden units, as near as they go.

    Channels are multiples of the `divisor` that they are rounded to, so 16 of them times 1.25 are 24.
    Whatever is widened gets at least one step more, and no more than is legal. `factor` 1 changes nothing.
    """
    found = dict(settings)
    if factor == 1:
        return found
    for name, value in settings.items():
        if BY_NAME[name].width:
            legal = BY_NAME[name].legal
            assert isinstance(legal, Int)
            assert isinstance(value, int)
            step = int(in_effect(settings)["divisor"]) if name == "channels" else 1
            nearest = step * int(value * factor / step + 0.5)
            found[name] = max(value, min(max(nearest, value + step), legal.high))
    return found
