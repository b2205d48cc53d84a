"""What each setting did to a number by trial, such as its accuracy: groups, what they explain, a sentence.
Knows nothing of where the numbers were measured (search.report.one_study.basis).

The sampler prefers what did well, so settings keep company: whoever has one good setting has others too.
The trials that were drawn at random are free of that; each effect is looked at among them as well. And a
setting that every family of networks has is looked at within one family, or it would take the families'
difference for its own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from search.records import TrialRecord, Value
from search.report.statistics import Correlation, Explained, correlation, explained, holm, quartiles
from search.report.words import number, p_value, percent, share

ENOUGH = 12
"""Trials below which nothing is said of a setting."""

IN_A_GROUP = 5
"""Trials below which a group is shown and left out of the test."""

CLEAR = 0.05
"""Below this, corrected for all settings asked, chance does not explain what is seen."""


FAMILY = "model"
"""The setting that says which family a network is of."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One setting that the study searched."""

    name: str
    meaning: str
    """a phrase for people, with the unit"""
    family: str | None
    """the model family that has it; None: all have it"""
    ordered: bool
    """numbers, not options"""
    log: bool
    """drawn on a logarithmic scale"""
    needs: tuple[str, int] | None = None
    """another setting, and what it must exceed for this one to do anything; None: it always does"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Trials whose value of a setting is the same, or lies in one range."""

    label: str
    values: tuple[float, ...]
    at_random: tuple[float, ...]
    """those of the trials that were drawn at random"""

    @property
    def n(self) -> int:
        """Trials."""
        return len(self.values)

    @property
    def median(self) -> float:
        """Of the values."""
        return quartiles(self.values)[1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """What one setting did, over the trials that have it."""

    setting: Setting
    n: int
    points: tuple[tuple[Value, float, int], ...]
    """(setting's value, number compared, trial number) of each trial, by trial number"""
    groups: tuple[Group, ...]
    """in the order of the values"""
    tested: Explained | None
    """None: not enough data to tell"""
    p_of_all: float
    """the p-value, corrected for all settings that were asked; 1 where nothing was tested"""
    trend: Correlation | None
    """of an ordered setting"""
    n_random: int
    """of the trials, those drawn at random"""
    random: Explained | None
    """the same among those alone; None: too few"""
    p_random_of_all: float
    """the p-value among those, corrected likewise; 1 where nothing was tested"""

    @property
    def share(self) -> float:
        """Of the variance of the ranks that the setting explains; 0 where nothing was tested."""
        return 0.0 if self.tested is None else self.tested.share

    @property
    def _large(self) -> Sequence[Group]:
        """The groups large enough to be tested, else all."""
        return [group for group in self.groups if group.n >= IN_A_GROUP] or self.groups

    @property
    def best(self) -> Group:
        """The group with the highest median among those large enough to be tested, else among all."""
        return max(self._large, key=lambda group: group.median)

    @property
    def lowest(self) -> Group:
        """Likewise the one with the lowest."""
        return min(self._large, key=lambda group: group.median)

    @property
    def agrees(self) -> bool | None:
        """Whether the best group stands above the lowest among the trials drawn at random, too: a test only
        says that groups differ there, not which way. None: one of the two has no such trial."""
        high, low = self.best.at_random, self.lowest.at_random
        return quartiles(high)[1] > quartiles(low)[1] if high and low else None

    @property
    def clear(self) -> bool:
        """Whether chance does not explain it, even in so many settings. The sampler may: see `shown`."""
        return self.tested is not None and self.p_of_all < CLEAR

    @property
    def likely(self) -> bool:
        """Whether it is clear, and the trials drawn at random at least hint at it. One idle setting in twenty
        is called likely in a long search (docs/decisions/011)."""
        hinted = self.random is not None and self.random.p < CLEAR and self.agrees is True
        return self.clear and not self.shown and hinted

    @property
    def shown(self) -> bool:
        """Whether it is clear, and there also where no result had a say in the settings: only then it may be
        called the setting's own doing."""
        if self.n_random == self.n:
            return self.clear
        seen = self.random is not None and self.p_random_of_all < CLEAR and self.agrees is True
        return self.clear and seen


def effects(
    settings: Sequence[Setting],
    trials: Sequence[TrialRecord],
    scores: Mapping[int, float],
    at_random: Collection[int],
    *,
    family: str | None,
) -> list[Effect]:
    """The effect of every setting on `scores` (by trial number), the largest share first.

    at_random: numbers of the trials whose settings owe nothing to results. family: within which settings
    that all families have are looked at; None: there is but one.
    """
    found = [
        effect(setting, having(setting, trials, family=family), scores, at_random) for setting in settings
    ]
    corrected = iter(holm([each.tested.p for each in found if each.tested is not None]))
    found = [replace(each, p_of_all=next(corrected)) if each.tested else each for each in found]
    corrected = iter(holm([each.random.p for each in found if each.random is not None]))
    found = [replace(each, p_random_of_all=next(corrected)) if each.random else each for each in found]
    return sorted(found, key=lambda each: (-each.share, each.p_of_all, -each.n))


def having(setting: Setting, trials: Sequence[TrialRecord], *, family: str | None) -> list[TrialRecord]:
    """The trials among which a setting is looked at: of one family, and such that it does something in."""
    within = setting.family or (None if setting.name == FAMILY else family)
    there = [trial for trial in trials if within is None or trial.settings.get(FAMILY) == within]
    if setting.needs is None:
        return there
    other, above = setting.needs
    return [trial for trial in there if float(trial.settings.get(other, above)) > above]


def effect(
    setting: Setting,
    trials: Sequence[TrialRecord],
    scores: Mapping[int, float],
    at_random: Collection[int],
) -> Effect:
    """The effect of one setting, its p-value not corrected for others."""
    pairs = [
        (trial.params[setting.name], scores[trial.number], trial.number)
        for trial in trials
        if setting.name in trial.params and trial.number in scores
    ]
    chance = [pair for pair in pairs if pair[2] in at_random]
    groups = _groups(setting, pairs, at_random)
    tested = _tested(groups, len(pairs))
    random = _tested(_groups(setting, chance, at_random), len(chance))
    x = [float(value) for value, _, _ in pairs] if setting.ordered else []
    return Effect(
        setting=setting,
        n=len(pairs),
        points=tuple(pairs),
        groups=groups,
        tested=tested,
        p_of_all=1.0 if tested is None else tested.p,
        trend=correlation(x, [score for _, score, _ in pairs]) if setting.ordered else None,
        n_random=len(chance),
        random=random,
        p_random_of_all=1.0 if random is None else random.p,
    )


Pair = tuple[Value, float, int]


def _tested(groups: Sequence[Group], n: int) -> Explained | None:
    large = [group.values for group in groups if group.n >= IN_A_GROUP]
    return explained(large) if n >= ENOUGH and len(large) > 1 else None


def _groups(setting: Setting, pairs: Sequence[Pair], at_random: Collection[int]) -> tuple[Group, ...]:
    values = sorted({value for value, _, _ in pairs}, key=lambda value: (str(type(value)), value))
    if not setting.ordered or len(values) <= 4:
        return tuple(
            _group(label(value), [pair for pair in pairs if pair[0] == value], at_random) for value in values
        )
    # Quarters of the trials, thirds or halves of fewer: equal values stay together.
    parts = 4 if len(pairs) >= 40 else 3 if len(pairs) >= 18 else 2
    ranked = sorted(pairs, key=lambda pair: float(pair[0]))
    cuts = sorted({float(ranked[len(ranked) * part // parts][0]) for part in range(1, parts)})
    bins: list[list[Pair]] = [[] for _ in range(len(cuts) + 1)]
    for pair in ranked:
        bins[sum(float(pair[0]) >= cut for cut in cuts)].append(pair)
    return tuple(_group(_range(each[0][0], each[-1][0]), each, at_random) for each in bins if each)


def _group(name: str, pairs: Sequence[Pair], at_random: Collection[int]) -> Group:
    return Group(
        label=name,
        values=tuple(score for _, score, _ in pairs),
        at_random=tuple(score for _, score, number in pairs if number in at_random),
    )


def label(value: Value) -> str:
    """An option or a number, as a person writes it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else number(value)


def _range(low: Value, high: Value) -> str:
    return label(low) if low == high else f"{label(low)} to {label(high)}"


def title(setting: Setting) -> str:
    """`lr (peak learning rate)`, for the first time that it is named."""
    return setting.name if setting.name == setting.meaning else f"{setting.name} ({setting.meaning})"


def sentence(effect: Effect) -> str:
    """What the data say of this setting, with n and the tests that it rests on."""
    name = title(effect.setting)
    if effect.tested is None:
        return f"{name}: not enough data to tell, n = {effect.n}."
    if effect.tested.p >= CLEAR:
        return f"{name}: no effect can be told from chance, n = {effect.n} ({_p(effect)})."
    best, worst = effect.best, effect.lowest
    told = (
        f"best with {best.label} (median {percent(best.median)}, n = {best.n}), lowest with {worst.label} "
        f"({percent(worst.median)}, n = {worst.n})"
    )
    explains = f"{share(effect.share)} of the differences in rank go with it"
    lead = explains if effect.clear else "a hint only"
    return f"{name}: {lead}, {told}; {_p(effect)}. {among_random(effect)}"


def among_random(effect: Effect) -> str:
    """Whether the effect is also there where no result had a say in the settings."""
    if effect.n_random == effect.n:
        return "All of them were drawn at random."
    if effect.random is None or effect.agrees is None:
        return f"Too few were drawn at random to check it among them (n = {effect.n_random})."
    if effect.random.p < CLEAR and not effect.agrees:
        return (
            f"The {effect.n_random} drawn at random differ too ({p_value(effect.random.p)}), but not so: "
            f"{effect.best.label} does not stand above {effect.lowest.label} there."
        )
    if effect.random.p < CLEAR <= effect.p_random_of_all:
        return (
            f"Among the {effect.n_random} drawn at random there is a hint of it ({p_value(effect.random.p)}; "
            f"{p_value(effect.p_random_of_all).removeprefix('p = ')} corrected)."
        )
    return seen_at_random(effect.p_random_of_all < CLEAR, effect.n_random, effect.random.p)


def seen_at_random(seen: bool, n: int, p: float) -> str:
    """The same for any test: n trials drawn at random, its p-value."""
    if seen:
        return f"Among the {n} drawn at random it is seen too ({p_value(p)})."
    return (
        f"Among the {n} drawn at random it cannot be told from chance ({p_value(p)}): it may be due to the "
        "company that the sampler gave it."
    )


def _p(effect: Effect) -> str:
    """Both p-values where the correction changes what they say."""
    assert effect.tested is not None
    own, corrected = p_value(effect.tested.p), p_value(effect.p_of_all)
    return own if own == corrected else f"{own}; {corrected.removeprefix('p = ')} corrected"
