"""Who is confirmed, who is dropped, who is chosen, and what is said about it: on records made by hand."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from made_study import DIGITS
from snapshots import Snapshots
from specs import network_spec

from search.analysis import over_seeds, racing
from search.analysis.confirmation import Confirmation, Gap
from search.analysis.intervals import wilson
from search.analysis.standing import Stand, confirmation
from search.heads import head_report
from search.records import (
    AblationRun,
    Answers,
    Confirming,
    Failure,
    HeadScore,
    Report,
    Scores,
    SpaceChange,
    State,
    StudyRecord,
    TestAttempt,
    TestEvaluation,
    TestEvaluationCounts,
    TrialRecord,
)
from search.report.confirmation_sentences import sentences

NOW = datetime.datetime(2026, 11, 23, 12, tzinfo=datetime.UTC)
COMPLETE, PRUNED, FAILED = State.COMPLETE, State.PRUNED, State.FAILED


def trial(number: int, score: float | None, state: State = COMPLETE, **more: object) -> TrialRecord:
    return TrialRecord(trial_id=100 + number, number=number, state=state, score=score, params={}, **more)  # type: ignore[arg-type]


def run(
    number: int, candidate: int, seed: int, score: float | None, state: State = COMPLETE, **more: object
) -> TrialRecord:
    confirming = Confirming(candidate=candidate, seed=seed)
    return replace(trial(number, score, state, confirming=confirming, **more), trial_id=1000 + number)


def runs(
    values: Mapping[int, Sequence[float]], references: Mapping[int, str] | None = None
) -> list[TrialRecord]:
    """Complete runs: candidate -> score by seed."""
    names = references or {}
    found: list[TrialRecord] = []
    for candidate, scores in values.items():
        for seed, score in enumerate(scores):
            found.append(run(len(found), candidate, seed, score, reference=names.get(candidate)))
    return found


class TestLeaders:
    def test_the_best_first_whether_pruned_or_complete_but_no_reference_and_nothing_that_failed(self) -> None:
        trials = [
            trial(0, 0.99, reference="course-mlp"),
            trial(1, 0.90),
            trial(2, 0.95, PRUNED),
            trial(3, 0.97, FAILED),
            trial(4, None, PRUNED),
            trial(5, 0.96, State.RUNNING),
            trial(6, 0.95),
        ]
        assert [each.number for each in racing.leaders(trials, 2)] == [2, 6], "the earlier of equals first"
        assert [each.number for each in racing.leaders(trials, 9)] == [2, 6, 1]
        assert [each.number for each in racing.references(trials)] == [0]

    def test_the_winner_of_the_search_is_always_there(self) -> None:
        trials = [trial(0, 0.98, PRUNED), trial(1, 0.97, PRUNED), trial(2, 0.90), trial(3, 0.80)]
        assert [each.number for each in racing.leaders(trials, 2)] == [0, 2]
        assert [each.number for each in racing.leaders(trials, 1)] == [2]

    def test_without_a_finished_trial_there_is_no_leader(self) -> None:
        assert racing.leaders([], 5) == []
        assert racing.leaders([trial(0, 0.9, reference="course-mlp")], 5) == []


class TestDropping:
    @pytest.mark.parametrize(
        ("behind", "vain"),
        [
            ([0.970, 0.971, 0.972], True),  # gaps .020 .019 .018: interval well below zero
            ([0.970, 0.971], False),  # two pairs are too few, however clear
            ([0.970, 0.992, 0.970], False),  # gaps that change sign
            ([0.960, 0.990, 0.985], False),  # always behind, but by t = 2.1 with 2 degrees of freedom
            ([0.9899, 0.9899, 0.9899], True),  # a little, but each time exactly
        ],
    )
    def test_a_paired_test_decides(self, behind: list[float], vain: bool) -> None:
        found = runs({7: [0.990, 0.990, 0.990][: len(behind)], 3: behind})
        assert racing.in_vain(found) == ({3} if vain else set())

    def test_the_third_seed_is_the_first_that_counts(self) -> None:
        assert racing.in_vain(runs({1: [0.99, 0.99], 2: [0.5, 0.5]})) == set()
        assert racing.in_vain(runs({1: [0.99, 0.99, 0.99], 2: [0.5, 0.51, 0.5]})) == {2}

    def test_a_better_reference_drops_no_candidate_and_no_reference_is_dropped(self) -> None:
        found = runs(
            {0: [0.999] * 3, 1: [0.98, 0.97, 0.98], 2: [0.5] * 3}, {0: "course-mlp", 2: "course-conv"}
        )
        assert racing.in_vain(found) == set()

    def test_a_dropped_candidate_stays_dropped(self) -> None:
        found = [*runs({1: [0.99] * 4, 2: [0.99] * 3}), run(50, 2, 3, None, PRUNED)]
        assert racing.dropped(found) == {2}
        assert racing.in_vain(found) == {2}

    @pytest.mark.parametrize(
        ("failures", "out"),
        [
            ([Failure.DIVERGED], True),  # it would diverge again
            ([Failure.ERROR] * 2, False),
            ([Failure.ERROR, Failure.OUT_OF_MEMORY, Failure.WORKER_DIED], True),
            ([Failure.INTERRUPTED] * 9, False),  # nobody's fault
            ([Failure.DISK_FULL] * 9, False),
        ],
    )
    def test_a_candidate_that_diverges_or_fails_three_times_is_out(
        self, failures: list[Failure], out: bool
    ) -> None:
        found = [run(n, 4, 0, None, FAILED, failure=failure) for n, failure in enumerate(failures)]
        assert racing.in_vain(found) == ({4} if out else set())

    @pytest.mark.parametrize(
        ("failures", "final"),
        [
            ([Failure.DIVERGED], True),  # it would again, bit for bit
            ([Failure.OUT_OF_MEMORY], False),  # another process may have had the memory
            ([Failure.ERROR] * 2, False),
            ([Failure.ERROR] * 3, True),
            ([Failure.INTERRUPTED] * 9, False),
        ],
    )
    def test_a_run_of_an_ablation_is_repeated_by_the_same_rule(
        self, failures: list[Failure], final: bool
    ) -> None:
        own, other = (AblationRun(arm="baseline", seed=seed, budget=4) for seed in (0, 1))
        found = [trial(n, None, FAILED, failure=why, ablation=own) for n, why in enumerate(failures)]
        found.append(trial(20, None, FAILED, failure=Failure.ERROR, ablation=other))
        assert racing.spent(found) == ({own} if final else set())

    def test_a_run_that_an_earlier_version_ended_is_not_begun_again(self) -> None:
        run = AblationRun(arm="baseline", seed=0, budget=4)
        failed = trial(0, None, FAILED, failure=Failure.ERROR, ablation=run)
        assert racing.spent([failed, trial(1, None, PRUNED, retry_of=0, ablation=run)]) == {run}

    def test_failures_on_different_seeds_do_not_add_up(self) -> None:
        found = [run(n, 4, n, None, FAILED, failure=Failure.ERROR) for n in range(5)]
        assert racing.in_vain(found) == set()


SPEC = network_spec(task="t", epochs=2, epoch_images=1000, pruner="asha")


IMAGES = 10_000
SENTENCES = Snapshots(__file__, "confirmation")


def answered(accuracy: float) -> Answers:
    """All networks err on the same images, the worse ones on more of them."""
    bits = np.packbits(np.arange(IMAGES) < round(accuracy * IMAGES)).tobytes()
    return Answers(split="validation", examples=IMAGES, heads={"a": bits, "b": bits})


def stand(
    trials: Sequence[TrialRecord],
    confirming: Sequence[TrialRecord],
    *,
    target: int | None = None,
    test_evaluations: Sequence[TestEvaluation] = (),
    search_target: int | None = None,
    epochs: float = 2,
    known: bool = True,
) -> Stand:
    def curve(value: float) -> list[Report]:
        heads = {"a": HeadScore(loss=0.0, accuracy=value), "b": HeadScore(loss=0.0, accuracy=value)}
        scores = Scores(heads=heads, joint=value)
        return [head_report(step=1, seconds=1.0, learning_rate=0.1, train=scores, validation=scores)]

    finished = sum(each.state.is_finished for each in confirming)
    return Stand(
        searched=StudyRecord(
            study_id=1,
            name="s",
            spec=SPEC,
            target_trials=len(trials) if search_target is None else search_target,
            created=NOW,
        ),
        trials=trials,
        confirming=StudyRecord(
            study_id=2,
            name="s.confirm",
            spec=replace(SPEC, epochs=epochs, confirms="s"),
            target_trials=finished if target is None else target,
            created=NOW,
        ),
        runs=confirming,
        curves={each.trial_id: curve(each.score) for each in confirming if each.score is not None},
        test_evaluations=test_evaluations,
        yardstick=frozenset(each.trial_id for each in confirming if each.reference),
        answers={each.trial_id: answered(each.score) for each in confirming if known and each.score},
        digits=np.arange(IMAGES)[:, None] if known else None,
        examples=DIGITS,
    )


def evaluation(trial_id: int, accuracy: float, minutes: int = 0) -> TestEvaluation:
    return TestEvaluation(
        study_id=2,
        trial_id=trial_id,
        moment=NOW + datetime.timedelta(minutes=minutes),
        reason="chosen",
        pictures=4000,
        heads={"a": accuracy, "b": accuracy},
        joint=accuracy,
    )


Z_BEST_OF_3 = 2.393980
"""Exceeded with probability 0.025 / 3."""
SEARCH = [trial(0, 0.94, reference="course-mlp"), trial(1, 0.97), trial(2, 0.992), trial(3, 0.98, PRUNED)]
SCORES = {2: [0.979, 0.980, 0.981, 0.980], 1: [0.985, 0.986, 0.985, 0.984], 3: [0.93, 0.93, 0.931]}
"""Trial 2 won the search, trial 1 is the better one, trial 3 is dropped after three seeds."""


def overtaken(*, test_evaluations: Sequence[TestEvaluation] = ()) -> Stand:
    found = runs({0: [0.94] * 4, **SCORES}, {0: "course-mlp"})
    return stand(SEARCH, [*found, run(90, 3, 3, None, PRUNED)], test_evaluations=test_evaluations)


def gap_to(found: Confirmation, trial: int) -> Gap:
    """What the chosen candidate is better by than another one."""
    [gap] = [each for each in found.gaps if each.trial == trial]
    return gap


def may_be_as_good(gap: Gap) -> bool:
    """Whether the interval of a gap has zero in it."""
    assert gap.low is not None
    assert gap.high is not None
    return gap.low <= 0 <= gap.high


class TestConfirmation:
    def test_the_ranking(self) -> None:
        found = confirmation(overtaken())
        assert [each.trial for each in found.candidates] == [1, 2, 0, 3], "the dropped one last"
        assert (found.chosen, found.seeds, found.confirmed_in) == (1, 4, "s.confirm")
        best = found.candidates[0]
        assert best.mean == pytest.approx(0.985)
        # t of 3 degrees of freedom at 2.5 and 2.5 / 3 %, for the best of three leaders; deviation; 4 seeds
        above, below = (t * 0.0008164966 / 2 for t in (3.182446, 4.856656))
        low, _ = wilson(0.985 * IMAGES, IMAGES, Z_BEST_OF_3)
        _, high = wilson(0.985 * IMAGES, IMAGES)
        assert best.low == pytest.approx(0.985 - math.hypot(0.985 - low, below), abs=1e-4)
        assert best.high == pytest.approx(0.985 + math.hypot(high - 0.985, above), abs=1e-4)
        reference, (_, high) = found.candidates[2], wilson(0.94 * IMAGES, IMAGES)
        low, _ = wilson(0.94 * IMAGES, IMAGES)
        assert (reference.low, reference.high) == pytest.approx((low, high), abs=1e-4), "nobody chose it"
        assert found.best_run is not None
        assert (found.best_run.seed, found.best_run.score) == (1, 0.986)
        assert [(each.trial, each.dropped) for each in found.candidates if each.dropped] == [(3, True)]

    def test_a_winner_that_is_worse(self) -> None:
        found = confirmation(overtaken())
        behind, reference = gap_to(found, 2), gap_to(found, 0)
        assert (behind.by, behind.seeds, behind.comparisons) == (pytest.approx(0.005), 4, 3)
        assert behind.low is not None
        assert behind.low > 0
        [second] = [each for each in found.candidates if each.trial == 2]
        assert (second.search_score, second.mean) == (0.992, pytest.approx(0.98))
        assert reference.by == pytest.approx(0.045)
        assert reference.low is not None
        assert reference.low > 0
        assert found.test_evaluations == ()
        SENTENCES.check("a winner that is worse", sentences(found))

    @pytest.mark.parametrize("failure", [Failure.DIVERGED, Failure.OUT_OF_MEMORY])
    def test_a_winner_that_fails_is_out(self, failure: Failure) -> None:
        trials = [trial(0, 0.97), trial(1, 0.985)]
        failed = [run(50 + n, 1, 0, None, FAILED, failure=failure) for n in range(3)]
        found = [*runs({0: [0.98, 0.97]}), *failed, run(60, 1, 0, None, PRUNED)]
        result = confirmation(stand(trials, found))
        assert result.chosen == 0
        assert {number: each.failure for number, each in result.failed.items()} == {1: failure}
        SENTENCES.check(f"a winner that fails is out: {failure}", sentences(result))

    @pytest.mark.parametrize("aside", [(2, 3), (1,), (1, 2, 3)], ids=str)
    def test_candidates_that_are_set_aside_are_named(self, aside: tuple[int, ...]) -> None:
        now = overtaken()
        change = SpaceChange(space={}, moment=NOW, set_aside=aside)
        searched = replace(now.searched, spec=replace(SPEC, space_changes=(change,)))
        found = confirmation(replace(now, searched=searched))
        assert found.chosen == 1, "a choice stands"
        SENTENCES.check(f"candidates that are set aside: {aside}", sentences(found)[:3])

    def test_two_seeds_allow_no_verdict(self) -> None:
        found = confirmation(stand(SEARCH, runs({1: [0.99, 0.99], 2: [0.5, 0.5]})))
        assert [(gap.trial, gap.by, gap.low, gap.seeds) for gap in found.gaps] == [
            (2, pytest.approx(0.49), None, 2)
        ]
        SENTENCES.check("two seeds allow no verdict", sentences(found))

    def test_without_the_single_answers_nothing_is_told_from_chance(self) -> None:
        """As in confirmations of a previous version."""
        found = confirmation(stand(SEARCH, runs({1: [0.985] * 3, 2: [0.5] * 3}), known=False))
        assert [gap.low for gap in found.gaps] == [None]
        SENTENCES.check("without the single answers nothing is told from chance", sentences(found))
        best = found.candidates[0]
        low, _ = wilson(0.985 * 4000, 4000, Z_BEST_OF_3)
        assert (best.low, best.high) == pytest.approx((low, wilson(0.985 * 4000, 4000)[1]), abs=1e-6)

    def test_seeds_that_agree_do_not_prove_what_the_images_do_not(self) -> None:
        """Differences of 0.03 points on each seed: three images of 10,000."""
        scores = {1: [0.9853, 0.9854, 0.9855], 2: [0.9850, 0.9851, 0.9852]}
        assert racing.hopeless({k: dict(enumerate(v)) for k, v in scores.items()}, 2, 1)
        found = confirmation(stand(SEARCH[:3], runs(scores)))
        assert may_be_as_good(gap_to(found, 2))
        SENTENCES.check("seeds that agree do not prove what the images do not", sentences(found))

    def test_the_best_of_several_means_is_adjusted_and_its_rivals_share_the_error(self) -> None:
        scores = {1: [0.985, 0.986, 0.985], 2: [0.9846, 0.9853, 0.9846], 3: [0.97, 0.97, 0.97]}
        two = confirmation(stand(SEARCH, runs({k: scores[k] for k in (1, 2)})))
        three = confirmation(stand(SEARCH, runs(scores)))
        one = confirmation(stand(SEARCH[:3], runs({2: [0.99, 0.99]})))
        assert {gap.comparisons for gap in two.gaps} == {1}
        assert {gap.comparisons for gap in three.gaps} == {2}
        assert [gap.one_sided for gap in (*two.gaps, *three.gaps)] == [False, True, True]
        assert any("95 % one-sided for all 2 comparisons" in each for each in sentences(three))
        assert one.gaps == ()
        for number, found in enumerate((one, two, three), 1):
            SENTENCES.check(f"adjusted for choosing the best: {number}", sentences(found))

    def test_while_more_runs_are_queued_nothing_is_decided_and_no_candidate_is_out(self) -> None:
        """The target is raised after the runs are queued: an evaluation, or a crash, may come between."""
        done = runs({1: [0.98, 0.98], 2: [0.99, 0.99]})
        queued = run(50, 1, 2, None, State.WAITING)
        found = stand(SEARCH, [*done, queued])
        assert not found.finished
        said = sentences(confirmation(found))
        assert said[-1] == "4 of 5 runs are finished; `tune confirm s` continues."

    def test_a_winner_that_is_chosen_again(self) -> None:
        trials = [trial(0, 0.97), trial(1, 0.985)]
        scores = {0: [0.95, 0.951, 0.95], 1: [0.985, 0.986, 0.985]}
        found = confirmation(stand(trials, runs(scores)))
        second = gap_to(found, 0)
        assert (found.chosen, second.by, second.seeds) == (1, pytest.approx(0.035, abs=1e-3), 3)
        assert not may_be_as_good(second)
        SENTENCES.check("a winner that is chosen again", sentences(found))

    def test_a_winner_that_chance_could_have_put_second(self) -> None:
        trials = [trial(0, 0.97), trial(1, 0.985)]
        scores = {0: [0.98, 0.99, 0.985], 1: [0.985, 0.983, 0.985]}
        found = confirmation(stand(trials, runs(scores)))
        assert found.chosen == 0
        assert may_be_as_good(gap_to(found, 1))
        assert not any("Next comes" in each for each in sentences(found)), "who is next was just said"
        SENTENCES.check("a winner that chance could have put second", sentences(found))

    @pytest.mark.parametrize(
        ("winner", "ahead"),
        [([0.96, 0.961, 0.96], "may be as good"), ([0.995, 0.994, 0.995], "is ahead of it by")],
        ids=["not told apart", "told apart"],
    )
    def test_a_winner_that_was_dropped_may_be_ahead_on_its_seeds(
        self, winner: list[float], ahead: str, request: pytest.FixtureRequest
    ) -> None:
        """It was dropped against trial 3, which fell behind later."""
        mine = [0.90, 0.99, 0.93, 0.99, 0.99] if ahead == "may be as good" else [0.965, 0.965, 0.964, 1, 1]
        scores = {1: mine, 3: [0.99, 0.99, 0.99, 0.90, 0.90], 2: winner}
        late = [run(90 + seed, 2, seed, None, PRUNED) for seed in (3, 4)]
        found = confirmation(stand(SEARCH, [*runs(scores), *late]))
        gap = gap_to(found, 2)
        assert (found.chosen, found.search_winner, gap.seeds) == (1, 2, 3)
        assert gap.by < 0
        assert may_be_as_good(gap) == (ahead == "may be as good")
        [said] = [each for each in sentences(found) if each.startswith("The winner of the search")]
        assert ahead in said
        assert "behind" not in said
        assert "ahead" in said
        SENTENCES.check(f"a winner that was dropped: {request.node.callspec.id}", [said])

    def test_a_verdict_shows_on_which_side_of_zero_its_interval_ends(self) -> None:
        trials = [*SEARCH[:2], trial(2, 0.99)]
        scores = {0: [0.94] * 3, 1: [0.985, 0.986, 0.985], 2: [0.98, 0.981, 0.98]}
        found = confirmation(stand(trials, runs(scores, {0: "course-mlp"})))
        close = [replace(gap, by=0.00004, low=0.000004, high=0.000076) for gap in found.gaps]
        told = [each for each in sentences(replace(found, gaps=tuple(close))) if "95 % one-sided" in each]
        assert len(told) == 2
        assert all("0.004 points" in each and "(+0.0004 to +0.01" in each for each in told)
        SENTENCES.check("a verdict close to zero", told)

    def test_a_choice_that_was_close(self) -> None:
        scores = {1: [0.985, 0.986, 0.985], 2: [0.97, 0.97, 0.97], 3: [0.985, 0.984, 0.986]}
        found = confirmation(stand(SEARCH, runs(scores)))
        second = gap_to(found, 3)
        assert (second.by, second.seeds) == (pytest.approx(0.0003, abs=1e-4), 3)
        assert may_be_as_good(second)
        SENTENCES.check("a choice that was close", sentences(found))

    def test_nothing_is_chosen_before_everybody_is_done(self) -> None:
        whole, half = runs({1: [0.98, 0.98, 0.98]}), runs({2: [0.99, 0.99]})
        found = confirmation(stand(SEARCH, [*whole, *half], target=6))
        assert (found.chosen, found.best_run) == (None, None)
        assert sentences(found)[-1] == "5 of 6 runs are finished; `tune confirm s` continues."

    @pytest.mark.parametrize(
        ("scores", "mean", "better"),
        [
            ([0.99, 0.991, 0.99], 0.9903, True),
            ([0.9801, 0.99, 0.9701], 0.9801, False),
            ([0.99, 0.99], 0.99, False),
        ],
        ids=["better", "as good", "two seeds"],
    )
    def test_a_better_reference_is_never_chosen_and_said_first(
        self, scores: list[float], mean: float, better: bool, request: pytest.FixtureRequest
    ) -> None:
        mine = [0.98, 0.98, 0.98][: len(scores)]
        found = confirmation(stand(SEARCH[:2], runs({0: scores, 1: mine}, {0: "course-mlp"})))
        assert (found.candidates[0].trial, found.chosen) == (0, 1)
        assert found.candidates[0].mean == pytest.approx(mean, abs=1e-4)
        gap = gap_to(found, 0)
        assert gap.by == pytest.approx(0.98 - mean, abs=1e-4)
        assert (gap.high is not None and gap.high < 0) == better
        said = sentences(found)[0]
        assert "reference course-mlp" in said
        assert "gained" not in said, "an interval that holds gains, or none, tells of no loss"
        assert ("cannot be told" in said) == (len(scores) > 2 and not better)
        SENTENCES.check(f"a better reference: {request.node.callspec.id}", sentences(found))

    def test_a_reference_is_better_than_the_chosen_one_and_not_than_all(self) -> None:
        """Trial 2 has nearly the mean of the chosen one, and varies too much to be told from either."""
        scores = {
            0: [0.952, 0.9521, 0.9519, 0.952, 0.952],
            1: [0.94, 0.9401, 0.9399, 0.94, 0.94],
            2: [0.99, 0.88, 0.99, 0.90, 0.935],
        }
        found = confirmation(stand(SEARCH[:3], runs(scores, {0: "course-mlp"})))
        gap = gap_to(found, 0)
        assert found.chosen == 1
        assert gap.high is not None
        assert gap.high < 0
        [said] = [each for each in sentences(found) if "is better than" in each]
        assert "better than trial 1, the chosen one" in said
        assert "every candidate" not in said
        SENTENCES.check("a better reference, and a candidate that varies", [said])

    def test_a_dropped_candidate_may_have_a_higher_mean_than_the_reference(self) -> None:
        scores = {0: [0.97, 0.98, 0.99, 0.985], 1: [0.98, 0.982, 0.981, 0.978], 3: [0.99, 0.99, 0.99]}
        found = runs(scores, {0: "course-mlp"})
        now = confirmation(stand(SEARCH, [*found, run(90, 3, 3, None, PRUNED)]))
        means = {each.trial: each.mean for each in now.candidates}
        assert now.chosen == 1
        assert means[3] > means[0] > means[1]
        said = sentences(now)[0]
        assert "a higher mean than trial 1" in said
        assert "every candidate" not in said
        SENTENCES.check("a reference and a dropped candidate", [said])

    def test_a_reference_that_may_be_as_good(self) -> None:
        scores = {0: [0.98, 0.99, 0.97], 1: [0.9802, 0.97, 0.9902]}
        found = confirmation(stand(SEARCH[:2], runs(scores, {0: "course-mlp"})))
        assert may_be_as_good(gap_to(found, 0))
        SENTENCES.check("a reference that may be as good", sentences(found))

    def test_everybody_out(self) -> None:
        failed = run(0, 1, 0, None, FAILED, failure=Failure.DIVERGED)
        found = confirmation(stand(SEARCH[:2], [failed, run(1, 1, 0, None, PRUNED)]))
        assert found.chosen is None
        assert sentences(found)[-1] == "Nothing can be chosen: every candidate is out."

    def test_an_unfinished_search_and_another_budget_are_said(self) -> None:
        found = confirmation(stand(SEARCH[:3], runs({2: [0.98, 0.98]}), search_target=9, epochs=4))
        assert (found.searched, found.search.target_trials) == (3, 9)
        SENTENCES.check("an unfinished search and another budget", sentences(found))

    def test_a_search_that_continued_has_a_winner_that_is_not_confirmed(self) -> None:
        found = confirmation(stand([*SEARCH, trial(4, 0.999)], runs({2: [0.98, 0.98]})))
        SENTENCES.check("a search that continued", sentences(found))


class TestTestEvaluations:
    def best_of_1(self) -> int:
        run = confirmation(overtaken()).best_run
        assert run is not None
        return run.trial_id

    def test_the_gaps_and_the_count(self) -> None:
        mlp = overtaken().runs[0].trial_id
        found = confirmation(
            overtaken(test_evaluations=[evaluation(self.best_of_1(), 0.98), evaluation(mlp, 0.93)])
        )
        assert found.best_run is not None
        assert found.best_run.score == 0.986
        assert [each.accuracy for each in found.test_evaluations] == [0.98, 0.93]
        low, high = found.intervals_of(found.test_evaluations[0])["mean"]
        assert (low, high) == pytest.approx(wilson(3920, 4000), abs=1e-4), "the heads err together"
        SENTENCES.check("the gaps and the count", sentences(found))

    def test_the_references_are_compared_image_by_image(self) -> None:
        known = overtaken()
        best, mlp = self.best_of_1(), known.runs[0].trial_id
        known = replace(
            known,
            test_evaluations=[evaluation(best, 0.98), evaluation(mlp, 0.93)],
            answers_on_test={best: answered(0.98), mlp: answered(0.93)},
            digits_on_test=np.arange(IMAGES)[:, None],
        )
        found = confirmation(known)
        [gap] = found.gaps_on_test
        assert (gap.trial, gap.seeds, gap.by) == (0, 0, pytest.approx(0.05))
        assert not may_be_as_good(gap)
        SENTENCES.check("the references are compared image by image", sentences(found))

    def test_two_references_share_the_error_to_both_sides(self) -> None:
        """The test set may show the chosen one better or worse: the 5 % are for four ends of intervals."""
        trials = [*SEARCH[:2], trial(2, 0.95, reference="course-conv")]
        scores = {0: [0.94] * 3, 1: [0.985, 0.986, 0.985], 2: [0.95, 0.951, 0.95]}
        known = stand(trials, runs(scores, {0: "course-mlp", 2: "course-conv"}))
        best = confirmation(known).best_run
        assert best is not None
        accuracies = {best.trial_id: 0.98, known.runs[0].trial_id: 0.976, known.runs[6].trial_id: 0.985}
        found = [
            confirmation(
                replace(
                    known,
                    test_evaluations=[evaluation(trial_id, each) for trial_id, each in tested],
                    answers_on_test={trial_id: answered(each) for trial_id, each in tested},
                    digits_on_test=np.arange(IMAGES)[:, None],
                )
            )
            for tested in (list(accuracies.items())[:2], list(accuracies.items()))
        ]
        halves = []
        for gap in (found[0].gaps_on_test[0], gap_to(replace(found[1], gaps=found[1].gaps_on_test), 0)):
            assert gap.high is not None
            halves.append(gap.high - gap.by)
        # the normal quantiles at 2.5 % and at 1.25 % to each side
        assert halves[1] / halves[0] == pytest.approx(2.241403 / 1.959964, abs=1e-5)
        assert [gap.one_sided for gap in (*found[0].gaps_on_test, *found[1].gaps_on_test)] == [False] * 3
        SENTENCES.check(
            "two references on the test set", [each for each in sentences(found[1]) if "There" in each]
        )

    def test_a_test_set_that_was_no_harder_needs_no_excuse(self) -> None:
        found = confirmation(overtaken(test_evaluations=[evaluation(self.best_of_1(), 0.99)]))
        assert not any(found.examples.remark in each for each in sentences(found))
        SENTENCES.check("a test set that was no harder", sentences(found))

    def test_more_test_evaluations_are_counted_and_warned_of(self) -> None:
        other = overtaken().runs[-2].trial_id
        found = confirmation(
            overtaken(
                test_evaluations=[evaluation(other, 0.99), evaluation(self.best_of_1(), 0.98, minutes=9)]
            )
        )
        SENTENCES.check("more test evaluations are counted and warned of", sentences(found))

    def test_those_without_a_result_count(self) -> None:
        mlp, best = overtaken().runs[0].trial_id, self.best_of_1()
        done = evaluation(best, 0.98, minutes=9)
        stopped, failed = (
            TestAttempt(study_id=2, trial_id=trial_id, moment=done.moment, reason="chosen", failure=failure)
            for trial_id, failure in ((mlp, None), (best, "The test function failed: too small."))
        )
        told = sentences(confirmation(replace(overtaken(), test_attempts=[stopped])))
        SENTENCES.check("a test evaluation without a result", told)
        known = replace(overtaken(test_evaluations=[done]), test_attempts=[stopped, failed])
        assert confirmation(known).evaluations_of_references == 1
        SENTENCES.check("test evaluations without a result", sentences(confirmation(known)))

    def test_those_of_other_studies_count_and_of_deleted_ones(self) -> None:
        counted = replace(
            overtaken(test_evaluations=[evaluation(self.best_of_1(), 0.98)]),
            evaluation_counts=TestEvaluationCounts(total=6, of_deleted_studies=3),
        )
        told = sentences(confirmation(counted))
        SENTENCES.check("test evaluations of other studies and of deleted ones", told)


class TestOtherScores:
    def found(self, *tested: TestEvaluation) -> Confirmation:
        """The same networks, of which the search optimizes the balanced accuracy."""
        known = overtaken(test_evaluations=tested)
        spec = replace(SPEC, score="balanced_accuracy")
        return confirmation(
            replace(
                known,
                searched=replace(known.searched, spec=spec),
                confirming=replace(known.confirming, spec=replace(spec, confirms="s")),
                answers_on_test={each.trial_id: answered(each.accuracy) for each in tested},
                digits_on_test=np.arange(IMAGES)[:, None],
            )
        )

    def test_intervals_are_over_seeds_alone_and_say_so(self) -> None:
        """Right and wrong answers are known, and tell nothing of a mean over classes."""
        found = self.found()
        assert found.choice is not None
        scores = SCORES[found.choice.trial]
        alone = over_seeds.mean(scores, found.metric, chosen_of=3)
        assert (found.choice.low, found.choice.high) == (alone.low, alone.high)
        assert not found.over_examples
        assert not any(gap.over_examples for gap in found.gaps)
        told = sentences(found)
        assert any("over seeds only; validation sampling is not included" in each for each in told)
        assert not any("digits" in each for each in told)
        SENTENCES.check("another score", told)

    def test_the_test_set_is_told_in_the_score_of_the_study(self) -> None:
        best, mlp = overtaken().runs[4].trial_id, overtaken().runs[0].trial_id
        tested = replace(evaluation(best, 0.98), scores={"balanced_accuracy": 0.91})
        found = self.found(tested, evaluation(mlp, 0.93))
        assert found.best_run is not None
        best = found.best_run.trial_id
        found = self.found(replace(tested, trial_id=best), evaluation(mlp, 0.93))
        assert found.tested(found.test_evaluations[0]) == 0.91
        assert found.tested(found.test_evaluations[1]) is None, "accuracies alone were recorded"
        assert found.gaps_on_test == ()
        SENTENCES.check("another score on test", sentences(found))
        before = self.found(evaluation(best, 0.98))
        SENTENCES.check("another score that was not recorded", sentences(before))
