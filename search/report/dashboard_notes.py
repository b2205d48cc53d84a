"""Cards in Markdown: the winner of a study, and each of its leaders, for those who look at them elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from search.analysis.intervals import accuracy_intervals, of_the_best
from search.analysis.ranking import Gain, Ranking
from search.analysis.timeline import Timeline
from search.records import CheckpointRecord, Counts, Point, StudyRecord, Value
from search.report.markdown import plain
from search.report.words import (
    better,
    count,
    duration,
    epochs,
    foreign_in_words,
    number,
    percent,
    points,
    states,
)

_IMPORTANCE = (
    "**Hyperparameter importance on this dashboard** is computed on complete trials only{pruned}. "
    "`tune report` tests every setting among the exploration trials, at equal training: where "
    "the two differ, believe the report."
)

_FOOT = "*Written by tune from the database, anew at each look. What you write here replaces it.*"


def study_card(
    record: StudyRecord,
    counts: Counts,
    timeline: Timeline,
    ranking: Ranking,
    point: Point | None,
    gains: Sequence[Gain],
    settings: Mapping[str, Value],
    *,
    measurements: int,
) -> str:
    """What a study found so far.

    ranking: of its complete trials; point: where the winner's curve is best; settings: those of the winner;
    measurements: of all trials, among which the winner's is the best.
    """
    done = (
        f"{counts.finished} of {count(record.target_trials, 'trial')} finished: {', '.join(states(counts))}; "
        f"{counts.running} at work. "
        f"{foreign_in_words(counts.foreign)}{' ' if counts.foreign else ''}"
        f"{duration(timeline.seconds)} of wall time, {timeline.images:,} training images."
    )
    best = ranking.searched
    if best is None or point is None:
        which = "searched trial" if ranking.reference else "trial"
        return f"## {plain(record.name)}\n\nNo {which} is complete yet.\n\n{done}\n\n{_FOOT}\n"
    lines = [
        *([f"**{plain(better(ranking.better_reference))}**", ""] if ranking.better_reference else []),
        f"## Winner: trial {best.number}, {percent(best.value)} on validation",
        "",
        *_accuracies(point, record.spec.validation_pictures, measurements),
        "",
        _selection_bias(record),
        "",
    ]
    lines += [
        f"- {points(gain.gain)} points over {plain(gain.reference)} ({percent(gain.value)})" for gain in gains
    ]
    network = "" if best.parameters is None else f"{best.parameters:,} parameters, "
    lines += [
        "",
        f"{network}best after {epochs(point.images, record.spec.epoch_images)}.",
        "",
        *_settings(settings),
        "",
        _IMPORTANCE.format(
            pruned=f": {counts.complete} of {counts.finished}, which the pruner selected"
            if counts.pruned
            else ""
        ),
        "",
        done,
        "",
        _FOOT,
    ]
    return "\n".join(lines) + "\n"


def _selection_bias(record: StudyRecord) -> str:
    if record.spec.confirms is not None:
        searched = plain(record.spec.confirms)
        return f"One seed of a confirmation of {searched}: its report and `tune confirm` have the means."
    return (
        "The best of many trials has selection bias. `tune confirm` retrains the leaders on fresh seeds; the "
        f"study {plain(record.name)}.confirm, where there is one, has these runs."
    )


def trial_card(
    rank: int | None,
    record: StudyRecord,
    point: Point,
    checkpoint: CheckpointRecord,
    settings: Mapping[str, Value],
    *,
    measurements: int,
) -> str:
    """One of the leaders, whose weights are kept.

    rank: among the complete ones, from 1; None: it was pruned, and its accuracy is of a shorter training.
    """
    place = "Not trained to the end" if rank is None else f"Rank {rank} by validation"
    lines = [
        f"## {place}: {percent(checkpoint.score)}",
        "",
        *_accuracies(point, record.spec.validation_pictures, measurements),
        "",
        f"Best after {epochs(point.images, record.spec.epoch_images)}. The weights of that moment "
        f"({checkpoint.bytes / 1e6:.1f} MB) are among the artifacts; SHA-256 `{checkpoint.sha256}`.",
        "",
        *_settings(settings),
        "",
        _FOOT,
    ]
    return "\n".join(lines) + "\n"


def _accuracies(point: Point, pictures: int, measurements: int) -> list[str]:
    found = {name: head.accuracy for name, head in point.validation.heads.items()}
    rows = {"mean": point.validation.accuracy, **found, "joint": point.validation.joint}
    intervals = accuracy_intervals(found, point.validation.joint, pictures, z=of_the_best(measurements))
    lines = ["| validation | accuracy | 95 % interval |", "|---|--:|--:|"]
    for name, accuracy in rows.items():
        low, high = intervals[name]
        lines.append(f"| {plain(name)} | {percent(accuracy)} | {percent(low)} to {percent(high)} |")
    return lines


def _settings(settings: Mapping[str, Value]) -> list[str]:
    shown = {
        name: number(value) if isinstance(value, float) else str(value) for name, value in settings.items()
    }
    return ["| setting | value |", "|---|---|", *(f"| {plain(k)} | {plain(v)} |" for k, v in shown.items())]
