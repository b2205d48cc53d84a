"""The pruners by name, set up for an evaluation schedule: which trials are stopped early and which continue.
The scores that they compare are monotone best-so-far values.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
)

from search.errors import UsageError, did_you_mean
from search.study.evaluation_schedule import EvaluationSchedule
from search.study.promotion import Asha, OneAtATime, Promotion, geometric_rungs

_STARTUP_TRIALS = 5
"""Median and percentile stop no trial before this many trials have finished."""

_FACTOR = 2
"""Factor between the steps of ASHA's rungs (docs/decisions/005)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pruning:
    """How a study saves work."""

    pruner: BasePruner
    """asked at every report; can only stop a trial"""
    promotion: Promotion
    """asked at every rung which of a worker's trials continues"""
    rungs: tuple[int, ...]
    """steps at which `promotion` is asked, rising to the whole budget"""


def _stopping(make: Callable[[EvaluationSchedule], BasePruner]) -> Callable[[EvaluationSchedule], Pruning]:
    return lambda evaluations: Pruning(
        pruner=make(evaluations), promotion=OneAtATime(), rungs=(evaluations.total,)
    )


def _asha(evaluations: EvaluationSchedule) -> Pruning:
    """Its rungs are steps at which trials report: half an epoch of 54,001 images twice is not an epoch."""
    wanted = geometric_rungs(evaluations.asha_from, evaluations.total, _FACTOR)
    rungs = tuple(sorted({_nearest(evaluations.rungs, step) for step in wanted}))
    return Pruning(pruner=NopPruner(), promotion=Asha(rungs=rungs), rungs=rungs)


def _nearest(rungs: Sequence[int], step: int) -> int:
    """Of two that are equally near the lower one."""
    place = bisect_left(rungs, step)
    return min(rungs[max(place - 1, 0) : place + 1], key=lambda rung: abs(rung - step))


PRUNERS: Mapping[str, Callable[[EvaluationSchedule], Pruning]] = MappingProxyType(
    {
        "asha": _asha,
        "halving": _stopping(
            lambda evaluations: SuccessiveHalvingPruner(
                min_resource=evaluations.halving_from, reduction_factor=4
            )
        ),
        "median": _stopping(lambda evaluations: MedianPruner(n_startup_trials=_STARTUP_TRIALS)),
        "percentile": _stopping(lambda evaluations: PercentilePruner(25.0, n_startup_trials=_STARTUP_TRIALS)),
        "hyperband": _stopping(
            lambda evaluations: HyperbandPruner(
                min_resource=evaluations.first, max_resource=evaluations.total, reduction_factor=4
            )
        ),
        "none": _stopping(lambda evaluations: NopPruner()),
    }
)

DEFAULT_PRUNER = "asha"
"""docs/decisions/005 has the measurement."""


def make_pruning(name: str, evaluations: EvaluationSchedule) -> Pruning:
    """The pruner of that name. Raises UsageError for an unknown one."""
    if name not in PRUNERS:
        raise UsageError(f"--pruner {name}: no such pruner{did_you_mean(name, PRUNERS)}.")
    return PRUNERS[name](evaluations)
