"""The clock of a study and what it knew when, against histories written by hand."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.analysis.timeline import PAUSE_S, Clock, timeline
from search.records import Failure, Report, State, Track

ZERO = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)
DAY_S = 86_400.0


def at(seconds: float) -> datetime.datetime:
    return ZERO + datetime.timedelta(seconds=seconds)


def report(step: int, seconds: float, *heads: float) -> Report:
    accuracies = {f"validation/accuracy/h{i}": head for i, head in enumerate(heads)}
    return Report(step=step, seconds=seconds, metrics={**accuracies, "validation/joint": 0.0})


def track(
    number: int,
    began: float,
    ended: float | None,
    *reports: Report,
    state: State = State.COMPLETE,
    failure: Failure | None = None,
    retry_of: int | None = None,
) -> Track:
    return Track(
        trial_id=100 + number,
        number=number,
        state=state,
        score=max((report.score for report in reports), default=None),
        reference=None,
        retry_of=retry_of,
        failure=failure,
        started=at(began),
        finished=None if ended is None else at(ended),
        reports=reports,
    )


class TestClock:
    def test_a_night_is_left_out_and_a_minute_is_not(self) -> None:
        night = Clock([(0, 100), (50, 120), (120 + PAUSE_S, 200), (DAY_S, DAY_S + 30)])
        assert (night.seconds, night.pauses, night.paused_s) == (230, 1, DAY_S - 200)
        assert [night.at(moment) for moment in (-5, 0, 130, 500, DAY_S + 10, 2 * DAY_S)] == [
            *(0, 0, 130, 200, 210, 230)
        ]

    def test_of_nothing_is_nothing(self) -> None:
        assert (Clock([]).seconds, Clock([]).pauses, Clock([]).at(5)) == (0, 0, 0)

    @given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e4)), min_size=1, max_size=9))
    def test_it_never_goes_backwards_nor_faster_than_time(self, given: list[tuple[float, float]]) -> None:
        clock = Clock([(begin, begin + length) for begin, length in given])
        moments = sorted({m for begin, length in given for m in (begin, begin + length / 2, begin + length)})
        shown = [clock.at(moment) for moment in moments]
        for earlier, later, before, after in zip(moments, moments[1:], shown, shown[1:], strict=False):
            assert -1e-6 <= after - before <= later - earlier + 1e-6
        assert shown[-1] == pytest.approx(clock.seconds)


class TestMoments:
    def test_without_waiting_every_report_is_known_to_the_second(self) -> None:
        found = timeline([track(0, 0, 20, report(10, 8, 0.7), report(20, 20, 0.9))], [(100, 10), (100, 20)])
        assert [(mark.earliest_s, mark.seconds, mark.steps) for mark in found.mean] == [
            *((8, 8, 10), (20, 20, 20))
        ]

    def test_a_trial_that_waited_is_placed_by_the_order_of_reports(self) -> None:
        """Trial 0 trains 10 s, waits for trial 1 (begun at 10, ended at 50), then trains 10 s more."""
        tracks = [
            track(0, 0, 60, report(10, 10, 0.7), report(20, 20, 0.9)),
            track(1, 10, 50, report(10, 40, 0.8), state=State.PRUNED),
        ]
        found = timeline(tracks, [(100, 10), (101, 10), (100, 20)])
        assert [(mark.trial, mark.earliest_s, mark.seconds) for mark in found.mean] == [
            (0, 10, 50),  # before trial 1's report, which was there at 50; perhaps by another worker
            (1, 50, 50),
            (0, 50, 60),  # not at 20, which is its beginning plus its training
        ]

    def test_what_the_order_leaves_open_is_a_span(self) -> None:
        tracks = [
            track(0, 0, 100, report(10, 10, 0.7), report(20, 20, 0.9)),
            track(1, 10, 90, report(10, 20, 0.6), state=State.PRUNED),
        ]
        found = timeline(tracks, [(100, 10), (101, 10), (100, 20)])
        assert (found.mean[0].earliest_s, found.mean[0].seconds) == (10, 90)
        assert (found.mean[1].earliest_s, found.mean[1].seconds) == (30, 100)

    def test_a_trial_at_work_is_taken_at_its_earliest(self) -> None:
        running = track(0, 0, None, report(10, 8, 0.7), state=State.RUNNING)
        found = timeline([running], [(100, 10)])
        assert (found.seconds, found.mean[0].seconds, found.ends_s) == (8, 8, ())


class TestWhatCounts:
    def test_heads_are_timed_by_the_worst(self) -> None:
        reports = report(10, 1, 0.99, 0.5), report(20, 2, 0.97, 0.9), report(30, 3, 0.98, 0.89)
        found = timeline([track(0, 0, 3, *reports)], [(100, 10), (100, 20), (100, 30)])
        assert [mark.score for mark in found.worst] == [0.5, 0.9]
        assert [mark.score for mark in found.mean] == pytest.approx([0.745, 0.935])

    def test_a_worker_that_died_and_was_found_days_later_adds_no_days(self) -> None:
        tracks = [
            track(
                0,
                0,
                DAY_S,
                report(10, 30, 0.9),
                state=State.FAILED,
                failure=Failure.WORKER_DIED,
            ),
            track(1, DAY_S, DAY_S + 50, report(10, 30, 0.9), report(20, 80, 0.95), retry_of=0),
        ]
        found = timeline(tracks, [(100, 10), (101, 10), (101, 20)])
        assert (found.seconds, found.pauses) == (30 + 50, 1)
        assert found.steps == 20, "the repetition continued from image 10 and reported it again"
        assert found.training_s == 80
        assert [(mark.trial, mark.seconds) for mark in found.mean] == [(1, 30), (1, 80)]

    def test_a_repetition_that_began_anew_counts_in_full(self) -> None:
        tracks = [
            track(0, 0, 30, report(10, 29, 0.9), state=State.FAILED, failure=Failure.INTERRUPTED),
            track(1, 31, 60, report(10, 28, 0.9), retry_of=0),
        ]
        found = timeline(tracks, [(100, 10), (101, 10)])
        assert (found.steps, found.training_s) == (20, 57)

    def test_a_failed_trial_sets_no_mark(self) -> None:
        failed = track(0, 0, 9, report(10, 8, 0.99), state=State.FAILED, failure=Failure.DIVERGED)
        found = timeline([failed], [(100, 10)])
        assert (found.mean, found.ends_s, found.steps) == ((), (), 10)
