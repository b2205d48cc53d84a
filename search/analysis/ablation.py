"""What an ablation found out, as frozen values: which settings helped, whether extra training does, and what
each step from a reference to the winner is worth.

All arms are trained on the same seeds, and each is judged by its last report: the best of many reports is too
high, and hides what too long a training spoils. A run that failed is a result, told beside the others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

from search.analysis import paired_arms
from search.analysis.ablation_arms import Arm, Read, arms_of, compared, values_tried
from search.analysis.paired_arms import Comparison, GapComparison, complete_seeds
from search.analysis.statistics import Estimate
from search.analysis.two_way import SEEDS
from search.records import STEP, AblationRun, Metric, NetworkSpec, StudyRecord, StudySpec, TrialRecord

BASELINE = "baseline"
"""Name of the arm that the others are compared with."""

UNREGULARIZED = "unregularized"
"""Name of the arm without any regularization and augmentation."""

RATES = ("lr", "learning_rate")
"""Names of settings that an arm has a separate value of where another one asks for it."""

MOST_SEEDS = 20
"""Where every seed is judged on the same examples."""


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Path:
    """From a reference to the baseline, one change more at each step; the last one leads to the baseline."""

    reference: str
    changes: int
    """steps in all"""
    measured: int
    """steps of which both ends are measured"""
    follows: bool
    """whether its arms are not queued yet, because their order is known only now"""
    failed: tuple[Arm, ...]
    """arms of the path, the baseline among them, that failed on a seed"""
    steps: tuple[Contrast, ...]
    """each arm less the one before; empty unless all of them are measured"""
    gain: Comparison | None
    """of all steps together: the baseline less the reference; None where there are none"""


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """A trial's settings, changed one at a time."""

    searched: StudyRecord
    baseline: TrialRecord
    record: StudyRecord
    """of the ablation"""
    arms: tuple[Arm, ...]
    """all that were queued, in that order"""
    measured: tuple[Arm, ...]
    """those that are compared, and that variances are estimated from: not those of a path, nor what failed"""
    behind: tuple[Arm, ...]
    """those of a later round that lack seeds which the others have: they are not compared yet"""
    seeds: int
    """that all compared arms have"""
    asked: tuple[AblationRun, ...]
    """what its trials are for, those too that choose, in the order in which they were queued"""
    finished_runs: int
    wanted: int
    settings: tuple[Contrast, ...]
    """variants less the baseline, the largest gain first"""
    lengths: tuple[Contrast, ...]
    """the baseline less the next shorter one, the shortest first"""
    unregularized: tuple[Contrast, ...]
    """without regularization and augmentation: less the baseline of the same budget, for each budget; then
    the longest less the shortest"""
    paths: tuple[Path, ...]
    """one for each reference that was asked for"""
    follow: tuple[str, ...] = ()
    """names of variants that are not queued yet, because their learning rate is known only now"""
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
        """Whether every run that was asked for has ended, and none follows."""
        follows = self.follow or any(path.follows for path in self.paths)
        return self.finished_runs >= self.wanted > 0 and not follows

    @property
    def compares(self) -> bool:
        """Whether anything is compared yet."""
        steps = any(path.steps for path in self.paths)
        return bool(self.settings or self.lengths or self.unregularized or steps)

    @property
    def budget(self) -> int:
        """Steps of the variants."""
        return self.record.spec.budget

    @property
    def divides_anew(self) -> bool:
        """Whether each seed holds out other examples, so that none chose the winner; and intervals cover the
        sampling of examples."""
        return divides_anew(self.record.spec)

    @cached_property
    def failed(self) -> tuple[Arm, ...]:
        """Arms with a run that failed for good: they are compared with nothing."""
        return tuple(arm for arm in self.arms if arm.failed)

    @cached_property
    def variants(self) -> tuple[Arm, ...]:
        """The arms that are compared with the baseline, also those that failed or have no run yet."""
        return tuple(
            arm
            for arm in self.arms
            if arm.budget == self.budget
            and arm.name not in (BASELINE, UNREGULARIZED)
            and not is_on_path(arm, self.searched)
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


def divides_anew(spec: StudySpec) -> bool:
    """As `Ablation.divides_anew`, of the ablation's spec."""
    return isinstance(spec, NetworkSpec) and spec.folds > 0


def most_seeds(spec: StudySpec) -> int:
    """How many seeds an ablation with this spec can have. The last part of a dataset is the one on which the
    winner was chosen."""
    return spec.folds - 1 if isinstance(spec, NetworkSpec) and spec.folds > 0 else MOST_SEEDS


def _half(estimate: Estimate) -> float:
    assert estimate.low is not None
    assert estimate.high is not None
    return (estimate.high - estimate.low) / 2


def ablation(read: Read) -> Ablation:
    """Works out what is known so far."""
    arms, metric = arms_of(read), read.searched.spec.metric
    asked = tuple(dict.fromkeys(run.ablation for run in read.runs if run.ablation))
    sound = [arm for arm in arms if not arm.failed and not is_on_path(arm, read.searched)]
    chosen, behind = compared(sound, beside=[arm for arm in arms if arm not in sound])
    measured = [arm for arm in arms if arm in chosen]  # in the order of `arms`
    named = {arm.name for arm in arms}
    baseline = _baseline(measured, read)
    finished = read.counts.finished if read.counts else sum(run.state.is_finished for run in read.runs)
    lengths, unregularized = _lengths(measured, metric)
    return Ablation(
        searched=read.searched,
        baseline=read.baseline,
        record=read.record,
        arms=arms,
        measured=tuple(measured),
        behind=behind,
        seeds=len(complete_seeds({arm.key: arm.scores for arm in measured})),
        asked=asked,
        finished_runs=finished,
        wanted=max(read.record.target_trials, len(asked)),
        settings=() if baseline is None else _settings(measured, baseline, metric),
        lengths=lengths,
        unregularized=() if baseline is None else unregularized,
        paths=tuple(_paths(read, arms, asked)),
        follow=tuple(name for name in values_tried(read) if name not in named),
        code_of_search=frozenset(filter(None, (read.baseline.code,))),
        code_of_runs=frozenset(run.code for run in read.runs if run.code is not None),
    )


def _baseline(arms: Sequence[Arm], read: Read) -> Arm | None:
    """The one of these that the variants are compared with; None where it is not among them."""
    budget = read.record.spec.budget
    return next((arm for arm in arms if arm.name == BASELINE and arm.budget == budget), None)


def is_on_path(arm: Arm, searched: StudyRecord) -> bool:
    """Whether the arm is a reference of the study that was searched, or one with changes."""
    return arm.name.split(STEP)[0] in searched.spec.references


def _changed(arm: Arm, reference: Arm, about: str | None = None) -> tuple[str, ...]:
    """The settings in which two arms differ, the one first that the change is about; None: the one that the
    arm is named after."""
    one, other = arm.settings, reference.settings
    names = [name for name in dict.fromkeys([*one, *other]) if one.get(name) != other.get(name)]
    first = arm.name.split("=")[0] if about is None else about
    return tuple(sorted(names, key=lambda name: name != first))


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


def _paths(read: Read, arms: Sequence[Arm], asked: Sequence[AblationRun]) -> Iterator[Path]:
    """One for each reference that was asked for, as far as it is measured. Its changes are those of the runs
    that choose their order."""
    baseline = _baseline(arms, read)
    for reference in arms:
        if reference.name in read.searched.spec.references:
            parts = [run.arm.split(STEP) for run in asked]
            found = {change for first, *some in parts if first == reference.name for change in some}
            if found:
                yield _path(reference, arms, baseline, found, read.searched.spec.metric)


def _path(
    reference: Arm, arms: Sequence[Arm], baseline: Arm | None, steps: Collection[str], metric: Metric
) -> Path:
    """steps: what the changes from the reference to the baseline are called, as far as runs tell."""
    own = {arm.name: arm for arm in arms if arm.name.split(STEP)[0] == reference.name}
    parts = max((name.split(STEP) for name in own), key=len)
    names = [STEP.join(parts[: count + 1]) for count in range(len(parts))]
    changes = max(len(steps), len(names))  # the runs that choose may be unreadable
    last = next((step for step in steps if step not in parts), "")
    follows = len(names) < changes
    ends = [*(own.get(name) for name in names), *[None] * (changes - len(names)), baseline]
    enough = min(SEEDS, len(reference.queued))  # of more seeds, asked for later, some may be missing
    there = [arm is not None and not arm.failed and len(arm.runs) >= enough for arm in ends]
    walk = [arm for arm, is_there in zip(ends, there, strict=True) if arm is not None and is_there]
    told: tuple[Contrast, ...] = ()
    found: list[Comparison] = []
    if all(there):
        keys = [arm.key for arm in walk]
        found = paired_arms.steps(
            {arm.key: arm.scores for arm in walk}, keys, metric, also=[(keys[-1], keys[0])]
        )
        told = tuple(
            Contrast(arm=after, reference=before, changed=_changed(after, before, about), found=each)
            for each, (before, after), about in zip(found, pairwise(walk), [*parts[1:], last], strict=False)
        )
    return Path(
        reference=reference.name,
        changes=changes,
        measured=sum(one and other for one, other in pairwise(there)),
        follows=follows,
        failed=tuple(arm for arm in ends if arm is not None and arm.failed),
        steps=told,
        gain=found[-1] if found else None,
    )
