"""Changes the winner of a search setting by setting, and trains it for shorter and longer, on shared seeds.
What came of it is worked out in search.analysis.ablation.

An ablation is a separate study, whose trials are queued before they are trained. Claims, leases,
checkpoints and helpers on other machines are those of every study.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from search.analysis import ablation as analysis
from search.analysis import racing
from search.analysis.ablation import Ablation
from search.analysis.pace import Snapshot
from search.errors import TuneError, UsageError, did_you_mean
from search.optuna_db.storage import Storage, open_storage
from search.records import AblationRun, NetworkSpec, State, StudyRecord, StudySpec, TrialRecord, Value
from search.report import words
from search.service.check import check_options
from search.service.create import ABLATION_SUFFIX
from search.service.delete import delete_what_others_left
from search.service.drive import Watch, drive
from search.service.look import own_record, reader_of, record_of, space_of
from search.service.other_hosts import keep_to_one_host
from search.service.read_ablation import ablations, baseline_now, read, scores_of
from search.service.retraining import begin, with_target
from search.service.run import OPENING, WORKERS, Stage, launcher_for, make_ready
from search.store.database import RETRY_S
from search.study import ablation_plan
from search.study.ablation_plan import AblationRequest, MeasuredArm, Plan, plan
from search.study.evaluation_schedule import EvaluationSchedule
from search.study.grid import is_exhausted
from search.study.reading import Reading, TrialReader, open_reading
from search.study.study import Study
from search.tasks import task_named
from search.worker.options import WorkerOptions

if TYPE_CHECKING:
    from data.datasets.source import Progress

A_DAY_S = 24 * 3600.0
"""A longer plan has to be asked for twice."""

EVALUATION_SHARE = 0.3
"""Time in which a network is evaluated on an example, in times of training on one (lab notes 032)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AblateRequest:
    """What `tune ablate` is asked."""

    study: str
    trial: int | None = None
    """number of the trial that is changed; None: the confirmed one, else the winner"""
    design: AblationRequest
    yes: bool = False
    """whether a plan of more than a day is meant"""
    options: WorkerOptions


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """What an ablation would train, before anything is trained."""

    searched: StudyRecord
    spec: StudySpec
    """of the ablation"""
    name: str
    """of the ablation"""
    baseline: TrialRecord
    reference: Mapping[str, Value] | None
    """settings of the one from which a path leads to the baseline"""
    design: AblationRequest
    """with the seeds that are there already"""
    plan: Plan
    done: int
    """runs of it that are finished"""
    seconds: float | None
    """for one worker, all that is not finished, at the rate of the baseline in the search; None: not
    known"""


def workers_of(request: AblateRequest) -> int:
    """Processes that will work, as far as it is known before they start: as many as this machine has room for
    unless it is said. Raises DeviceUnavailable."""
    from search.launchers.local import LocalLauncher

    options = request.options
    return options.workers or LocalLauncher(options.device).default_workers(options.threads)


def planned(request: AblateRequest, storage_url: str) -> Planned:
    """What would be trained. Changes nothing. Raises UsageError and TuneError as `ablate`."""
    _check(request)
    with open_reading(storage_url) as storage:
        return _planned(storage, request)


def ablate(
    request: AblateRequest,
    storage_url: str,
    *,
    watch: Watch,
    tell: Callable[[str], None] = lambda _: None,
    progress: Progress | None = None,
    stage: Stage = lambda _: None,
) -> Ablation:
    """Begins or resumes the ablation of a study and works on it until it is done; returns what it found.

    Raises UsageError and ConfigError before anything is changed, Interrupted after a signal (the same request
    continues), TuneError where there is nothing to change or run after run fails.
    """
    _check(request)
    own_record(storage_url, request.study)
    with open_reading(storage_url) as reading:
        asked = _planned(reading, request)
    _refuse_too_long(asked, request)
    stage(OPENING)
    with open_storage(storage_url, create=False, retry_s=RETRY_S) as storage:
        keep_to_one_host(storage)
        delete_what_others_left(storage, tell)
        make_ready(asked.searched, progress, stage)
        kind = f"an ablation of trial {asked.baseline.number} of {asked.searched.name}"
        study, record = begin(storage, asked.name, asked.spec, asked.searched, kind=kind)
        tell(_in_words(asked))
        ended: set[AblationRun] = set()
        while True:
            found = _planned_now(storage, record, asked, ended)
            record = _queue(storage, study, record, found)
            stage(WORKERS)
            with launcher_for(request.options, storage_url) as launcher:
                looking = with_what_follows(watch, found)
                result = drive(storage, study, record, request.options, launcher, watch=looking, detach=False)
            if not found.follow or result.reason not in ("finished", "nothing to do"):
                return analysis.ablation(read(storage, record.name))
            ended = {each.run for each in found.runs}


def with_what_follows(watch: Watch, found: Plan) -> Watch:
    """`watch`, which is told the time left with the runs that follow a choice, at the pace of those at work:
    they are no trials of the study yet."""
    steps = sum(run.budget for run in found.follow)

    def look(seen: Snapshot) -> None:
        if steps and seen.remaining_s is not None and seen.steps_per_s:
            seen = replace(seen, remaining_s=seen.remaining_s + steps / seen.steps_per_s)
        watch(seen)

    return look


def _check(request: AblateRequest) -> None:
    if request.design.seeds < 1:
        raise UsageError(f"--seeds must be at least 1, not {request.design.seeds}.")
    check_options(request.options, study=request.study)


def _planned(storage: Reading | Storage, request: AblateRequest) -> Planned:
    searched = record_of(storage, request.study)
    if not searched.spec.searches:
        what = "a confirmation" if searched.spec.confirms else "an ablation"
        raise UsageError(
            f"{searched.name} is itself {what}; `tune ablate {shlex.quote(searched.spec.based_on or '')}` "
            "changes what its search found."
        )
    search = reader_of(storage, searched)
    trials = search.all()
    exhausted = is_exhausted(searched.spec, space_of(searched), trials)
    _refuse_unfinished(searched, search.counted.finished, exhausted)
    if request.trial is None:
        baseline = baseline_now(storage, searched)
    else:
        baseline = _trial_asked_for(searched, trials, request.trial)
    if baseline is None:
        raise TuneError(f"There is nothing to change in {searched.name}: no searched trial is complete.")
    every = ablations(storage, searched)
    record = next((each for each in every if each.spec.baseline == baseline.number), None)
    if record is None:
        name = f"{searched.name}{ABLATION_SUFFIX}"
        if every or request.trial is not None:
            name += f"-{baseline.number}"
        spec = _spec(searched.spec, searched.name, baseline.number)
    else:  # the search space may have changed since it began
        name, spec = record.name, record.spec
    _refuse_seeds(spec, request.design.seeds)
    reference = _reference(searched, trials, request.design.path)
    runs, there = [], []
    if record is not None:
        reader = reader_of(storage, record)
        runs = reader.all()
        there = _there(reader, runs)
    design = _with_seeds_there(request.design, runs)
    found = plan(
        spec,
        baseline.settings,
        design,
        searched_for=searched.spec.budget,
        reference=reference,
        scores=scores_of(storage, spec, runs),
        there=there,
    )
    if len({(each.run.arm, each.run.budget) for each in found.runs}) < 2:
        raise UsageError("This plan has nothing to compare: it would train the baseline alone.")
    finished = {run.ablation for run in runs if run.state.is_finished}
    wanted = [*(each.run for each in found.runs), *found.follow]
    left = [run.budget for run in wanted if run not in finished]
    return Planned(
        searched=searched,
        spec=spec,
        name=name,
        baseline=baseline,
        reference=reference,
        design=design,
        plan=found,
        done=sum(each.run in finished for each in found.runs),
        seconds=_seconds_of(left, spec, storage, searched, baseline),
    )


def _with_seeds_there(design: AblationRequest, runs: Sequence[TrialRecord]) -> AblationRequest:
    """Seeds of an earlier call stay: all arms are compared on the same ones."""
    there = [run.ablation.seed + 1 for run in runs if run.ablation is not None and not run.ablation.chooses]
    return replace(design, seeds=max([design.seeds, *there]))


def _refuse_unfinished(searched: StudyRecord, finished: int, exhausted: bool) -> None:
    if finished < searched.target_trials and not exhausted:
        raise TuneError(
            f"The search {searched.name} is not finished ({finished} of {searched.target_trials} trials), so "
            f"that another trial may win: `tune run --study {shlex.quote(searched.name)}` continues "
            f"it, and with `--trials {max(1, finished)}` it is finished now."
        )


def _trial_asked_for(searched: StudyRecord, trials: Sequence[TrialRecord], number: int) -> TrialRecord:
    """The trial that --trial names. Raises UsageError where it cannot be changed."""
    found = next((trial for trial in trials if trial.number == number), None)
    if found is None:
        raise UsageError(f"--trial {number}: {searched.name} has no such trial that could be used.")
    if found.state is not State.COMPLETE:
        raise UsageError(
            f"--trial {number}: it is {found.state.value}, and only a complete trial can be changed."
        )
    if found.set_aside is not None:
        raise UsageError(
            f"--trial {number}: it is set aside, because {found.set_aside}; name a trial of the present "
            "space."
        )
    return found


def _spec(spec: StudySpec, name: str, baseline: int) -> StudySpec:
    """The spec of a new ablation of a search with this spec."""
    wanted = replace(
        spec,
        sampler="random",
        pruner="none",
        references=(),
        ablates=name,
        baseline=baseline,
        space_changes=(),
    )
    budget, epochs = ablation_plan.variant_budget(spec)
    if not isinstance(wanted, NetworkSpec):
        return replace(wanted, budget=budget)
    assert epochs is not None, "it is of networks"
    task = task_named(wanted.task)
    return replace(
        wanted,
        epochs=epochs,
        compositions=task.compositions,
        validation_pictures=task.validation_images(compositions=task.compositions),
        folds=task.source.folds,
    )


def _refuse_seeds(spec: StudySpec, seeds: int) -> None:
    most = analysis.most_seeds(spec)
    if seeds > most:
        why = (
            ": each seed is judged on another part of the training data"
            if analysis.divides_anew(spec)
            else ""
        )
        raise UsageError(f"--seeds must be from 1 to {most}{why}, not {seeds}.")


def _reference(
    searched: StudyRecord, trials: Sequence[TrialRecord], name: str | None
) -> dict[str, Value] | None:
    """Settings of the reference from which a path is asked for."""
    if name is None:
        return None
    known = {trial.reference: trial for trial in trials if trial.reference}
    if name not in known:
        if not known:
            raise UsageError(f"--path {name}: {searched.name} has no references.")
        raise UsageError(f"--path {name}: no such reference{did_you_mean(name, list(known))}.")
    return known[name].settings


def _seconds_of(
    budgets: Sequence[int],
    spec: StudySpec,
    storage: Reading | Storage,
    searched: StudyRecord,
    baseline: TrialRecord,
) -> float | None:
    """Of one worker for runs of the ablation with these budgets, at the median rate of the baseline in the
    search, where it was evaluated on fewer images. None: no rate is known."""
    curve = storage.store.curves([baseline.trial_id], searched.spec.metric).get(baseline.trial_id, ())
    rates = [
        (after.seconds - before.seconds) / (after.step - before.step)
        for before, after in pairwise(curve)
        if after.step > before.step
    ]
    if curve and not rates:
        rates = [curve[0].seconds_per_step]
    if not rates:
        return None
    reports = sum(len(EvaluationSchedule.with_budget(spec, budget).rungs) for budget in budgets)
    evaluated = 0
    if isinstance(spec, NetworkSpec):
        task = task_named(spec.task)
        evaluated = len(task.validation_digits(compositions=spec.compositions)) + task.validation_images()
    return (sum(budgets) + EVALUATION_SHARE * reports * evaluated) * median(rates)


def _refuse_too_long(asked: Planned, request: AblateRequest) -> None:
    workers = workers_of(request)
    if asked.seconds is not None and asked.seconds / workers > A_DAY_S and not request.yes:
        raise UsageError(
            f"This plan would take about {words.duration(asked.seconds / workers)} with "
            f"{words.count(workers, 'worker')}: fewer `--settings` or `--seeds` make it shorter, and `--yes` "
            "trains it all the same."
        )


def _planned_now(
    storage: Storage, record: StudyRecord, asked: Planned, ended: Collection[AblationRun]
) -> Plan:
    """What is to be trained, as of now. ended: runs that have ended; one of these that chooses and has no
    score, because its trial was edited and cannot be read, counts as failed: it is not repeated."""
    reader = reader_of(storage, record)
    runs = reader.all()
    lost = {run: None for run in ended if run.chooses}
    return plan(
        asked.spec,
        asked.baseline.settings,
        asked.design,
        searched_for=asked.searched.spec.budget,
        reference=asked.reference,
        scores={**lost, **scores_of(storage, asked.spec, runs)},
        there=_there(reader, runs),
    )


def _queue(storage: Storage, study: Study, record: StudyRecord, found: Plan) -> StudyRecord:
    """Queues what the plan has and the study has not; returns the study with its new target."""
    there = {trial.ablation for trial in study.trials()}
    for each in found.runs:
        if each.run not in there:
            study.queue_ablation(each.run, each.settings)
    return with_target(storage, study, record)


def _there(reader: TrialReader, runs: Sequence[TrialRecord]) -> list[MeasuredArm]:
    """The arms that an ablation has already, in the order in which they were queued."""
    failed = {(run.arm, run.budget) for run in racing.spent(runs) if not run.chooses}
    first: dict[tuple[str, int], int] = {}
    seeds: dict[tuple[str, int], set[int]] = {}
    for trial in runs:
        if (run := trial.ablation) is not None and not run.chooses:
            first.setdefault((run.arm, run.budget), trial.trial_id)
            seeds.setdefault((run.arm, run.budget), set()).add(run.seed)
    settings = reader.given_settings(first.values())
    return [
        MeasuredArm(
            name=arm[0],
            budget=arm[1],
            settings=settings[trial_id],
            seeds=frozenset(seeds[arm]),
            failed=arm in failed,
        )
        for arm, trial_id in first.items()
        if trial_id in settings
    ]


def _in_words(asked: Planned) -> str:
    """What is about to be done, in a sentence."""
    arms = {(each.run.arm, each.run.budget) for each in asked.plan.runs if not each.run.chooses}
    seeds = {each.run.seed for each in asked.plan.runs if not each.run.chooses}
    return (
        f"Ablating trial {asked.baseline.number} of {asked.searched.name}: "
        f"{words.count(len(arms), 'arm')} on {words.count(len(seeds), 'seed')}, "
        f"{words.count(len(asked.plan.runs), 'run')} in all so far, in the study {asked.name}."
    )
