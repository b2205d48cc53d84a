"""What an ablation found out, as frozen values: which settings helped, whether extra training does, and what
each step from a reference to the winner is worth.

All arms are trained on the same seeds, and each is judged by its last report: the best of many reports is too
high, and hides what too long a training spoils. A run that failed is a result, told beside the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean

from search.analysis import paired_arms, racing
from search.analysis.paired_arms import Comparison, GapComparison
from search.analysis.statistics import Estimate
from search.heads import train_eval_of
from search.records import (
    ACCURACY,
    SCORES,
    AblationRun,
    Counts,
    Metric,
    NetworkSpec,
    Report,
    State,
    StudyRecord,
    TrialRecord,
    Value,
)

BASELINE = "baseline"
"""Name of the arm that the others are compared with."""

UNREGULARIZED = "unregularized"
"""Name of the arm without any regularization and augmentation."""

STEP = " + "
"""Between the steps of a path in the name of an arm."""

RATES = ("lr", "learning_rate")
"""Names of settings that an arm has a separate value of where another one asks for it."""


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
    runs: tuple[ArmRun, ...]
    """complete ones, by seed"""
    failed: Mapping[int, TrialRecord]
    """by index of the seed, the run that failed for good"""
    edge: str | None = None
    """"smallest" or "largest" where the learning rate that was chosen for it is that of those tried: one
    beyond may be better"""

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Contrast:
    """One arm compared with another one."""

    arm: Arm
    reference: Arm
    changed: tuple[str, ...]
    """the settings in which they differ, the one first that the arm is about; empty where only the budgets
    do"""
    found: Comparison
    gap: GapComparison | None = None
    """what changes in training score, validation score and the gap between the two; None: not known"""


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """A trial's settings, changed one at a time."""

    searched: StudyRecord
    baseline: TrialRecord
    record: StudyRecord
    """of the ablation"""
    arms: tuple[Arm, ...]
    """all that were asked for and are measured, in the order in which they were queued"""
    seeds: int
    """on which every arm that did not fail is complete"""
    finished_runs: int
    wanted: int
    settings: tuple[Contrast, ...]
    """variants less the baseline, the largest gain first"""
    lengths: tuple[Contrast, ...]
    """the baseline less the next shorter one, the shortest first"""
    unregularized: tuple[Contrast, ...]
    """without regularization and augmentation: less the baseline of the same budget, for each budget; then
    the longest less the shortest"""
    path: tuple[Contrast, ...]
    """each step from a reference to the baseline less the one before; the last leads to the baseline"""
    gain: Comparison | None
    """of the whole path: the baseline less the reference; None without one"""
    code_of_search: frozenset[str] = frozenset()
    """SHA-256 of the training code of the baseline in the search, where it is recorded"""
    code_of_runs: frozenset[str] = frozenset()
    """likewise of the ablation's trials"""
    others: tuple[str, ...] = ()
    """names of earlier ablations of the same study"""

    @property
    def metric(self) -> Metric:
        """What the scores are of."""
        return self.searched.spec.metric

    @property
    def finished(self) -> bool:
        """Whether every run that was asked for has ended."""
        return self.finished_runs >= self.wanted > 0

    @property
    def budget(self) -> int:
        """Steps of the variants."""
        return self.record.spec.budget

    @property
    def divides_anew(self) -> bool:
        """Whether each seed holds out other examples, so that none chose the winner; and intervals cover the
        sampling of examples."""
        return isinstance(self.record.spec, NetworkSpec) and self.record.spec.folds > 0

    @cached_property
    def failed(self) -> tuple[Arm, ...]:
        """Arms with a run that failed for good: they are compared with nothing."""
        return tuple(arm for arm in self.arms if arm.failed)

    @cached_property
    def measured(self) -> tuple[Arm, ...]:
        """Arms that variances are estimated from: not those of a path, nor what failed."""
        return tuple(
            arm for arm in self.arms if arm.runs and not arm.failed and not is_on_path(arm, self.searched)
        )

    @cached_property
    def half_widths(self) -> tuple[float, float] | None:
        """Medians over the settings of half the pointwise and half the family-wise interval; None: none has
        one."""
        halves = [
            (_half(each.found.pointwise), _half(each.found.family))
            for each in self.settings
            if each.found.no_interval is None
        ]
        if not halves:
            return None
        middle = len(halves) // 2
        return sorted(one for one, _ in halves)[middle], sorted(other for _, other in halves)[middle]


def _half(estimate: Estimate) -> float:
    assert estimate.low is not None
    assert estimate.high is not None
    return (estimate.high - estimate.low) / 2


def ablation(read: Read) -> Ablation:
    """Works out what is known so far."""
    arms = _arms(read)
    asked = {run.ablation for run in read.runs if run.ablation}
    measured = [arm for arm in arms if arm.runs and not arm.failed]
    metric = read.searched.spec.metric
    baseline = next(
        (arm for arm in measured if arm.name == BASELINE and arm.budget == read.record.spec.budget), None
    )
    paths = [arm for arm in measured if is_on_path(arm, read.searched)]
    rest = [arm for arm in measured if arm not in paths]
    seeds = len(paired_arms.complete_seeds({arm.key: arm.scores for arm in rest}))
    finished = read.counts.finished if read.counts else sum(run.state.is_finished for run in read.runs)
    lengths, unregularized = _lengths(rest, metric)
    path, gain = ((), None) if baseline is None else _path(paths, baseline, metric)
    return Ablation(
        searched=read.searched,
        baseline=read.baseline,
        record=read.record,
        arms=arms,
        seeds=seeds,
        finished_runs=finished,
        wanted=max(read.record.target_trials, len(asked)),
        settings=() if baseline is None else _settings(rest, baseline, metric),
        lengths=lengths,
        unregularized=() if baseline is None else unregularized,
        path=path,
        gain=gain,
        code_of_search=frozenset(filter(None, (read.baseline.code,))),
        code_of_runs=frozenset(run.code for run in read.runs if run.code is not None),
    )


def _arms(read: Read) -> tuple[Arm, ...]:
    """All but those that only choose."""
    failed = racing.spent(read.runs)
    tried = _tried(read)
    found: dict[tuple[str, int], dict[AblationRun, TrialRecord]] = {}
    for trial in read.runs:
        run = trial.ablation
        if run is not None and not run.chooses:
            of_arm = found.setdefault((run.arm, run.budget), {})
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
        settings = max(trials.values(), key=lambda trial: len(trial.settings)).settings
        arms.append(
            Arm(
                name=name,
                budget=budget,
                settings=settings,
                edge=_edge(settings, tried.get(name)),
                runs=tuple(runs),
                failed={run.seed: trial for run, trial in trials.items() if run in failed},
            )
        )
    return tuple(arms)


def _tried(read: Read) -> dict[str, tuple[str, list[Value]]]:
    """By arm, the setting that was chosen for it and the values among which it was."""
    found: dict[str, tuple[str, list[Value]]] = {}
    for trial in read.runs:
        run = trial.ablation
        arm, _, last = run.arm.rpartition(", ") if run is not None and run.chooses else ("", "", "")
        name = last.partition("=")[0]
        if arm and name in trial.settings:
            found.setdefault(arm, (name, []))[1].append(trial.settings[name])
    return found


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


def is_on_path(arm: Arm, searched: StudyRecord) -> bool:
    """Whether the arm is a reference of the study that was searched, or one with changes."""
    return arm.name.split(STEP)[0] in searched.spec.references


def _changed(arm: Arm, reference: Arm) -> tuple[str, ...]:
    """The settings in which two arms differ, the one first that the arm is named after."""
    one, other = arm.settings, reference.settings
    names = [name for name in dict.fromkeys([*one, *other]) if one.get(name) != other.get(name)]
    about = arm.name.split("=")[0].split(STEP)[-1]
    return tuple(sorted(names, key=lambda name: name != about))


def _settings(arms: Sequence[Arm], baseline: Arm, metric: Metric) -> tuple[Contrast, ...]:
    """Of the arms with the baseline's budget; the others help to estimate variances."""
    variants = {
        arm.key: arm
        for arm in arms
        if arm.budget == baseline.budget and arm.name not in (BASELINE, UNREGULARIZED)
    }
    if not variants:
        return ()
    scores = {arm.key: arm.scores for arm in arms}
    found = paired_arms.against_baseline(scores, baseline.key, metric, arms=list(variants))
    training = {
        arm.key: {run.seed: run.training for run in arm.runs if run.training is not None}
        for arm in (baseline, *variants.values())
    }
    gaps: dict[str, GapComparison] = {}
    if all(training.values()):
        validation = {key: scores[key] for key in training}
        gaps = {each.arm: each for each in paired_arms.gaps(training, validation, baseline.key, metric)}
    contrasts = [
        Contrast(
            arm=variants[each.arm],
            reference=baseline,
            changed=_changed(variants[each.arm], baseline),
            found=each,
            gap=gaps.get(each.arm),
        )
        for each in found
    ]
    return tuple(sorted(contrasts, key=lambda each: -each.found.difference))


def _lengths(arms: Sequence[Arm], metric: Metric) -> tuple[tuple[Contrast, ...], tuple[Contrast, ...]]:
    """(steps of the baseline's length, comparisons without regularization)."""
    by_key = {arm.key: arm for arm in arms}
    rising = sorted((arm for arm in arms if arm.name == BASELINE), key=lambda arm: arm.budget)
    plain = sorted(_unregularized(arms), key=lambda arm: arm.budget)
    regularized = {arm.budget: arm for arm in rising}
    also = [(arm.key, regularized[arm.budget].key) for arm in plain if arm.budget in regularized]
    if len(plain) > 1:
        also.append((plain[-1].key, plain[0].key))
    if len(rising) < 2 and not also:
        return (), ()
    found = paired_arms.steps(
        {arm.key: arm.scores for arm in arms}, [arm.key for arm in rising], metric, also=also
    )
    named = {arm.key: replace(arm, name=UNREGULARIZED) for arm in plain}
    contrasts = [
        Contrast(
            arm=named.get(each.arm, by_key[each.arm]),
            reference=named.get(each.reference, by_key[each.reference]),
            changed=_changed(by_key[each.arm], by_key[each.reference]),
            found=each,
        )
        for each in found
    ]
    first = max(0, len(rising) - 1)
    return tuple(contrasts[:first]), tuple(contrasts[first:])


def _unregularized(arms: Sequence[Arm]) -> list[Arm]:
    """The arms without any regularization; a variant that is the same configuration is one of them."""
    named = [arm for arm in arms if arm.name == UNREGULARIZED]
    budgets, settings = {arm.budget for arm in named}, [arm.settings for arm in named]
    twins = [
        arm for arm in arms if arm.name != BASELINE and arm.budget not in budgets and arm.settings in settings
    ]
    return [*named, *twins[:1]]


def _path(
    arms: Sequence[Arm], baseline: Arm, metric: Metric
) -> tuple[tuple[Contrast, ...], Comparison | None]:
    """(steps of the longest path that is there, the last one to the baseline; all of them together)."""
    if not arms:
        return (), None
    longest = max(arms, key=lambda arm: arm.name.count(STEP))
    parts = longest.name.split(STEP)
    names = [STEP.join(parts[: count + 1]) for count in range(len(parts))]
    by_name = {arm.name: arm for arm in arms}
    if any(name not in by_name for name in names):
        return (), None
    walk = [by_name[name] for name in names] + [baseline]
    keys = [arm.key for arm in walk]
    found = paired_arms.steps({arm.key: arm.scores for arm in walk}, keys, metric, also=[(keys[-1], keys[0])])
    told = tuple(
        Contrast(arm=after, reference=before, changed=_changed(after, before), found=each)
        for each, before, after in zip(found, walk, walk[1:], strict=False)
    )
    return told, found[-1] if found else None
