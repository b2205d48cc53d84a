"""How figures read, in a terminal and on a page: percent, points, durations, p-values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace
from typing import TYPE_CHECKING

from search.records import (
    ACCURACY,
    Counts,
    Direction,
    Metric,
    NetworkSpec,
    Report,
    StudySpec,
    TrialRecord,
    Value,
)

if TYPE_CHECKING:
    from search.analysis.statistics import Estimate


def percent(fraction: float | None, digits: int = 2) -> str:
    """98.53 %, or a dash."""
    return "–" if fraction is None else f"{fraction * 100:.{digits}f} %"


def share(fraction: float) -> str:
    """48 %: a fraction of which the decimals mean nothing."""
    return percent(fraction, 0)


def points(difference: float, digits: int = 2) -> str:
    """+0.31 or −0.10: a difference of two fractions in percentage points, its sign always shown."""
    text = f"{difference * 100:+.{digits}f}"
    return f"±{text[1:]}" if not text.strip("+-0.") else text.replace("-", "−")


def duration(seconds: float | None) -> str:
    """4.2 s, 3 min 20 s, 2 h 05 min, or a dash."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def roughly(seconds: float) -> str:
    """An estimate in one unit: 40 minutes, 7 hours, 3 days."""
    for unit, unit_s, until in (("minute", 60, 90), ("hour", 3600, 48)):
        n = max(1, round(seconds / unit_s))
        if n < until:
            return count(n, unit)
    return count(round(seconds / 86_400), "day")


def number(value: float) -> str:
    """12,345 · 0.0021."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


def label(value: Value) -> str:
    """An option or a number, as a person writes it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else number(value)


def label_of_range(low: Value, high: Value) -> str:
    """relu · 64 · 0.1 to 0.25."""
    return label(low) if low == high else f"{label(low)} to {label(high)}"


def count(n: int, noun: str) -> str:
    """1 trial, 1,200 trials."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def begun_without_result(n: int) -> str:
    """1 evaluation was begun and has no result: of test evaluations."""
    return f"{count(n, 'evaluation')} {'was begun and has' if n == 1 else 'were begun and have'} no result"


def foreign_in_words(n: int) -> str:
    """Of trials that other programs added, in a sentence; nothing where there is none."""
    if not n:
        return ""
    return f"{n:,} foreign: added by another program, not counted."


def states(counts: Counts) -> list[str]:
    """12 complete, 3 pruned, 1 interrupted, 0 failed: the parts of a sentence. What a signal stopped and is
    queued again has not failed in the words for people, nor what a changed search space does not continue."""
    interrupted = [f"{counts.interrupted:,} interrupted"] if counts.interrupted else []
    not_continued = [f"{counts.outside_space:,} not continued"] if counts.outside_space else []
    return [
        f"{counts.complete:,} complete",
        f"{counts.pruned:,} pruned",
        *interrupted,
        *not_continued,
        f"{counts.failed_otherwise:,} failed",
    ]


def better(reference: TrialRecord, metric: Metric = ACCURACY) -> str:
    """The sentence that comes first where a reference has the highest score: what was measured, not a claim
    about other data or seeds."""
    named = f"The reference {reference.reference} (trial {reference.number})"
    measured = value(reference.score, metric)
    if metric == ACCURACY:
        return f"{named} measured higher than every searched network: {measured} on validation."
    how = "higher" if metric.direction is Direction.MAXIMIZE else "lower"
    return f"{named} measured {how} than every searched trial: {metric.title} {measured}."


def epochs(images: float, epoch_images: int) -> str:
    """0.25 epochs, 1 epoch, 8 epochs."""
    value = images / epoch_images
    return f"{value:.3g} {'epoch' if value == 1 else 'epochs'}"


def widened(factor: float, whose: str = "") -> str:
    """`, widened 1.25 times`, to follow what was; nothing for a factor of 1. whose: "leaders", say."""
    return "" if factor == 1 else ", " + f"{whose} widened {factor:g} times".lstrip()


def hardware(environment: Mapping[str, str | int]) -> str:
    """What a worker with this environment trains on, by name: its GPU, else its processor."""
    return str(environment.get("gpu") or environment.get("cpu") or "an unknown processor")


def plural(noun: str) -> str:
    """epochs, passes, batches, queries: of a unit that a person has named."""
    if noun.endswith(("s", "x", "z", "sh", "tch", "nch", "rch")):  # an epoch ends otherwise
        return f"{noun}es"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}s"


def code_changed(trials: Iterable[TrialRecord]) -> str:
    """The sentence that the training code changed between trials; nothing where it did not."""
    since: dict[str, int] = {}
    for trial in trials:
        if trial.code is not None:
            since.setdefault(trial.code, trial.number)
    _, *changes = sorted(since.values()) or [0]
    if not changes:
        return ""
    which = "trial" if len(changes) == 1 else "trials"
    return (
        f"The code changed before {which} {listed([str(number) for number in changes])}: values of different "
        "versions may not be comparable."
    )


def space_changed(spec: StudySpec, trials: Iterable[TrialRecord]) -> str:
    """The sentences that the search space of a study was changed, and which trials are set aside; nothing
    where it was not."""
    if not spec.space_changes:
        return ""
    last = spec.space_changes[-1].moment
    often = count(len(spec.space_changes), "time")
    aside = [trial for trial in trials if trial.set_aside is not None]
    told = f"The search space was changed {often}, the last one at {last:%Y-%m-%d %H:%M} UTC"
    if not aside:
        return f"{told}: every trial fits it."
    named = [f"trial {trial.number} ({trial.set_aside})" for trial in aside]
    return f"{told}. Set aside, because they do not fit it: {first_of(named, SET_ASIDE)}."


SET_ASIDE = 10
"""Trials that are set aside and named in a sentence."""


def code_changed_since(of_search: Set[str], of_runs: Set[str], *, what: str) -> str:
    """The sentence that the training code of a search is not that of what repeats its trials, or empty.

    what: "confirmation". of_search, of_runs: SHA-256 of the code of those trials, where it is known.
    """
    if len(of_runs) > 1:
        return f"The code changed during the {what}: its runs may not be comparable."
    if of_search and of_runs and of_search != of_runs:
        return f"The code has changed since the search: this {what} measures it as it is now."
    return ""


def p_value(p: float) -> str:
    """p < 0.001, p = 0.048 or p = 0.34: never rounded up to a limit that it is below."""
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def signed(value: float) -> str:
    """+0.45, −0.10: with a minus that is one."""
    return f"{value:+.2f}".replace("-", "−")


def listed(items: Sequence[str]) -> str:
    """a · a and b · a, b and c."""
    return " and ".join(filter(None, (", ".join(items[:-1]), items[-1]))) if items else ""


def first_of(items: Sequence[str], most: int) -> str:
    """a, b and c; of more than `most` items a, b and 7 more."""
    more = [f"{len(items) - most:,} more"] if len(items) > most else []
    return listed([*items[:most], *more])


def value(score: float | None, metric: Metric) -> str:
    """98.53 %, 0.0431, or a dash: the value of a score, as the metric is measured."""
    if score is None:
        return "–"
    found = metric.value_of(score) + 0.0  # no -0.0
    return percent(found) if metric.is_fraction else f"{found:.4g}".replace("-", "−")


def scored(score: float | None, metric: Metric) -> str:
    """98.53 % of a network, energy −2.93 of any other: a value among others, that must say what it is of."""
    return value(score, metric) if metric == ACCURACY else f"{metric.title} {value(score, metric)}"


def metric_values(report: Report) -> dict[str, str]:
    """The value of each metric of a report by name, the one that the search optimizes first."""
    optimized = report.metric
    found = {optimized.name: value(report.score, optimized)}
    for name, each in report.metrics.items():
        if name != optimized.name:
            of_a_head = optimized.of_heads and name.startswith(f"{optimized.name}/")
            metric = optimized if of_a_head else Metric(name=name)  # of others only the name is known
            found[name] = value(metric.score_of(each), metric)
    return found


def difference(scores: float, metric: Metric, digits: int = 2) -> str:
    """+0.31 points, −0.0021: a difference of two scores, as the metric is measured; its sign always shown."""
    found = metric.value_of(scores)
    if metric.is_fraction:
        return f"{points(found, digits)} points"
    if found == 0:
        return "±0"
    return f"{found:+.{digits + 1}g}".replace("-", "−")


def signed_difference(scores: float, metric: Metric) -> str:
    """+0.31 points, and +0.004 points where 0.00 would hide on which side of 0 it is: an end of an interval,
    and a difference that has a verdict."""
    for digits in range(2, 7):
        told = difference(scores, metric, digits)
        if not told.startswith("±"):
            return told
    return difference(scores, metric)


def without_unit(scores: float, metric: Metric) -> str:
    """+0.31: a difference where a column or a sentence has the unit already."""
    return difference(scores, metric).removesuffix(" points")


def ends_of(low: float, high: float, metric: Metric) -> str:
    """−0.45 to −0.17, without a unit: the ends of an interval of a difference, scores in the order of what is
    printed."""
    return " to ".join(signed_difference(end, metric).removesuffix(" points") for end in (low, high))


def interval(estimate: Estimate, metric: Metric) -> str:
    """−0.45 to −0.17, as the metric is measured; empty where there is no interval."""
    if estimate.low is None or estimate.high is None:
        return ""
    return ends_of(*metric.by_value(estimate.low, estimate.high), metric)


def upward(metric: Metric) -> Metric:
    """The metric in which sizes and generalization gaps are told: a larger one is positive, whichever way
    scores go."""
    return replace(metric, direction=Direction.MAXIMIZE)


def titled(metric: Metric) -> str:
    """Validation accuracy, energy (lower is better): for an axis, or above a table. The direction of an
    accuracy, and of what is like one, goes without saying."""
    if metric.of_heads and metric.direction is Direction.MAXIMIZE:
        return metric.title
    return f"{metric.title} ({'higher' if metric.direction is Direction.MAXIMIZE else 'lower'} is better)"


def amount(step: float, spec: StudySpec) -> str:
    """0.25 epochs, 1 epoch, 12 steps: how far a trial has come."""
    if isinstance(spec, NetworkSpec):
        return epochs(step, spec.epoch_images)
    return f"{step:,.10g} {spec.unit if step == 1 else plural(spec.unit)}"
