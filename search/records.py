"""The facts that rooms hand to each other: frozen records, standard library only."""

from __future__ import annotations

import datetime
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

from tune.space import Value as Value  # records are made of settings, and others take both from here

DIGITS = 12
"""Decimals that a mean of accuracies is rounded to. Accuracies are counts of at most some 100,000 examples:
two different means differ in the seventh decimal at the latest."""


def mean_accuracy(accuracies: Collection[float]) -> float:
    """The mean of the heads' accuracies, 0.993 where floating-point arithmetic says 0.9930000000000001."""
    return round(sum(accuracies) / len(accuracies), DIGITS)


class Direction(StrEnum):
    """Whether more or less of a metric is better."""

    MAXIMIZE = "maximize"
    MINIMIZE = "minimize"


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """The metric that a search optimizes, and how the score is made of it.

    A score is always better when it is higher: what compares trials need not know the direction. Reports,
    Optuna's tables, JSON and pages have the value itself, which `value_of` makes of a score.
    """

    name: str
    """in a report: `validation/accuracy`"""
    direction: Direction = Direction.MAXIMIZE
    is_fraction: bool = False
    """whether it lies between 0 and 1, and is shown in percent"""
    of_heads: bool = False
    """whether a network has it for each of its heads, as NAME/HEAD; the score is the mean"""

    @property
    def title(self) -> str:
        """What it is called: "validation accuracy"."""
        return self.name.replace("/", " ").replace("_", " ")

    @property
    def worst(self) -> float:
        """The lowest score: that of a trial that diverged."""
        return 0.0 if self.is_fraction and self.direction is Direction.MAXIMIZE else -math.inf

    def allows(self, value: object) -> bool:
        """Whether it can have this value: a finite number, and of a fraction one between 0 and 1."""
        if not isinstance(value, int | float):
            return False
        return 0 <= value <= 1 if self.is_fraction else math.isfinite(value)

    def score_of(self, value: float) -> float:
        """The score of a value: higher is better."""
        return value if self.direction is Direction.MAXIMIZE else -value

    def value_of(self, score: float) -> float:
        """The value that has this score."""
        return self.score_of(score)  # to change a sign twice changes nothing

    def by_value(self, one: float, other: float) -> tuple[float, float]:
        """Two scores, that of the lower value first: the ends of an interval as it is written."""
        return (one, other) if self.value_of(one) <= self.value_of(other) else (other, one)

    def parts(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """What the score is the mean of: scores by head; of a metric that has no heads, itself."""
        if not self.of_heads:
            return {"": self.score_of(metrics[self.name])}
        return {head: self.score_of(metrics[name]) for head, name in _of_heads(self.name, tuple(metrics))}


@lru_cache(maxsize=1000)
def _of_heads(metric: str, names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """(head, name) of the names that begin with `metric/`; there is one answer for all reports of a study."""
    start = f"{metric}/"
    return tuple((name.removeprefix(start), name) for name in names if name.startswith(start))


ACCURACY = Metric(name="validation/accuracy", is_fraction=True, of_heads=True)
"""What a search for networks maximizes: the mean of the heads' accuracies."""


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
    DISK_FULL = "disk_full"
    """the weights could not be written; the settings are queued again"""
    WORKER_DIED = "worker_died"
    """the worker vanished, its lease ran out; the settings are queued again"""

    @property
    def is_retryable(self) -> bool:
        """Whether a new trial shall try the settings once more: they did not cause the failure."""
        return self in (Failure.INTERRUPTED, Failure.DISK_FULL, Failure.WORKER_DIED)


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchSpec:
    """What every study has, whatever its trials do."""

    space: Mapping[str, object]
    """the search space in the form of a space file (search.space.file)"""
    seed: int
    """root of every random number: sampling, initialization, order of examples"""
    sampler: str
    pruner: str
    references: tuple[str, ...] = ()
    """reference configurations that are the study's first trials"""
    confirms: str | None = None
    """name of the study whose leaders this one trains on fresh seeds; None: this one searches"""


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkSpec(SearchSpec):
    """All that decides what a study means whose trials train networks of tune's. Two runs share a study only
    if these agree."""

    task: str
    """name of the task, a key of data.tasks.registry.TASKS"""
    epochs: float
    """budget of one trial in passes over the training examples"""
    epoch_images: int
    """training examples in one pass"""
    validation_pictures: int
    """different pictures that a validation accuracy is measured on"""
    checksums: Mapping[str, str]
    """SHA-256 of each data file that the study was made with"""
    halvings: int = 4
    """reports within the first epoch: after 1/2, 1/4, … of it; 4 in studies made before this was said"""
    widen: float = 1.0
    """factor of the channels and units of a confirmation's leaders, relative to the search"""
    compositions: int = 0
    """times that each validation digit takes each place of an image in the validation set; 0: the fixed set
    on which searches choose"""
    precision: str = "auto"
    """auto: decided once for each kind of processor (Store.precisions); else float32 or bfloat16"""
    norm_images: int = 0
    """training images from which averaged weights get their batch-norm statistics before an evaluation
    within the first quarter epoch; 0, as in studies made before: they have the average of the statistics"""

    @property
    def objective(self) -> str:
        """What the trials do, a key of search.objectives.registry."""
        return NETWORK

    @property
    def metric(self) -> Metric:
        """What the search optimizes."""
        return ACCURACY

    @property
    def unit(self) -> str:
        """Of a step."""
        return "image"

    @property
    def budget(self) -> int:
        """Steps of a trial that is worked on to its end."""
        return round(self.epoch_images * self.epochs)


NETWORK = "network"
"""The objective that trains networks of tune's on its tasks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeclaredSpec(SearchSpec):
    """All that decides what a study of any other objective means, as that objective declares it."""

    objective: str
    """what the trials do, a key of search.objectives.registry"""
    metric: Metric
    """what the search optimizes"""
    unit: str
    """of a step: "epoch", "step" …"""
    budget: int
    """steps of a trial that is worked on to its end"""
    options: Mapping[str, object] = field(default_factory=dict)
    """what the objective needs to know besides, as JSON"""


StudySpec = NetworkSpec | DeclaredSpec
"""All that decides what a study means."""


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
class Confirming:
    """What a trial of a confirmation is for."""

    candidate: int
    """number, in the study that was searched, of the trial whose settings it has"""
    seed: int
    """index of the seed, from 0; all candidates are trained on the same seeds"""


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
    parameters: int | None = None
    """trainable numbers of the network; None before it is built"""
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
    def settings(self) -> dict[str, Value]:
        """Every setting that decides the trial."""
        return {**self.fixed, **self.params, **self.pinned}


@dataclass(frozen=True, kw_only=True, slots=True)
class ForeignTrial:
    """A trial that another program added to a study of tune's. It is listed, and counts nowhere."""

    number: int
    state: State
    value: float | None
    """None where it has none, or one that is no finite number"""
    params: Mapping[str, Value]
    """as far as they can be read"""


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadScore:
    """One head on one split."""

    loss: float
    """cross-entropy in nats per example"""
    accuracy: float
    """fraction of examples, 0..1"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """One split at one moment of training."""

    heads: Mapping[str, HeadScore]
    joint: float
    """fraction of examples on which every head is right, 0..1"""

    @property
    def loss(self) -> float:
        """Mean of the heads' cross-entropies."""
        return sum(head.loss for head in self.heads.values()) / len(self.heads)

    @property
    def accuracy(self) -> float:
        """Mean of the heads' accuracies: the score that the search maximizes."""
        return mean_accuracy([head.accuracy for head in self.heads.values()])


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What a trial reported at one moment: a point of its learning curve."""

    step: int
    """how much of its budget was spent by then, in the unit of its study: training images, say"""
    seconds: float
    """wall time since the trial began to work, evaluation included"""
    metrics: Mapping[str, float]
    """by name, as the objective reported them"""
    metric: Metric = ACCURACY
    """the one that the search optimizes"""

    @property
    def score(self) -> float:
        """How good the trial was: higher is better."""
        parts = self.parts
        return parts[""] if "" in parts else mean_accuracy(parts.values())

    @property
    def parts(self) -> Mapping[str, float]:
        """What the score is the mean of, by head; of a metric without heads, itself."""
        return self.metric.parts(self.metrics)

    @property
    def worst(self) -> float:
        """The lowest of the parts."""
        return min(self.parts.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class CurveCheck:
    """What is needed to tell whether a learning curve can be used, without reading it."""

    reports: int
    unsound: int
    """reports with a number that is missing, not finite or out of its range: of a network any that is
    known, of other objectives one that the score is made of"""
    names: Mapping[str, int]
    """by metric of these, the reports that have it"""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedCurve:
    """A learning curve, and whether it can be used."""

    reports: tuple[Report, ...]
    """by step"""
    check: CurveCheck


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Worker:
    """A process that does trials, and the ground it stands on."""

    worker_id: str
    """host:pid:machine:random, unique for ever (search.machine)"""
    host: str
    pid: int
    device: str
    """cpu or cuda"""
    threads: int
    environment: Mapping[str, str | int]
    """versions and processor, by name"""
    artifacts: str | None = None
    """absolute path of the folder below which it writes files; None: a previous version did not note it"""

    @property
    def on_gpu(self) -> bool:
        """Whether it trains on a GPU: no CPU reproduces its results bit for bit."""
        return self.device != "cpu"


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A worker's right to fill one slot of a study's target. Slots 0..target-1; one claim a slot."""

    claim_id: int
    study_id: int
    slot: int
    worker_id: str
    token: str
    """changes whenever the claim changes hands, so that a late answer can be told from a good one"""
    trial_id: int | None
    """None until the trial is created"""
    done: bool
    """the slot is filled by a finished trial, for good"""
    expires: datetime.datetime
    """UTC. Every renewal changes it; it is never compared with a clock (search.worker.recovery)"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """Which examples of a split kept weights answer right: enough to compare two networks pair by pair."""

    split: str
    """name of a data.tasks.digits.Split"""
    examples: int
    heads: Mapping[str, bytes]
    """by head, a bit for each example in the order of the split, the first in the highest bit; 1: right"""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointRecord:
    """Where the best weights of a trial are, and how to know that they are whole."""

    trial_id: int
    path: str
    """the file, relative to the artifact folder; of weights in the database, the name that it would have"""
    sha256: str
    score: float
    """of the report at which the trial had these weights"""
    step: int
    """of that report"""
    bytes: int
    in_database: bool = False
    """whether the weights are in the database, not in a file; a store tells it of what it has read"""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportRecord:
    """A model that was exported."""

    study_id: int
    trial_id: int
    moment: datetime.datetime
    """UTC"""
    folder: str
    """as it was called where it was made"""
    manifest_sha256: str
    """of the folder's manifest, which has the sums of all its files"""


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
    foreign: int = 0
    """trials of whatever state that another program added to the study; no other number has them"""

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
        """The failed trials that no signal stopped."""
        return self.failed - self.interrupted


@dataclass(frozen=True, kw_only=True, slots=True)
class TestEvaluation:
    """One evaluation on the test set. It stays on record: choosing after many of them biases the choice."""

    __test__ = False  # the name begins with Test: pytest would collect it

    study_id: int
    """Optuna's id of the study that the trial is in"""
    trial_id: int
    """Optuna's id of the trial whose weights were evaluated"""
    moment: datetime.datetime
    """UTC"""
    reason: str
    """in words, e.g. "chosen by tune confirm" """
    pictures: int
    """number of different images that the accuracies were measured on"""
    heads: Mapping[str, float]
    """accuracy by head, a fraction of examples"""
    joint: float
    """fraction of examples on which every head is right"""

    @property
    def accuracy(self) -> float:
        """Mean of the heads' accuracies."""
        return sum(self.heads.values()) / len(self.heads)


@dataclass(frozen=True, kw_only=True, slots=True)
class TestEvaluationCounts:
    """How often the test set of a task was evaluated, as far as one storage knows: by any study."""

    __test__ = False  # the name begins with Test: pytest would collect it

    total: int
    of_deleted_studies: int
    """of these, by studies that are deleted"""
