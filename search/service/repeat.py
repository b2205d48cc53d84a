"""Trains a trial once more from what the database knows of it, and compares the new curve with the old one.
Nothing is written, unless the trial's weights are to be restored.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from search.analysis.ranking import best_report
from search.analysis.repetition import Repetition
from search.errors import TuneError, UsageError
from search.objectives.external.kind import CODE
from search.records import (
    CheckpointRecord,
    DeclaredSpec,
    NetworkSpec,
    Report,
    StudySpec,
    TrialRecord,
    Value,
    Worker,
)
from search.report.words import hardware
from search.service.data import fetch_data, load_data
from search.service.look import FoundTrial, found_trial
from search.service.repeat_code import rerun
from search.store.base import LeaseLost
from search.study.reading import open_reading
from search.tasks import task_named
from search.worker.options import DEFAULT_OPTIONS

if TYPE_CHECKING:
    from data.datasets.source import Progress
    from search.objectives.network.learning import Step
    from search.objectives.network.open_network import Weights

Watch = Callable[[StudySpec, Report | None, Report], None]
"""Told the study's spec, the old report and the new one as soon as that is there; None: there is no old
report of this step."""

OF_THE_MACHINE = ("device", "cpu", "threads", "cpu_capability", "torch")
"""What the last bit of a result may depend on, beside precision."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Restored:
    """Weights that were restored."""

    checkpoint: CheckpointRecord
    where: str
    """the place of the weights, as the end of a sentence"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Repeated:
    """A trial and its repetition."""

    study: str
    spec: StudySpec
    trial: TrialRecord
    curves: Repetition
    seconds: float
    changed: Mapping[str, tuple[Value | None, Value | None]]
    """what differs between the machine then and this one now, by name; `code`: SHA-256 of training code"""
    code: str | None = None
    """SHA-256 of the training code that ran now; None: tune's own, or not known"""
    restored: Restored | None = None
    """the weights that were written; None where that was not asked for, or the curve is another one"""


def repeat(
    storage_url: str,
    name: str,
    number: int,
    *,
    restore: bool = False,
    stall_timeout_s: float = DEFAULT_OPTIONS.stall_timeout_s,
    tell: Callable[[str], None],
    watch: Watch,
    progress: Progress | None = None,
) -> Repeated:
    """Retrains trial `number` of the study, as far as it went: a network on the CPU, in the precision that it
    had, training code in its process.

    restore: writes the weights of its best moment where a worker would have kept them, if the curve is the
    same bit for bit, so that they are those which the study's numbers are about. stall_timeout_s: training
    code that reports nothing for this time is ended. tell: is given a sentence where the curve will be
    another one.

    Raises UsageError where the study has another objective, where there is no such trial, nothing of its
    curve, nothing to restore, or no way to restore what a GPU or training code made; ConfigError where this
    machine's MNIST is not the study's, or training code declares another search; TuneError where the
    repetition diverges or fails, the weights cannot be written, or the study was deleted meanwhile.
    """
    found = found_trial(storage_url, name, number)
    spec = found.record.spec
    _refuse(found, restore=restore)
    if isinstance(spec, DeclaredSpec):
        return _repeat_code(found, spec, watch, stall_timeout_s)
    return _repeat_network(
        storage_url, found, spec, restore=restore, tell=tell, watch=watch, progress=progress
    )


def _repeat_code(found: FoundTrial, spec: DeclaredSpec, watch: Watch, stall_timeout_s: float) -> Repeated:
    began = time.monotonic()
    done = rerun(
        found,
        spec,
        lambda before, retrained: watch(spec, before, retrained),
        stall_timeout_s=stall_timeout_s,
    )
    changed: dict[str, tuple[Value | None, Value | None]] = {
        name: pair for name, pair in _changed(found.worker, done.environment).items() if name == "cpu"
    }
    if done.code_then != done.code:
        changed["code"] = (done.code_then, done.code)
    return Repeated(
        study=found.record.name,
        spec=spec,
        trial=found.trial,
        curves=Repetition(before=tuple(found.curve), retrained=done.retrained),
        seconds=time.monotonic() - began,
        changed=changed,
        code=done.code,
    )


def _repeat_network(
    storage_url: str,
    found: FoundTrial,
    spec: NetworkSpec,
    *,
    restore: bool,
    tell: Callable[[str], None],
    watch: Watch,
    progress: Progress | None,
) -> Repeated:
    from search.objectives.network.retrain import machine, retrain

    if found.worker is not None and found.worker.on_gpu:
        trained = _trained_on_a_gpu(found, found.worker)
        tell(f"{trained}, and is trained on the CPU now: the curve will be another one, if only a little.")
    source = task_named(spec.task).source
    fetch_data(source, progress=progress)
    steps = retrain(
        found.record,
        found.trial,
        origin=found.origin,
        worker=found.worker,
        precision=found.precision,
        rungs=[report.step for report in found.curve],
        dataset=load_data(source),
    )
    best = _kept_moment(storage_url, found) if restore else None
    began = time.monotonic()
    retrained, weights = _followed(found, steps, best, watch)
    done = Repeated(
        study=found.record.name,
        spec=spec,
        trial=found.trial,
        curves=Repetition(before=tuple(found.curve), retrained=retrained),
        seconds=time.monotonic() - began,
        changed=_changed(found.worker, machine()),
    )
    if best is None or weights is None or done.curves.first_difference is not None:
        return done
    about = {"task": spec.task, "precision": found.precision}
    return replace(done, restored=_restore(storage_url, found, weights, best, about))


def _refuse(found: FoundTrial, *, restore: bool) -> None:
    """Raises UsageError where the trial cannot be retrained, or its weights not be restored by that."""
    which = f"Trial {found.trial.number} of {found.record.name}"
    spec = found.record.spec
    if spec.objective != CODE and not isinstance(spec, NetworkSpec):
        raise UsageError(
            f"The study {found.record.name} trains no networks of tune's and has no training code of yours "
            f"(its objective is {spec.objective}), and `tune repeat` retrains only those."
        )
    if not found.curve:
        raise UsageError(f"{which} never came to a report; there is nothing to compare.")
    if not restore:
        return
    if spec.objective == CODE:
        raise UsageError(
            "--restore is for networks of tune's: what training code kept is not restored, as code is not "
            "promised to repeat its bits. Leave --restore out to compare the reports alone."
        )
    if not found.trial.state.is_finished:
        raise UsageError(
            f"{which} is {found.trial.state.value}, and only of trials that are complete or "
            "pruned are weights to be restored: leave --restore out to compare its curve alone."
        )
    if found.worker is not None and found.worker.on_gpu:
        raise UsageError(
            f"{_trained_on_a_gpu(found, found.worker)}, and `tune repeat` trains on the CPU, which comes to "
            "other weights: those of the trial cannot be restored. Leave --restore out to compare the curves."
        )


def _trained_on_a_gpu(found: FoundTrial, worker: Worker) -> str:
    which = f"Trial {found.trial.number} of {found.record.name}"
    return f"{which} was trained on a GPU ({hardware(worker.environment)})"


def _followed(
    found: FoundTrial, steps: Iterable[Step], best: Report | None, watch: Watch
) -> tuple[tuple[Report, ...], Weights | None]:
    """The curve of the repetition, and its weights at `best`, a report of the trial's curve."""
    from models.training import Diverged
    from search.objectives.network.open_network import Weights

    retrained: list[Report] = []
    weights = None
    try:
        for before, step in zip(found.curve, steps, strict=True):
            retrained.append(step.report)
            if before == best:
                weights = Weights.of(step.network, step.answers)
            watch(found.record.spec, before, step.report)
    except Diverged as error:
        raise TuneError(
            f"Trial {found.trial.number} of {found.record.name} diverged when it was retrained, which it "
            f"had not before: {error}. Repeat it on a machine like the one that trained it, with the same "
            "torch."
        ) from error
    return tuple(retrained), weights


def _kept_moment(storage_url: str, found: FoundTrial) -> Report:
    """The report of the curve whose weights were kept, or would have been."""
    with open_reading(storage_url) as storage:
        kept = {each.trial_id: each.step for each in storage.store.checkpoints(found.record.study_id)}
    wanted = [report for report in found.curve if report.step == kept.get(found.trial.trial_id)]
    best = wanted[0] if wanted else best_report(found.curve)
    assert best is not None, "there is a curve"
    return best


def _restore(
    storage_url: str, found: FoundTrial, weights: Weights, report: Report, about: Mapping[str, str]
) -> Restored:
    """Keeps the weights of the repetition as those that the trial had at this report."""
    from search.worker.best_weights import BestWeights
    from search.worker.removal import delete_if_orphaned

    record, trial = found.record, found.trial
    with open_reading(storage_url) as storage:
        place = BestWeights.of(storage.location, record, storage.store)
        deleted = TuneError(f"The study {record.name} was deleted meanwhile: no weights were kept.")
        if delete_if_orphaned(storage, record, place.artifacts.root):
            raise deleted
        try:
            written = place.keep(weights, about, number=trial.number, trial_id=trial.trial_id, report=report)
        except LeaseLost:
            written = None
        except OSError as error:
            raise TuneError(f"The weights could not be written: {error}.") from error
        # A folder is written before its record: the study may have been deleted while it was.
        if delete_if_orphaned(storage, record, place.artifacts.root) or written is None:
            raise deleted
        return Restored(checkpoint=written, where=place.where(written))


def _changed(
    worker: Worker | None, here: Mapping[str, str | int]
) -> dict[str, tuple[Value | None, Value | None]]:
    then: Mapping[str, str | int] = {} if worker is None else worker.environment
    pairs = {name: (then.get(name), here.get(name)) for name in OF_THE_MACHINE}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
