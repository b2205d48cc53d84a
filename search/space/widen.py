"""The same network, so many times as wide.
Knows nothing of why: search.service.confirm searches narrow networks and confirms wide ones.
"""

from __future__ import annotations

from collections.abc import Mapping

from search.records import Value
from search.space.defaults import BY_NAME


def widened(settings: Mapping[str, Value], factor: float) -> dict[str, Value]:
    """The settings of a network with `factor` times the channels and units in every layer.

    `factor` 1 changes nothing. Channels stay multiples of the `divisor` that they are rounded to, half up, as
    far as the first block goes; later blocks follow by `growth`.
    """
    found = dict(settings)
    if factor == 1:
        return found
    for name, value in settings.items():
        if BY_NAME[name].width:
            step = int(settings.get("divisor", 1)) if name == "channels" else 1
            found[name] = step * max(1, int(float(value) * factor / step + 0.5))
    return found
