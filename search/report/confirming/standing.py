"""What a confirmation found out, put together from the trials of both studies and the looks at the test set.
Knows nothing of databases, and nothing of how it is said (search.report.confirming.verdict).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter

from search.confirmation import Candidate, Confirmation, Look, SeedRun
from search.records import Counts, Point, State, StudyRecord, TrialRecord, Value
from search.report.confirming import racing, verdict
from search.report.numbers import best_point, count
from search.report.statistics import mean_interval as interval


@dataclass(frozen=True, kw_only=True, slots=True)
class Stand:
    """A search and its confirmation as they are at one moment."""

    searched: StudyRecord
    trials: Sequence[TrialRecord]
    """of the search, by number"""
    confirming: StudyRecord
    runs: Sequence[TrialRecord]
    """of the confirmation, by number"""
    curves: Mapping[int, Sequence[Point]]
    """of the complete runs, by trial id"""
    looks: Sequence[Look]
    """at trials of the search and of all its confirmations, oldest first"""
    yardstick: frozenset[int]
    """ids of all trials of reference configurations in these studies"""
    searched_counts: Counts | None = None
    """of the search, with trials that cannot be used; None: as in `trials`"""
    confirming_counts: Counts | None = None
    """of the confirmation, likewise"""

    @property
    def wanted(self) -> int:
        """Runs that were asked for. While more are being queued the study's target lags behind."""
        asked = {run.confirming for run in self.runs if run.confirming}
        return max(self.confirming.target_trials, len(asked))

    @property
    def finished(self) -> bool:
        """Whether every run that was asked for has ended."""
        return self.finished_runs >= self.wanted > 0

    @property
    def finished_runs(self) -> int:
        """Runs that have ended, also those that cannot be used."""
        return (self.confirming_counts or count(self.runs)).finished


def confirmation(stand: Stand) -> Confirmation:
    """The confirmation in full, its words included."""
    seeds = {run.confirming.seed for run in stand.runs if run.confirming}
    candidates = _candidates(stand)
    racers = [each for each in candidates if each.reference is None and not each.dropped]
    whole = stand.finished and all(len(each.runs) == len(seeds) for each in racers)
    chosen = racers[0] if racers and whole else None
    found = Confirmation(
        study=stand.searched.name,
        task=stand.searched.spec.task,
        confirmed_in=stand.confirming.name,
        seeds=len(seeds),
        epochs=stand.confirming.spec.epochs,
        widen=stand.confirming.spec.widen,
        candidates=candidates,
        chosen=None if chosen is None else chosen.trial,
        best_run=None if chosen is None else best_run(chosen),
        looks=tuple(stand.looks),
        words=(),
    )
    words = verdict.sentences(
        found,
        search=stand.searched,
        trials=stand.trials,
        finished=(stand.finished_runs, stand.wanted),
        searched=(stand.searched_counts or count(stand.trials)).finished,
        failed=racing.failed(stand.runs),
        beside=sum(look.trial_id in stand.yardstick for look in stand.looks),
    )
    return replace(found, words=tuple(words))


def foremost(found: Sequence[Confirmation]) -> Confirmation | None:
    """Of several confirmations of one study, oldest first, the one that counts; its words name the others.

    It is the one whose chosen candidate has the best mean on validation; while none has decided, the one
    begun last.
    """
    if not found:
        return None
    decided = [(each.choice.mean, each) for each in found if each.choice is not None]
    first = max(decided, key=itemgetter(0))[1] if decided else found[-1]
    return replace(
        first, words=(*first.words, *(verdict.beside(each) for each in found if each is not first))
    )


def best_run(candidate: Candidate) -> SeedRun:
    """The run with the best validation score, the earliest of equals: the one whose weights are of use."""
    return max(candidate.runs, key=lambda run: (run.value, -run.seed))


def _candidates(stand: Stand) -> tuple[Candidate, ...]:
    """Best mean first, and first of all those that have more to show for it: dropped ones come last.

    Who has finished no run yet is left out.
    """
    gone = racing.dropped(stand.runs)
    runs: dict[int, dict[int, SeedRun]] = {}
    settings: dict[int, dict[str, Value]] = {}
    for run in stand.runs:
        point = best_point(stand.curves.get(run.trial_id, ()))
        if run.confirming is not None and run.state is State.COMPLETE and point is not None:
            settings[run.confirming.candidate] = run.settings
            runs.setdefault(run.confirming.candidate, {})[run.confirming.seed] = SeedRun(
                seed=run.confirming.seed, trial=run.number, trial_id=run.trial_id, point=point
            )
    found = []
    for trial in stand.trials:
        if trial.number not in runs or trial.value is None:
            continue
        by_seed = runs[trial.number]
        mine = tuple(by_seed[seed] for seed in sorted(by_seed))
        mean, low, high = interval([run.value for run in mine])
        found.append(
            Candidate(
                trial=trial.number,
                reference=trial.reference,
                settings=settings[trial.number],
                search_value=trial.value,
                runs=mine,
                dropped=trial.number in gone,
                mean=mean,
                low=max(0.0, low),
                high=min(1.0, high),
            )
        )
    return tuple(sorted(found, key=lambda each: (each.dropped, -each.mean, each.trial)))
