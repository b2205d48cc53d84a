"""The pruners by name, set up for a ladder of images seen.
Knows nothing of networks; the scores that it judges are monotone best-so-far values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from search.study.ladder import Ladder

_STARTUP_TRIALS = 5
"""Median and percentile judge nobody before this many trials have finished."""

PRUNERS: Mapping[str, Callable[[Ladder], BasePruner]] = MappingProxyType(
    {
        "asha": lambda ladder: SuccessiveHalvingPruner(
            min_resource=max(ladder.first, ladder.epoch_images // 4), reduction_factor=4
        ),
        "median": lambda ladder: MedianPruner(n_startup_trials=_STARTUP_TRIALS),
        "percentile": lambda ladder: PercentilePruner(25.0, n_startup_trials=_STARTUP_TRIALS),
        "hyperband": lambda ladder: HyperbandPruner(
            min_resource=ladder.first, max_resource=ladder.total, reduction_factor=4
        ),
        "none": lambda ladder: NopPruner(),
    }
)

DEFAULT_PRUNER = "asha"
"""docs/decisions/003 has the measurement."""


def make_pruner(name: str, ladder: Ladder) -> BasePruner:
    """The pruner of that name. Raises UsageError for an unknown one."""
    if name not in PRUNERS:
        raise UsageError(f"--pruner {name}: no such pruner{did_you_mean(name, PRUNERS)}.")
    return PRUNERS[name](ladder)
