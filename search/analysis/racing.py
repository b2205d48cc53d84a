"""Who is confirmed, and who is dropped on the way: the rules of a confirmation, on records.

Candidates are trained on one seed after the other, the same seeds for all, so that two of them are compared
by the differences of their pairs. From the third seed on, no more seeds are spent on a candidate when the
95 % interval of its mean difference to the leader over seeds (Student's t) lies below zero. That is the race
of Maron and Moore (1994, "Hoeffding races") with the paired t test of Birattari et al. (2002, "A racing
algorithm for configuring metaheuristics"); Optuna's WilcoxonPruner is the same idea with another test, which
cannot reach 95 % before the sixth pair. What the rule saves and loses was measured: docs/decisions/010. It
decides what is trained; which candidate is better takes intervals over seeds and digits (two_way.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean

from search.analysis.ranking import best_trial, score_of
from search.analysis.statistics import student_interval
from search.analysis.two_way import SEEDS
from search.records import AblationRun, Confirming, Failure, State, TrialRecord

TRIES = 3
"""Failures of one run that are final: of a candidate's race, of an ablation's arm. Signals and full disks do
not count."""

Values = Mapping[int, Mapping[int, float]]
"""Candidate -> seed -> score of the finished run."""


def leaders(trials: Sequence[TrialRecord], top: int) -> list[TrialRecord]:
    """The `top` trials of a search that deserve to be confirmed, best first; references are not among them,
    nor trials that are set aside.

    A pruned trial may lead: what it reached early it may exceed when it is trained to the end. The best
    complete one, which the search calls its winner, is always there.
    """
    own = [trial for trial in trials if trial.reference is None and trial.set_aside is None]
    scored = [trial for trial in own if trial.state.is_finished and trial.score is not None]
    best_first = sorted(scored, key=lambda trial: (-score_of(trial), trial.number))
    chosen, winner = best_first[:top], best_trial(own)
    if winner is not None and winner not in chosen:
        chosen[-1] = winner
    return chosen


def references(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The reference configurations that the search trained to the end, by number."""
    return [trial for trial in trials if trial.reference and trial.state is State.COMPLETE]


def values(runs: Iterable[TrialRecord]) -> dict[int, dict[int, float]]:
    """What is finished of a confirmation."""
    found: dict[int, dict[int, float]] = {}
    for run in runs:
        if run.confirming is not None and run.state is State.COMPLETE and run.score is not None:
            found.setdefault(run.confirming.candidate, {})[run.confirming.seed] = run.score
    return found


def failed(runs: Iterable[TrialRecord]) -> dict[int, TrialRecord]:
    """Candidate -> the run that ended its race by failing: it diverged, or failed repeatedly.

    The mean of the seeds that went well would flatter a candidate that fails on others.
    """
    out: dict[int, TrialRecord] = {}
    for trial, tries in _failures(runs):
        if trial.confirming is not None and _is_final(trial, tries):
            out.setdefault(trial.confirming.candidate, trial)
    return out


def spent(runs: Iterable[TrialRecord]) -> set[AblationRun]:
    """Runs of an ablation that have failed for good: they diverged, or failed repeatedly.

    Another seed of the same arm may do well; it is trained. Nothing else prunes in an ablation, so a run that
    is pruned was out by these rules, or by those of an earlier version.
    """
    every = list(runs)
    final = {trial.ablation for trial, tries in _failures(every) if _is_final(trial, tries)}
    final |= {trial.ablation for trial in every if trial.state is State.PRUNED}
    return {run for run in final if run is not None}


def _is_final(trial: TrialRecord, tries: int) -> bool:
    """Whether a run is not repeated after this failure. What diverged does so again, bit for bit; memory may
    be free the next time. tries: failures of this run so far."""
    return trial.failure is Failure.DIVERGED or tries >= TRIES


def has_failed(runs: Iterable[TrialRecord], run: AblationRun, *, besides: int) -> bool:
    """Whether the arm of this run of an ablation has failed before, on another seed or at another learning
    rate. besides: number of the trial that does not count."""
    return any(
        trial.number != besides
        and trial.ablation is not None
        and trial.ablation.for_arm == run.for_arm
        and trial.failure is not None
        and not trial.failure.is_retryable
        for trial in runs
    )


def _failures(runs: Iterable[TrialRecord]) -> Iterator[tuple[TrialRecord, int]]:
    """Runs that failed for another reason than a signal or a full disk, and how often the same run had then
    failed so."""
    tries: Counter[Confirming | AblationRun] = Counter()
    for trial in runs:
        run = trial.confirming or trial.ablation
        blameless = trial.failure in (None, Failure.INTERRUPTED, Failure.DISK_FULL)
        if run is not None and trial.state is State.FAILED and not blameless:
            tries[run] += 1
            yield trial, tries[run]


def dropped(runs: Sequence[TrialRecord]) -> set[int]:
    """Candidates that are out for good: a run of theirs was ended without being trained, or failed."""
    pruned = {run.confirming.candidate for run in runs if run.confirming and run.state is State.PRUNED}
    return pruned | failed(runs).keys()


def in_vain(runs: Sequence[TrialRecord]) -> set[int]:
    """Candidates on which no further seed is to be spent: those that are out, and those that are hopeless.

    References are the yardstick: they are out for failing only.
    """
    gone = dropped(runs)
    yardstick = {run.confirming.candidate for run in runs if run.confirming and run.reference}
    racing = {
        candidate: by_seed
        for candidate, by_seed in values(runs).items()
        if candidate not in gone | yardstick and len(by_seed) >= SEEDS
    }
    if racing:
        leader = max(racing, key=lambda candidate: (fmean(racing[candidate].values()), -candidate))
        gone |= {candidate for candidate in racing if hopeless(racing, candidate, leader)}
    return gone


def hopeless(found: Values, candidate: int, leader: int) -> bool:
    """Whether the seeds that both were trained on are enough to tell that the candidate is the worse one."""
    gaps = differences(found, candidate, leader)
    if len(gaps) < SEEDS:
        return False
    return student_interval(gaps)[2] < 0


def differences(found: Values, one: int, other: int) -> list[float]:
    """Score of `one` minus that of `other`, by seed, where both are there."""
    mine, theirs = found.get(one, {}), found.get(other, {})
    return [mine[seed] - theirs[seed] for seed in sorted(mine.keys() & theirs.keys())]
