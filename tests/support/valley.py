"""An objective that is nothing like training a network: a ball rolls into a valley, for nine steps
unless it is told otherwise.

Its score is minimized and may be negative, its budget is counted in steps, it has no examples, no weights and
no checkpoints. Tests of every command search it.
"""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Iterator, Mapping
from typing import Any

from search.objectives.base import Job, Joining, Objective, OpenObjective, Work
from search.records import DeclaredSpec, Direction, Metric, Report
from search.space.spec import declared_entries
from tune.space import Choice, Float, Int, Space

ENERGY = Metric(name="energy", direction=Direction.MINIMIZE)
BUDGET = 9
LOWEST = -3.0
"""No ball lies lower, but for the noise of its seed."""

SPACE = Space(
    {
        "start": Float(low=-4.0, high=4.0),
        "friction": Float(low=1e-3, high=1.0, log=True),
        "push": Choice(options=("none", "left", "right")),
        "bounces": Int(low=0, high=3),
    }
)


def valley_spec(**changed: Any) -> DeclaredSpec:
    """Of a study of this objective."""
    told: dict[str, Any] = {
        "objective": "valley",
        "metric": ENERGY,
        "unit": "step",
        "budget": BUDGET,
        "space": declared_entries(SPACE),
        "seed": 0,
        "sampler": "random",
        "pruner": "none",
    }
    return DeclaredSpec(**{**told, **changed})


def energy(settings: Mapping[str, Any], seed: int, step: int) -> float:
    """Lower is better; it falls with every step. VALLEY_STONES: steps and
    configurations of one seed differ in their noise, too."""
    away = float(settings["start"]) - {"none": 0.5, "left": 2.0, "right": -2.0}[settings["push"]]
    stones = f"{step}, {sorted(settings.items())}" if "VALLEY_STONES" in os.environ else ""
    noise = random.Random(f"{seed}{stones}" if stones else seed).gauss(0.0, 0.05)
    slow = 4.0 * (1 + settings["bounces"]) * math.exp(-step * (0.3 + settings["friction"]))
    return float(LOWEST + away * away + slow + noise)


class Rolling(Work):
    """One ball."""

    def __init__(self, job: Job, wait_s: float) -> None:
        self._job, self._wait_s = job, wait_s

    def reports(self) -> Iterator[Report]:
        for step in range(1, self._job.budget + 1):
            time.sleep(self._wait_s)
            self._job.check()
            found = energy(self._job.settings, self._job.seed, step)
            if float(self._job.settings["start"]) > float(os.environ.get("VALLEY_EDGE", "inf")):
                found = math.nan  # it fell off the world
            metrics = {"energy": found, "height": found + 3.0}
            yield Report(step=step, seconds=0.0, metrics=metrics, metric=ENERGY)

    def product(self) -> None:
        return None


class OpenValley(OpenObjective):
    """In a worker's process."""

    environment = {"device": "cpu", "gravity": "9.81"}  # noqa: RUF012  # never changed

    def begin(self, job: Job, state: Any = None) -> Rolling:
        assert state is None, "it has no checkpoints"
        return Rolling(job, float(os.environ.get("VALLEY_WAIT", "0")))


class Valley(Objective):
    """The kind."""

    name = "valley"

    def open(self, joining: Joining) -> OpenValley:
        return OpenValley()


VALLEY = Valley()
