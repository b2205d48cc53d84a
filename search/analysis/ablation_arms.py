"""The arms of an ablation, read from its trials: what each came to, and which of them are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from search.analysis import racing
from search.analysis.paired_arms import complete_seeds
from search.analysis.ranking import origin
from search.heads import train_eval_of
from search.records import (
    ACCURACY,
    SCORES,
    AblationRun,
    Counts,
    Report,
    State,
    StudyRecord,
    TrialRecord,
    Value,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Read:
    """A search and an ablation of one of its trials, as they are at one moment."""

    searched: StudyRecord
    baseline: TrialRecord
    """the trial of the search that is changed"""
    record: StudyRecord
    """of the ablation"""
    runs: Sequence[TrialRecord]
    """of the ablation, by number"""
    curves: Mapping[int, Sequence[Report]]
    """of the complete runs, by trial id"""
    counts: Counts | None = None
    """of the ablation, with trials that cannot be used; None: as in `runs`"""
    without_effect: frozenset[str] = frozenset()
    """names of settings that do nothing for the task, such as the width of a number that it does not have"""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmRun:
    """One arm trained on one seed."""

    seed: int
    """index of the seed, from 0"""
    trial: int
    """number of the trial in the ablation"""
    score: float
    """at the end"""
    training: float | None
    """the same score on training examples, without augmentation; None: not known"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """A configuration with a budget, on every seed."""

    name: str
    budget: int
    """steps"""
    settings: Mapping[str, Value]
    """those that do anything for the task"""
    runs: tuple[ArmRun, ...]
    """complete ones, by seed"""
    failed: Mapping[int, TrialRecord]
    """by index of the seed, the run that failed for good"""
    queued: Mapping[int, int]
    """by index of the seed, the number of the trial that was queued for it first"""
    chosen: str | None = None
    """the setting whose value was chosen for this arm among several: its learning rate"""
    edge: str | None = None
    """"smallest" or "largest" where the value that was chosen is that of those tried: one beyond may be
    better"""

    @property
    def key(self) -> str:
        """Of this arm among all: the name is that of several where the budgets differ."""
        return f"{self.name} @ {self.budget}"

    @property
    def mean(self) -> float | None:
        """Score over its seeds; None before the first is complete."""
        return fmean(run.score for run in self.runs) if self.runs else None

    @property
    def training(self) -> float | None:
        """Score on training examples, over its seeds; None where it is not known."""
        found = [run.training for run in self.runs if run.training is not None]
        return fmean(found) if found and len(found) == len(self.runs) else None

    @property
    def scores(self) -> dict[int, float]:
        """By index of the seed."""
        return {run.seed: run.score for run in self.runs}


def arms_of(read: Read) -> tuple[Arm, ...]:
    """All but those that only choose."""
    failed = racing.spent(read.runs)
    tried = values_tried(read)
    repeats = {trial.number: trial.retry_of for trial in read.runs}
    queued: dict[AblationRun, int] = {}
    found: dict[tuple[str, int], dict[AblationRun, TrialRecord]] = {}
    for trial in read.runs:
        run = trial.ablation
        if run is not None and not run.chooses:
            of_arm = found.setdefault((run.arm, run.budget), {})
            queued[run] = min(origin(trial.number, repeats), queued.get(run, trial.number))
            keeps = run in of_arm and of_arm[run].state in (State.COMPLETE, State.FAILED)
            if not keeps or trial.state is State.COMPLETE:
                of_arm[run] = trial
    arms = []
    for (name, budget), trials in found.items():
        runs = [
            ArmRun(
                seed=run.seed,
                trial=trial.number,
                score=curve[-1].score,
                training=_training(curve[-1]),
            )
            for run, trial in sorted(trials.items(), key=lambda each: each[0].seed)
            if trial.state is State.COMPLETE and (curve := read.curves.get(trial.trial_id))
        ]
        every = max(trials.values(), key=lambda trial: len(trial.settings)).settings
        settings = {name: value for name, value in every.items() if name not in read.without_effect}
        arms.append(
            Arm(
                name=name,
                budget=budget,
                settings=settings,
                chosen=tried[name][0] if name in tried else None,
                edge=_edge(settings, tried.get(name)),
                runs=tuple(runs),
                failed={run.seed: trial for run, trial in trials.items() if run in failed},
                queued={run.seed: queued[run] for run in trials},
            )
        )
    return tuple(arms)


def values_tried(read: Read) -> dict[str, tuple[str, list[Value]]]:
    """By arm, the setting that is chosen for it and the values among which it is."""
    found: dict[str, tuple[str, list[Value]]] = {}
    for trial in read.runs:
        run = trial.ablation
        if run is None or run.for_arm == run.arm:
            continue
        name = run.arm.removeprefix(f"{run.for_arm}, ").partition("=")[0]
        if name in trial.settings:
            found.setdefault(run.for_arm, (name, []))[1].append(trial.settings[name])
    return found


def rounds(arms: Sequence[Arm]) -> list[list[Arm]]:
    """The arms, those together that were queued together, in order.

    A command queues all of its arms on one seed before any of them on the next one. So an arm that was queued
    first after a run on a later seed is of a later round: its learning rate was chosen meanwhile, or it was
    asked for later.
    """
    found: list[list[Arm]] = []
    for arm in sorted(arms, key=lambda arm: min(arm.queued.values())):
        number, seed = min((number, seed) for seed, number in arm.queued.items())
        later = found and any(
            before < number and other_seed > seed
            for other in found[-1]
            for other_seed, before in other.queued.items()
        )
        if later or not found:
            found.append([])
        found[-1].append(arm)
    return found


def compared(arms: Sequence[Arm], *, beside: Sequence[Arm] = ()) -> tuple[tuple[Arm, ...], tuple[Arm, ...]]:
    """(arms that are compared, on the seeds that all of them have; those of later rounds, not yet compared).

    A later round is left out while it lacks seeds that all earlier arms have and were asked for before it:
    else its first run would take back the verdicts that are told already. A round is in or out as a whole: a
    family that grows run by run would be judged again with each of them.

    The critical values are those of the arms that are in: false verdicts of both looks together are at most
    the sum, and fewer, because the later look has the earlier arms too, with the stricter values of more
    comparisons. Simulated: 2.7 to 5.0 % of plans have one (docs/experiments/032-ablation.md).

    arms: of which each may be compared. beside: others, which tell rounds apart too: a path's, what failed.
    """
    chosen: list[Arm] = []
    behind: list[Arm] = []
    keys = {arm.key for arm in arms}
    for together in rounds([*arms, *beside]):
        first = min(number for arm in together for number in arm.queued.values())
        some = [arm for arm in together if arm.key in keys]
        needed = {
            seed
            for seed in complete_seeds({arm.key: arm.scores for arm in chosen})
            if all(arm.queued[seed] < first for arm in chosen)
        }
        if all(needed <= arm.scores.keys() for arm in some):
            chosen += [arm for arm in some if arm.runs]
        else:
            behind += some
    return tuple(chosen), tuple(behind)


def _edge(settings: Mapping[str, Value], tried: tuple[str, list[Value]] | None) -> str | None:
    if tried is None:
        return None
    name, values = tried
    numbers = [value for value in values if isinstance(value, int | float)]
    if not numbers or settings.get(name) not in (min(numbers), max(numbers)):
        return None
    return "smallest" if settings[name] == min(numbers) else "largest"


def _training(report: Report) -> float | None:
    """The score on training examples; None where it was not measured, as of means over the classes, which are
    worked out for validation alone."""
    found, metric = train_eval_of(report), report.metric
    if found is None:
        return None
    if metric == ACCURACY:
        return found.accuracy
    return metric.score_of(found.loss) if metric == SCORES["log_loss"] else None
