"""What each setting did to the score: one test for each, and groups of trials that show which way.

Only exploration trials are tested. The sampler prefers what did well, so settings
keep company: among its proposals, whatever came with a good setting looks good, in three searches of four
(docs/decisions/011). Where a setting is one of several families of networks, a trial counts by its rank
within its family: the families' difference is not the setting's.

The test is the same for options and for numbers, which are grouped by value or by quarters: Kruskal–Wallis.
It finds a best value in the middle as well as a trend. All groups take part, whatever their size.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from search.analysis.statistics import CLEAR, Above, Differing, corrected, differing, pairs_apart, quartiles
from search.records import Failure, TrialRecord, Value

ENOUGH = 12
"""Tested trials below which nothing is said of a setting."""

FAMILY = "model"
"""The setting of a network that says which family it is of."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One setting that the study searched."""

    name: str
    meaning: str
    """a phrase for people, with the unit"""
    ordered: bool
    """numbers, not options"""
    log: bool
    """drawn on a logarithmic scale"""


class Verdict(StrEnum):
    """What can be said of a setting."""

    MATTERS = "matters"
    UNCLEAR = "unclear"
    """no effect can be told from chance"""
    TOO_FEW = "too few"
    """it was not tested"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Tested trials whose value of a setting is the same, or lies in one range."""

    low: Value
    """the lowest value of the setting among them"""
    high: Value
    """the highest; the same as `low` where the value is one"""
    scores: tuple[float, ...]
    ranks: tuple[float, ...]
    """of the scores within their families, as a share: 0 the worst, 1 the best"""
    diverged: int = 0
    """of the trials, those that diverged"""

    @property
    def n(self) -> int:
        """Trials."""
        return len(self.scores)

    @property
    def median(self) -> float:
        """Of the scores."""
        return quartiles(self.scores)[1]

    @property
    def rank(self) -> float:
        """Median of the ranks."""
        return quartiles(self.ranks)[1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """What one setting did."""

    setting: Setting
    points: tuple[tuple[Value, float, int], ...]
    """(setting's value, score, trial number) of all trials that have it, by trial number"""
    tested: tuple[int, ...]
    """numbers of the tested trials: the exploration trials"""
    groups: tuple[Group, ...]
    """of the tested trials, in the order of the values"""
    rank_test: Differing | None
    """not corrected; None: too few trials"""
    p: float
    """corrected for everything that the page asks; 1 where nothing was tested"""
    apart: tuple[Above, ...]
    """pairs of groups that differ, p corrected likewise; empty unless the setting matters"""
    diverged: frozenset[int] = frozenset()
    """numbers of the trials that diverged, whose scores in `points` are below all others"""

    @property
    def n(self) -> int:
        """Tested trials."""
        return len(self.tested)

    @property
    def share(self) -> float:
        """Of the differences in rank that go with the setting; 0 where nothing was tested."""
        return 0.0 if self.rank_test is None else self.rank_test.share

    @property
    def verdict(self) -> Verdict:
        """The one verdict on this setting."""
        if self.rank_test is None:
            return Verdict.TOO_FEW
        return Verdict.MATTERS if self.p < CLEAR else Verdict.UNCLEAR

    @property
    def best(self) -> Group | None:
        """The group with the highest rank among those that are known to lie above another one."""
        above = [self.groups[each.higher] for each in self.apart]
        return max(above, key=lambda group: group.rank, default=None)

    @property
    def beaten(self) -> list[Group]:
        """The groups that are known to lie below the best one, in their order."""
        return [
            group
            for place, group in enumerate(self.groups)
            if any(each.lower == place and self.groups[each.higher] is self.best for each in self.apart)
        ]


def effects(
    settings: Sequence[Setting],
    trials: Sequence[TrialRecord],
    scores: Mapping[int, float],
    exploration_trials: Collection[int],
    *,
    family: str | None = FAMILY,
) -> list[Effect]:
    """The effect of every setting on `scores` (by trial number): those that matter first, by their share.

    exploration_trials: numbers of the exploration trials, which alone are tested. family: the setting within
    whose values trials are ranked; None: there is no such setting.
    """
    found = [
        _effect(setting, having(setting, trials), scores, exploration_trials, family) for setting in settings
    ]
    ps = iter(corrected([each.rank_test.p for each in found if each.rank_test is not None]))
    found = [replace(each, p=next(ps)) if each.rank_test else each for each in found]
    tested = sum(each.rank_test is not None for each in found)
    found = [_with_pairs(each, tested) if each.verdict is Verdict.MATTERS else each for each in found]
    order = list(Verdict)
    return sorted(found, key=lambda each: (order.index(each.verdict), -each.share, each.p, -each.n))


def having(setting: Setting, trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The trials in which a setting is active."""
    return [trial for trial in trials if setting.name in trial.settings]


def _effect(
    setting: Setting,
    trials: Sequence[TrialRecord],
    scores: Mapping[int, float],
    exploration_trials: Collection[int],
    family: str | None,
) -> Effect:
    """The effect of one setting, its p-value not corrected for others. family: as of `effects`."""
    mine = [trial for trial in trials if setting.name in trial.params and trial.number in scores]
    tested = [trial for trial in mine if trial.number in exploration_trials]
    diverged = frozenset(trial.number for trial in mine if trial.failure is Failure.DIVERGED)
    ranks = _ranks(tested, scores, family if setting.name != family else None)
    groups = _groups(
        setting,
        [(t.params[setting.name], scores[t.number], ranks[t.number], t.number in diverged) for t in tested],
    )
    enough = len(tested) >= ENOUGH and len(groups) > 1
    rank_test = differing([group.ranks for group in groups]) if enough else None
    return Effect(
        setting=setting,
        points=tuple((trial.params[setting.name], scores[trial.number], trial.number) for trial in mine),
        tested=tuple(trial.number for trial in tested),
        groups=groups,
        rank_test=rank_test,
        p=1.0 if rank_test is None else rank_test.p,
        apart=(),
        diverged=diverged,
    )


def _ranks(
    trials: Sequence[TrialRecord], scores: Mapping[int, float], family: str | None
) -> dict[int, float]:
    """Ranks by trial number, as shares; equal scores have the mean of their ranks."""
    from scipy.stats import rankdata  # type: ignore[import-untyped]  # SciPy ships no types; half a second

    families: dict[object, list[int]] = {}
    for trial in trials:
        mine = None if family is None else trial.settings.get(family)
        families.setdefault(mine, []).append(trial.number)
    return {
        number: float(rank) / (len(some) + 1)
        for some in families.values()
        for number, rank in zip(some, rankdata([scores[number] for number in some]), strict=True)
    }


def _with_pairs(effect: Effect, tested: int) -> Effect:
    """The same with the pairs of groups that differ: corrected among the pairs, and for every tested setting
    (Bonferroni)."""
    pairs = pairs_apart([group.ranks for group in effect.groups])
    ps = [min(1.0, tested * corrected([each.p])[0]) for each in pairs]
    return replace(
        effect, apart=tuple(replace(each, p=p) for each, p in zip(pairs, ps, strict=True) if p < CLEAR)
    )


Pair = tuple[Value, float, float, bool]
"""Value of the setting, score, rank, whether the trial diverged."""


def _groups(setting: Setting, pairs: Sequence[Pair]) -> tuple[Group, ...]:
    values = sorted({pair[0] for pair in pairs}, key=lambda value: (str(type(value)), value))
    if not setting.ordered or len(values) <= 5:
        return tuple(_group(value, value, [pair for pair in pairs if pair[0] == value]) for value in values)
    # Quarters of the trials, thirds or halves of fewer: equal values stay together.
    parts = 4 if len(pairs) >= 40 else 3 if len(pairs) >= 18 else 2
    ranked = sorted(pairs, key=lambda pair: float(pair[0]))
    cuts = sorted({float(ranked[len(ranked) * part // parts][0]) for part in range(1, parts)})
    bins: list[list[Pair]] = [[] for _ in range(len(cuts) + 1)]
    for pair in ranked:
        bins[sum(float(pair[0]) >= cut for cut in cuts)].append(pair)
    return tuple(_group(each[0][0], each[-1][0], each) for each in bins if each)


def _group(low: Value, high: Value, pairs: Sequence[Pair]) -> Group:
    return Group(
        low=low,
        high=high,
        scores=tuple(score for _, score, _, _ in pairs),
        ranks=tuple(rank for _, _, rank, _ in pairs),
        diverged=sum(diverged for _, _, _, diverged in pairs),
    )
