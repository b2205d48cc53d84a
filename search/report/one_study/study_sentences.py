"""What was found in one study, in sentences: of settings, extra training, time and mistakes. None decides
anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from search.analysis.basis import Basis
from search.analysis.effects import ENOUGH, Effect, Group, Setting, Verdict
from search.analysis.extra_training import Course, Training, Typical
from search.analysis.findings import Findings
from search.analysis.mistakes import Confusion
from search.analysis.outcomes import Spent
from search.records import ACCURACY, NetworkSpec, State, StudySpec
from search.report.words import (
    amount,
    count,
    difference,
    duration,
    first_of,
    interval,
    label_of_range,
    listed,
    p_value,
    percent,
    plural,
    points,
    share,
    signed_difference,
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
    diverged = f", {group.diverged} diverged" if group.diverged else ""
    return f"{_label(group)} (n = {group.n}{diverged})"


def _label(group: Group) -> str:
    return label_of_range(group.low, group.high)


def untested(found: Sequence[Effect]) -> str:
    """The settings that were not tested, in one sentence; empty where all were."""
    some = [f"{each.setting.name} (n = {each.n})" for each in found if each.verdict is Verdict.TOO_FEW]
    if not some:
        return ""
    return f"Not tested, with fewer than {ENOUGH} exploration trials or with one value: {listed(some)}."


def in_short(found: Sequence[Effect], spec: StudySpec) -> str:
    """The settings that matter, in one sentence."""
    matter = [each for each in found if each.verdict is Verdict.MATTERS]
    tested = [each for each in found if each.verdict is not Verdict.TOO_FEW]
    if not tested:
        most = max((each.n for each in found), default=0)
        drawn = f"exploration trials{_present(spec)}"
        return f"Cannot be told: of the {drawn} only {most} can be compared, {ENOUGH} are needed."
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


def _present(spec: StudySpec) -> str:
    """To follow "trials" where others began in an earlier search space."""
    return " of the present search space" if spec.space_changes else ""


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


def generalization(found: Findings, spec: StudySpec) -> str:
    """Which settings helped to generalize, of another objective than networks which helped, in a sentence or
    two."""
    if found.basis is None:
        which = _present(spec) or " of the search"
        return f"Cannot be told yet: no trial{which} is finished."
    if found.generalization:
        return in_short(found.effects, spec)
    continued, unpruned = (
        ("were trained longer", "with `--pruner none`")
        if isinstance(spec, NetworkSpec)
        else ("continued", "without a pruner")
    )
    return (
        f"Cannot be told from this search: all trials can be compared only after "
        f"{amount(found.basis.step, spec)} of {budget(spec)}, and those that {continued} were selected. A "
        f"search {unpruned} can tell."
    )


def budget(spec: StudySpec) -> str:
    """Of a trial, to follow what it has come to: 4 epochs of 8."""
    if isinstance(spec, NetworkSpec):
        return f"{spec.budget / spec.epoch_images:.3g}"
    return f"{spec.budget:,}"


def speed(found: Findings, spec: StudySpec) -> str:
    """Which settings learn fast, in a sentence; empty where the effects are on something else."""
    if found.basis is None or found.generalization:
        return ""
    return f"After {amount(found.basis.step, spec)}: {in_short(found.effects, spec)}"


def compared(basis: Basis, spec: StudySpec) -> str:
    """Which trials are compared, when, and what is left out."""
    networks = isinstance(spec, NetworkSpec)
    at, whole = amount(basis.step, spec), "the whole training" if networks else "the whole budget"
    told = (
        f"Compared is the {spec.metric.title} after {at}, {whole}, "
        if basis.to_the_end
        else f"Compared is the {spec.metric.title} after {at}, the last moment that every finished trial "
        "reached: later ones know only the trials that were let on. Compared are "
    )
    told += ("of " if basis.to_the_end else "") + count(len(basis.trials), "searched trial")
    if basis.diverged:
        told += f", {basis.diverged} of which diverged: they count as the worst results"
    told += "."
    if basis.unmeasured:
        is_ = "is" if basis.unmeasured == 1 else "are"
        about = "accuracy" if networks else f"the {spec.metric.title}"
        told += (
            f" {count(basis.unmeasured, 'trial')} {is_} left out: still at work, or failed for reasons that "
            f"say nothing about {about}."
        )
    if isinstance(spec, NetworkSpec) and not basis.to_the_end and basis.step <= spec.epoch_images:
        told += (
            " Within the first epoch no example is seen twice: what works against overfitting cannot pay yet."
        )
    return told


def tested_trials(found: Findings, drawn: int, spec: StudySpec) -> str:
    """Which trials are tested. drawn: number of exploration trials among those that are compared."""
    assert found.basis is not None
    tested = sum(each.verdict is not Verdict.TOO_FEW for each in found.effects)
    told = (
        f"Tested are the {drawn} exploration trials"
        if drawn < len(found.basis.trials)
        else "All of them are exploration trials and are tested"
    )
    if drawn < len(found.basis.trials):
        told += (
            " of the present search space; those of an earlier one are no sample of it, and the others the "
            "sampler proposed because of results, so that their settings keep company"
            if spec.space_changes
            else "; the sampler proposed the others because of results, so that their settings keep company"
        )
    families = (
        " Settings of several families of networks are tested by the rank within the family."
        if isinstance(spec, NetworkSpec)
        else ""
    )
    return (
        f"{told}.{families} One Kruskal–Wallis test for each of {count(tested, 'setting')}; every p-value on "
        "this page is corrected for all that the page asks (Holm), so that one page in twenty may have a "
        "false verdict."
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
    told = signed_difference if found.typical in (Typical.GAINED, Typical.LOST) else difference
    brought = (
        f"the second half of the training brought {told(gain.value, ACCURACY)} of accuracy in the median of "
        f"{count(n, 'network')}"
    )
    if found.typical is Typical.SELECTED:
        return (
            "For the typical network it cannot be told: the pruner chose which were trained to the end, and "
            f"for these {brought}."
        )
    ends = interval(gain, ACCURACY)
    beside = f"95 % interval {ends}; " if ends else ""
    lead = {
        Typical.GAINED: "For the typical network, yes",
        Typical.LOST: "For the typical network, no",
    }.get(found.typical, "For the typical network it cannot be told")
    return f"{lead}: {brought} ({beside}{p_value(found.p)})."


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
        for course in some
    ]
    return first_of(names, NAMED)


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


def spent_in_words(spent: Sequence[Spent], spec: StudySpec) -> str:
    """What it cost and what pruning spared."""
    seconds = sum(each.seconds for each in spent)
    if not seconds:
        return "No trial has come to a report yet."
    shares = ", ".join(
        f"{share(each.seconds / seconds)} on {count(each.trials, 'trial')} {each.kind}" for each in spent
    )
    networks = isinstance(spec, NetworkSpec)
    told = f"All trials together {'trained' if networks else 'worked'} for {duration(seconds)}: {shares}."
    counted = [each for each in spent if each.kind in (State.COMPLETE, State.PRUNED)]
    n, came = sum(each.trials for each in counted), sum(each.steps for each in counted)
    pruned = sum(each.trials for each in counted if each.kind == State.PRUNED)
    if pruned:
        unit, steps = ("epoch", spec.epoch_images) if isinstance(spec, NetworkSpec) else (spec.unit, 1)
        had, have = ("seen", "saw") if networks else ("made", "made")
        whole = f"{n * spec.budget / steps:,.0f} {plural(unit)}"
        told += (
            f" Without pruning these {n:,} trials would have {had} {whole}; "
            f"they {have} {came / steps:,.0f} ({share(came / (n * spec.budget))})."
        )
    return told


def confusion_in_words(confusion: Confusion, *, named: int = 3) -> str:
    """How often a head is wrong, and what it takes for what most often."""
    n, wrong = confusion.examples, confusion.wrong
    name = confusion.head.replace("_", " ").capitalize()
    if not wrong:
        return f"{name}: no mistake in {n:,} examples."
    names = confusion.names
    pairs = [
        f"{names[truth]} taken for {names[said]} ({times}×)"
        for truth, said, times in confusion.pairs()[:named]
    ]
    return (
        f"{name}: {count(wrong, 'mistake')} in {n:,} examples ({percent(wrong / n)}); most often "
        f"{listed(pairs)}."
    )
