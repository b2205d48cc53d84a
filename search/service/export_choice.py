"""Which trial an export takes, and what is known of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from shlex import quote

from search.analysis.ablation import Ablation
from search.analysis.confirmation import Confirmation
from search.analysis.two_way import Intervals
from search.errors import UsageError
from search.records import CheckpointRecord, NetworkSpec, State, StudyRecord, TestEvaluation
from search.report.words import better, count, value
from search.service.export_files import nothing_kept
from search.service.look import (
    FoundTrial,
    best_in,
    found_trial_in,
    own_record_in,
    reader_of,
    record_of,
    view_of,
)
from search.service.read_ablation import foremost
from search.service.read_confirmation import SPLITS, confirmation_in, intervals_of
from search.study.reading import Reading


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """The trial whose weights are exported, and why."""

    found: FoundTrial
    checkpoint: CheckpointRecord
    test_evaluations: tuple[TestEvaluation, ...]
    """of these very weights"""
    test_attempts: int
    """likewise; those without a result"""
    confirmation: Confirmation | None
    ablation: Ablation | None
    """of the search that the trial comes from"""
    intervals: Mapping[str, Intervals]
    """of these weights' accuracies, by split"""


def choose(storage: Reading, name: str, number: int | None, tell: Callable[[str], None]) -> Chosen:
    """What is exported of the study of that name. number: of the trial; None for the confirmed one's best
    run, else the best trial. tell: is given sentences on the choice.

    Raises UsageError where there is no such study or trial, or it has no weights to export.
    """
    study, found_out = name, None
    if number is None:
        found_out = confirmation_in(storage, record_of(storage, name))
        if found_out is not None and found_out.best_run is not None:
            study, number = found_out.confirmed_in, found_out.best_run.trial
            _say_whose(found_out, tell)
        else:
            if found_out is not None:
                tell(f"{found_out.confirmed_in} has chosen no run: this is the search's own best.")
            found_out, number = None, _best_so_far(storage, name, tell)
    found = found_trial_in(storage, study, number)
    _say_set_aside(storage, found, tell)
    checkpoint = _checkpoint(storage, found)
    test_evaluations = storage.store.test_evaluations([found.record.study_id])
    test_attempts = storage.store.test_attempts([found.record.study_id])
    return Chosen(
        found=found,
        checkpoint=checkpoint,
        test_evaluations=tuple(
            evaluation for evaluation in test_evaluations if evaluation.trial_id == found.trial.trial_id
        ),
        test_attempts=sum(each.trial_id == found.trial.trial_id for each in test_attempts),
        confirmation=found_out,
        ablation=_ablation(storage, found.record),
        intervals={
            split: intervals
            for split in SPLITS
            if (intervals := intervals_of(storage, found.record, found.trial.trial_id, split))
        },
    )


def _ablation(storage: Reading, record: StudyRecord) -> Ablation | None:
    """Of the search that a study belongs to; None where there is none, or the search was deleted."""
    search = _search_of(storage, record)
    return None if search is None else foremost(storage, search)


def _search_of(storage: Reading, record: StudyRecord) -> StudyRecord | None:
    """The search that a study retrains trials of, else the study itself; None where that search was deleted,
    also where another one has its name now."""
    if record.spec.based_on is None:
        return record
    found = own_record_in(storage, record.spec.based_on)
    return None if found is None or found.created > record.created else found


def _say_whose(found_out: Confirmation, tell: Callable[[str], None]) -> None:
    """Which reference was better in the confirmation, and that it decides."""
    chosen = found_out.choice
    assert chosen is not None, "its best run is exported"
    for each in found_out.candidates:
        if each.reference is not None and each.runs and each.mean > chosen.mean:
            run = max(each.runs, key=lambda run: run.score)
            where, mean = found_out.confirmed_in, value(each.mean, found_out.metric)
            tell(
                f"The reference {each.reference} has a better mean in {where} than the chosen one, {mean}; "
                f"`tune export {quote(where)} --trial {run.trial}` takes its best run."
            )
    tell(
        f"The confirmation of {found_out.study} chose trial {chosen.trial} "
        f"({value(chosen.mean, found_out.metric)} over "
        f"{count(len(chosen.runs), 'seed')}): its best run is exported."
    )


def _say_set_aside(storage: Reading, found: FoundTrial, tell: Callable[[str], None]) -> None:
    """That the trial, or the candidate that it repeats, does not fit the present search space."""
    search, number = found.record, found.trial.number
    if found.trial.confirming is not None:
        number = found.trial.confirming.candidate
        known = _search_of(storage, search)
        if known is None:
            return
        search = known
    if number not in search.spec.set_aside:
        return
    leader = view_of(reader_of(storage, search), search).ranking.searched
    leads = (
        "no trial is complete in the present one yet"
        if leader is None
        else f"in the present one trial {leader.number} leads: "
        f"`tune export {quote(search.name)} --trial {leader.number}` takes it"
    )
    tell(f"Trial {number} of {search.name} is set aside, because the search space was changed; {leads}.")


def _best_so_far(storage: Reading, name: str, tell: Callable[[str], None]) -> int:
    record = record_of(storage, name)
    found = best_in(storage, record, reader_of(storage, record))
    finished, target = found.view.counts.finished, found.view.record.target_trials
    if not found.view.record.is_finished(finished):
        tell(f"{name} has {finished} of {target} trials finished: this is the best of them so far.")
    if found.view.ranking.better_reference is not None:
        reference = found.view.ranking.better_reference
        tell(f"{better(reference, found.view.record.spec.metric)} `--trial {reference.number}` exports it.")
    return found.trial.number


def _checkpoint(storage: Reading, found: FoundTrial) -> CheckpointRecord:
    """The trial's best weights. Raises UsageError where it has none, and says how to get them."""
    from search.worker.artifacts import KEEP

    name, trial = found.record.name, found.trial
    called = f"Trial {trial.number} of {name}"
    if trial.state is State.FAILED:
        why = "" if trial.failure is None else f" ({trial.failure.value})"
        raise UsageError(f"{called} failed{why}; `tune trials {quote(name)}` lists those that did not.")
    if not trial.state.is_finished:
        raise UsageError(
            f"{called} is {trial.state.value}, not finished; `tune worker {quote(name)}` continues."
        )
    kept = {each.trial_id: each for each in storage.store.checkpoints(found.record.study_id)}
    checkpoint = kept.get(trial.trial_id)
    if checkpoint is None or all(report.step != checkpoint.step for report in found.curve):
        if not isinstance(found.record.spec, NetworkSpec):
            raise UsageError(nothing_kept(called))
        raise UsageError(
            f"{called} has no weights: only the {KEEP} best trials keep theirs; {how_to_retrain(found)}."
        )
    return kept[trial.trial_id]


def how_to_retrain(found: FoundTrial) -> str:
    """How its weights can be had again, or what else to do: the end of a refusal."""
    if found.worker is not None and found.worker.on_gpu:
        return "choose another --trial: a GPU trained this one, and `tune repeat` can restore none of those"
    repeat = f"tune repeat {quote(found.record.name)} --trial {found.trial.number} --restore"
    return f"`{repeat}` retrains it and writes them"
