"""The stop policy: when a worker begins no more trials because its run has a time limit or a target.

Under ASHA hardly a trial is trained to its end before the last one has begun: a search that began new ones
until its time was up would have nothing to show but trials that were cut short (docs/decisions/025).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from search.analysis.ranking import best_report, reaches, score_of
from search.records import Metric, State, TrialRecord
from search.store.base import Store
from search.study.study import Study

MARGIN, START_S = 1.15, 5.0
"""What is needed beside what lies ahead of the leaders: others may have to catch up with them."""


class ReachedTarget:
    """Which trials are as good as a target, a network on every head, at their best report. The curve of a
    complete trial that fell short is read once."""

    def __init__(self, store: Store, metric: Metric, target: float) -> None:
        """target: a score."""
        self._store, self._metric, self._target = store, metric, target
        self._fell_short: set[int] = set()
        """ids of complete trials"""

    def among(self, trials: Sequence[TrialRecord]) -> frozenset[int]:
        """Ids of those of the trials that have the target; trials that are set aside are left out."""
        likely = [
            trial
            for trial in trials
            # The worst head is no better than the mean, which is known without reading curves.
            if trial.set_aside is None
            and score_of(trial) >= self._target
            and trial.trial_id not in self._fell_short
        ]
        curves = self._store.curves([trial.trial_id for trial in likely], self._metric)
        reached = {
            trial_id for trial_id, curve in curves.items() if reaches(best_report(curve), self._target)
        }
        complete = {trial.trial_id for trial in likely if trial.state is State.COMPLETE}
        self._fell_short |= complete - reached
        return frozenset(reached)


class StopPolicy:
    """The close of a run, as one of its workers sees it. It comes with certain trials, for whose sake nothing
    else begins, and is over when all of these are pruned or have failed."""

    def __init__(
        self,
        study: Study,
        store: Store,
        *,
        budget: int,
        finalists: int,
        left_s: float = math.inf,
        target: float = math.inf,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """budget: steps of a trial that is worked on to its end. finalists: number of trials at once when a
        search comes to its close; 0: it has no close. left_s: until the run is ended; infinite: no limit.
        target: score that is good enough on every head; infinite: none is."""
        self._study, self._store = study, store
        self._budget, self._finalists, self._target = budget, finalists, target
        self._now, self._ends = now, now() + left_s
        self._for: frozenset[int] = frozenset()
        """ids of the trials for whose sake it has come"""
        self._reached = ReachedTarget(store, study.metric, target)

    def should_stop_proposing(self) -> bool:
        """Whether no trial should begin now. Once it does for the sake of certain trials, it does so for them
        until all of them are pruned or have failed."""
        if not self._finalists or (math.isinf(self._ends) and math.isinf(self._target)):
            return False
        trials = self._study.trials()
        if not any(
            trial.trial_id in self._for and trial.state in (State.RUNNING, State.COMPLETE) for trial in trials
        ):
            self._for = self._good_enough(trials) or self._last_ones(trials)
        return bool(self._for)

    def _good_enough(self, trials: Sequence[TrialRecord]) -> frozenset[int]:
        """The trials that have the target, however far they were trained."""
        return self._reached.among(
            [trial for trial in trials if trial.state in (State.RUNNING, State.COMPLETE)]
        )

    def _last_ones(self, trials: Sequence[TrialRecord]) -> frozenset[int]:
        """The leaders and the references, where they need the time that is left."""
        if math.isinf(self._ends):
            return frozenset()
        at_work = [trial for trial in trials if trial.state is State.RUNNING and trial.step]
        leaders = self._leaders(at_work)
        if not leaders:  # for the sake of references alone no search ends
            return frozenset()
        last = [*leaders, *(trial for trial in at_work if trial.reference)]
        near = self._ends - self._now() < self.needed_s(last)
        return frozenset(trial.trial_id for trial in last) if near else frozenset()

    def needed_s(self, trials: Sequence[TrialRecord]) -> float:
        """Until all of these are trained to their end, on as many workers as the study has now."""
        curves = self._store.curves([trial.trial_id for trial in trials], self._study.metric)
        ahead_s = [
            curve[-1].seconds_per_step * max(0, self._budget - curve[-1].step) for curve in curves.values()
        ]
        workers = len({claim.worker_id for claim in self._store.open_claims(self._study.study_id)})
        longest_s = max(ahead_s, default=0.0)  # one trial is trained by one worker
        return START_S + MARGIN * max(longest_s, sum(ahead_s) / max(1, workers))

    def _leaders(self, at_work: Sequence[TrialRecord]) -> list[TrialRecord]:
        """Those that got furthest, the best of them first."""
        own = [trial for trial in at_work if not trial.reference]
        return sorted(own, key=lambda trial: (-trial.step, -score_of(trial), trial.number))[: self._finalists]
