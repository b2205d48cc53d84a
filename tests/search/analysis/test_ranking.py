"""Which trials lead, what was gained, how a study stands at a moment: against values worked out by hand."""

from __future__ import annotations

import datetime
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from specs import network_spec

from search.analysis.pace import snapshot
from search.analysis.ranking import (
    Gain,
    Ranking,
    best_report,
    best_trial,
    count,
    gains,
    leader,
    leading,
    so_far,
    winner,
)
from search.heads import head_report
from search.records import (
    AblationRun,
    Claim,
    Failure,
    HeadScore,
    Report,
    Scores,
    State,
    StudyRecord,
    TrialRecord,
    mean_accuracy,
)
from search.report.words import states

NOW = datetime.datetime(2026, 11, 22, 12, tzinfo=datetime.UTC)


SPEC = network_spec(task="t", epochs=2, epoch_images=1000, validation_pictures=10, pruner="asha")
STUDY = StudyRecord(study_id=1, name="s", spec=SPEC, target_trials=10, created=NOW)


def trial(number: int, state: State, score: float | None = None, **more: object) -> TrialRecord:
    return TrialRecord(trial_id=100 + number, number=number, state=state, score=score, params={}, **more)  # type: ignore[arg-type]


def report(step: int, *accuracies: float) -> Report:
    heads = {f"h{i}": HeadScore(loss=0.0, accuracy=a) for i, a in enumerate(accuracies)}
    scores = Scores(heads=heads, joint=0.0)
    return head_report(step=step, seconds=step / 1000, learning_rate=0.1, train=scores, validation=scores)


def claim(number: int, *, done: bool, worker: int | None = None) -> Claim:
    return Claim(
        claim_id=number,
        study_id=1,
        slot=number,
        worker_id=f"host:{number if worker is None else worker}:abc",
        token="",
        trial_id=100 + number,
        done=done,
        expires=NOW,
    )


class TestBest:
    def test_report_is_the_earliest_of_the_highest_means(self) -> None:
        curve = [report(1, 0.9, 0.7), report(2, 0.8, 1.0), report(3, 0.9, 0.9), report(4, 1.0, 0.7)]
        assert best_report(curve) == curve[1]
        assert best_report([]) is None

    def test_trial_is_complete_and_the_earliest_of_equals(self) -> None:
        trials = [
            trial(0, State.PRUNED, 0.99),
            trial(1, State.COMPLETE, 0.9),
            trial(2, State.COMPLETE, 0.9),
            trial(3, State.RUNNING, 0.999),
            trial(4, State.FAILED),
        ]
        assert best_trial(trials) == trials[1]
        assert best_trial(trials[:1]) is None
        assert (count(trials).complete, count(trials).finished, count(trials).failed) == (2, 3, 1)

    def test_gains_over_references_that_were_trained_to_the_end(self) -> None:
        trials = [
            trial(0, State.COMPLETE, 0.96, reference="course-mlp"),
            trial(1, State.PRUNED, 0.5, reference="course-conv"),
            trial(2, State.COMPLETE, 0.99),
        ]
        [gain] = gains(trials)
        assert gain == Gain(
            reference="course-mlp",
            trial=0,
            score=0.96,
            gain=pytest.approx(0.03),
            errors_removed=pytest.approx(0.75),
        )
        assert gains([]) == []

    def test_the_winner_is_searched_and_a_better_reference_stands_beside_it(self) -> None:
        trials = [
            trial(0, State.COMPLETE, 0.96, reference="course-mlp"),
            trial(1, State.COMPLETE, 0.98, reference="course-conv"),
            trial(2, State.COMPLETE, 0.9),
            trial(3, State.COMPLETE, 0.97),
            trial(4, State.PRUNED, 0.99),
        ]
        found = winner(trials)
        assert (found.searched, found.reference, found.better_reference) == (trials[3], trials[1], trials[1])
        assert [(gain.reference, gain.gain) for gain in gains(trials)] == [
            ("course-mlp", 0.01),
            ("course-conv", -0.01),
        ], "of the winner, and without noise of floating-point arithmetic"
        assert leading(trials).searched == trials[4], "finished or not"
        assert leading(trials).better_reference is None

    def test_without_a_searched_trial_there_is_no_winner(self) -> None:
        reference = trial(0, State.COMPLETE, 0.96, reference="course-mlp")
        found = winner([reference, trial(1, State.PRUNED, 0.9)])
        assert (found.searched, found.better_reference, found.foremost) == (None, reference, reference)
        assert so_far([reference, trial(1, State.PRUNED, 0.9)]).searched is not None
        assert gains([reference]) == []
        assert winner([]) == Ranking(searched=None, reference=None)

    def test_of_equals_the_reference_is_not_better(self) -> None:
        equal = [trial(0, State.COMPLETE, 0.9, reference="r"), trial(1, State.COMPLETE, 0.9)]
        assert winner(equal).better_reference is None


class TestCounts:
    def test_what_a_signal_stopped_is_interrupted_and_not_failed_otherwise(self) -> None:
        trials = [
            trial(0, State.FAILED, failure=Failure.INTERRUPTED),
            trial(1, State.FAILED, failure=Failure.WORKER_DIED),
            trial(2, State.FAILED, failure=Failure.INTERRUPTED),
            trial(3, State.COMPLETE, 0.9, retry_of=0),
        ]
        found = count(trials)
        assert (found.failed, found.interrupted, found.failed_otherwise) == (3, 2, 1)
        assert states(found) == ["1 complete", "0 pruned", "2 interrupted", "1 failed"]
        assert states(count(trials[3:])) == ["1 complete", "0 pruned", "0 failed"]


class TestMeanAccuracy:
    def test_has_no_noise_of_floating_point_arithmetic(self) -> None:
        assert (0.9925 + 0.9935) / 2 != 0.993, "what it is about"
        assert report(1, 0.9925, 0.9935).score == 0.993
        assert json.dumps(mean_accuracy([0.9925, 0.9935])) == "0.993"

    @given(st.integers(1, 100_000), st.data())
    def test_keeps_the_order_of_counts(self, n: int, data: st.DataObject) -> None:
        """Two means are equal where as many answers are right, and ordered as these are: nothing is lost."""
        right = [data.draw(st.tuples(st.integers(0, n), st.integers(0, n))) for _ in range(2)]
        one, other = (mean_accuracy([hits / n for hits in each]) for each in right)
        assert (one < other, one == other) == (sum(right[0]) < sum(right[1]), sum(right[0]) == sum(right[1]))

    @given(st.lists(st.floats(0, 1), min_size=1, max_size=3))
    def test_is_the_mean(self, accuracies: list[float]) -> None:
        assert mean_accuracy(accuracies) == pytest.approx(sum(accuracies) / len(accuracies), abs=1e-12)


def test_snapshot_shows_who_does_what_and_how_fast() -> None:
    trials = [
        trial(0, State.COMPLETE, 0.9),
        trial(1, State.COMPLETE, 0.8),
        trial(2, State.RUNNING, 0.5),
        trial(3, State.RUNNING),
    ]
    claims = [claim(i, done=i < 2) for i in range(4)]
    curves = {100: [report(500, 0.9), report(2000, 0.85)], 102: [report(250, 0.4), report(500, 0.5)]}
    seen = snapshot(STUDY, trials, claims, curves, moved={}, elapsed_s=30, finished_before=1)
    assert seen.waiting == 0
    assert [(r.trial.number, r.worker, r.latest) for r in seen.running] == [
        (2, "host:2", curves[102][1]),
        (3, "host:3", None),
    ]
    assert seen.steps_per_s == pytest.approx(1000), "one of the two has told its pace"
    assert seen.remaining_s == pytest.approx(30 / 1 * 8), "one finished in this run, eight are missing"
    assert (seen.best, seen.best_report, seen.reference) == (trials[0], curves[100][0], None)
    published = replace(trials[0], reference="r")
    beside = snapshot(
        STUDY, [published, *trials[1:]], claims, curves, moved={}, elapsed_s=30, finished_before=1
    )
    assert (beside.best, beside.reference) == (trials[1], published), "the best one is searched"
    last = replace(STUDY, target_trials=4)
    seen = snapshot(last, trials, claims, curves, moved={}, elapsed_s=0.5, finished_before=1)
    assert seen.remaining_s == pytest.approx(1.5), "no other begins: the last ones go through 2,000 images"


def test_without_pruning_the_rest_is_told_by_whole_trials() -> None:
    began = NOW - datetime.timedelta(seconds=10)
    trials = [
        trial(0, State.COMPLETE, 0.9, started=began, finished=NOW),
        trial(1, State.RUNNING, 0.5),
        trial(2, State.RUNNING),
    ]
    claims = [claim(i, done=i < 1) for i in range(3)]
    unpruned = replace(STUDY, spec=replace(SPEC, pruner="none"))
    seen = snapshot(
        unpruned, trials, claims, {101: [report(500, 0.5)]}, moved={}, elapsed_s=1, finished_before=0
    )
    whole = (10 + 2) / 2  # seconds: the one that is complete, and the one that does 1,000 images a second
    assert seen.remaining_s == pytest.approx((1.5 + 8 * whole) / 2), "two at work, eight more to begin"
    published = [replace(trials[0], reference="course-mlp"), *trials[1:]]
    seen = snapshot(
        unpruned, published, claims, {101: [report(500, 0.5)]}, moved={}, elapsed_s=1, finished_before=0
    )
    assert seen.remaining_s == pytest.approx((1.5 + 8 * 2) / 2), "what is published tells nothing"
    last = replace(unpruned, target_trials=3)
    curves = {101: [report(500, 0.5)], 102: [report(1900, 0.5)]}
    seen = snapshot(last, trials, claims, curves, moved={}, elapsed_s=1, finished_before=0)
    assert seen.remaining_s == pytest.approx(1.5), "the slower of the last two"
    seen = snapshot(unpruned, trials, claims, {}, moved={}, elapsed_s=1, finished_before=0)
    assert seen.remaining_s == pytest.approx(9 * 10 / 2), "none at work has reported yet"
    seen = snapshot(unpruned, trials[:1], claims, {}, moved={}, elapsed_s=1, finished_before=0)
    assert seen.remaining_s is None, "nobody is at work"


def test_the_runs_of_an_ablation_are_told_by_their_own_budgets() -> None:
    def run(number: int, state: State, budget: int, **more: object) -> TrialRecord:
        return trial(number, state, ablation=AblationRun(arm="baseline", seed=0, budget=budget), **more)

    began = NOW - datetime.timedelta(seconds=10)
    trials = [
        run(0, State.COMPLETE, 1_000, started=began, finished=NOW),  # 0.01 s a step
        run(1, State.RUNNING, 16_000),
        run(2, State.RUNNING, 4_000),
        run(3, State.WAITING, 16_000),
        run(4, State.WAITING, 500),
    ]
    five = replace(STUDY, spec=replace(SPEC, pruner="none", ablates="t"), target_trials=5)
    reports = {101: [report(8_000, 0.5)]}  # 0.001 s a step
    claims = [claim(number, done=number < 1) for number in range(3)]
    seen = snapshot(five, trials, claims, reports, moved={}, elapsed_s=1, finished_before=0)
    shared = 8_000 * 0.001 + (4_000 + 16_000 + 500) * (0.01 + 0.001) / 2
    assert seen.remaining_s == pytest.approx(shared / 2)
    last = replace(five, target_trials=2)
    seen = snapshot(last, trials[:2], claims[:2], reports, moved={}, elapsed_s=1, finished_before=0)
    assert seen.remaining_s == pytest.approx(8_000 * 0.001), "the rest of its own budget"


def test_of_the_trials_in_a_workers_hands_the_one_that_moved_is_at_work() -> None:
    trials = [trial(number, State.RUNNING, 0.1 * number) for number in range(3)]
    claims = [claim(i, done=False, worker=1) for i in range(3)]
    moved = {100: 5.0, 101: 7.0, 102: 6.0}
    seen = snapshot(STUDY, trials, claims, {}, moved=moved, elapsed_s=9, finished_before=0)
    assert [running.trial.number for running in seen.running] == [1]
    assert seen.waiting == 2
    assert seen.best == trials[2], "the leader need not be finished"


def test_a_failed_trial_is_no_leader() -> None:
    trials = [trial(0, State.FAILED, 0.9), trial(1, State.PRUNED, 0.5), trial(2, State.WAITING)]
    assert leader(trials) == trials[1]
    assert leader([]) is None
