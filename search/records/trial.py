"""A trial: its state, its settings, and how it went."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from search.records.report import Report
from tune.space import Value


class State(StrEnum):
    """The state of a trial."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"

    @property
    def is_finished(self) -> bool:
        """Whether a trial in this state counts towards the study's target."""
        return self in (State.COMPLETE, State.PRUNED)


class Failure(StrEnum):
    """Why a trial failed. A failure is a state with a reason, never a bad score."""

    DIVERGED = "diverged"
    """the loss became infinite or NaN"""
    OUT_OF_MEMORY = "out_of_memory"
    TIMEOUT = "timeout"
    """it trained for longer than it may, or no report came for too long"""
    ERROR = "error"
    """an exception; its traceback is kept"""
    INTERRUPTED = "interrupted"
    """a signal stopped the worker; the settings are queued again"""
    OUTSIDE_SPACE = "outside_space"
    """it waited to be continued, and its settings do not fit the search space since that was changed"""
    DISK_FULL = "disk_full"
    """the weights could not be written; the settings are queued again"""
    WORKER_DIED = "worker_died"
    """the worker vanished, its lease ran out; the settings are queued again"""

    @property
    def is_retryable(self) -> bool:
        """Whether a new trial shall try the settings once more: they did not cause the failure."""
        return self in (Failure.INTERRUPTED, Failure.DISK_FULL, Failure.WORKER_DIED)


INTERRUPTED_IN_TRAINING = "stopped by a signal"
"""Detail of an interrupted trial that its worker was training."""

INTERRUPTED_WHILE_PAUSED = "its worker was stopped while the trial was paused"
"""Detail of an interrupted trial that its worker held and did not train: no training was cut short."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Confirming:
    """What a trial of a confirmation is for."""

    candidate: int
    """number, in the study that was searched, of the trial whose settings it has"""
    seed: int
    """index of the seed, from 0; all candidates are trained on the same seeds"""


STEP = " + "
"""Between the steps of a path in the name of an arm."""

STEPS_SHOWN = 2
"""Of a path in `short_arm`."""


def short_arm(name: str) -> str:
    """The name of an arm for a line of text: "course-conv + … + dropout (8 changes)"."""
    reference, *steps = name.split(STEP)
    return name if len(steps) <= STEPS_SHOWN else f"{reference} + … + {steps[-1]} ({len(steps)} changes)"


@dataclass(frozen=True, kw_only=True, slots=True)
class AblationRun:
    """What a trial of an ablation is for."""

    arm: str
    """"baseline", or what is changed of it, "dropout=0.0"; of a path, the reference and its changes:
    "course-conv + dropout" """
    seed: int
    """index of the seed, from 0; all arms are trained on the same seeds"""
    budget: int
    """steps for which it is trained"""
    chooses: bool = False
    """whether it only helps to choose a learning rate, or an order: its seed is another one, and its score is
    in no result"""

    @property
    def for_arm(self) -> str:
        """The arm that it is of, or for which it helps to choose a learning rate: that of
        "optimizer=sgd, lr=0.1" is "optimizer=sgd". A run that chooses an order is an arm itself."""
        arm = self.arm.rpartition(", ")[0] if self.chooses else ""
        return arm or self.arm


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialRecord:
    """A trial, as `tune trials` lists it."""

    trial_id: int
    """the storage's key; unique over all studies"""
    number: int
    """counts from 0 within its study"""
    state: State
    score: float | None
    """best value so far of the metric that the search optimizes, as a score: higher is better; None before
    the first report"""
    params: Mapping[str, Value]
    """the settings that were searched"""
    pinned: Mapping[str, Value] = field(default_factory=dict)
    """settings outside the search space, which only reference configurations have"""
    fixed: Mapping[str, Value] = field(default_factory=dict)
    """settings that the study does not search"""
    reference: str | None = None
    """name of the reference configuration that this trial is, else None"""
    retry_of: int | None = None
    """number of the failed trial whose settings this one repeats, else None"""
    confirming: Confirming | None = None
    """None outside of confirmations"""
    ablation: AblationRun | None = None
    """None outside of ablations"""
    parameters: int | None = None
    """trainable numbers of the network; None before it is built"""
    code: str | None = None
    """SHA-256 of the training code that it ran, at its last report; None: tune's own, or not recorded"""
    space_revision: int = 0
    """how often the study's search space had changed before its settings were drawn"""
    set_aside: str | None = None
    """why it does not fit the search space since that was changed; None: it fits"""
    failure: Failure | None = None
    failure_detail: str | None = None
    steps: Mapping[int, float] = field(default_factory=dict)
    """best score so far, as the pruner saw it, by step"""
    started: datetime.datetime | None = None
    """UTC"""
    finished: datetime.datetime | None = None
    """UTC"""

    @property
    def step(self) -> int:
        """At the last report; 0 before the first."""
        return max(self.steps, default=0)

    @property
    def was_paused(self) -> bool:
        """Whether the signal that ended it found it paused: it waited until it was clear how it stands."""
        return self.failure is Failure.INTERRUPTED and self.failure_detail == INTERRUPTED_WHILE_PAUSED

    @property
    def settings(self) -> dict[str, Value]:
        """Every setting that decides the trial."""
        return {**self.fixed, **self.params, **self.pinned}


@dataclass(frozen=True, kw_only=True, slots=True)
class ForeignTrial:
    """A trial that another program added to a study of tune's. It is listed, and counts nowhere."""

    number: int
    state: State
    value: float | None
    """None where it has none, or one that is not a finite number"""
    params: Mapping[str, Value]
    """as far as they can be read"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Track:
    """How a trial went: when, how far, with which end. Its settings are left out."""

    trial_id: int
    number: int
    state: State
    score: float | None
    """as in TrialRecord"""
    reference: str | None
    retry_of: int | None
    failure: Failure | None
    started: datetime.datetime | None
    """UTC"""
    finished: datetime.datetime | None
    """UTC"""
    reports: tuple[Report, ...]
    """by step; empty before the first report"""
