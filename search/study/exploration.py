"""Exploration trials: the settings do not depend on earlier results. All others are proposed trials.

Analyses of a study use them as a random sample of its space. Imports no Optuna, so that reports start fast.
"""

from __future__ import annotations

from search.seeds import derive

ONE_IN = 3
"""One trial in three explores while TPE proposes, as in BOHB (Falkner et al. 2018). TPE alone, with pruning
and ten start-up trials, converged to networks that learn fast at first (docs/decisions/005)."""

STARTUP_TRIALS = 20
"""The first trials of TPE explore. With Optuna's default of ten, TPE kept to the first good network that it
found: docs/decisions/016."""

EXPLORING_SAMPLERS = frozenset({"random", "qmc"})
"""Samplers whose settings never depend on results."""


def sampler_seed(study_seed: int, number: int) -> int:
    """The seed of the sampler for one trial."""
    return derive(study_seed, "sampler", number)


def is_exploration_seed(seed: int) -> bool:
    """Whether a trial with this `sampler_seed` is an exploration trial under TPE."""
    return seed % ONE_IN == 0


def is_exploration_trial(sampler: str, study_seed: int, number: int) -> bool:
    """Whether trial `number` is an exploration trial; if not, it is a proposed trial."""
    if sampler == "tpe":
        return number < STARTUP_TRIALS or is_exploration_seed(sampler_seed(study_seed, number))
    return sampler in EXPLORING_SAMPLERS
