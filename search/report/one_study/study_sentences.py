"""What was found in one study, in sentences: of settings, extra training, time and mistakes. None decides
anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from search.analysis.basis import DIVERGED, Basis
from search.analysis.effects import ENOUGH, Effect, Group, Setting, Verdict
from search.analysis.extra_training import Course, Training, Typical
from search.analysis.findings import Findings
from search.analysis.mistakes import Confusion
from search.analysis.outcomes import Spent
from search.records import State
from search.report.words import (
    count,
    duration,
    epochs,
    label_of_range,
    listed,
    p_value,
    percent,
    points,
    share,
)

NAMED = 4
"""Networks that a sentence names; the rest are counted."""


def title(setting: Setting) -> str:
    """`lr (peak learning rate)`, for the first time that it is named."""
    return setting.name if setting.name == setting.meaning else f"{setting.name} ({setting.meaning})"


def sentence(effect: Effect) -> str:
    """The verdict on one setting."""
    name = title(effect.setting)
    match effect.verdict:
        case Verdict.TOO_FEW:
            return untested([effect])
        case Verdict.UNCLEAR:
            return f"{name}: no effect can be told from chance, n = {effect.n} ({p_value(effect.p)})."
        case Verdict.MATTERS:
            told = f"{name}: it matters, n = {effect.n} ({p_value(effect.p)})."
    best = effect.best
    if best is None:
        return f"{told} Which values are better cannot be told."
    below = _or([_named(group) for group in effect.beaten])
    return f"{told} {_named(best)} did better than {below}."


def _named(group: Group) -> str:
    diverged = sum(score == DIVERGED for score in group.scores)
    return f"{_label(group)} (n = {group.n}{f', {diverged} diverged' if diverged else ''})"


def _label(group: Group) -> str:
    return label_of_range(group.low, group.high)


def untested(found: Sequence[Effect]) -> str:
    """The settings that were not tested, in one sentence; empty where all were."""
    some = [f"{each.setting.name} (n = {each.n})" for each in found if each.verdict is Verdict.TOO_FEW]
    if not some:
        return ""
    return f"Not tested, with fewer than {ENOUGH} exploration trials or with one value: {listed(some)}."


def in_short(found: Sequence[Effect]) -> str:
    """The settings that matter, in one sentence."""
    matter = [each for each in found if each.verdict is Verdict.MATTERS]
    tested = [each for each in found if each.verdict is not Verdict.TOO_FEW]
    if not tested:
        most = max((each.n for each in found), default=0)
        return f"Cannot be told: of the exploration trials only {most} can be compared, {ENOUGH} are needed."
    ns = sorted({each.n for each in tested})
    n = f"n = {ns[0]}" if len(ns) == 1 else f"n = {ns[0]} to {ns[-1]}"
    if not matter:
        return (
            f"No effect of any of the {count(len(tested), 'setting')} that were tested can be told from "
            f"chance ({n} exploration trials)."
        )
    return (
        f"{listed([_praise(each) for each in matter])} ({len(matter)} of "
        f"{count(len(tested), 'setting')} tested, {n} exploration trials)."
    )


def _praise(effect: Effect) -> str:
    best = effect.best
    if best is None:
        return effect.setting.name
    return (
        f"{effect.setting.name} (better with {_label(best)} than with "
        f"{_or([_label(group) for group in effect.beaten])})"
    )


def _or(items: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(items[:-1]), items[-1])))


def generalization(found: Findings, *, epoch_images: int, budget: int) -> str:
    """Which settings helped to generalize, in a sentence or two."""
    if found.basis is None:
        return "Cannot be told yet: no trial of the search is finished."
    if found.generalization:
        return in_short(found.effects)
    return (
        f"Cannot be told from this search: all trials can be compared only after "
        f"{epochs(found.basis.images, epoch_images)} of {budget / epoch_images:.3g}, and those that were "
        "trained longer were selected. A search with `--pruner none` can tell."
    )


def speed(found: Findings, *, epoch_images: int) -> str:
    """Which settings learn fast, in a sentence; empty where the effects are on something else."""
    if found.basis is None or found.generalization:
        return ""
    return f"After {epochs(found.basis.images, epoch_images)}: {in_short(found.effects)}"


def compared(basis: Basis, *, epoch_images: int) -> str:
    """Which trials are compared, when, and what is left out."""
    at = epochs(basis.images, epoch_images)
    told = (
        f"Compared is the validation accuracy after {at}, the whole training, "
        if basis.to_the_end
        else f"Compared is the validation accuracy after {at}, the last moment that every finished trial "
        "reached: later ones know only the trials that were let on. Compared are "
    )
    told += ("of " if basis.to_the_end else "") + count(len(basis.trials), "searched trial")
    if basis.diverged:
        told += f", {basis.diverged} of which diverged: they count as the worst results"
    told += "."
    if basis.unmeasured:
        is_ = "is" if basis.unmeasured == 1 else "are"
        told += (
            f" {count(basis.unmeasured, 'trial')} {is_} left out: still at work, or failed for reasons that "
            "say nothing about accuracy."
        )
    if not basis.to_the_end and basis.images <= epoch_images:
        told += (
            " Within the first epoch no example is seen twice: what works against overfitting cannot pay yet."
        )
    return told


def at_random(found: Findings, drawn: int) -> str:
    """Which trials are tested. drawn: number of exploration trials among those that are compared."""
    assert found.basis is not None
    tested = sum(each.verdict is not Verdict.TOO_FEW for each in found.effects)
    told = (
        f"Tested are the {drawn} exploration trials"
        if drawn < len(found.basis.trials)
        else "All of them are exploration trials and are tested"
    )
    if drawn < len(found.basis.trials):
        told += "; the sampler proposed the others because of results, so that their settings keep company"
    return (
        f"{told}. Settings of several families of networks are tested by the rank within the family. One "
        f"Kruskal–Wallis test for each of {count(tested, 'setting')}; every p-value on this page "
        "is corrected for all that the page asks (Holm), so that one page in twenty may have a false verdict."
    )


def extra_training(found: Training) -> str:
    """Did extra training always help? In two sentences."""
    if found.gain is None:
        if found.collapsed:
            return f"Cannot be told.{_collapsed(found)}"
        if found.courses:
            return (
                "Cannot be told: no network that was trained to the end was measured at half of its training."
            )
        return "Cannot be told yet: no trial has been trained to the end."
    return f"{_typical(found)} {_each(found)}{_collapsed(found)}"


def _collapsed(found: Training) -> str:
    if not found.collapsed:
        return ""
    n = len(found.collapsed)
    names = ", ".join(
        f"{course.trial.reference or f'trial {course.trial.number}'} ended at {percent(course.last)}"
        for course in found.collapsed[:NAMED]
    )
    more = f", {n - NAMED} more" if n > NAMED else ""
    return f" Left out: {count(n, 'network')} that collapsed ({names}{more})."


def _typical(found: Training) -> str:
    gain, n = found.gain, len(found.halved)
    assert gain is not None
    brought = (
        f"the second half of the training brought {points(gain.value)} points of accuracy in the median of "
        f"{count(n, 'network')}"
    )
    if found.typical is Typical.SELECTED:
        return (
            "For the typical network it cannot be told: the pruner chose which were trained to the end, and "
            f"for these {brought}."
        )
    interval = (
        ""
        if gain.low is None or gain.high is None
        else f"95 % interval {points(gain.low)} to {points(gain.high)}; "
    )
    lead = {
        Typical.GAINED: "For the typical network, yes",
        Typical.LOST: "For the typical network, no",
    }.get(found.typical, "For the typical network it cannot be told")
    return f"{lead}: {brought} ({interval}{p_value(found.p)})."


def _each(found: Training) -> str:
    n = len(found.halved)
    noise = "more than the drawing of validation images explains"
    if found.lost:
        told = f"{len(found.lost)} of {n} lost {noise}: {_names(found.lost)}"
    else:
        told = f"None of {n} lost {noise}" if n > 1 else f"It did not lose {noise}"
    if found.gained:
        told += f"; {len(found.gained)} gained more than that"
    return f"{told}."


def _names(some: Sequence[Course]) -> str:
    names = [
        f"{course.trial.reference or f'trial {course.trial.number}'} ({points(course.gain or 0.0)} points)"
        for course in some[:NAMED]
    ]
    return listed(names) if len(some) <= NAMED else f"{', '.join(names)} and {len(some) - NAMED} more"


def schedule(schedules: Mapping[str, int]) -> str:
    """What a falling learning rate has to do with it; empty where none falls."""
    falling = sum(n for name, n in schedules.items() if name != "constant")
    if not falling:
        return ""
    names = listed(sorted(name for name in schedules if name != "constant"))
    return (
        f"In {count(falling, 'network')} the learning rate falls toward the end ({names}): a shorter "
        "training, annealed over its own length, might have had part of the last gain too."
    )


def spent_in_words(spent: Sequence[Spent], *, total_images: int, epoch_images: int) -> str:
    """What it cost and what pruning spared. total_images: the budget of one trial."""
    seconds = sum(each.seconds for each in spent)
    if not seconds:
        return "No trial has come to a report yet."
    shares = ", ".join(
        f"{share(each.seconds / seconds)} on {count(each.trials, 'trial')} {each.kind}" for each in spent
    )
    told = f"All trials together trained for {duration(seconds)}: {shares}."
    counted = [each for each in spent if each.kind in (State.COMPLETE, State.PRUNED)]
    n, seen = sum(each.trials for each in counted), sum(each.images for each in counted)
    pruned = sum(each.trials for each in counted if each.kind == State.PRUNED)
    if pruned:
        told += (
            f" Without pruning these {n:,} trials would have seen {n * total_images / epoch_images:,.0f} "
            f"epochs; they saw {seen / epoch_images:,.0f} ({share(seen / (n * total_images))})."
        )
    return told


def confusion_in_words(confusion: Confusion, *, named: int = 3) -> str:
    """How often a head is wrong, and what it takes for what most often."""
    n, wrong = confusion.examples, confusion.wrong
    name = confusion.head.replace("_", " ").capitalize()
    if not wrong:
        return f"{name}: no mistake in {n:,} examples."
    pairs = [f"{truth} taken for {said} ({times}×)" for truth, said, times in confusion.pairs()[:named]]
    return (
        f"{name}: {count(wrong, 'mistake')} in {n:,} examples ({percent(wrong / n)}); most often "
        f"{listed(pairs)}."
    )
