"""Notes in Markdown for dashboards: the winner of a study, and each of its leaders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from search.analysis.intervals import accuracy_intervals, of_the_best
from search.analysis.ranking import Gain, Ranking
from search.analysis.timeline import Timeline
from search.heads import validation_of
from search.records import (
    ACCURACY,
    CheckpointRecord,
    Counts,
    NetworkSpec,
    Report,
    StudyRecord,
    StudySpec,
    TrialRecord,
    Value,
)
from search.report.markdown import plain
from search.report.words import (
    amount,
    better,
    count,
    difference,
    duration,
    foreign_in_words,
    metric_values,
    number,
    percent,
    scored,
    space_changed,
    states,
    value,
)

_IMPORTANCE = (
    "**Hyperparameter importance on this dashboard** is computed on complete trials only{pruned}. "
    "`tune report` tests every setting among the exploration trials, at equal {spent}: where "
    "the two differ, believe the report."
)

_FOOT = "*Written by tune from the database, each time it is opened. What you write here replaces it.*"


def study_card(
    record: StudyRecord,
    counts: Counts,
    timeline: Timeline,
    ranking: Ranking,
    report: Report | None,
    gains: Sequence[Gain],
    settings: Mapping[str, Value],
    *,
    measurements: int,
    changed: Sequence[TrialRecord] = (),
) -> str:
    """What a study found so far.

    ranking: of its complete trials; report: where the winner's curve is best; settings: those of the winner;
    measurements: of all trials, among which the winner's is the best; changed: all trials of a study whose
    search space was changed.
    """
    spec = record.spec
    done = (
        f"{counts.finished} of {count(record.target_trials, 'trial')} finished: {', '.join(states(counts))}; "
        f"{counts.running} at work. "
        f"{foreign_in_words(counts.foreign)}{' ' if counts.foreign else ''}"
        f"{duration(timeline.seconds)} of wall time, {_steps(timeline.steps, spec)}. "
        f"{plain(space_changed(spec, changed))}"
    ).rstrip()
    best = ranking.searched
    if best is None or report is None:
        which = "searched trial" if ranking.reference else "trial"
        return f"## {plain(record.name)}\n\nNo {which} is complete yet.\n\n{done}\n\n{_FOOT}\n"
    first = ranking.better_reference
    on = " on validation" if spec.scored_by_answers else ""
    lines = [
        *([f"**{plain(better(first, spec.metric))}**", ""] if first else []),
        f"## Winner: trial {best.number}, {_scored(best.score, spec)}{on}",
        "",
        *_measured(report, spec, measurements),
        "",
        _selection_bias(record),
        "",
    ]
    lines += [f"- {_gained(gain, spec)}" for gain in gains]
    lines += [
        "",
        _when(best, report, spec),
        "",
        *_settings(settings),
        "",
        _IMPORTANCE.format(
            pruned=f": {counts.complete} of {counts.finished}, which the pruner selected"
            if counts.pruned
            else "",
            spent="training" if isinstance(spec, NetworkSpec) else "budgets",
        ),
        "",
        done,
        "",
        _FOOT,
    ]
    return "\n".join(lines) + "\n"


def _when(best: TrialRecord, report: Report, spec: StudySpec) -> str:
    parameters = "" if best.parameters is None else f"{best.parameters:,} parameters, "
    after = f"{parameters}best after {amount(report.step, spec)}."
    return after if isinstance(spec, NetworkSpec) else f"{after[0].upper()}{after[1:]}"


def _steps(steps: int, spec: StudySpec) -> str:
    """Of all trials together."""
    return f"{steps:,} training images" if isinstance(spec, NetworkSpec) else amount(steps, spec)


def _scored(score: float | None, spec: StudySpec) -> str:
    """98.53 % of a network, energy −2.93 of any other."""
    return percent(score) if spec.scored_by_answers else plain(scored(score, spec.metric))


def _gained(gain: Gain, spec: StudySpec) -> str:
    """+0.31 points over course-conv (98.20 %)."""
    metric, over = spec.metric, "over" if isinstance(spec, NetworkSpec) else "against"
    return f"{difference(gain.gain, metric)} {over} {plain(gain.reference)} ({value(gain.score, metric)})"


def _selection_bias(record: StudyRecord) -> str:
    if record.spec.confirms is not None:
        searched = plain(record.spec.confirms)
        return f"One seed of a confirmation of {searched}: its report and `tune confirm` have the means."
    if record.spec.ablates is not None:
        searched = plain(record.spec.ablates)
        return (
            f"One run of an ablation: its trials are variants of trial {record.spec.baseline} of {searched}, "
            "whose report has the differences, as `tune ablate` has."
        )
    confirmed = f"study {plain(record.name)}.confirm, where there is one, has these runs."
    if not isinstance(record.spec, NetworkSpec):
        return (
            "It was measured once, and one measurement does not tell how far it varies. `tune confirm` "
            f"repeats the leaders on fresh seeds; the {confirmed}"
        )
    return (
        "The best of many trials has selection bias. `tune confirm` retrains the leaders on fresh seeds; the "
        f"{confirmed}"
    )


def trial_card(
    rank: int | None,
    record: StudyRecord,
    report: Report,
    checkpoint: CheckpointRecord,
    settings: Mapping[str, Value],
    *,
    measurements: int,
) -> str:
    """One of the leaders, whose weights are kept.

    rank: among the complete ones, from 1; None: it was pruned, and its score is of a shorter training.
    """
    spec = record.spec
    if isinstance(spec, NetworkSpec):
        by = "validation" if spec.scored_by_answers else plain(spec.metric.title)
        place = "Not trained to the end" if rank is None else f"Rank {rank} by {by}"
        kept = "The weights"
    else:
        title = plain(spec.metric.title)
        place = f"Not at the end of its budget, {title}" if rank is None else f"Rank {rank} by {title}"
        kept = "The files"
    lines = [
        f"## {place}: {value(checkpoint.score, spec.metric)}",
        "",
        *_measured(report, spec, measurements),
        "",
        f"Best after {amount(report.step, spec)}. {kept} of that moment "
        f"({checkpoint.bytes / 1e6:.1f} MB) are among the artifacts; SHA-256 `{checkpoint.sha256}`.",
        "",
        *_settings(settings),
        "",
        _FOOT,
    ]
    return "\n".join(lines) + "\n"


def _measured(report: Report, spec: StudySpec, measurements: int) -> list[str]:
    """A table of what was reported; of a network the accuracies with their intervals."""
    if not isinstance(spec, NetworkSpec):
        found = metric_values(report).items()
        return ["| metric | value |", "|---|--:|", *(f"| {plain(k)} | {v} |" for k, v in found)]
    validation = validation_of(report)
    heads, joint = ACCURACY.parts(report.metrics), validation.joint
    rows = {"mean": validation.accuracy, **heads, "joint": joint} if len(heads) > 1 else heads
    intervals = accuracy_intervals(heads, joint, spec.validation_pictures, z=of_the_best(measurements))
    lines = ["| validation | accuracy | 95 % interval |", "|---|--:|--:|"]
    if not spec.scored_by_answers:
        score = f"{plain(spec.metric.title)}: {value(report.score, spec.metric)}"
        lines = [f"{score}, without an interval: validation sampling is not included.", "", *lines]
    for name, accuracy in rows.items():
        low, high = intervals[name]
        lines.append(f"| {plain(name)} | {percent(accuracy)} | {percent(low)} to {percent(high)} |")
    return lines


def _settings(settings: Mapping[str, Value]) -> list[str]:
    shown = {
        name: number(chosen) if isinstance(chosen, float) else str(chosen)
        for name, chosen in settings.items()
    }
    return ["| setting | value |", "|---|---|", *(f"| {plain(k)} | {plain(v)} |" for k, v in shown.items())]
