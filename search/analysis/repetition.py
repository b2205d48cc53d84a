"""How the learning curve of a trial and that of its repetition differ."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from search.records import Report


@dataclass(frozen=True, kw_only=True, slots=True)
class Repetition:
    """The reports of a trial and those of its repetition, both by step."""

    before: tuple[Report, ...]
    retrained: tuple[Report, ...]

    @property
    def first_difference(self) -> int | None:
        """The first step whose reports are not the same to the last bit, their time apart, or that only one
        of the curves has; None: all are the same."""
        return next((step for step, old, new in self._steps() if not _same(old, new)), None)

    @property
    def largest_difference(self) -> float | None:
        """Of the score, at any step that both have; None: there is none."""
        both = [(old, new) for _, old, new in self._steps() if old is not None and new is not None]
        return max((abs(old.score - new.score) for old, new in both), default=None)

    @property
    def unpaired(self) -> int:
        """Steps that only one of the curves has."""
        return sum(old is None or new is None for _, old, new in self._steps())

    @property
    def differing(self) -> tuple[str, ...]:
        """Names of the metrics that differ at any step that both have, or that only one of the two reports
        has."""
        found: set[str] = set()
        for _, old, new in self._steps():
            if old is not None and new is not None:
                found.update(differing(old, new))
        return tuple(sorted(found))

    def _steps(self) -> Iterator[tuple[int, Report | None, Report | None]]:
        old = {report.step: report for report in self.before}
        new = {report.step: report for report in self.retrained}
        return ((step, old.get(step), new.get(step)) for step in sorted(old.keys() | new.keys()))


def differing(before: Report, retrained: Report) -> tuple[str, ...]:
    """Names of the metrics in which two reports differ."""
    old, new = _finite(before.metrics), _finite(retrained.metrics)
    return tuple(name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name))


def _same(before: Report | None, retrained: Report | None) -> bool:
    return before is not None and retrained is not None and not differing(before, retrained)


def _finite(metrics: Mapping[str, float | None]) -> dict[str, float]:
    """What is left of metrics where they are recorded and read."""
    return {name: value for name, value in metrics.items() if value is not None and math.isfinite(value)}
