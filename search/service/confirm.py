"""Retrains the leaders of a search on fresh seeds, and has the chosen one tested.
What came of it is read and put in words elsewhere (search.service.read_confirmation).

A confirmation is a separate study, whose trials are queued before it begins: each candidate on each seed.
Claims, leases, checkpoints and helpers on other machines are those of every study.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from search.analysis import racing, standing
from search.analysis.confirmation import Confirmation
from search.analysis.ranking import count
from search.errors import TuneError, UsageError
from search.optuna_db.storage import Storage, open_storage
from search.records import Confirming, DeclaredSpec, NetworkSpec, StudyRecord, StudySpec, TrialRecord
from search.report import words
from search.report.confirmation_sentences import candidates_set_aside, of_length
from search.service.check import check_options
from search.service.create import CONFIRMATION_SUFFIX, PrecisionName
from search.service.delete import delete_what_others_left
from search.service.drive import Watch, drive
from search.service.look import find, own_record, reader_of
from search.service.other_hosts import keep_to_one_host
from search.service.read_confirmation import confirmations, stand
from search.service.retraining import begin, with_target
from search.service.run import OPENING, WORKERS, Stage, launcher_for, make_ready
from search.service.test_evaluation import evaluate_due
from search.space.defaults import CONFIRM_FACTOR
from search.space.widen import widened
from search.store.database import RETRY_S
from search.study.study import Study
from search.tasks import task_named
from search.worker.options import WorkerOptions

if TYPE_CHECKING:
    from data.datasets.source import Progress


WIDEST = 8
"""The largest factor for the leaders; beyond, it would no longer be the network that was found."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfirmRequest:
    """What `tune confirm` is asked."""

    study: str
    top: int = 5
    """leaders of the search that are retrained; those of an earlier call stay"""
    seeds: int = 5
    """runs of each candidate; those of an earlier call stay"""
    epochs: float | None = None
    """budget of each run; None: as in the confirmation begun last, else CONFIRM_FACTOR times the search's. Of
    another objective than networks it is always the search's"""
    widen: float | None = None
    """factor of the leaders' channels and units; None: as in the one begun last, else 1"""
    precision: PrecisionName | None = None
    """of each run; None: as in the confirmation begun last, else the search's"""
    options: WorkerOptions


def check_request(request: ConfirmRequest) -> None:
    """Refuses an invalid request before anything is touched."""
    if request.top < 1:
        raise UsageError(f"--top must be at least 1, not {request.top}.")
    if request.seeds < 2:
        raise UsageError(f"--seeds must be at least 2, not {request.seeds}: one seed has no spread.")
    if request.widen is not None and not 1 <= request.widen <= WIDEST:
        raise UsageError(f"--widen must be from 1 to {WIDEST}, not {request.widen:g}.")
    check_options(request.options, study=request.study, epochs=request.epochs)


def _refuse_for_networks(request: ConfirmRequest, spec: StudySpec) -> None:
    """Raises UsageError for what was asked of a study that trains no networks."""
    asked = {"--epochs": request.epochs, "--widen": request.widen, "--precision": request.precision}
    flags = [flag for flag, value in asked.items() if value is not None]
    if flags and isinstance(spec, DeclaredSpec):
        one = len(flags) == 1
        raise UsageError(
            f"{words.listed(flags)} {'is' if one else 'are'} for networks, and the study {request.study} is "
            f"of the objective {spec.objective}, whose runs have the search's budget: leave "
            f"{'it' if one else 'them'} out."
        )


def confirm(
    request: ConfirmRequest,
    storage_url: str,
    *,
    watch: Watch,
    tell: Callable[[str], None] = lambda _: None,
    progress: Progress | None = None,
    stage: Stage = lambda _: None,
) -> tuple[Confirmation, TuneError | None]:
    """Begins or resumes the confirmation of a study, works on it until it is done, evaluates the chosen one
    on the test set, if there is one.

    `tell` is told what will be done, `stage` what is done now. Returns what is known at the end, and the
    refusal, if any, with which the command has to end: the ranking stands also where the weights for the
    test evaluation are missing. A test evaluation on record is not repeated.

    Raises UsageError and ConfigError before anything is changed, Interrupted after a signal (the same request
    continues), TuneError where there is nothing to confirm or run after run fails.
    """
    check_request(request)
    if (known := own_record(storage_url, request.study)) is not None:
        _refuse_for_networks(request, known.spec)
    stage(OPENING)
    with open_storage(storage_url, create=False, retry_s=RETRY_S) as storage:
        keep_to_one_host(storage)
        delete_what_others_left(storage, tell)
        _, record = find(storage, request.study)
        trials = reader_of(storage, record).all()
        candidates = _candidates(trials, record, request.top)
        now = make_ready(record, progress, stage)
        study, own = _begin(storage, now, request)
        if now.spec.has_test and not own.spec.has_test:
            tell(_without_test(own.name))
        own = _queue(storage, study, own, trials, candidates, request.seeds)
        found = stand(storage, own.name)
        if found.finished:
            if own.spec.has_test:
                stage("evaluating on the test set, unless that was done")
        else:
            tell(_plan(found))
            stage(WORKERS)
            with launcher_for(request.options, storage_url) as launcher:
                drive(storage, study, own, request.options, launcher, watch=watch, detach=False)
            found = stand(storage, own.name)
        problem = evaluate_due(storage, found, request.options, tell=tell)
        return standing.confirmation(stand(storage, own.name)), problem


def _without_test(name: str) -> str:
    return (
        f"The code has a test function since {name} was begun, whose runs kept nothing for it: "
        f"`tune delete {shlex.quote(name)}` makes room for a confirmation that ends with it."
    )


def _candidates(trials: Sequence[TrialRecord], record: StudyRecord, top: int) -> list[int]:
    """Numbers of the leaders, best first, then of the references. Raises where there is no leader."""
    if record.spec.confirms is not None:
        raise UsageError(
            f"{record.name} is itself a confirmation; "
            f"`tune confirm {shlex.quote(record.spec.confirms)}` continues with it."
        )
    if record.spec.ablates is not None:
        raise UsageError(
            f"{record.name} is an ablation, whose arms are worse on purpose; "
            f"`tune confirm {shlex.quote(record.spec.ablates)}` confirms the leaders of its search."
        )
    leaders = racing.leaders(trials, top)
    if not leaders:
        raise TuneError(
            f"There is nothing to confirm in {record.name} yet: no trial but references is finished. "
            f"`tune run --study {shlex.quote(record.name)}` continues."
        )
    return [trial.number for trial in (*leaders, *racing.references(trials))]


def _begin(storage: Storage, search: StudyRecord, request: ConfirmRequest) -> tuple[Study, StudyRecord]:
    """The study that confirms `search`, new where there is none with the budget and width asked for.

    Raises ConfigError where another study has the name.
    """
    every = confirmations(storage, search)
    fitting = [record for record in every if _fits(request, record.spec)]
    if fitting:
        study = Study.find(storage, fitting[-1].name)
        assert study is not None, "it was listed a moment ago"
        return study, fitting[-1]
    name, wanted = f"{search.name}{CONFIRMATION_SUFFIX}", _wanted(search, every, request)
    if isinstance(search.spec, NetworkSpec) and isinstance(wanted, NetworkSpec):
        name += (
            (f"-{wanted.epochs:g}" if every else "")
            + (f"-x{wanted.widen:g}" if wanted.widen > 1 else "")
            + (f"-{wanted.precision}" if wanted.precision != search.spec.precision else "")
        )
    kind = f"a confirmation of {search.name} with {of_length(wanted)}"
    return begin(storage, name, wanted, search, kind=kind)


def _fits(request: ConfirmRequest, spec: StudySpec) -> bool:
    """Whether a confirmation with this spec has what was asked for."""
    return not isinstance(spec, NetworkSpec) or (
        request.epochs in (None, spec.epochs)
        and request.widen in (None, spec.widen)
        and request.precision in (None, spec.precision)
    )


def _wanted(search: StudyRecord, every: Sequence[StudyRecord], request: ConfirmRequest) -> StudySpec:
    """The spec of a new confirmation of a study that has been confirmed in `every` one, the oldest first."""
    # It has nothing to draw: the settings of every run are given.
    spec = replace(
        search.spec, sampler="random", pruner="none", references=(), confirms=search.name, space_changes=()
    )
    if not isinstance(spec, NetworkSpec):
        return spec
    last = every[-1].spec if every else None
    assert last is None or isinstance(last, NetworkSpec), "a confirmation trains what the search trained"
    task = task_named(spec.task)
    return replace(
        spec,
        epochs=request.epochs or (last.epochs if last else CONFIRM_FACTOR * spec.epochs),
        widen=request.widen or (last.widen if last else 1.0),
        precision=request.precision or (last.precision if last else spec.precision),
        compositions=task.compositions,
        validation_pictures=task.validation_images(compositions=task.compositions),
    )


def _queue(
    storage: Storage,
    study: Study,
    record: StudyRecord,
    trials: Sequence[TrialRecord],
    candidates: Sequence[int],
    seeds: int,
) -> StudyRecord:
    """Queues what is asked for beyond what there is, seed by seed; returns the study with its new target.

    A candidate that is out is queued like the others: the worker that takes such a run ends it at once.
    """
    there = {run.confirming for run in study.trials() if run.confirming is not None}
    everybody = list(dict.fromkeys([*candidates, *sorted({run.candidate for run in there})]))
    by_number = {trial.number: trial for trial in trials}
    for seed in range(max(seeds, *(run.seed + 1 for run in there), 0)):
        for number in everybody:
            run, trial = Confirming(candidate=number, seed=seed), by_number.get(number)
            if run not in there and trial is not None:  # an earlier candidate's rows may have been edited
                settings = widened(trial.settings, 1 if trial.reference else _widen(record.spec))
                study.queue_confirming(run, settings, reference=trial.reference)
    return with_target(storage, study, record)


def _widen(spec: StudySpec) -> float:
    """Factor of the leaders' channels and units."""
    return spec.widen if isinstance(spec, NetworkSpec) else 1.0


def _plan(found: standing.Stand) -> str:
    """What is about to be done, in a sentence or two."""
    runs = {run.confirming for run in found.runs if run.confirming is not None}
    racing_here = {run.candidate for run in runs}
    names = [
        trial.reference or f"trial {trial.number}" for trial in found.trials if trial.number in racing_here
    ]
    told = (
        f"Confirming {', '.join(names)} of {found.searched.name}"
        f"{words.widened(_widen(found.confirming.spec), 'the leaders')}: {len(runs)} runs of "
        f"{of_length(found.confirming.spec)} on {len({run.seed for run in runs})} seeds, in the study "
        f"{found.confirming.name}."
    )
    if aside := candidates_set_aside(racing_here, found.searched.spec):
        told += f" {aside}"
    counts = found.searched_counts or count(found.trials)
    done, wanted = counts.finished, found.searched.target_trials
    if not found.searched.is_finished(done):
        told += f" The search itself is not finished ({done} of {wanted} trials)."
    return told
