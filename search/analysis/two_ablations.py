"""Whether a change does the same to the winners of two searches: two ablations side by side.

The effect of a change is a difference of two arms on the seeds of its ablation; the networks of the two
ablations are trained independently, so that the difference of two effects has the sum of four variances.
Ablations of one dataset divide it alike, so that what is easy in a seed's examples is common to both: that
makes the intervals rather too wide. A verdict in one ablation alone is no difference between the two; that
takes the interval of the difference.

Variances are those of `paired_arms`, with two exceptions (simulated in benchmarks/claims_of_ablation.py).
Arms that are far worse than the baseline are often unstable, and a typical variance then calls equal effects
different in 16 % of pairs of ablations: such an arm has its own variance, with few degrees of freedom. The
baseline is a part of every effect: it has its own variance where that is the larger one, else ablations whose
baseline is the noisiest arm, and that are looked at again with more seeds, are told to differ in 9 to 11 %.
A metric without bounds knows no far worse arms: all of its arms have their own variance where it is larger.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from search.analysis import over_seeds
from search.analysis.ablation import BASELINE, UNREGULARIZED, Ablation, Contrast
from search.analysis.paired_arms import Comparison, Scores, spread
from search.analysis.statistics import CLEAR, Estimate
from search.analysis.two_way import SEEDS
from search.records import Metric, Value

FAR = 2.0
"""An arm with more errors than this many times the baseline's is far worse."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Variances:
    """Of the arms of one ablation."""

    seeds: tuple[int, ...]
    of_arm: Mapping[str, tuple[float, float]]
    """by arm, of its mean: (variance, degrees of freedom); infinite degrees where an ablation has two arms"""
    common_degrees: float
    """of the typical variance"""


class Alike(StrEnum):
    """In what a change is the same in two ablations."""

    SAME = "from one value to the same other one"
    BACK = "the other one changes it back: its difference counts with the other sign"
    TO = "to the same number"
    UP = "a step up"
    DOWN = "a step down"
    LENGTH = "the budgets are the same"
    PLAIN = "without regularization, with the same budget"


@dataclass(frozen=True, kw_only=True, slots=True)
class Shared:
    """One change that two ablations measured."""

    alike: Alike
    first: Contrast
    other: Contrast
    effects: tuple[float, float]
    """of the change in each, in the direction of the first, in units of the score"""
    difference: Estimate
    """the second effect less the first; its interval holds together with those of all other changes"""
    differs: bool | None
    """whether the interval excludes 0; None without one, or on fewer than `two_way.SEEDS` seeds"""


@dataclass(frozen=True, kw_only=True, slots=True)
class TwoAblations:
    """Two ablations of one objective, of trials of the same search or of two."""

    first: Ablation
    other: Ablation
    shared: tuple[Shared, ...]
    """settings, the largest difference first; then lengths and without regularization, the shortest first"""
    unlike: Mapping[str, tuple[Value | None, Value | None]]
    """settings in which the two baselines differ, with both values"""


def two_ablations(
    first: Ablation,
    other: Ablation,
    unlike: Mapping[str, tuple[Value | None, Value | None]],
    *,
    pairs: int = 1,
) -> TwoAblations:
    """The changes that both measured, with the differences of their effects.

    unlike: settings in which the baselines differ. pairs: of ablations that are told together; all their
    intervals hold together (Bonferroni).
    """
    found = [*_settings(first, other), *_lengths(first, other)]
    variances = [_variances(each) for each in (first, other)]
    share = share_of_each(pairs * len(found), seeds=max(first.seeds, other.seeds))
    shared = [_shared(*each, *variances, share=share) for each in found]
    lengths = (Alike.LENGTH, Alike.PLAIN)
    order = sorted(
        shared,
        key=lambda each: (
            lengths.index(each.alike) + 1 if each.alike in lengths else 0,
            each.first.arm.budget if each.alike in lengths else -abs(each.difference.value),
        ),
    )
    return TwoAblations(first=first, other=other, shared=tuple(order), unlike=unlike)


def share_of_each(comparisons: int, *, seeds: int) -> float:
    """How often each interval has to hold, so that all of them hold together in 95 % of repetitions, also
    where either ablation is looked at with more seeds later (Bonferroni). seeds: of the one that has more.

    Of two ablations there are more looks than of one: the level is a quarter beyond three seeds, and an
    eighth beyond six. With a half and a third, as `paired_arms.share_of` has them, 6.5 % of pairs whose
    baselines are the noisiest arms had a false difference at some look (benchmarks/claims_of_ablation.py).
    """
    stricter = 1 if seeds <= SEEDS else 4 if seeds <= 2 * SEEDS else 8
    return 1 - CLEAR / stricter / max(1, comparisons)


def _variances(found: Ablation) -> Variances:
    scores = {arm.key: arm.scores for arm in found.measured}
    baseline = next(
        (arm.key for arm in found.measured if arm.name == BASELINE and arm.budget == found.budget), None
    )
    return variances_of(scores, found.metric, baseline)


def variances_of(scores: Scores, metric: Metric, baseline: str | None) -> Variances:
    """Of the mean of each arm over its seeds. baseline: name of an arm; None: it failed."""
    found = spread(scores, metric)
    seeds = found.seeds
    if len(seeds) < 2:
        return Variances(seeds=seeds, of_arm={}, common_degrees=0.0)
    y = np.array([[of[seed] for seed in seeds] for of in scores.values()], dtype=np.float64)
    alone = dict(zip(scores, (y - np.median(y, axis=0)).var(axis=1, ddof=1).tolist(), strict=True))
    best = over_seeds.possible(metric)[1]
    of_arm = {}
    for arm, moderated in found.variances.items():
        variance, degrees = moderated, found.own_degrees
        if math.isinf(degrees):  # two arms: the variance is that of their differences
            pass
        elif not metric.is_fraction or arm == baseline:
            variance = max(moderated, alone[arm])
        elif baseline is not None and best - found.means[arm] > FAR * (best - found.means[baseline]):
            variance, degrees = max(moderated, alone[arm]), len(seeds) - 1
        of_arm[arm] = variance / len(seeds), degrees
    return Variances(seeds=seeds, of_arm=of_arm, common_degrees=found.common_degrees)


def _settings(first: Ablation, other: Ablation) -> Iterator[tuple[Alike, Contrast, Contrast]]:
    """Changes of one setting that are alike, the closest likeness first; each is taken once."""
    mine, theirs = list(first.settings), list(other.settings)
    for wanted in (Alike.SAME, Alike.BACK, Alike.TO, Alike.UP, Alike.DOWN):
        for one in list(mine):
            match = next((two for two in theirs if wanted in _alike(one, two)), None)
            if match is not None:
                mine.remove(one)
                theirs.remove(match)
                yield wanted, one, match


def _alike(one: Contrast, two: Contrast) -> set[Alike]:
    if not one.changed or not two.changed or one.changed[0] != two.changed[0]:
        return set()
    (before, after), (begin, end) = (_ends(each) for each in (one, two))
    found = set()
    if before == begin and after == end:
        found.add(Alike.SAME)
    if before == end and after == begin:
        found.add(Alike.BACK)
    if not all(_is_number(value) for value in (before, after, begin, end)):
        return found
    if after == end:
        found.add(Alike.TO)
    if after > before and end > begin:  # type: ignore[operator]  # numbers
        found.add(Alike.UP)
    if after < before and end < begin:  # type: ignore[operator]
        found.add(Alike.DOWN)
    return found


def _ends(contrast: Contrast) -> tuple[Value | None, Value | None]:
    name = contrast.changed[0]
    return contrast.reference.settings.get(name), contrast.arm.settings.get(name)


def _is_number(value: Value | None) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _lengths(first: Ablation, other: Ablation) -> Iterator[tuple[Alike, Contrast, Contrast]]:
    """Comparisons of two lengths, and with and without regularization, that both have."""
    theirs = {_budgets(each): each for each in (*other.lengths, *other.unregularized)}
    for one in (*first.lengths, *first.unregularized):
        if (two := theirs.get(_budgets(one))) is not None:
            plain = UNREGULARIZED in (one.arm.name, one.reference.name)
            yield Alike.PLAIN if plain else Alike.LENGTH, one, two


def _budgets(contrast: Contrast) -> tuple[str, int, str, int]:
    return contrast.arm.name, contrast.arm.budget, contrast.reference.name, contrast.reference.budget


def _shared(
    alike: Alike, first: Contrast, other: Contrast, one: Variances, two: Variances, *, share: float
) -> Shared:
    sign = -1 if alike is Alike.BACK else 1
    found = less_effect(other.found, two, first.found, one, sign=sign, share=share)
    enough = found.low is not None and min(len(one.seeds), len(two.seeds)) >= SEEDS
    return Shared(
        alike=alike,
        first=first,
        other=other,
        effects=(first.found.difference, sign * other.found.difference),
        difference=found,
        differs=found.excludes_zero if enough else None,
    )


def less_effect(
    this: Comparison,
    of_this: Variances,
    other: Comparison,
    of_other: Variances,
    *,
    sign: int = 1,
    share: float,
) -> Estimate:
    """One effect less another one, of two ablations, with the interval that covers it in `share`; without one
    where an effect has none.

    sign: -1 where the first effect is of the change back. Degrees of freedom are Satterthwaite's (1946):
    those of the four arms' own variances, and of the typical variance of each ablation, which is a part of
    both of its arms'.
    """
    from scipy.special import stdtrit  # type: ignore[import-untyped]  # SciPy ships no types; half a second

    value = sign * this.difference - other.difference
    if this.no_interval is not None or other.no_interval is not None:
        return Estimate(value=value, low=None, high=None)
    total = uncertain = 0.0
    for effect, found in ((this, of_this), (other, of_other)):
        arms = [found.of_arm[arm] for arm in (effect.arm, effect.reference)]
        both = sum(variance for variance, _ in arms)
        total += both
        uncertain += both**2 / found.common_degrees
        uncertain += sum(variance**2 / degrees for variance, degrees in arms)
    half = math.sqrt(total) * float(stdtrit(total**2 / uncertain, (1 + share) / 2))
    return Estimate(value=value, low=value - half, high=value + half)
