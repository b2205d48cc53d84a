"""Which trials a sampler is shown: all of a small study, a fixed number of a large one.

Drawing costs what the sampler reads. TPE at 10,000 trials takes half a second of CPU for one draw (GP: the
cube of their number), and most of it for trials that hardly matter. TPE models two densities: of its *good*
trials, never more than 25, and of all others. Of a large study it is shown

- every trial at work: before its first report as such, which it steers clear of, and then as if it had
  been pruned there, so that what is known so far counts,
- the trials that it calls good, by its own order, all of them,
- the first finished trial, from which the quasi-random sampler takes its dimensions,
- of the others, diverged ones included, an even sample: those whose number has the lowest hash. One more
  trial changes at most one of them, so that a process reads each only once, and every process has the same.

A diverged trial is the worst result that there is. It is shown as one that was pruned before its first
report, which TPE ranks behind all others. Other failed trials say nothing about their settings.

So the good density is exactly TPE's, and the other one is estimated from the sample. Up to SHOWN finished
trials nothing is left out. What is shown depends on the trials alone, not on who looks or since when.
"""

from __future__ import annotations

import bisect
import heapq
import math
from collections.abc import Callable, Collection

from optuna.trial import FrozenTrial, TrialState

from search.optuna_db.frozen import frozen
from search.optuna_db.optuna_trials import OptunaTrials
from search.optuna_db.ownership import FAILURE
from search.optuna_db.trial_facts import Facts, News, Outline
from search.records import Direction, Failure, State
from search.seeds import derive

GOOD = 25
"""The most trials that TPE calls good (optuna's default_gamma; a test holds the two together)."""

SHOWN = 400
"""Finished trials that are shown at most; benchmarks/overhead.py has what it costs."""


class History:
    """The trials of one study as this process has seen them so far."""

    def __init__(
        self,
        trials: OptunaTrials,
        study_id: int,
        shown: Callable[[Facts], Facts | None] | None = None,
        *,
        direction: Direction = Direction.MAXIMIZE,
        set_aside: Collection[int] = (),
    ) -> None:
        """shown: a trial as it is shown, tune's own ones only, or None; without it, all trials as they are.
        direction: of their values. set_aside: numbers of trials that take no place."""
        self._trials = trials
        self._study_id = study_id
        self._show = shown
        self._set_aside = frozenset(set_aside)
        self._direction = direction
        self._news = News()
        self._first: Outline | None = None
        self._good: list[tuple[tuple[float, ...], int]] = []
        """(rank, id), best first"""
        self._sample: list[tuple[int, int]] = []
        """(minus hash, id), a heap: its head is the next to go"""
        self._at_work: dict[int, Outline] = {}
        self._known: dict[int, FrozenTrial] = {}
        self._unusable: set[int] = set()
        """finished trials that are not shown although they hold a place"""
        self._numbers: dict[int, int] = {}

    def look(self) -> None:
        """Takes in what is new."""
        for trial in self._trials.outlines(self._study_id, self._news):
            self._at_work.pop(trial.trial_id, None)
            if self._show is not None and not (trial.own and _rankable(trial)):
                continue
            if trial.number in self._set_aside:
                continue
            if trial.state is State.RUNNING:
                self._at_work[trial.trial_id] = trial
            elif trial.state.is_finished or trial.diverged:
                self._take(trial)

    def _take(self, trial: Outline) -> None:
        if self._first is None or trial.number < self._first.number:
            self._first = trial
        self._numbers[trial.trial_id] = trial.number
        bisect.insort(self._good, (rank(trial, self._direction), trial.trial_id))
        if len(self._good) > GOOD:
            self._sample_one(self._good.pop()[1])

    def _sample_one(self, trial_id: int) -> None:
        heapq.heappush(self._sample, (-derive(0, "history", self._numbers[trial_id]), trial_id))
        if len(self._sample) > SHOWN - GOOD:
            _, dropped = heapq.heappop(self._sample)
            del self._numbers[dropped]
            self._known.pop(dropped, None)

    def shown(self) -> list[FrozenTrial]:
        """The trials to be shown as of the last read, by number."""
        finished = {trial_id for _, trial_id in (*self._good, *self._sample)}
        if self._first is not None:
            finished.add(self._first.trial_id)
        missing = finished - self._known.keys() - self._unusable
        for trial in self._trials.facts_of(missing | self._at_work.keys()):
            seen = trial if self._show is None else self._show(trial)
            if seen is not None and not _cut_short(seen):
                self._known[trial.trial_id] = _with_worst_result(frozen(seen))
            elif trial.trial_id in finished:
                self._unusable.add(trial.trial_id)
        found = [self._known[trial_id] for trial_id in finished if trial_id in self._known]
        at_work = [trial_id for trial_id in self._at_work if trial_id in self._known]
        found += [_as_pruned(self._known.pop(trial_id)) for trial_id in at_work]  # it will change
        return sorted(found, key=lambda trial: trial.number)


def _rankable(trial: Outline) -> bool:
    """Whether what ranks a trial can be read; the rest is looked at when it is to be shown."""
    value, step = trial.value, trial.last_step
    return (value is None or math.isfinite(value)) and (step is None or isinstance(step, int))


def _cut_short(trial: Facts) -> bool:
    """Whether it failed without having diverged: a trial at work may do so after the last read."""
    return trial.state is State.FAILED and trial.user.get(FAILURE) != Failure.DIVERGED


def _as_pruned(trial: FrozenTrial) -> FrozenTrial:
    """A trial that has reported, as if it had been pruned there.

    A trial that waits for its verdict is often one of the best; TPE would take it for one of the bad, as it
    does with every trial at work.
    """
    if trial.intermediate_values:
        trial.state = TrialState.PRUNED
        trial.value = trial.intermediate_values[max(trial.intermediate_values)]
    return trial


def _with_worst_result(trial: FrozenTrial) -> FrozenTrial:
    """A diverged trial, if it is one, as if it had been pruned before its first report: Optuna's samplers see
    no failed trials, and TPE ranks such a pruned one last."""
    if trial.state is TrialState.FAIL:
        trial.state = TrialState.PRUNED
        trial.intermediate_values = {}
    return trial


def rank(trial: Outline, direction: Direction = Direction.MAXIMIZE) -> tuple[float, ...]:
    """TPE's order of finished trials, the best first: complete ones by value, then pruned ones by how far
    they came and by value, then those without a report and diverged ones; the earlier one of equals."""
    sign = -1 if direction is Direction.MAXIMIZE else 1
    value = sign * trial.value if trial.value is not None else math.inf
    if trial.state is State.COMPLETE:
        return (0, value, 0, trial.number)
    if trial.last_step is None or trial.diverged:
        return (2, 0, 0, trial.number)
    return (1, -trial.last_step, value, trial.number)
