"""Which trials are drawn at random although the sampler learns: the experiment inside a search.
Imports no Optuna: reports ask too.
"""

from __future__ import annotations

from search.seeds import derive

ONE_IN = 3
"""So many trials are drawn at random although TPE is at work, as in BOHB (Falkner et al. 2018). Judged early
and sure of itself after ten trials, TPE alone settled on what starts fast (docs/decisions/005)."""

STARTUP_TRIALS = 20
"""TPE draws at random before so many trials are there. After Optuna's ten it was sure of the first decent
network and looked at nothing else: docs/decisions/016."""

ALWAYS = frozenset({"random", "qmc"})
"""Samplers that never look at results."""


def sampler_seed(study_seed: int, number: int) -> int:
    """The seed that the settings of a trial are drawn with."""
    return derive(study_seed, "sampler", number)


def is_random(seed: int) -> bool:
    """Whether TPE leaves a trial of this `sampler_seed` to chance."""
    return seed % ONE_IN == 0


def drawn_at_random(sampler: str, study_seed: int, number: int) -> bool:
    """Whether the settings of trial `number` owe nothing to the results of others."""
    if sampler == "tpe":
        return number < STARTUP_TRIALS or is_random(sampler_seed(study_seed, number))
    return sampler in ALWAYS
