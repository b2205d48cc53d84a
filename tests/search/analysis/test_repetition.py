"""How two learning curves of one trial are compared."""

from __future__ import annotations

import math

import pytest

from search.analysis.repetition import Repetition
from search.records import Direction, Metric, Report

LOSS = Metric(name="loss", direction=Direction.MINIMIZE)

NOTHING = (None, 0.0, 0, ())
"""Of curves that are the same: (first, largest difference, unpaired steps, metrics that differ)."""


def curve(*losses: float, start: int = 1, seconds: float = 1.0, **more: float | None) -> tuple[Report, ...]:
    return tuple(
        Report(step=step, seconds=seconds, metrics={"loss": loss, **more}, metric=LOSS)  # type: ignore[dict-item]  # a row may have none
        for step, loss in enumerate(losses, start)
    )


@pytest.mark.parametrize(
    ("before", "retrained", "expected"),
    [
        (curve(0.5, 0.25), curve(0.5, 0.25, seconds=9.0), NOTHING),  # times are never the same
        (curve(0.5, 0.25), curve(0.5, 0.125), (2, 0.125, 0, ("loss",))),
        (curve(0.5, 0.25), curve(0.5, math.nextafter(0.25, 1)), (2, 2**-54, 0, ("loss",))),
        (curve(0.5, 0.25), curve(0.5), (2, 0.0, 1, ())),
        (curve(0.5), curve(0.5, start=2), (1, None, 2, ())),
        (curve(0.5, width=None), curve(0.5, width=math.nan), NOTHING),  # rows have no NaN
        (curve(0.5), curve(0.5, width=math.nan, depth=math.inf), NOTHING),  # and readers leave it out
        (curve(0.5, width=1.0), curve(0.5, width=math.inf), (1, 0.0, 0, ("width",))),
        (curve(0.5, width=1.0), curve(0.5, width=2.0), (1, 0.0, 0, ("width",))),
        (curve(0.5, width=1.0), curve(0.5), (1, 0.0, 0, ("width",))),
    ],
)
def test_two_curves(
    before: tuple[Report, ...], retrained: tuple[Report, ...], expected: tuple[object, ...]
) -> None:
    found = Repetition(before=before, retrained=retrained)
    assert (
        found.first_difference,
        found.largest_difference,
        found.unpaired,
        found.differing,
    ) == expected
