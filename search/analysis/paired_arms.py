"""Differences between arms of an experiment that were trained on the same seeds, with intervals and verdicts.

The design is a randomized complete block design: score[arm, seed] = mean[arm] + block[seed] + error, where a
seed is a block that all arms share. Where every seed holds out other examples, the spread of the differences
over seeds contains the seed of the network and the sampling of the validation examples. It does not contain
all of the sampling of training examples: the training sets of two seeds overlap. Where all seeds share one
validation set, the intervals are over seeds only.

With three seeds an arm's own variance is hardly known, and arms differ in variance: one variance for all of
them gives false verdicts where the baseline is the noisier arm (simulated, benchmarks/claims_of_ablation.py).
So each arm has a moderated variance (Smyth 2004, Statistical Applications in Genetics and Molecular Biology
3:3): its own, with S - 1 degrees of freedom, and the typical one of all arms, with `PRIOR_DEGREES`. Of a
fraction the variance is in units of p (1 - p) of the arm's mean (quasi-binomial dispersion, McCullagh and
Nelder 1989), so that an arm that is far worse does not widen the intervals of the others.

Many arms against one baseline are Dunnett's comparisons (1955), here with variances that differ. All
numbers are scores, where higher is better; `statistics.in_values` turns them into values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from search.analysis import over_seeds
from search.analysis.critical_values import family_critical, pair_critical
from search.analysis.statistics import CLEAR, QUESTIONS, Estimate
from search.analysis.two_way import SEEDS
from search.records import Metric

PRIOR_DEGREES = {True: 10, False: 3}
"""Whether the metric is a fraction → degrees of freedom of the typical variance in an arm's variance.

10 expects standard deviations that differ between arms by a factor of 2.5 (95 % of arms have 0.7 to 1.75
times the typical one), 3 by a factor of 6 (0.6 to 3.7 times): a metric without bounds has no p (1 - p) that
explains a part of the differences. More degrees are shorter intervals, and more false verdicts where the
baseline is the noisiest arm: 12 % of plans with 10 degrees for metrics without bounds, 6 to 8 % with 4 or 5;
with 20 degrees for fractions 4 to 6 % (benchmarks/claims_of_ablation.py, 3 or 5 seeds, 400 or 600 plans)."""

FLOOR = 1e-4
"""The least p (1 - p) of a fraction: that of 99.99 %. Above that an arm's variance falls no further."""

Scores = Mapping[str, Mapping[int, float]]
"""Arm → seed → score, higher is better. Arms that failed are not in it."""


class Verdict(StrEnum):
    """What the family-wise interval of a difference says."""

    BETTER = "better"
    """than the reference; of a longer training: it helps"""
    WORSE = "worse"
    """than the reference; of a longer training: it hurts"""
    NOT_TOLD_APART = "not told apart"
    """from the reference; of a longer training: a plateau, or too few seeds to see the difference"""


class NoInterval(StrEnum):
    """Why a difference has no interval."""

    ONE_SEED = "one seed"
    IGNORES_SEED = "ignores the seed"
    """one of the two arms has the same score on all seeds"""
    NO_SPREAD = "no spread"
    """the difference is the same on all seeds: a difference of 0 means that the setting changes nothing"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """One arm less another on the same seeds, in units of the score."""

    arm: str
    reference: str
    seeds: tuple[int, ...]
    pointwise: Estimate
    """with the interval that covers this one difference in 95 % of repetitions"""
    family: Estimate
    """with the interval that covers together with those of its question's other comparisons, in `share`"""
    verdict: Verdict | None
    """from `family`; None without an interval, or on fewer than `two_way.SEEDS` seeds"""
    no_interval: NoInterval | None = None

    @property
    def difference(self) -> float:
        """Mean of the arm less mean of the reference."""
        return self.pointwise.value


@dataclass(frozen=True, kw_only=True, slots=True)
class GapComparison:
    """What a setting changes in training score, and in the gap between that and the validation score.

    The two intervals are pointwise and must be called so: there is no verdict in them. A smaller gap alone
    is no better generalization, since an arm that fits less has one too. So the words are "fits the training
    set more (less)" for `train`, "the generalization gap is smaller (larger)" for `gap`, each with "in this
    comparison alone" where its interval excludes 0; and "generalizes better" only where the verdict of
    `against_baseline` on the validation score is BETTER.
    """

    arm: str
    seeds: tuple[int, ...]
    train: Estimate
    gap: Estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """Variances of the arms of one experiment."""

    seeds: tuple[int, ...]
    means: Mapping[str, float]
    """of all arms, over these seeds"""
    variances: Mapping[str, float]
    """moderated, of one score without its block; arms of which none can be told are missing"""
    own_degrees: float
    """of each arm's moderated variance, where the typical variance is known; infinite for one pair of arms"""
    common_degrees: float
    """of the typical variance"""


def share_of(seeds: int) -> float:
    """How often all intervals of one question hold together: settings are one question, lengths the other.

    Verdicts are told from three seeds on, and who adds seeds looks once more. With the same level at each
    look 7 to 8 % of plans had a false verdict at three or at five seeds, and 10 % at three, five or ten
    (benchmarks/claims_of_ablation.py). So the level is halved beyond three seeds, and a third beyond six.
    """
    looks = 1 if seeds <= SEEDS else 2 if seeds <= 2 * SEEDS else 3
    return 1 - CLEAR / QUESTIONS / looks


def complete_seeds(scores: Scores) -> tuple[int, ...]:
    """The seeds that every arm has, in order."""
    arms = list(scores.values())
    return tuple(sorted(set(arms[0]).intersection(*arms[1:]))) if arms else ()


def spread(scores: Scores, metric: Metric, *, levels: Scores | None = None) -> Spread:
    """Means and moderated variances of the arms.

    levels: scores whose means scale the variances of a fraction, where `scores` itself is none (a gap).
    An arm that ignores its seed has no variance. Arms that move alike on all seeds (a setting that
    changes nothing) count once, or the block effects would follow them. Raises ValueError for a score that
    is not finite.
    """
    seeds = complete_seeds(scores)
    if not seeds:
        return Spread(seeds=(), means={}, variances={}, own_degrees=math.inf, common_degrees=0.0)
    y = np.array([[of[seed] for seed in seeds] for of in scores.values()], dtype=np.float64)
    if not np.isfinite(y).all():
        raise ValueError(f"scores are finite numbers, not {y[~np.isfinite(y)][0]}; leave out diverged arms")
    names, means = list(scores), dict(zip(scores, y.mean(axis=1).tolist(), strict=True))
    row_of: dict[str, int] = {}
    rows: list[int] = []
    for place, name in enumerate(names):
        if len(seeds) < 2 or over_seeds.same(y[place].tolist()):
            continue
        like = next((row for row in rows if _moves_alike(y[place], y[row])), place)
        row_of[name] = like
        rows += [place] * (like == place)
    if len(rows) < 2:
        return Spread(seeds=seeds, means=means, variances={}, own_degrees=math.inf, common_degrees=0.0)
    of_levels = levels or scores
    level = np.array([np.mean([of_levels[name][seed] for seed in seeds]) for name in names])
    units = _units(level, metric)
    found, own, common = _moderated(y[rows], units[rows], metric)
    by_row = dict(zip(rows, found.tolist(), strict=True))
    return Spread(
        seeds=seeds,
        means=means,
        variances={name: by_row[row] for name, row in row_of.items()},
        own_degrees=own,
        common_degrees=common,
    )


def _moves_alike(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    gaps = one - other
    return bool(np.ptp(gaps) <= over_seeds.ROUNDING * max(np.abs(one).max(), np.abs(other).max()))


def _units(levels: NDArray[np.float64], metric: Metric) -> NDArray[np.float64]:
    """(arms,): what the variance of each arm is proportional to."""
    if not metric.is_fraction:
        return np.ones_like(levels)
    p = np.abs(levels)  # the score of a minimized fraction is its negative
    units: NDArray[np.float64] = np.maximum(p * (1 - p), FLOOR)
    return units


def _moderated(
    y: NDArray[np.float64], units: NDArray[np.float64], metric: Metric
) -> tuple[NDArray[np.float64], float, float]:
    """(variances of the arms, their own degrees of freedom, those of the typical variance).

    y: (arms, seeds), two or more of each. The typical variance is Smyth's: from the mean logarithm. So that
    unstable arms hardly move it, no variance counts as more than the 99 % quantile of those of stable arms
    (winsorized as by Phipson et al. 2016, Annals of Applied Statistics 10:2). Of two arms the residuals are
    equal and tell one variance only: the comparison is then the paired t-test.
    """
    from scipy.special import digamma, fdtri, polygamma  # type: ignore[import-untyped]  # half a second

    arms, seeds = y.shape
    own = seeds - 1
    deviations = y - y.mean(axis=1, keepdims=True)
    weights = (1 / units) / (1 / units).sum()
    residuals = deviations - weights @ deviations
    squares = (residuals**2).sum(axis=1) / units
    if arms == 2:
        both: NDArray[np.float64] = units * squares.sum() / own
        return both, math.inf, float(own)
    single = squares / (own * (1 - weights))
    prior = PRIOR_DEGREES[metric.is_fraction]
    middle = float(np.median(single))
    most = middle * float(fdtri(own, prior, 0.99) / fdtri(own, prior, 0.5))
    # 1 in 1,000 arms on three seeds lies below the lower end, which keeps the logarithm of 0 out
    logarithms = np.log(np.clip(single, 1e-3 * middle, most))
    shift = sum(sign * (digamma(d / 2) - math.log(d / 2)) for sign, d in ((-1, own), (1, prior)))
    typical = float(np.exp(logarithms.mean() + shift))
    common = min(2 * arms / float(polygamma(1, own / 2)), (arms - 1) * own)
    variances: NDArray[np.float64] = units * (prior * typical + own * single) / (prior + own)
    return variances, float(prior + own), common


def _around(value: float, half: float | None) -> Estimate:
    if half is None:
        return Estimate(value=value, low=None, high=None)
    return Estimate(value=value, low=value - half, high=value + half)


def _no_interval(scores: Scores, found: Spread, arm: str, reference: str) -> NoInterval | None:
    if len(found.seeds) < 2:
        return NoInterval.ONE_SEED
    y = {name: np.array([scores[name][seed] for seed in found.seeds]) for name in (arm, reference)}
    if any(over_seeds.same(each.tolist()) for each in y.values()):
        return NoInterval.IGNORES_SEED
    known = arm in found.variances and reference in found.variances
    return NoInterval.NO_SPREAD if not known or _moves_alike(y[arm], y[reference]) else None


def _compared(
    found: Spread, arm: str, reference: str, critical: float | None, why: NoInterval | None
) -> Comparison:
    """critical: standard errors of the family-wise interval; None, and why, where there is no interval."""
    value = found.means[arm] - found.means[reference]
    pointwise = family = verdict = None
    if critical is not None:
        one, other = found.variances[arm], found.variances[reference]
        error = math.sqrt((one + other) / len(found.seeds))
        degrees = {"own": found.own_degrees, "common": found.common_degrees}
        pointwise = error * pair_critical(one, other, **degrees, share=0.95)
        family = error * critical
        if len(found.seeds) >= SEEDS:
            verdict = Verdict.NOT_TOLD_APART
            if abs(value) > family:
                verdict = Verdict.BETTER if value > 0 else Verdict.WORSE
    return Comparison(
        arm=arm,
        reference=reference,
        seeds=found.seeds,
        pointwise=_around(value, pointwise),
        family=_around(value, family),
        verdict=verdict,
        no_interval=why,
    )


def _require(scores: Scores, arms: Sequence[str]) -> None:
    missing = [arm for arm in arms if arm not in scores]
    if missing:
        raise ValueError(f"unknown arms {', '.join(missing)}; there are {', '.join(scores)}")


def against_baseline(
    scores: Scores,
    baseline: str,
    metric: Metric,
    *,
    arms: Sequence[str] | None = None,
    share: float | None = None,
) -> list[Comparison]:
    """Each arm less the baseline on the seeds that all arms of `scores` have; empty before there is one.

    arms: those compared, which share the family-wise intervals; None: all but the baseline. The others, such
    as other lengths of training, help to estimate the variances. Raises ValueError for an unknown arm, and
    for a score that is not finite.
    """
    compared = [arm for arm in scores if arm != baseline] if arms is None else list(arms)
    _require(scores, [baseline, *compared])
    found = spread(scores, metric)
    if not found.seeds:
        return []
    why = {arm: _no_interval(scores, found, arm, baseline) for arm in compared}
    judged = [arm for arm in compared if why[arm] is None]
    critical = None
    if judged:
        critical = family_critical(
            [found.variances[arm] for arm in judged],
            found.variances[baseline],
            own=found.own_degrees,
            common=found.common_degrees,
            share=share_of(len(found.seeds)) if share is None else share,
        )
    return [
        _compared(found, arm, baseline, critical if why[arm] is None else None, why[arm]) for arm in compared
    ]


def steps(
    scores: Scores,
    lengths: Sequence[str],
    metric: Metric,
    *,
    also: Sequence[tuple[str, str]] = (),
    share: float | None = None,
) -> list[Comparison]:
    """Each length of training less the next shorter one: whether longer training helps.

    lengths: arms, the shortest first. also: further pairs (arm, reference) that share the family-wise
    intervals, for instance the longest and the baseline's length without regularization. Bonferroni over all
    pairs: neighboring steps share an arm and have correlation -1/2, so that little is lost. Empty before all
    arms of `scores` have one seed in common. Raises ValueError as `against_baseline`.
    """
    pairs = [(longer, shorter) for shorter, longer in pairwise(lengths)] + list(also)
    _require(scores, [arm for pair in pairs for arm in pair])
    found = spread(scores, metric)
    if not found.seeds:
        return []
    told, together = [], share_of(len(found.seeds)) if share is None else share
    for arm, reference in pairs:
        why, critical = _no_interval(scores, found, arm, reference), None
        if why is None:
            critical = pair_critical(
                found.variances[arm],
                found.variances[reference],
                own=found.own_degrees,
                common=found.common_degrees,
                share=1 - (1 - together) / len(pairs),
            )
        told.append(_compared(found, arm, reference, critical, why))
    return told


def gaps(train: Scores, validation: Scores, baseline: str, metric: Metric) -> list[GapComparison]:
    """What each arm changes against the baseline in train score and gap, with pointwise intervals.

    The gap is the train score less the validation score. Its variances scale with those of the validation
    score, which vary more. Used are the arms and seeds that both have. Raises ValueError for an unknown
    baseline, and for a score that is not finite.
    """
    of_train: dict[str, dict[int, float]] = {}
    of_validation: dict[str, dict[int, float]] = {}
    of_gap: dict[str, dict[int, float]] = {}
    for arm in validation:
        seeds = train.get(arm, {}).keys() & validation[arm].keys()
        if seeds:
            of_train[arm] = {seed: train[arm][seed] for seed in seeds}
            of_validation[arm] = {seed: validation[arm][seed] for seed in seeds}
            of_gap[arm] = {seed: train[arm][seed] - validation[arm][seed] for seed in seeds}
    _require(validation, [baseline])
    if baseline not in of_gap:
        return []
    told: dict[tuple[str, str], Estimate] = {}
    for name, scores in (("train", of_train), ("gap", of_gap)):
        found = spread(scores, metric, levels=of_validation if name == "gap" else None)
        for arm in scores if found.seeds else ():
            why = _no_interval(scores, found, arm, baseline)
            compared = _compared(found, arm, baseline, None if why else 0.0, why)
            told[arm, name] = compared.pointwise
    return [
        GapComparison(
            arm=arm,
            seeds=complete_seeds(of_gap),
            train=told[arm, "train"],
            gap=told[arm, "gap"],
        )
        for arm in of_gap
        if arm != baseline and complete_seeds(of_gap)
    ]


def share_of_errors(difference: Estimate, baseline: float, metric: Metric) -> Estimate | None:
    """By which share of the baseline's errors the errors change: -0.25 is a quarter fewer.

    difference, baseline: scores. The errors are what the baseline lacks of the best possible score; they are
    taken as given, and their sampling error is not in the interval. None for a metric that counts no errors,
    and for a baseline without errors.
    """
    errors = over_seeds.possible(metric)[1] - baseline
    if not metric.counts_errors or errors <= 0:
        return None
    value = -difference.value / errors + 0.0  # no -0.0
    if difference.low is None or difference.high is None:
        return Estimate(value=value, low=None, high=None)
    return Estimate(value=value, low=-difference.high / errors, high=-difference.low / errors)


MOST_SEEDS = 1_000_000
"""Up to here `seeds_needed` looks."""


def seeds_needed(
    half_width: float,
    seeds: int,
    arms: int,
    wanted: float,
    metric: Metric,
    *,
    compared: int | None = None,
) -> int:
    """How many seeds would give an interval of this half-width, at least `seeds`.

    half_width: of an interval on `seeds` seeds, two or more. arms: of the experiment. compared: how many arms
    a family-wise interval holds for together; None: it is a pointwise one of 95 %. The variances are taken
    to be equal and to stay as they are. Raises ValueError for a wanted half-width that is not positive, or
    that a million seeds do not reach.
    """
    if wanted <= 0 or seeds < 2 or arms < 2:
        raise ValueError(f"no half-width of {wanted} from {seeds} seeds of {arms} arms")

    def half(n: int) -> float:
        from scipy.special import polygamma

        own = math.inf if arms == 2 else PRIOR_DEGREES[metric.is_fraction] + n - 1
        common = float((arms - 1) * (n - 1))
        if arms > 2:
            common = min(2 * arms / float(polygamma(1, (n - 1) / 2)), common)
        share = 0.95 if compared is None else share_of(n)
        critical = family_critical([1.0] * (compared or 1), 1.0, own=own, common=common, share=share)
        return critical / math.sqrt(n)

    goal = wanted / half_width * half(seeds)
    enough, few = seeds, seeds
    while half(enough) > goal:
        few, enough = enough, 2 * enough
        if enough > MOST_SEEDS:
            raise ValueError(f"{MOST_SEEDS:,} seeds do not reach a half-width of {wanted}")
    while enough - few > 1:  # bisection: the half-width falls with every seed
        middle = (few + enough) // 2
        few, enough = (middle, enough) if half(middle) > goal else (few, middle)
    return enough
