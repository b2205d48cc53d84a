"""SGD or Adam, how deep, how wide, how much dropout: the questions of the exercise, answered from the trials.
Knows nothing of figures. An answer carries n and what it rests on, or says that there is not enough.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from search.records import TrialRecord
from search.report.effects import CLEAR, ENOUGH, IN_A_GROUP, Effect, Setting, among_random, effect, having
from search.report.statistics import Shift, quartiles, shift
from search.report.words import count, listed, p_value, percent, points


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One question, and the settings that it is about."""

    title: str
    settings: tuple[str, ...]
    camps: Mapping[str, tuple[str, ...]] | None = None
    """two groups of options to hold against each other, by name; None: more against less"""


QUESTIONS = (
    Question(
        title="SGD or Adam?",
        settings=("optimizer",),
        camps={"SGD": ("sgd", "nesterov"), "Adam": ("adam", "adamw")},
    ),
    Question(title="How deep?", settings=("depth", "blocks")),
    Question(title="How wide?", settings=("width", "channels", "hidden")),
    Question(title="How much dropout?", settings=("dropout",)),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A question with what the study says about it."""

    title: str
    sentences: tuple[str, ...]
    """one for each setting; never empty"""
    effects: tuple[Effect, ...]


def answers(
    settings: Sequence[Setting],
    trials: Sequence[TrialRecord],
    scores: Mapping[int, float],
    at_random: Collection[int],
    *,
    family: str | None,
) -> list[Answer]:
    """Every question answered as far as the trials allow; arguments as for `effects`."""
    known = {setting.name: setting for setting in settings}
    found = []
    for question in QUESTIONS:
        asked = [known[name] for name in question.settings if name in known]
        sentences, seen = [], []
        for setting in asked:
            among = having(setting, trials, family=family)
            one = effect(setting, among, scores, at_random)
            within = setting.family or family
            where = f"Among {within} networks: " if within else ""
            told = _more_or_less(one) if question.camps is None else _camps(one, question.camps, at_random)
            sentences.append(where + told)
            seen.append(one)
        if not asked:
            names = listed([f"“{name}”" for name in question.settings])
            sentences = [f"The study did not vary {names}: it cannot say."]
        found.append(Answer(title=question.title, sentences=tuple(sentences), effects=tuple(seen)))
    return found


def _camps(one: Effect, camps: Mapping[str, tuple[str, ...]], at_random: Collection[int]) -> str:
    first, second = camps
    sides = [[score for value, score, _ in one.points if value in camps[side]] for side in camps]
    if min(map(len, sides)) < IN_A_GROUP or one.n < ENOUGH:
        return (
            f"not enough data to tell, {count(len(sides[0]), 'trial')} with {first} and "
            f"{count(len(sides[1]), 'trial')} with {second}."
        )
    moved = shift(*sides)
    ahead, behind = (second, first) if moved.by >= 0 else (first, second)
    up, down = (sides[1], sides[0]) if moved.by >= 0 else (sides[0], sides[1])
    medians = (
        f"median {percent(quartiles(up)[1])} (n = {len(up)}) against {percent(quartiles(down)[1])} "
        f"(n = {len(down)}), apart by {_interval(moved)}"
    )
    if moved.p >= CLEAR:
        return f"{first} and {second} cannot be told apart: {ahead} has {medians}."
    chance = [
        [score for value, score, number in one.points if value in camps[side] and number in at_random]
        for side in camps
    ]
    return f"{ahead} stood higher than {behind}: {medians}. {_camps_at_random(chance, one, moved)}"


def _camps_at_random(chance: Sequence[Sequence[float]], one: Effect, all_of_them: Shift) -> str:
    n = sum(map(len, chance))
    if n == one.n:
        return "All of them were drawn at random."
    if min(map(len, chance)) < IN_A_GROUP or n < ENOUGH:
        return f"Too few were drawn at random to check it there (n = {n})."
    there = shift(*chance)
    same = there.by * all_of_them.by > 0
    if there.p < CLEAR and same:
        return f"Among the {n} drawn at random it is seen too ({p_value(there.p)})."
    return f"Among the {n} drawn at random it cannot be told from chance ({p_value(there.p)})."


def _interval(moved: Shift) -> str:
    low, high = sorted((abs(moved.low), abs(moved.high))) if moved.low * moved.high > 0 else (0.0, 0.0)
    if high:
        span = f"{points(low).lstrip('+')} to {points(high).lstrip('+')}"
    else:
        low, high = (moved.low, moved.high) if moved.by >= 0 else (-moved.high, -moved.low)
        span = f"{points(low)} to {points(high)}"
    return f"{points(abs(moved.by)).lstrip('+')} points (95 % interval {span}; {p_value(moved.p)})"


def _more_or_less(one: Effect) -> str:
    """Of an ordered setting: does more of it help, is there a best range, or is nothing to be told?"""
    name = f"{one.setting.name} ({one.setting.meaning})"
    if one.tested is None:
        return f"not enough data to tell about {name}, n = {one.n}."
    trend = one.trend
    medians = "; ".join(f"{group.label}: {percent(group.median)} (n = {group.n})" for group in one.groups)
    if trend is not None and trend.p < CLEAR:
        direction = "more did better" if trend.rho > 0 else "less did better"
        said = (
            f"of {name}, {direction}: rank correlation {trend.rho:+.2f} "
            f"(95 % interval {trend.low:+.2f} to {trend.high:+.2f}, n = {one.n}). Medians: {medians}."
        ).replace("-", "−")
        return f"{said} {among_random(one)}"
    if one.tested.p < CLEAR:
        return (
            f"{name} matters, but not as more or less: best with {one.best.label}; {p_value(one.tested.p)}, "
            f"n = {one.n}. Medians: {medians}. {among_random(one)}"
        )
    flat = (
        "" if trend is None else f", rank correlation {trend.rho:+.2f} ({p_value(trend.p)})".replace("-", "−")
    )
    return f"no effect of {name} can be told from chance, n = {one.n}{flat}. Medians: {medians}."
