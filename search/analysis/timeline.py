"""When a study knew what: the seconds, the steps and the best score so far, report by report.

The database knows when each trial began and ended, how long it had trained at each report, and the order in
which all reports were written; not the moment of a report. Under ASHA a trial waits between two rungs, often
for longer than it trains, so that its beginning plus its training time can be far too early. Order settles
it: a report is at least its training time after the one before of the same trial, no earlier than any report
before it and no later than any after it, nor than the end of its trial. What remains open is the span from
`earliest_s` to `seconds`; as one number use the latter, which credits no study too soon.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from search.records import Failure, Report, State, Track

PAUSE_S = 60.0
"""Without any trial at work for longer than this a study rests: no worker runs it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """A report that was better than all before it."""

    seconds: float
    """on the study's clock, at the latest"""
    earliest_s: float
    """on the study's clock, at the earliest"""
    steps: int
    """that all trials of the study together had come by then: training images, say"""
    trial: int
    """number of the trial that it came from"""
    score: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeline:
    """One study in time. Marks rise in every respect."""

    seconds: float
    """wall time from the beginning of the first trial to the last sign of life, pauses left out"""
    pauses: int
    """stretches of more than PAUSE_S in which no trial was at work"""
    paused_s: float
    steps: int
    """of all trials together, failed ones too; what a repetition took over counts once"""
    training_s: float
    """spent in training, by all workers together"""
    mean: tuple[Mark, ...]
    """of the score: of the mean of the heads"""
    worst: tuple[Mark, ...]
    """of the lowest head"""
    ends_s: tuple[float, ...]
    """on the clock, when each trial that counts was finished, rising"""


class Clock:
    """Seconds since a study's first trial began, without its pauses. Moments are POSIX timestamps."""

    def __init__(self, spans: Sequence[tuple[float, float]]) -> None:
        """spans: (beginning, end) of each trial."""
        merged: list[list[float]] = []
        for begin, end in sorted(spans):
            if merged and begin <= merged[-1][1] + PAUSE_S:
                merged[-1][1] = max(merged[-1][1], end)
            else:
                merged.append([begin, end])
        self._begins = [begin for begin, _ in merged]
        self._lengths = [end - begin for begin, end in merged]
        self._before = [sum(self._lengths[:place]) for place in range(len(merged))]
        self.seconds = sum(self._lengths)
        self.pauses = max(0, len(merged) - 1)
        self.paused_s = merged[-1][1] - merged[0][0] - self.seconds if merged else 0.0

    def at(self, moment: float) -> float:
        """What the clock shows; during a pause it stands still."""
        place = bisect_right(self._begins, moment) - 1
        if place < 0:
            return 0.0
        return self._before[place] + min(moment - self._begins[place], self._lengths[place])


def timeline(tracks: Sequence[Track], reports: Sequence[tuple[int, int]]) -> Timeline:
    """A study in time. reports: (trial id, step) of every report, in the order in which they were written.

    A failed trial counts nowhere but in seconds and steps: its repetition reports again what it took over.
    """
    by_number = {track.number: track for track in tracks}
    known = {track.trial_id: _Known.of(track, by_number) for track in tracks if track.started is not None}
    order = [report for report in reports if report[0] in known and report[1] in known[report[0]].reports]
    earliest = _earliest(order, known)
    latest = _latest(order, known, earliest)
    clock = Clock(_spans(order, known, earliest))

    seen = dict.fromkeys(known, 0)
    steps = 0
    mean: list[Mark] = []
    worst: list[Mark] = []
    for place, (trial_id, at) in enumerate(order):
        each = known[trial_id]
        new = max(0, at - max(seen[trial_id], each.taken_steps))
        steps, seen[trial_id] = steps + new, at
        if each.track.state is State.FAILED:
            continue
        report = each.reports[at]
        for marks, score in ((mean, report.score), (worst, report.worst)):
            if not marks or score > marks[-1].score:
                mark = Mark(
                    seconds=clock.at(latest[place]),
                    earliest_s=clock.at(earliest[place]),
                    steps=steps,
                    trial=each.track.number,
                    score=score,
                )
                marks.append(mark)
    return Timeline(
        seconds=clock.seconds,
        pauses=clock.pauses,
        paused_s=clock.paused_s,
        steps=steps,
        training_s=sum(each.trained_s for each in known.values()),
        mean=tuple(mean),
        worst=tuple(worst),
        ends_s=tuple(sorted(clock.at(each.end) for each in known.values() if each.track.state.is_finished)),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Known:
    """What is known of a trial that began."""

    track: Track
    reports: Mapping[int, Report]
    """by step"""
    begin: float
    end: float
    """the last moment at which it can have been at work; infinite where the database does not know"""
    taken_steps: int
    """step of the repeated trial at its last checkpoint; 0: it began anew"""
    taken_s: float

    @classmethod
    def of(cls, track: Track, by_number: Mapping[int, Track]) -> _Known:
        """A repetition that continues from a checkpoint reports the points up to there as they were."""
        before = by_number.get(track.retry_of) if track.retry_of is not None else None
        step, seconds = taken_over(track.reports, before.reports if before else ())
        # A trial whose worker vanished was ended by the worker that noticed, perhaps days later.
        known_end = track.finished is not None and track.failure is not Failure.WORKER_DIED
        assert track.started is not None
        return cls(
            track=track,
            reports={report.step: report for report in track.reports},
            begin=track.started.timestamp(),
            end=track.finished.timestamp() if known_end and track.finished else math.inf,
            taken_steps=step,
            taken_s=seconds,
        )

    @property
    def trained_s(self) -> float:
        """Seconds of this trial's training up to its last report."""
        return max(0.0, self.track.reports[-1].seconds - self.taken_s) if self.track.reports else 0.0

    def between_s(self, one: int, other: int) -> float:
        """Training seconds from the report at step `one` to that at `other`; step 0 is the beginning."""
        start = self.reports[one].seconds if one else 0.0
        return max(0.0, self.reports[other].seconds - max(start, self.taken_s))


def _earliest(order: Sequence[tuple[int, int]], known: Mapping[int, _Known]) -> list[float]:
    """For each report, the first moment at which it can have been written."""
    moments: list[float] = []
    now = -math.inf
    before: dict[int, tuple[int, float]] = {}
    for trial_id, at in order:
        each = known[trial_id]
        since, moment = before.get(trial_id, (0, each.begin))
        now = max(now, moment + each.between_s(since, at))
        before[trial_id] = at, now
        moments.append(now)
    return moments


def _latest(
    order: Sequence[tuple[int, int]], known: Mapping[int, _Known], earliest: Sequence[float]
) -> list[float]:
    """For each report, the last moment at which it can have been written; where nothing that came later
    bounds it, the first one. Rising, and never before the earliest, whatever the machines' clocks say."""
    moments: list[float] = []
    now = math.inf
    after: dict[int, tuple[int, float]] = {}
    for trial_id, at in reversed(order):
        each = known[trial_id]
        now = min(now, each.end)
        if trial_id in after:
            until, moment = after[trial_id]
            now = min(now, moment - each.between_s(at, until))
        after[trial_id] = at, now
        moments.append(now)
    bounded = (
        low if math.isinf(high) else max(low, high)
        for low, high in zip(earliest, reversed(moments), strict=True)
    )
    return list(accumulate(bounded, max))


def _spans(
    order: Sequence[tuple[int, int]], known: Mapping[int, _Known], earliest: Sequence[float]
) -> list[tuple[float, float]]:
    """(beginning, last sign of life) of each trial."""
    alive = {trial_id: each.begin for trial_id, each in known.items()}
    for (trial_id, _), moment in zip(order, earliest, strict=True):
        alive[trial_id] = moment
    return [
        (each.begin, alive[trial_id] if math.isinf(each.end) else each.end)
        for trial_id, each in known.items()
    ]


def taken_over(curve: Sequence[Report], before: Sequence[Report]) -> tuple[int, float]:
    """(step, seconds) from which a repetition continues the trial `before` it; (0, 0.0) where it
    began from the start. It reports the points up to its checkpoint as they were."""
    old = {(report.step, report.seconds) for report in before}
    shared = [report for report in curve if (report.step, report.seconds) in old]
    return (shared[-1].step, shared[-1].seconds) if shared else (0, 0.0)
