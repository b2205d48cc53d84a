"""The samplers by name, seeded so that parallel and resumed workers do not draw the same points. Quasi-random
ones share one sequence, of which Optuna promises each point at least once.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, QMCSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from search.errors import UsageError, did_you_mean
from search.optuna_db.whole_arrays import use_whole_arrays
from search.seeds import derive
from search.study.exploration import STARTUP_TRIALS, is_exploration_seed, sampler_seed


class SeededPerTrial(BaseSampler):
    """Draws trial number n with a generator seeded from (study seed, n).

    Optuna seeds a sampler once per process: two workers with one seed draw identical points
    (optuna#4412), and so does a worker that is started again. Seeding by trial number makes one worker
    repeatable and many workers distinct.
    """

    def __init__(self, make: Callable[[int], BaseSampler], seed: int) -> None:
        self._make = make
        self._seed = seed
        self._sampler = make(derive(seed, "sampler"))

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._sampler = self._make(sampler_seed(self._seed, trial.number))
        self._sampler.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self._sampler.after_trial(study, trial, state, values)


def _tpe(seed: int) -> BaseSampler:
    if is_exploration_seed(seed):
        return RandomSampler(seed=seed)
    use_whole_arrays()
    # group: the settings of one model family are missing from trials of the other; without it they
    # would fall out of the joint model.
    with _long_experimental():
        return TPESampler(seed=seed, group=True, n_startup_trials=STARTUP_TRIALS)


def _qmc(seed: int) -> BaseSampler:
    # Its sequence is of the settings of the study's first finished trial; it draws the others at random.
    with _long_experimental():
        return QMCSampler(seed=seed, scramble=True, warn_independent_sampling=False)


def _gp(seed: int) -> BaseSampler:
    # It models the settings that all trials have, and draws the others at random: docs/decisions/027 says so,
    # and not every draw.
    return GPSampler(seed=seed, warn_independent_sampling=False)


_FILTERS = threading.RLock()
"""The filters of warnings are the process's: one thread would put back those of another."""


@contextmanager
def _long_experimental() -> Iterator[None]:
    """Without the warnings about parts of Optuna that have been experimental for years (2.8, 3.0)."""
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


SAMPLERS: Mapping[str, Callable[[int], BaseSampler]] = MappingProxyType(
    {
        "tpe": lambda seed: SeededPerTrial(_tpe, seed),
        "gp": lambda seed: SeededPerTrial(_gp, seed),
        "random": lambda seed: SeededPerTrial(lambda s: RandomSampler(seed=s), seed),
        # A low-discrepancy sequence is one sequence: every worker needs the same seed, and Optuna hands
        # out its points through the storage.
        "qmc": lambda seed: _qmc(derive(seed, "sampler")),
    }
)

DEFAULT_SAMPLER = "tpe"

COMPARES_AT_ONE_RUNG = frozenset({"gp"})
"""Samplers that are shown trials as search.study.fidelity presents them."""


def make_sampler(name: str, seed: int) -> BaseSampler:
    """The sampler of that name. Raises UsageError for an unknown one."""
    if name not in SAMPLERS:
        raise UsageError(f"--sampler {name}: no such sampler{did_you_mean(name, SAMPLERS)}.")
    return SAMPLERS[name](seed)
