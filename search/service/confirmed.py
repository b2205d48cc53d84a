"""Reads what the confirmation of a study found out so far. Changes nothing, imports neither optuna nor torch.
Knows nothing of how it is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from search.confirmation import Confirmation
from search.records import State, StudyRecord
from search.report.confirming import standing
from search.service.look import reader_of, record_of
from search.study.reading import Reading, open_reading

if TYPE_CHECKING:  # optuna takes a while to import; commands that only look do without it
    from search.study.storage import Storage


def confirmation(storage_url: str, name: str) -> Confirmation | None:
    """What is known of the leaders of study `name` on fresh seeds; None where nobody asked for it yet.

    Where it was confirmed with several budgets, the one begun last. Raises UsageError where there is no
    study of that name.
    """
    with open_reading(storage_url) as storage:
        found = stand(storage, name)
    return None if found is None else standing.confirmation(found)


def confirmations(storage: Reading | Storage, name: str) -> list[StudyRecord]:
    """The studies that confirm study `name`, the oldest first."""
    names: Mapping[int, str] = storage.trials.names()
    return [
        replace(record, name=names[record.study_id])
        for record in storage.store.studies()
        if record.spec.confirms == name and record.study_id in names  # optuna-dashboard can delete a study
    ]


def stand(storage: Reading | Storage, name: str, *, within: str | None = None) -> standing.Stand | None:
    """All that is known of a study's confirmation (`within` that study, else the one begun last).

    None where nobody asked for it yet. Raises UsageError where there is no study of that name.
    """
    searched = record_of(storage, name)
    every = confirmations(storage, name)
    asked = [record for record in every if within in (None, record.name)]
    if not asked:
        return None
    runs = reader_of(storage, asked[-1]).all()
    complete = [run.trial_id for run in runs if run.state is State.COMPLETE]
    family = [searched, *every]
    return standing.Stand(
        searched=searched,
        trials=reader_of(storage, searched).all(),
        confirming=asked[-1],
        runs=runs,
        curves=storage.store.curves(complete),
        looks=storage.store.looks(record.study_id for record in family),
        yardstick=frozenset(
            trial.trial_id for record in family for trial in reader_of(storage, record).references()
        ),
    )
