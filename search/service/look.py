"""Reads studies: what is there, which trial is best, how studies compare. Changes nothing.
Knows nothing of how it is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from search.errors import TuneError, UsageError, did_you_mean
from search.records import Point, StudyRecord, TrialRecord, Worker
from search.report import numbers
from search.study.storage import Storage, open_storage
from search.study.study import Study


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyView:
    """A study with all that the tables and pages need."""

    record: StudyRecord
    trials: tuple[TrialRecord, ...]

    @property
    def best(self) -> TrialRecord | None:
        """The best complete trial."""
        return numbers.best_trial(self.trials)


def find(storage: Storage, name: str) -> tuple[Study, StudyRecord]:
    """Opens a study of tune's. Raises ConfigError where there is none."""
    study = Study.find(storage, name)
    record = None if study is None else storage.store.study(study.study_id)
    if study is None or record is None:
        known = [Study.names(storage).get(each.study_id, "") for each in storage.store.studies()]
        hint = did_you_mean(name, known) if known else "; there is none yet, `tune run` makes one"
        raise UsageError(f"There is no study {name} in {storage.name}{hint}.")
    return study, replace(record, name=study.name)


def studies(storage_url: str) -> list[StudyView]:
    """Every study of tune's in the storage, oldest first."""
    with open_storage(storage_url, create=False) as storage:
        names = Study.names(storage)
        return [
            _view(storage, names[record.study_id])
            for record in storage.store.studies()
            if record.study_id in names  # optuna-dashboard can delete a study
        ]


def view(storage_url: str, name: str) -> StudyView:
    """One study with its trials. Raises UsageError where there is none of that name."""
    with open_storage(storage_url, create=False) as storage:
        return _view(storage, name)


def _view(storage: Storage, name: str) -> StudyView:
    study, record = find(storage, name)
    return StudyView(record=record, trials=tuple(study.trials()))


@dataclass(frozen=True, kw_only=True, slots=True)
class Best:
    """The best trial of a study and what it was measured at."""

    view: StudyView
    trial: TrialRecord
    point: Point
    """of its curve, where its validation score is highest"""
    gains: tuple[numbers.Gain, ...]
    worker: Worker | None
    """where it was trained"""


def best(storage_url: str, name: str) -> Best:
    """The best trial of a study. Raises TuneError where no trial is complete yet."""
    with open_storage(storage_url, create=False) as storage:
        return _best(storage, name)


def _best(storage: Storage, name: str) -> Best:
    found = _view(storage, name)
    trial = found.best
    if trial is None:
        raise TuneError(
            f"The study {name} has no complete trial yet; `tune run` or `tune worker {name}` goes on."
        )
    point = numbers.best_point(storage.store.curve(trial.trial_id))
    assert point is not None, "a complete trial has a curve"
    study_id = found.record.study_id
    owners = {claim.trial_id: claim.worker_id for claim in storage.store.claims(study_id)}
    return Best(
        view=found,
        trial=trial,
        point=point,
        gains=tuple(numbers.gains(found.trials)),
        worker=storage.store.workers(study_id).get(owners.get(trial.trial_id, "")),
    )


def compare(storage_url: str, names: list[str]) -> list[Best]:
    """The best trials of several studies of one task, in the order asked for.

    Raises UsageError for fewer than two studies, or for studies of different tasks.
    """
    names = list(dict.fromkeys(names))
    if len(names) < 2:
        raise UsageError(f"To compare takes two studies or more; `tune best {names[0]}` shows one.")
    with open_storage(storage_url, create=False) as storage:
        found = [_best(storage, name) for name in names]
    tasks: Mapping[str, str] = {each.view.record.name: each.view.record.spec.task for each in found}
    if len(set(tasks.values())) > 1:
        listed = ", ".join(f"{name} is of {task}" for name, task in tasks.items())
        raise UsageError(f"Only studies of one task can be compared: {listed}.")
    return found
