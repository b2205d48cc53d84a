"""The pruners by name, set up for a ladder of images seen: how a trial is judged and who goes on.
The scores that they judge are monotone best-so-far values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from search.study.ladder import SHORT, Ladder
from search.study.promotion import Asha, OneAtATime, Promotion, geometric_rungs

_STARTUP_TRIALS = 5
"""Median and percentile judge nobody before this many trials have finished."""

_FACTOR = 2
"""ASHA's rungs are so many times the images apart (docs/decisions/005)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pruning:
    """How a study saves work."""

    pruner: BasePruner
    """asked at every report; can only stop a trial"""
    promotion: Promotion
    """asked at every rung which of a worker's trials goes on"""
    rungs: tuple[int, ...]
    """training images seen where `promotion` is asked, rising to the whole budget"""


def _stopping(make: Callable[[Ladder], BasePruner]) -> Callable[[Ladder], Pruning]:
    return lambda ladder: Pruning(pruner=make(ladder), promotion=OneAtATime(), rungs=(ladder.total,))


def _asha(ladder: Ladder) -> Pruning:
    # From the first report on (docs/decisions/020 and 024): earlier, MLPs look better than the convolutions
    # that will beat them, and a sampler that learns from that never looks at a convolution again. Where
    # reports begin sooner than that, in trials of less than an epoch and in the oldest studies, at a quarter.
    first = ladder.epoch_images // (4 if ladder.halvings == SHORT else 2**ladder.halvings)
    rungs = geometric_rungs(min(first, ladder.total), ladder.total, _FACTOR)
    return Pruning(pruner=NopPruner(), promotion=Asha(rungs=rungs), rungs=rungs)


PRUNERS: Mapping[str, Callable[[Ladder], Pruning]] = MappingProxyType(
    {
        "asha": _asha,
        "halving": _stopping(
            lambda ladder: SuccessiveHalvingPruner(
                min_resource=max(ladder.first, ladder.epoch_images // 4), reduction_factor=4
            )
        ),
        "median": _stopping(lambda ladder: MedianPruner(n_startup_trials=_STARTUP_TRIALS)),
        "percentile": _stopping(lambda ladder: PercentilePruner(25.0, n_startup_trials=_STARTUP_TRIALS)),
        "hyperband": _stopping(
            lambda ladder: HyperbandPruner(
                min_resource=ladder.first, max_resource=ladder.total, reduction_factor=4
            )
        ),
        "none": _stopping(lambda ladder: NopPruner()),
    }
)

DEFAULT_PRUNER = "asha"
"""docs/decisions/005 has the measurement."""


def make_pruning(name: str, ladder: Ladder) -> Pruning:
    """The pruner of that name. Raises UsageError for an unknown one."""
    if name not in PRUNERS:
        raise UsageError(f"--pruner {name}: no such pruner{did_you_mean(name, PRUNERS)}.")
    return PRUNERS[name](ladder)
