"""Which settings were conducive to generalisation: the answer in words, from effects and the best trials.
Knows nothing of figures.

To generalise is to be right on digits that training never saw: the validation accuracy says how well, the gap
between train and validation how much was learnt by heart instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from search.records import TrialRecord, Value
from search.report.one_study.basis import Basis
from search.report.one_study.effects import CLEAR, Effect, Setting, among_random, having, label
from search.report.statistics import quartiles
from search.report.words import count, epochs, listed, number, p_value, share, signed

REGULARISERS = (
    "pairing",
    "shift",
    "affine",
    "dropout",
    "weight_decay",
    "label_smoothing",
    "averaging",
    "batch_norm",
)
"""Settings that are there to make a network generalise; what they give shows late in a training."""


def which(found: Sequence[Effect], basis: Basis, *, epoch_images: int) -> list[str]:
    """What the fair comparison says, sentence by sentence."""
    at, n = epochs(basis.images, epoch_images), count(len(basis.trials), "trial")
    shown = [each for each in found if each.shown]
    likely = [each for each in found if each.likely]
    company = [each for each in found if each.clear and not each.shown and not each.likely]
    hints = [each for each in found if not each.clear and each.tested and each.tested.p < CLEAR]
    untested = [each for each in found if each.tested is None]
    told = []
    if shown:
        told.append(
            f"After {at}, {n} compared, these settings made a difference that neither chance nor the "
            f"sampler's preferences explain: {listed([_praise(each) for each in shown])}."
        )
    opening = "" if shown else f"After {at}, {n} compared, no setting's own effect is established. "
    if likely:
        told.append(
            f"{opening}Likely: {listed([_praise(each) for each in likely])}; clear over all trials, and the "
            "trials drawn at random hint at it."
        )
    if company:
        told.append(
            f"{'' if likely else opening}High accuracy {'also ' if shown or likely else ''}went with "
            f"{listed([_praise(each) for each in company])}; the trials drawn at random do not show which of "
            "them did it."
        )
    if not told and len(untested) < len(found):
        told.append(f"After {at}, {n} compared, no setting's effect can be told from chance.")
    if hints:
        told.append(
            f"Hints, such as so many tests give by chance too: {listed([_praise(each) for each in hints])}."
        )
    if untested:
        told.append(f"Not enough data to tell about {_names(untested)}.")
    return told


def _praise(effect: Effect) -> str:
    return f"{effect.setting.name} (best {effect.best.label})"


def _names(some: Sequence[Effect]) -> str:
    return listed([each.setting.name for each in some])


def regularised(
    accuracy: Sequence[Effect], gaps: Sequence[Effect], basis: Basis, *, epoch_images: int
) -> list[str]:
    """What the regularisers did late in training, to the accuracy and to the gap."""
    at = epochs(basis.images, epoch_images)
    by_name = {each.setting.name: each for each in gaps}
    told, silent = [], []
    for each in accuracy:
        beside = by_name.get(each.setting.name)
        parts = [
            f"{what} {_how(one)}. {among_random(one)}"
            for what, one in (("validation accuracy", each), ("the gap", beside))
            if one is not None and one.clear
        ]
        if parts:
            told.append(f"{each.setting.name}: {' For the same setting, '.join(parts)}")
        else:
            silent.append(each.setting.name)
    told = [f"Among the {len(basis.trials)} trials that were trained for {at}:", *told] if told else []
    if silent:
        told.append(
            f"Of {listed(silent)} nothing can be told from chance after {at}, n = {len(basis.trials)}."
            + (
                " Whoever came so far was let on for doing well, which hides differences."
                if basis.missing
                else ""
            )
        )
    return told


def _how(effect: Effect) -> str:
    assert effect.tested is not None
    if effect.trend is not None and effect.trend.p < CLEAR:
        way = "rises" if effect.trend.rho > 0 else "falls"
        return f"{way} with it (rank correlation {signed(effect.trend.rho)}, {p_value(effect.trend.p)})"
    higher, lower = effect.best.label, effect.lowest.label
    return f"is higher with {higher} than with {lower} ({p_value(effect.tested.p)})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Company:
    """What the best trials have in one setting, beside all that were tried."""

    setting: str
    best: str
    """among the best trials, in words"""
    tried: str
    """among those it is compared with, in words"""


def company(
    settings: Sequence[Setting], best: Sequence[TrialRecord], tried: Sequence[TrialRecord]
) -> list[Company]:
    """The settings of the best trials beside those that were tried, where they do something; settings that
    none of the best has are left out."""
    found = []
    for setting in settings:
        mine, theirs = (
            [
                trial.params[setting.name]
                for trial in having(setting, trials, family=None)
                if setting.name in trial.params
            ]
            for trials in (best, tried)
        )
        if mine and theirs:
            found.append(
                Company(setting=setting.name, best=_in_words(setting, mine), tried=_in_words(setting, theirs))
            )
    return found


def _in_words(setting: Setting, values: Sequence[Value]) -> str:
    if setting.ordered and len(set(values)) > 4:
        low, middle, high = quartiles([float(value) for value in values])
        return f"{number(_plain(middle))}, half of them {number(_plain(low))} to {number(_plain(high))}"
    counts = Counter(values)
    ranked = sorted(counts, key=lambda value: (-counts[value], str(value)))
    return ", ".join(f"{label(value)} {share(counts[value] / len(values))}" for value in ranked)


def _plain(value: float) -> float:
    return int(value) if value.is_integer() else value
