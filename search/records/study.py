"""A study, and how its trials stand."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from search.records.spec import StudySpec
from search.records.trial import Failure, State


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyRecord:
    """A study, as `tune studies` lists it."""

    study_id: int
    name: str
    spec: StudySpec
    target_trials: int
    """trials that shall be finished (complete or pruned) in all"""
    created: datetime.datetime
    """UTC"""
    exhausted: bool = False
    """every configuration of its discrete space was tried: no more trials come. A store does not know"""

    def is_finished(self, trials: int) -> bool:
        """Whether a study with this number of finished trials is finished."""
        return trials >= self.target_trials or self.exhausted


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """How the trials of one study stand."""

    complete: int = 0
    pruned: int = 0
    failed: int = 0
    running: int = 0
    waiting: int = 0
    interrupted: int = 0
    """of the failed ones, those that a signal stopped; their settings are queued again"""
    outside_space: int = 0
    """of the failed ones, those that were paused when the search space changed, and do not fit it"""
    foreign: int = 0
    """trials of whatever state that another program added to the study; no other number has them"""

    @classmethod
    def of(cls, trials: Iterable[tuple[State, object]], *, foreign: int = 0) -> Counts:
        """Of each trial: its state, and why it failed; the latter counts for failed ones only."""
        trials = list(trials)
        states = Counter(state for state, _ in trials)
        reasons = [reason for state, reason in trials if state is State.FAILED]
        return cls(
            **{state.value: states[state] for state in State},
            interrupted=reasons.count(Failure.INTERRUPTED),
            outside_space=reasons.count(Failure.OUTSIDE_SPACE),
            foreign=foreign,
        )

    @property
    def finished(self) -> int:
        """Trials that count towards the target."""
        return self.complete + self.pruned

    @property
    def total(self) -> int:
        """All trials."""
        return self.finished + self.failed + self.running + self.waiting + self.foreign

    @property
    def failed_otherwise(self) -> int:
        """The failed trials that did fail: no signal stopped them, and no changed search space."""
        return self.failed - self.interrupted - self.outside_space
