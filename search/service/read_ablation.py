"""Reads what an ablation of a study found out so far. Changes nothing."""

from __future__ import annotations

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
from search.study.reading import Reading, open_reading

if TYPE_CHECKING:  # optuna takes a while to import; commands that only look do without it
    from search.optuna_db.storage import Storage


def ablation(storage_url: str, name: str) -> Ablation | None:
    """What is known of the settings of study `name`'s winner; None where there is no ablation yet.

    Where there are several, of several trials, the one begun last; it names the others. Raises UsageError
    where there is no study of that name.
    """
    with open_reading(storage_url) as storage:
        every = ablations(storage, record_of(storage, name))
        if not every:
            return None
        last = analysis.ablation(read(storage, every[-1].name))
        return replace(last, others=tuple(each.name for each in every[:-1]))


def ablations(storage: Reading | Storage, searched: StudyRecord) -> list[StudyRecord]:
    """The studies that ablate this one, the oldest first."""
    return retraining(storage, searched, lambda spec: spec.ablates)


def read(storage: Reading | Storage, name: str) -> Read:
    """All that is known of a study by the ablation of that name, read now."""
    record = record_of(storage, name)
    if record.spec.ablates is None:
        raise ConfigError(f"The study {name} is no ablation any more: another program changed it.")
    searched = record_of(storage, record.spec.ablates)
    reader = reader_of(storage, record)
    runs = reader.all()
    baseline = [each for each in reader_of(storage, searched).all() if each.number == record.spec.baseline]
    if not baseline:
        raise ConfigError(
            f"Trial {record.spec.baseline} of {searched.name}, which {name} changes, cannot be used any more."
        )
    complete = [run.trial_id for run in runs if run.state is State.COMPLETE]
    return Read(
        searched=searched,
        baseline=baseline[0],
        record=record,
        runs=runs,
        curves=storage.store.curves(complete, record.spec.metric),
        counts=reader.counted,
    )


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
