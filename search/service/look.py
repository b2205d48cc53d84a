"""Reads studies: what is there, which trial is best. Changes nothing."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from search.analysis.ranking import Gain, Ranking, best_report, gains, origin, winner
from search.errors import ConfigError, TuneError, UsageError, did_you_mean
from search.objectives.external.kind import CODE
from search.objectives.external.trial_files import log_path
from search.records import (
    CheckpointRecord,
    Counts,
    ForeignTrial,
    NetworkSpec,
    Report,
    StudyRecord,
    StudySpec,
    TrialRecord,
    Worker,
)
from search.report.words import scored
from search.space.spec import space_of_spec
from search.study.grid import is_discrete, is_exhausted
from search.study.reading import Reading, TrialReader, find_id, open_reading
from search.study.revisions import Revisions
from search.worker.artifacts import Artifacts
from tune.space import Space

if TYPE_CHECKING:  # optuna takes a while to import; commands that only look do without it
    from search.optuna_db.storage import Storage
    from search.study.study import Study


_log = logging.getLogger(__name__)

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyView:
    """A study at a glance, however many trials it has."""

    record: StudyRecord
    counts: Counts
    foreign: frozenset[int]
    """ids of the trials that other programs added"""
    ranking: Ranking
    """its winner and its best reference, of the complete trials"""
    gains: tuple[Gain, ...]
    """of the winner over each reference"""


def find(storage: Storage, name: str) -> tuple[Study, StudyRecord]:
    """Opens a study of tune's to work on it. Raises UsageError where there is none."""
    from search.study.study import Study

    record = record_of(storage, name)
    study = Study.of(storage, record)
    if study is None:
        raise UsageError(f"The study {name} in {storage.name} was deleted a moment ago.")
    return study, record


def own_record(storage_url: str, name: str) -> StudyRecord | None:
    """The study of that name, if there is one. Raises ConfigError where tune did not make it, before anything
    is opened to write; whatever else is wrong with the storage is found when it is opened then."""
    try:
        storage = open_reading(storage_url)
    except ConfigError:
        return None
    with storage:
        return own_record_in(storage, name)


def own_record_in(storage: Reading, name: str) -> StudyRecord | None:
    """As `own_record`, in a storage that is open."""
    study_id = find_id(storage.trials, name)
    record = None if study_id is None else storage.store.study(study_id)
    if study_id is not None and (record is None or study_id not in storage.trials.signed()):
        raise _foreign(storage, name)
    return None if record is None else replace(record, name=name)


def _foreign(storage: Reading | Storage, name: str) -> ConfigError:
    return ConfigError(
        f"The study {name} in {storage.name} was not made by tune, which works with its own studies only; "
        "`tune studies` lists them."
    )


def record_of(storage: Reading | Storage, name: str) -> StudyRecord:
    """The study of that name.

    Raises UsageError where there is none, ConfigError where tune did not make it, or where what tune noted
    of it was changed and cannot be used. A direction that was changed is told of and harms nothing.
    """
    study_id = find_id(storage.trials, name)
    if study_id is None and not name.strip():
        raise UsageError("The name of the study is empty; `tune studies` lists what is there.")
    if study_id is None:
        names = storage.trials.names()
        known = [names[each.study_id] for each in storage.store.studies() if each.study_id in names]
        hint = did_you_mean(name, known) if known else "; there is none yet, `tune run` makes one"
        raise UsageError(f"There is no study {name} in {storage.name}{hint}.")
    record = storage.store.study(study_id)
    if record is None or study_id not in storage.trials.signed():
        raise _foreign(storage, name)
    record = replace(record, name=name)
    space_of(record)
    metric = record.spec.metric
    if storage.trials.direction(study_id) is not metric.direction:
        _log.warning(
            "Another program changed the direction of the study %s: tune still %ss its %s, "
            "optuna-dashboard shows it otherwise.",
            name,
            metric.direction.value,
            "accuracy" if isinstance(record.spec, NetworkSpec) else metric.title,
        )
    return record


def space_of(record: StudyRecord) -> Space:
    """The search space of a study. Raises ConfigError for an invalid one."""
    return _sound_space(record, space_of_spec)


def _sound_space(record: StudyRecord, of: Callable[[StudySpec], Result]) -> Result:
    try:
        return of(record.spec)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"The study {record.name} has a search space that tune did not write ({error}): it is damaged, "
            "or another program changed it. Nothing was changed now."
        ) from error


def revisions_of(record: StudyRecord) -> Revisions:
    """The search spaces of a study. Raises as `space_of`."""
    return _sound_space(record, Revisions.of)


def reader_of(storage: Reading | Storage, record: StudyRecord) -> TrialReader:
    """The trials of a study, to be read. Each one that cannot be used is told of in a sentence."""
    return TrialReader(
        storage.trials,
        record.study_id,
        revisions_of(record),
        record.spec.metric,
        store=storage.store,
        say=lambda called, fault: _log.warning("%s of %s is left out: %s.", called, record.name, fault),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class ForeignStudy:
    """A study that plain Optuna made in the same database."""

    name: str
    trials: int


def studies(storage_url: str) -> list[StudyView]:
    """Every study of tune's in the storage, oldest first."""
    return all_studies(storage_url)[0]


def all_studies(storage_url: str) -> tuple[list[StudyView], list[ForeignStudy]]:
    """Every study of tune's in the storage, and every other one; oldest first. Studies of tune's that were
    changed so that they cannot be used are told of, and left out."""
    with open_reading(storage_url) as storage:
        names, views = storage.trials.names(), []
        signed = storage.trials.signed() & names.keys()  # optuna-dashboard can delete a study
        records, faults = storage.store.checked_studies()
        unusable = {study_id: fault for study_id, fault in faults.items() if study_id in signed}
        for study_id, fault in unusable.items():
            _log.warning("The study %s is left out: %s.", names[study_id], fault)
        for record in records:
            if record.study_id not in signed:
                continue
            try:
                record = replace(record, name=names[record.study_id])
                views.append(view_of(reader_of(storage, record), record))
            except ConfigError as error:
                _log.warning("%s", error)
                unusable[record.study_id] = str(error)
        known = unusable.keys() | {view.record.study_id for view in views}
        foreign = [
            ForeignStudy(name=names[study_id], trials=storage.trials.counts(study_id).total)
            for study_id in sorted(names.keys() - known)
        ]
        return views, foreign


def view_of(reader: TrialReader, record: StudyRecord) -> StudyView:
    """A study at a glance, in a few queries. reader: of its trials."""
    best = reader.best()
    rivals = {each.number: each for each in (*([best] if best else []), *reader.references())}
    trials = [rivals[number] for number in sorted(rivals)]
    (counts, foreign), space = reader.tally(), space_of(record)
    if counts.finished < record.target_trials and is_discrete(space, record.spec):
        record = replace(record, exhausted=is_exhausted(record.spec, space, reader.all()))
    return StudyView(
        record=record,
        counts=counts,
        foreign=foreign,
        ranking=winner(trials),
        gains=tuple(gains(trials, record.spec.metric)),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialsView:
    """The trials of a study."""

    record: StudyRecord
    trials: list[TrialRecord]
    """by number"""
    foreign: list[ForeignTrial]
    """by number"""
    seconds: Mapping[int, float]
    """by trial id, how long it has trained; the time that it waited for its verdict is left out"""


def trials(storage_url: str, name: str) -> TrialsView:
    """A study's trials. Raises as `record_of`, and ConfigError where it has trials and none can be used."""
    with open_reading(storage_url) as storage:
        record = record_of(storage, name)
        reader = reader_of(storage, record)
        found = reader.all()
        _refuse_nothing(record, reader, found)
        seconds = storage.store.training_seconds([trial.trial_id for trial in found])
        return TrialsView(record=record, trials=found, foreign=reader.foreign, seconds=seconds)


def retraining(
    storage: Reading | Storage, searched: StudyRecord, searched_by: Callable[[StudySpec], str | None]
) -> list[StudyRecord]:
    """The studies that retrain trials of this one, the oldest first.

    searched_by: from a spec to the name of the study whose trials it retrains, for the kind that is asked
    for. Those of an older study of the same name, which was deleted, are not among them.
    """
    names: Mapping[int, str] = storage.trials.names()
    return [
        replace(record, name=names[record.study_id])
        for record in storage.store.studies()
        if searched_by(record.spec) == searched.name
        and record.created >= searched.created
        and record.study_id in names  # optuna-dashboard can delete a study
    ]


def trial_log(storage_url: str, name: str, number: int) -> str:
    """What the training code of a trial printed, on this machine.

    Raises UsageError where the study has no training code of a user's or no such trial, TuneError where there
    is no output here.
    """
    with open_reading(storage_url) as storage:
        record = record_of(storage, name)
        if record.spec.objective != CODE:
            raise UsageError(
                f"The study {name} runs no training code of a user's, and keeps no output of it."
            )
        trials = {trial.number: trial for trial in reader_of(storage, record).all()}
        if number not in trials:
            raise UsageError(f"--log {number}: {name} has no such trial.")
        path = log_path(Artifacts.of(storage.location.artifacts, record).folder, number)
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError as error:
        raise TuneError(
            f"Trial {number} of {name} printed nothing, or it ran on another machine: there is no {path}."
        ) from error
    except OSError as error:
        raise TuneError(f"{path} cannot be read: {error.strerror or error}.") from error


def _refuse_nothing(record: StudyRecord, reader: TrialReader, found: Collection[TrialRecord]) -> None:
    """Raises ConfigError where trials were left out and nothing remains: that is more than a stray edit."""
    if reader.faults and not found:
        example = next(iter(reader.faults.values()))
        raise ConfigError(
            f"Of the study {record.name} no trial can be used (the first one: {example}): the storage is "
            "damaged, or another program changed it. Nothing was changed now."
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Best:
    """The winner of a study, its best searched trial, and what it was measured at."""

    view: StudyView
    steps: int
    """of all trials of the study together, in its unit: training images, say"""
    trial: TrialRecord
    report: Report
    """the one with its highest score"""
    worker: Worker | None
    """where it was trained"""


def best(storage_url: str, name: str) -> Best:
    """The winner of a study. Raises TuneError where no searched trial is complete yet."""
    with open_reading(storage_url) as storage:
        record = record_of(storage, name)
        return best_in(storage, record, reader_of(storage, record))


def best_in(storage: Reading, record: StudyRecord, reader: TrialReader) -> Best:
    """As `best`, in a storage that is open. reader: of the study's trials."""
    name, found = record.name, view_of(reader, record)
    trial = found.ranking.searched
    if trial is None:
        reference = found.ranking.reference
        which, beside = "trial", ""
        if reference is not None:
            which = "searched trial"
            has = scored(reference.score, record.spec.metric)
            beside = f" (the reference {reference.reference} has {has})"
        raise TuneError(
            f"The study {name} has no complete {which} yet{beside}; "
            f"`tune run` or `tune worker {shlex.quote(name)}` continues."
        )
    report = best_report(storage.store.curve(trial.trial_id, record.spec.metric))
    if report is None:
        raise TuneError(f"Trial {trial.number} of {name} was changed a moment ago; give the command again.")
    claim = storage.store.claim_of(record.study_id, trial.trial_id)
    workers = storage.store.workers(record.study_id)
    return Best(
        view=found,
        steps=reader.steps(without=found.foreign),
        trial=trial,
        report=report,
        worker=None if claim is None else workers.get(claim.worker_id),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundTrial:
    """One trial with all that is known of it."""

    record: StudyRecord
    trial: TrialRecord
    curve: list[Report]
    origin: int
    """number of the trial that the settings were first given to; its seed is shared by all that repeat it"""
    worker: Worker | None
    """where it was trained; None where it failed, or is unknown"""
    precision: str
    """in which it was trained; see `precision_of`"""


def precision_of(trial: TrialRecord, worker: Worker | None, workers: Mapping[str, Worker]) -> str:
    """The precision in which a trial was trained: as its worker noted. For a trial whose worker is not known,
    the precision of all workers of its study where they agree, else float32."""
    key = f"precision_{trial.settings.get('model')}"
    noted = {str(each.environment.get(key)) for each in ([worker] if worker else workers.values())}
    return "bfloat16" if noted == {"bfloat16"} else "float32"


def found_trial(storage_url: str, name: str, number: int) -> FoundTrial:
    """Trial `number` of a study. Raises UsageError where there is no such study or trial."""
    with open_reading(storage_url) as storage:
        return found_trial_in(storage, name, number)


def found_trial_in(storage: Reading, name: str, number: int) -> FoundTrial:
    """As `found_trial`, in a storage that is open."""
    record = record_of(storage, name)
    reader = reader_of(storage, record)
    trials = {trial.number: trial for trial in reader.all()}
    if number in {trial.number for trial in reader.foreign}:
        raise UsageError(f"Trial {number} of {name} was added by another program: tune did not train it.")
    if number not in trials and number in reader.left_out:
        raise ConfigError(f"Trial {number} of {name} cannot be used: {reader.left_out[number]}.")
    if number not in trials:
        there = f"it has 0 to {max(trials)}" if trials else "it has none yet"
        raise UsageError(f"There is no trial {number} in {name}; {there}.")
    trial = trials[number]
    first = origin(number, {each.number: each.retry_of for each in trials.values()})
    claim = storage.store.claim_of(record.study_id, trial.trial_id)
    workers = storage.store.workers(record.study_id)
    worker = None if claim is None else workers.get(claim.worker_id)
    return FoundTrial(
        record=record,
        trial=trial,
        curve=storage.store.curve(trial.trial_id, record.spec.metric),
        origin=first,
        worker=worker,
        precision=precision_of(trial, worker, workers),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class WholeStudy:
    """Everything that is known of a study."""

    record: StudyRecord
    trials: list[TrialRecord]
    """by number"""
    counts: Counts
    curves: Mapping[int, list[Report]]
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
        return whole_study_in(storage, name)


def whole_study_in(storage: Reading, name: str) -> WholeStudy:
    """As `whole_study`, in a storage that is open."""
    record = record_of(storage, name)
    reader, store = reader_of(storage, record), storage.store
    trials = reader.all()
    record = replace(record, exhausted=is_exhausted(record.spec, space_of(record), trials))
    curves = store.curves([trial.trial_id for trial in trials], record.spec.metric)
    return WholeStudy(
        record=record,
        trials=trials,
        counts=reader.counted,
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
