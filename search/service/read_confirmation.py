"""Reads what the confirmation of a study found out so far. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from search.analysis import standing, two_way
from search.analysis.confirmation import Confirmation
from search.analysis.two_way import Digits, Intervals
from search.errors import ConfigError
from search.records import Answers, NetworkSpec, State, StudyRecord, TestEvaluation
from search.service.look import reader_of, record_of, retraining, space_of
from search.study.grid import is_exhausted
from search.study.reading import Reading, open_reading
from search.tasks import examples_of, task_named

if TYPE_CHECKING:  # optuna takes a while to import; commands that only look do without it
    from search.optuna_db.storage import Storage


def confirmation(storage_url: str, name: str, *, intervals: bool = True) -> Confirmation | None:
    """What is known of the leaders of study `name` on fresh seeds; None where there is no confirmation yet.

    Where it was confirmed more than once, with several budgets or widths, the one with the best chosen mean.
    intervals: False for who is chosen alone: differences without intervals. Raises
    UsageError where there is no study of that name.
    """
    with open_reading(storage_url) as storage:
        return confirmation_in(storage, record_of(storage, name), intervals=intervals)


def confirmation_in(
    storage: Reading | Storage, searched: StudyRecord, *, intervals: bool = True
) -> Confirmation | None:
    """As `confirmation`, in a storage that is open."""
    every = [stand(storage, each.name, answers=intervals) for each in confirmations(storage, searched)]
    return standing.foremost([standing.confirmation(each) for each in every])


def confirmations(storage: Reading | Storage, searched: StudyRecord) -> list[StudyRecord]:
    """The studies that confirm this one, the oldest first."""
    return retraining(storage, searched, lambda spec: spec.confirms)


def stand(storage: Reading | Storage, name: str, *, answers: bool = True) -> standing.Stand:
    """All that is known of a study by the confirmation of that name, read now.

    answers: also which examples are right.
    """
    confirming = record_of(storage, name)
    if confirming.spec.confirms is None:
        raise ConfigError(f"The study {name} is no longer a confirmation: another program changed it.")
    searched = record_of(storage, confirming.spec.confirms)
    search, runs_of = reader_of(storage, searched), reader_of(storage, confirming)
    trials, runs = search.all(), runs_of.all()
    searched = replace(searched, exhausted=is_exhausted(searched.spec, space_of(searched), trials))
    complete = [run.trial_id for run in runs if run.state is State.COMPLETE]
    family = [searched, *confirmations(storage, searched)]
    study_ids = [record.study_id for record in family]
    test_evaluations = storage.store.test_evaluations(study_ids)
    spec, none = confirming.spec, _Answers(by_trial={}, digits=None)
    validation, on_test = (
        _answers(storage, confirming, complete, test_evaluations) if answers else (none, none)
    )
    return standing.Stand(
        searched=searched,
        trials=trials,
        confirming=confirming,
        runs=runs,
        curves=storage.store.curves(complete, confirming.spec.metric),
        test_evaluations=test_evaluations,
        test_attempts=storage.store.test_attempts(study_ids),
        answers=validation.by_trial,
        digits=validation.digits,
        answers_on_test=on_test.by_trial,
        digits_on_test=on_test.digits,
        evaluation_counts=storage.store.count_test_evaluations(spec.test_set) if spec.has_test else None,
        yardstick=frozenset(
            trial.trial_id for record in family for trial in reader_of(storage, record).references()
        ),
        searched_counts=search.counted,
        examples=examples_of(searched.spec),
        confirming_counts=runs_of.counted,
    )


SPLITS = ("validation", "test")
"""Whose right and wrong answers are recorded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Answers:
    """Of one split."""

    by_trial: Mapping[int, Answers]
    digits: Digits | None


def _answers(
    storage: Reading | Storage,
    confirming: StudyRecord,
    complete: Sequence[int],
    test_evaluations: Sequence[TestEvaluation],
) -> tuple[_Answers, _Answers]:
    """On validation and on test, as far as they were recorded; of training code on validation."""
    spec, none = confirming.spec, _Answers(by_trial={}, digits=None)
    validation = storage.store.answers(complete, SPLITS[0])
    if not isinstance(spec, NetworkSpec):
        return _Answers(by_trial=validation, digits=None), none
    on_test = storage.store.answers([evaluation.trial_id for evaluation in test_evaluations], SPLITS[1])
    if not validation and not on_test:
        return none, none
    task = task_named(spec.task)
    return (
        _Answers(by_trial=validation, digits=task.validation_digits(compositions=spec.compositions)),
        _Answers(by_trial=on_test, digits=task.test_digits()),
    )


def intervals_of(
    storage: Reading | Storage, record: StudyRecord, trial_id: int, split: str
) -> Intervals | None:
    """Of the accuracies of a trial's kept weights, over digits; None where the answers are not known."""
    found = answers_of(storage, record, trial_id, split)
    return None if found is None else two_way.intervals(*found)


def answers_of(
    storage: Reading | Storage, record: StudyRecord, trial_id: int, split: str
) -> tuple[Answers, Digits] | None:
    """Of a trial's kept weights, and the digits that they are about; None where they are not known."""
    spec = record.spec
    if not isinstance(spec, NetworkSpec):
        return None
    answers = storage.store.answers([trial_id], split).get(trial_id)
    if answers is None:
        return None
    task = task_named(spec.task)
    digits: Digits = (
        task.validation_digits(compositions=spec.compositions) if split == SPLITS[0] else task.test_digits()
    )
    return (answers, digits) if answers.examples == len(digits) else None
