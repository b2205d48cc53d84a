"""Reads what an ablation of a study found out so far. Changes nothing."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from search.analysis import ablation as analysis
from search.analysis.ablation import Ablation
from search.analysis.ablation_arms import Read
from search.analysis.racing import spent
from search.errors import ConfigError
from search.records import AblationRun, State, StudyRecord, StudySpec, TrialRecord
from search.service.look import reader_of, record_of, retraining
from search.service.read_confirmation import confirmation_in
from search.study.grid import idle_settings
from search.study.reading import Reading, open_reading

_log = logging.getLogger(__name__)

if TYPE_CHECKING:  # optuna takes a while to import; commands that only look do without it
    from search.optuna_db.storage import Storage


def ablation(storage_url: str, name: str) -> Ablation | None:
    """What is known of the settings of study `name`'s winner; None where there is no ablation yet.

    Where there are several, of several trials: see `foremost`. Raises UsageError where there is no study of
    that name.
    """
    with open_reading(storage_url) as storage:
        return foremost(storage, record_of(storage, name))


def foremost(storage: Reading | Storage, searched: StudyRecord) -> Ablation | None:
    """The ablation of the present winner, else the one begun last, of those in which something is compared;
    where nothing is compared yet, of all. It names the others. None where there is none; one that cannot be
    used is told of, and left out."""
    every = ablations(storage, searched)
    order = list(reversed(every))
    if len(every) > 1:
        now = baseline_now(storage, searched)
        order.sort(key=lambda each: now is None or each.spec.baseline != now.number)
    first = None
    for record in order:
        try:
            found = analysis.ablation(read(storage, record.name))
        except ConfigError as error:
            _log.warning("%s", error)
            continue
        if first is None or found.compares:
            first = found
        if found.compares:
            break
    if first is None:
        return None
    return replace(first, others=tuple(each.name for each in every if each.name != first.record.name))


def baseline_now(storage: Reading | Storage, searched: StudyRecord) -> TrialRecord | None:
    """The trial that an ablation would change now: the confirmed one, else the best; None where none is
    complete."""
    confirmed = confirmation_in(storage, searched, intervals=False)
    if confirmed is not None and confirmed.chosen is not None:
        chosen = _trial(storage, searched, confirmed.chosen)
        if chosen is not None and chosen.set_aside is None:
            return chosen
    return reader_of(storage, searched).best()


def ablations(storage: Reading | Storage, searched: StudyRecord) -> list[StudyRecord]:
    """The studies that ablate this one, the oldest first."""
    return retraining(storage, searched, lambda spec: spec.ablates)


def read(storage: Reading | Storage, name: str) -> Read:
    """All that is known of a study by the ablation of that name, read now.

    Raises ConfigError where its baseline is not there any more.
    """
    record = record_of(storage, name)
    if record.spec.ablates is None or record.spec.baseline is None:
        raise ConfigError(f"The study {name} is not an ablation any more: another program changed it.")
    searched, number = record_of(storage, record.spec.ablates), record.spec.baseline
    if record.created < searched.created:
        raise ConfigError(
            f"{name} is of an older study {searched.name}, which was deleted: trial {number} of the present "
            f"one is another. `tune delete {shlex.quote(name)}` makes room."
        )
    reader = reader_of(storage, record)
    runs = reader.all()
    baseline = _trial(storage, searched, number)
    if baseline is None:
        raise ConfigError(
            f"Trial {number} of {searched.name}, which {name} changes, cannot be used any more."
        )
    complete = [run.trial_id for run in runs if run.state is State.COMPLETE]
    return Read(
        searched=searched,
        baseline=baseline,
        record=record,
        runs=runs,
        curves=storage.store.curves(complete, record.spec.metric),
        counts=reader.counted,
        without_effect=idle_settings(record.spec),
    )


def _trial(storage: Reading | Storage, record: StudyRecord, number: int) -> TrialRecord | None:
    """Trial `number` of a study, without reading the others; None where it cannot be used."""
    found = reader_of(storage, record).of(storage.trials.ids_of(record.study_id, [number]))
    return min(found, key=lambda trial: trial.trial_id, default=None)


def scores_of(
    storage: Reading | Storage, spec: StudySpec, runs: Sequence[TrialRecord]
) -> dict[AblationRun, float | None]:
    """Scores at the end of the finished runs that choose; None for those that failed."""
    found: dict[AblationRun, float | None] = {run: None for run in spent(runs) if run.chooses}
    complete = [
        run
        for run in runs
        if run.state is State.COMPLETE and run.ablation is not None and run.ablation.chooses
    ]
    curves = storage.store.curves([run.trial_id for run in complete], spec.metric)
    for trial in complete:
        assert trial.ablation is not None, "it was asked for"
        if curve := curves.get(trial.trial_id):
            found[trial.ablation] = curve[-1].score
    return found
