"""What the trials of a study do: the seam between the search and the work that it searches for.

Given settings, a seed and perhaps a state to continue from, an objective works, reports named metrics on the
way, and hands out a state to continue from. It stops when no more is asked for. The search knows no more of
it than this page; a new kind of objective is one module and one line of the registry.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.records import (
    AblationRun,
    Answers,
    Confirming,
    Failure,
    NetworkSpec,
    Report,
    StudyRecord,
    StudySpec,
    Value,
)
from search.seeds import training_seed
from search.study.evaluation_schedule import EvaluationSchedule

if TYPE_CHECKING:
    from search.optuna_db.storage import Storage


class Product(ABC):
    """What a trial has made by the time of a report, to be kept if the trial is among the best: weights."""

    answers: Answers | None = None
    """which validation examples it answers right; None: not known"""

    @abstractmethod
    def content(self, about: Mapping[str, str]) -> bytes:
        """The file to be kept. about: of its origin, to be noted in it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ResumeCheckpoint:
    """A trial as it stood at one of its reports, or on the way to the next."""

    trial_id: int
    """whose learning curve leads to here"""
    step: int
    """of its last report"""
    best_step: int
    """of the report with the highest score"""
    best: Product | None
    """as of that report; None: there is nothing that could be kept"""
    state: Any
    """what `OpenObjective.begin` continues from; its form is the objective's own"""


class CheckpointUnreadable(Exception):
    """A resume checkpoint cannot be read; an earlier one may do."""


class TrialError(Exception):
    """A trial failed for a reason that is known in words; the traceback of the worker does not explain it."""

    def __init__(self, message: str, detail: str = "") -> None:
        """message: one sentence. detail: what is recorded of it, such as a traceback; empty: the message."""
        super().__init__(message)
        self.detail = detail or message


class Work(ABC):
    """One trial at work. It works while `reports` is asked for the next one."""

    parameters: int | None = None
    """trainable numbers of the model; None: not known"""
    code: str | None = None
    """SHA-256 of the code that has made its last report; None: tune's own"""
    held_bytes: int = 0
    """memory that would be free without it"""

    @abstractmethod
    def reports(self) -> Iterator[Report]:
        """The reports that lie ahead, by step: one at every rung of the job at least.

        A report of 0 seconds is given the time for which the trial was worked on so far.
        """

    @abstractmethod
    def product(self) -> Product | None:
        """A copy of what the trial has made, as of its last report; None: nothing that could be kept."""

    def completed(self, product: Product | None) -> Product | None:
        """What is kept of a trial whose last report was not its best: the product of the one that was, with
        what that lacks."""
        return self.product() if product is None else product

    def final_product(self, product: Product | None) -> Product | None:
        """What is kept of a trial whose budget is spent: its product, as of its best report, with what only
        the end has."""
        return product

    def state(self) -> Any:
        """What another process continues from, as of now; it may be asked for between two reports.

        Only where the objective has checkpoints.
        """
        raise NotImplementedError

    def close(self) -> None:  # noqa: B027  # few objectives hold anything
        """Gives back what it holds outside of memory: neither reports nor `state` are asked for any more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What an objective is asked to do: one trial."""

    settings: Mapping[str, Value]
    """all that decide the trial, inactive ones left out"""
    seed: int
    """of everything random in it"""
    budget: int
    """steps to work, in the study's unit; trials of one study may differ"""
    number: int = 0
    """of the trial, in its study: what names its files. Nothing of the work depends on it"""
    rungs: Sequence[int] = ()
    """steps at which reports are needed, rising to the budget; empty: at the budget alone"""
    fold: int | None = None
    """way in which training and validation examples are divided, one of the dataset's folds; None: the usual
    one, also where there is no dataset"""
    evaluates_training: bool = False
    """whether reports say besides how well examples are answered that it was trained on; objectives for which
    that means nothing ignore it"""
    check: Callable[[], None] = lambda: None
    """to be called every second at least; ends the trial by raising"""


def job_of(
    spec: StudySpec,
    settings: Mapping[str, Value],
    evaluations: EvaluationSchedule,
    *,
    origin: int,
    number: int = 0,
    confirming: Confirming | None = None,
    ablation: AblationRun | None = None,
    check: Callable[[], None] = lambda: None,
) -> Job:
    """The job of a trial, in which all follows from the study's spec and what the trial is for.

    evaluations: of this trial (EvaluationSchedule.of_trial). origin: number of the trial that the settings
    were first given to. number: of the trial itself. confirming, ablation: as in TrialRecord.
    """
    divided = isinstance(spec, NetworkSpec) and spec.folds and ablation is not None and not ablation.chooses
    return Job(
        settings=settings,
        seed=training_seed(spec.seed, origin=origin, confirming=confirming, ablation=ablation),
        budget=evaluations.total,
        number=number,
        rungs=evaluations.rungs,
        fold=ablation.seed if ablation is not None and divided else None,
        evaluates_training=ablation is not None,
        check=check,
    )


class OpenObjective(ABC):
    """The objective of one study, ready in a worker's process."""

    environment: Mapping[str, str | int]
    """hardware and software that results depend on, by name, for the record"""
    device: str = "cpu"
    """cpu or cuda"""
    has_checkpoints: bool = False
    """whether a trial can be continued by another process; if not, what a killed worker did is done again"""

    @abstractmethod
    def begin(self, job: Job, state: Any = None) -> Work:
        """The trial at work; from the start, or from a state of a trial with the same fingerprint: the
        reports to come are then the same as without the interruption."""

    def fingerprint(self, job: Job) -> str:
        """Of all that the work depends on: a state belongs to it."""
        raise NotImplementedError

    def write(self, path: Path, checkpoint: ResumeCheckpoint, about: Mapping[str, str]) -> None:
        """Writes a resume checkpoint, whole or not at all. about: what `read` returns besides.

        Raises OSError where there is no room.
        """
        raise NotImplementedError

    def read(self, path: Path) -> tuple[Any, Product | None, Mapping[str, str]]:
        """(state, best, about) of a resume checkpoint. Raises CheckpointUnreadable."""
        raise NotImplementedError

    def failure_of(self, error: Exception) -> Failure | None:
        """The kind of failure that an error of this objective is; None: what it is in any program."""
        return None

    def release_memory(self) -> None:  # noqa: B027  # few objectives need it
        """Returns to the system what the process has freed. Called between trials."""

    def about(self, job: Job) -> Mapping[str, str]:
        """What a kept file notes of its origin, beside the trial."""
        return {}

    def close(self) -> None:  # noqa: B027  # few objectives hold anything
        """Ends what it has started outside of this process. Called when the worker ends; `begin` may still be
        called afterwards, and starts it once more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Joining:
    """A worker's process that joins a study."""

    storage: Storage
    record: StudyRecord
    folder: Path
    """of the study's files on this machine, where the objective may write too; it may not exist yet"""
    device: str | None
    """cpu or cuda; None: as `device_wanted` says, and the process is this objective's to set up"""
    device_wanted: str
    """auto, cpu or cuda"""
    threads: int
    """that the process may use"""
    opened: Any = None
    """what the process has open already, such as a dataset; None: it is opened here"""


class Objective(ABC):
    """A kind of objective. Imports nothing that takes long: commands that start no work have it, too."""

    name: str
    """under which studies are found in the registry"""

    def make_ready(self, spec: StudySpec, stage: Callable[[str], None]) -> StudySpec:
        """Brings to this machine what the work needs, and returns the spec of a study that would be made now:
        code may have changed. stage: told in a few words what is done.

        Raises ConfigError where that cannot be had.
        """
        return spec

    @abstractmethod
    def open(self, joining: Joining) -> OpenObjective:
        """Sets it up in a worker's process. Raises ConfigError where this machine cannot do the work."""
