"""Trains a trial once more from what the database knows of it, and holds the new curve against the old one.
Knows nothing of terminals. Nothing is written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from search.errors import UsageError
from search.records import Point, TrialRecord, Value, Worker
from search.service.data import fetch_data, load_data
from search.service.look import found_trial

if TYPE_CHECKING:  # torch takes a second to import; commands that only look do without it
    from data.fetch import Progress

Watch = Callable[[Point, Point], None]
"""Told the old point and the new one as soon as that is there."""

OF_THE_MACHINE = ("device", "cpu", "threads", "cpu_capability", "torch")
"""What the last bit of a result may depend on, beside precision."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Repeated:
    """A trial and its repetition."""

    study: str
    trial: TrialRecord
    before: tuple[Point, ...]
    again: tuple[Point, ...]
    seconds: float
    changed: Mapping[str, tuple[Value | None, Value | None]]
    """what differs between the machine then and this one now, by name"""

    @property
    def first_difference(self) -> Point | None:
        """The first new point that is not the old one to the last bit, its time apart; None: all are."""
        for before, again in zip(self.before, self.again, strict=True):
            if replace(before, seconds=0.0) != replace(again, seconds=0.0):
                return again
        return None

    @property
    def largest_difference(self) -> float:
        """Of the validation accuracy at any point."""
        return max(
            abs(before.validation.accuracy - again.validation.accuracy)
            for before, again in zip(self.before, self.again, strict=True)
        )


def repeat(
    storage_url: str, name: str, number: int, *, watch: Watch, progress: Progress | None = None
) -> Repeated:
    """Trains trial `number` of the study again, as far as it went, in the precision that it had.

    Raises UsageError where there is no such trial, or nothing of its curve; ConfigError where this machine's
    MNIST is not the study's.
    """
    from search.work.again import again as train
    from search.work.again import machine

    found = found_trial(storage_url, name, number)
    if not found.curve:
        raise UsageError(f"Trial {number} of {name} never came to a report; there is nothing to compare.")
    fetch_data(progress=progress)
    curve = train(
        found.record,
        found.trial.settings,
        origin=found.origin,
        worker=found.worker,
        rungs=[point.images for point in found.curve],
        mnist=load_data(),
    )
    began, again = time.monotonic(), []
    for before, point in zip(found.curve, curve, strict=True):
        again.append(point)
        watch(before, point)
    return Repeated(
        study=name,
        trial=found.trial,
        before=tuple(found.curve),
        again=tuple(again),
        seconds=time.monotonic() - began,
        changed=_changed(found.worker, machine()),
    )


def _changed(
    worker: Worker | None, here: Mapping[str, str | int]
) -> dict[str, tuple[Value | None, Value | None]]:
    then: Mapping[str, str | int] = {} if worker is None else worker.environment
    pairs = {name: (then.get(name), here.get(name)) for name in OF_THE_MACHINE}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
