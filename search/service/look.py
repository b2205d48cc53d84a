"""Reads studies: what is there, which trial is best. Changes nothing.
Knows nothing of how it is shown.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from search.errors import TuneError, UsageError, did_you_mean
from search.records import CheckpointRecord, Counts, Point, StudyRecord, TrialRecord, Worker
from search.report import numbers
from search.report.words import percent
from search.space.file import space_of_entries
from search.study.reading import Reading, TrialReader, find_id, open_reading

if TYPE_CHECKING:  # optuna takes a while to import; commands that only look do without it
    from search.study.storage import Storage
    from search.study.study import Study


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyView:
    """A study at a glance, however many trials it has."""

    record: StudyRecord
    counts: Counts
    ranking: numbers.Ranking
    """its winner and its best reference, of the complete trials"""
    gains: tuple[numbers.Gain, ...]
    """of the winner over each reference"""


def find(storage: Storage, name: str) -> tuple[Study, StudyRecord]:
    """Opens a study of tune's to work on it. Raises UsageError where there is none."""
    from search.study.study import Study

    record = record_of(storage, name)
    study = Study.find(storage, name)
    assert study is not None
    return study, record


def record_of(storage: Reading | Storage, name: str) -> StudyRecord:
    """The study of that name. Raises UsageError where there is none of tune's."""
    study_id = find_id(storage.trials, name)
    record = None if study_id is None else storage.store.study(study_id)
    if record is None:
        names = storage.trials.names()
        known = [names[each.study_id] for each in storage.store.studies() if each.study_id in names]
        hint = did_you_mean(name, known) if known else "; there is none yet, `tune run` makes one"
        raise UsageError(f"There is no study {name} in {storage.name}{hint}.")
    return replace(record, name=name)


def reader_of(storage: Reading | Storage, record: StudyRecord) -> TrialReader:
    """The trials of a study, to be read."""
    return TrialReader(storage.trials, record.study_id, space_of_entries(record.spec.space))


def studies(storage_url: str) -> list[StudyView]:
    """Every study of tune's in the storage, oldest first."""
    with open_reading(storage_url) as storage:
        names = storage.trials.names()
        return [
            view_of(storage, replace(record, name=names[record.study_id]))
            for record in storage.store.studies()
            if record.study_id in names  # optuna-dashboard can delete a study
        ]


def view_of(storage: Reading, record: StudyRecord) -> StudyView:
    """A study at a glance, in a few queries."""
    reader = reader_of(storage, record)
    best = reader.best()
    rivals = {each.number: each for each in (*([best] if best else []), *reader.references())}
    trials = [rivals[number] for number in sorted(rivals)]
    return StudyView(
        record=record,
        counts=reader.counts(),
        ranking=numbers.winner(trials),
        gains=tuple(numbers.gains(trials)),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialsView:
    """The trials of a study."""

    record: StudyRecord
    trials: list[TrialRecord]
    """by number"""
    seconds: Mapping[int, float]
    """by trial id, how long it has trained; the time that it waited for its verdict is left out"""


def trials(storage_url: str, name: str) -> TrialsView:
    """A study's trials. Raises UsageError where there is none of that name."""
    with open_reading(storage_url) as storage:
        record = record_of(storage, name)
        found = reader_of(storage, record).all()
        seconds = storage.store.training_seconds([trial.trial_id for trial in found])
        return TrialsView(record=record, trials=found, seconds=seconds)


@dataclass(frozen=True, kw_only=True, slots=True)
class Best:
    """The winner of a study, its best searched trial, and what it was measured at."""

    view: StudyView
    images: int
    """training images seen by all trials of the study together"""
    trial: TrialRecord
    point: Point
    """of its curve, where its validation score is highest"""
    worker: Worker | None
    """where it was trained"""


def best(storage_url: str, name: str) -> Best:
    """The winner of a study. Raises TuneError where no searched trial is complete yet."""
    with open_reading(storage_url) as storage:
        return best_in(storage, name)


def best_in(storage: Reading, name: str) -> Best:
    """As `best`, in a storage that is open."""
    record = record_of(storage, name)
    reader, found = reader_of(storage, record), view_of(storage, record)
    trial = found.ranking.searched
    if trial is None:
        reference = found.ranking.reference
        which, beside = "trial", ""
        if reference is not None:
            which = "searched trial"
            beside = f" (the reference {reference.reference} has {percent(reference.value)})"
        raise TuneError(
            f"The study {name} has no complete {which} yet{beside}; "
            f"`tune run` or `tune worker {shlex.quote(name)}` goes on."
        )
    point = numbers.best_point(storage.store.curve(trial.trial_id))
    assert point is not None, "a complete trial has a curve"
    claim = storage.store.claim_of(record.study_id, trial.trial_id)
    workers = storage.store.workers(record.study_id)
    return Best(
        view=found,
        images=reader.images(),
        trial=trial,
        point=point,
        worker=None if claim is None else workers.get(claim.worker_id),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundTrial:
    """One trial with all that is known of it."""

    record: StudyRecord
    trial: TrialRecord
    curve: list[Point]
    origin: int
    """number of the trial that the settings were first given to; its seed is shared by all that repeat it"""
    worker: Worker | None
    """where it was trained; None where it failed, or nobody knows"""


def found_trial(storage_url: str, name: str, number: int) -> FoundTrial:
    """Trial `number` of a study. Raises UsageError where there is no such study or trial."""
    with open_reading(storage_url) as storage:
        record = record_of(storage, name)
        trials = {trial.number: trial for trial in reader_of(storage, record).all()}
        if number not in trials:
            there = f"it has 0 to {max(trials)}" if trials else "it has none yet"
            raise UsageError(f"There is no trial {number} in {name}; {there}.")
        trial = first = trials[number]
        while first.retry_of is not None:
            first = trials[first.retry_of]
        claim = storage.store.claim_of(record.study_id, trial.trial_id)
        workers = storage.store.workers(record.study_id)
        return FoundTrial(
            record=record,
            trial=trial,
            curve=storage.store.curve(trial.trial_id),
            origin=first.number,
            worker=None if claim is None else workers.get(claim.worker_id),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class WholeStudy:
    """Everything that is known of a study."""

    record: StudyRecord
    trials: list[TrialRecord]
    """by number"""
    curves: Mapping[int, list[Point]]
    """by trial id; trials without a report are left out"""
    seconds: Mapping[int, float]
    """by trial id, how long it has trained"""
    workers: Mapping[str, Worker]
    """by id"""
    trained_by: Mapping[int, str]
    """worker id by trial id, of trials that fill a slot of the target"""
    checkpoints: Mapping[int, CheckpointRecord]
    """by trial id"""


def whole_study(storage_url: str, name: str) -> WholeStudy:
    """A study with all its trials and curves, in a few queries. Raises UsageError where there is none."""
    with open_reading(storage_url) as storage:
        record = record_of(storage, name)
        trials, store = reader_of(storage, record).all(), storage.store
        curves = store.curves([trial.trial_id for trial in trials])
        return WholeStudy(
            record=record,
            trials=trials,
            curves=curves,
            seconds={trial_id: curve[-1].seconds for trial_id, curve in curves.items()},
            workers=store.workers(record.study_id),
            trained_by={
                claim.trial_id: claim.worker_id
                for claim in store.claims(record.study_id)
                if claim.trial_id is not None
            },
            checkpoints={each.trial_id: each for each in store.checkpoints(record.study_id)},
        )
