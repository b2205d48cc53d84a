"""SGD or Adam, how deep, how wide, how much dropout: the questions of the exercise, answered from the trials.
Knows nothing of figures. An answer carries n and what it rests on, or says that there is not enough.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from search.records import TrialRecord
from search.report.one_study.effects import (
    CLEAR,
    ENOUGH,
    IN_A_GROUP,
    Effect,
    Setting,
    among_random,
    effect,
    having,
    seen_at_random,
    title,
)
from search.report.statistics import Shift, holm, quartiles, shift
from search.report.words import count, listed, p_value, percent, points, signed


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
class Reply:
    """What the study says about one setting of a question."""

    where: str
    """the networks among which it was looked at, as the beginning of a sentence; may be empty"""
    told: str
    """the sentence where it may be believed, or where there is nothing to believe"""
    p: float | None
    """that the sentence rests on; None: nothing was tested"""
    checked: str = ""
    """whether it is also there among the trials drawn at random"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A question with what the study says about it."""

    title: str
    sentences: tuple[str, ...]
    """one for each setting; never empty"""


def answers(
    settings: Sequence[Setting],
    trials: Sequence[TrialRecord],
    scores: Mapping[int, float],
    at_random: Collection[int],
    *,
    family: str | None,
) -> list[Answer]:
    """Every question answered as far as the trials allow; arguments as for `effects`.

    The p-values are corrected for the number of questions: what passes only alone is called a hint.
    """
    known = {setting.name: setting for setting in settings}
    replies: list[list[Reply]] = []
    for question in QUESTIONS:
        replies.append([])
        for setting in (known[name] for name in question.settings if name in known):
            one = effect(setting, having(setting, trials, family=family), scores, at_random)
            within = setting.family or family
            where = f"Among {within} networks: " if within else ""
            reply = _more_or_less(one) if question.camps is None else _camps(one, question.camps, at_random)
            replies[-1].append(replace(reply, where=where))
    corrected = iter(holm([reply.p for some in replies for reply in some if reply.p is not None]))
    return [
        Answer(
            title=question.title,
            sentences=tuple(_said(reply, None if reply.p is None else next(corrected)) for reply in some)
            or (f"The study did not vary {listed(question.settings)}: it cannot say.",),
        )
        for question, some in zip(QUESTIONS, replies, strict=True)
    ]


def _said(reply: Reply, corrected: float | None) -> str:
    hint = reply.p is not None and reply.p < CLEAR and corrected is not None and corrected >= CLEAR
    text = f"{reply.where}{'a hint only: ' if hint else ''}{reply.told}"
    return f"{text[0].upper()}{text[1:]} {reply.checked}".strip()


def _camps(one: Effect, camps: Mapping[str, tuple[str, ...]], at_random: Collection[int]) -> Reply:
    first, second = camps
    sides = [[score for value, score, _ in one.points if value in camps[side]] for side in camps]
    if min(map(len, sides)) < IN_A_GROUP or one.n < ENOUGH:
        return Reply(
            where="",
            told=f"not enough data to tell, {count(len(sides[0]), 'trial')} with {first} and "
            f"{count(len(sides[1]), 'trial')} with {second}.",
            p=None,
        )
    moved = shift(*sides)
    ahead, behind = (second, first) if moved.by >= 0 else (first, second)
    up, down = (sides[1], sides[0]) if moved.by >= 0 else (sides[0], sides[1])
    told = (
        f"median {percent(quartiles(up)[1])} with {ahead} (n = {len(up)}), {percent(quartiles(down)[1])} "
        f"with {behind} (n = {len(down)}); {_interval(moved)}"
    )
    if moved.p >= CLEAR:
        return Reply(where="", told=f"{first} and {second} cannot be told apart, {told}.", p=moved.p)
    chance = [
        [score for value, score, number in one.points if value in camps[side] and number in at_random]
        for side in camps
    ]
    return Reply(
        where="",
        told=f"{ahead} stood higher than {behind}, {told}.",
        p=moved.p,
        checked=_camps_at_random(chance, one, moved),
    )


def _camps_at_random(chance: Sequence[Sequence[float]], one: Effect, all_of_them: Shift) -> str:
    n = sum(map(len, chance))
    if n == one.n:
        return "All of them were drawn at random."
    if min(map(len, chance)) < IN_A_GROUP or n < ENOUGH:
        return f"Too few were drawn at random to check it among them (n = {n})."
    there = shift(*chance)
    return seen_at_random(there.p < CLEAR and there.by * all_of_them.by > 0, n, there.p)


def _interval(moved: Shift) -> str:
    """The difference as a distance: of the one ahead over the one behind."""
    low, high = (moved.low, moved.high) if moved.by >= 0 else (-moved.high, -moved.low)
    return (
        f"apart by {points(abs(moved.by))} points (95 % interval {points(low)} to {points(high)}; "
        f"{p_value(moved.p)})"
    )


def _more_or_less(one: Effect) -> Reply:
    """Of an ordered setting: does more of it help, is there a best range, or is nothing to be told?"""
    name = title(one.setting)
    if one.tested is None:
        return Reply(where="", told=f"not enough data to tell about {name}, n = {one.n}.", p=None)
    trend = one.trend
    medians = "Medians: " + "; ".join(
        f"{group.label}: {percent(group.median)} (n = {group.n})" for group in one.groups
    )
    if trend is not None and trend.p < CLEAR and trend.low * trend.high > 0:
        direction = "more did better" if trend.rho > 0 else "less did better"
        told = (
            f"of {name}, {direction}: rank correlation {signed(trend.rho)} (95 % interval "
            f"{signed(trend.low)} to {signed(trend.high)}, n = {one.n}; {p_value(trend.p)}). {medians}."
        )
        return Reply(where="", told=told, p=trend.p, checked=among_random(one))
    if one.tested.p < CLEAR:
        told = (
            f"{name} matters, but not as more or less: best with {one.best.label}, n = {one.n} "
            f"({p_value(one.tested.p)}). {medians}."
        )
        return Reply(where="", told=told, p=one.tested.p, checked=among_random(one))
    flat = "" if trend is None else f", rank correlation {signed(trend.rho)} ({p_value(trend.p)})"
    told = f"no effect of {name} can be told from chance, n = {one.n}{flat}. {medians}."
    return Reply(where="", told=told, p=one.tested.p)
