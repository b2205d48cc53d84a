"""Who is confirmed, who is dropped, who is chosen, and what is said about it: on records made by hand."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from search.confirmation import Look
from search.records import (
    Confirming,
    Failure,
    HeadScore,
    Point,
    Scores,
    State,
    StudyRecord,
    StudySpec,
    TrialRecord,
)
from search.report.confirming import racing
from search.report.confirming.standing import Stand, confirmation

NOW = datetime.datetime(2026, 11, 23, 12, tzinfo=datetime.UTC)
COMPLETE, PRUNED, FAILED = State.COMPLETE, State.PRUNED, State.FAILED


def trial(number: int, value: float | None, state: State = COMPLETE, **more: object) -> TrialRecord:
    return TrialRecord(trial_id=100 + number, number=number, state=state, value=value, params={}, **more)  # type: ignore[arg-type]


def run(
    number: int, candidate: int, seed: int, value: float | None, state: State = COMPLETE, **more: object
) -> TrialRecord:
    confirming = Confirming(candidate=candidate, seed=seed)
    return replace(trial(number, value, state, confirming=confirming, **more), trial_id=1000 + number)


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

    def test_nothing_leads_where_nothing_is_finished(self) -> None:
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

    def test_references_are_the_yardstick_and_lead_nobody(self) -> None:
        found = runs(
            {0: [0.999] * 3, 1: [0.98, 0.97, 0.98], 2: [0.5] * 3}, {0: "course-mlp", 2: "course-conv"}
        )
        assert racing.in_vain(found) == set()

    def test_who_is_dropped_once_stays_dropped(self) -> None:
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
    def test_who_fails_is_out(self, failures: list[Failure], out: bool) -> None:
        found = [run(n, 4, 0, None, FAILED, failure=failure) for n, failure in enumerate(failures)]
        assert racing.in_vain(found) == ({4} if out else set())

    def test_failures_on_different_seeds_do_not_add_up(self) -> None:
        found = [run(n, 4, n, None, FAILED, failure=Failure.ERROR) for n in range(5)]
        assert racing.in_vain(found) == set()


SPEC = StudySpec(
    task="t",
    space={},
    epochs=2,
    epoch_images=1000,
    validation_pictures=4000,
    seed=0,
    sampler="tpe",
    pruner="asha",
    references=(),
    checksums={},
)


def stand(
    trials: Sequence[TrialRecord],
    confirming: Sequence[TrialRecord],
    *,
    target: int | None = None,
    looks: Sequence[Look] = (),
    search_target: int | None = None,
    epochs: float = 2,
) -> Stand:
    def curve(value: float) -> list[Point]:
        heads = {"a": HeadScore(loss=0.0, accuracy=value), "b": HeadScore(loss=0.0, accuracy=value)}
        scores = Scores(heads=heads, joint=value)
        return [Point(images=1, seconds=1.0, learning_rate=0.1, train=scores, validation=scores)]

    finished = sum(each.state.counts for each in confirming)
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
        curves={each.trial_id: curve(each.value) for each in confirming if each.value is not None},
        looks=looks,
        yardstick=frozenset(each.trial_id for each in confirming if each.reference),
    )


def look(trial_id: int, accuracy: float, minutes: int = 0) -> Look:
    return Look(
        study_id=2,
        trial_id=trial_id,
        moment=NOW + datetime.timedelta(minutes=minutes),
        reason="chosen",
        pictures=4000,
        heads={"a": accuracy, "b": accuracy},
        joint=accuracy,
    )


SEARCH = [trial(0, 0.94, reference="course-mlp"), trial(1, 0.97), trial(2, 0.992), trial(3, 0.98, PRUNED)]
LUCKY = {2: [0.979, 0.980, 0.981, 0.980], 1: [0.985, 0.986, 0.985, 0.984], 3: [0.93, 0.93, 0.931]}
"""Trial 2 won the search by luck, trial 1 is the better one, trial 3 is dropped after three seeds."""


def lucky(*, looks: Sequence[Look] = ()) -> Stand:
    found = runs({0: [0.94] * 4, **LUCKY}, {0: "course-mlp"})
    return stand(SEARCH, [*found, run(90, 3, 3, None, PRUNED)], looks=looks)


class TestConfirmation:
    def test_the_ranking(self) -> None:
        found = confirmation(lucky())
        assert [each.trial for each in found.candidates] == [1, 2, 0, 3], "the dropped one last"
        assert (found.chosen, found.seeds, found.confirmed_in) == (1, 4, "s.confirm")
        best = found.candidates[0]
        assert best.mean == pytest.approx(0.985)
        assert (best.low, best.high) == pytest.approx(  # t = 3.1824, deviation 0.000816, 4 seeds
            (0.985 - 3.182446 * 0.0008164966 / 2, 0.985 + 3.182446 * 0.0008164966 / 2), abs=1e-8
        )
        assert found.best_run is not None
        assert (found.best_run.seed, found.best_run.value) == (1, 0.986)
        assert [(each.trial, each.dropped) for each in found.candidates if each.dropped] == [(3, True)]

    def test_luck_is_called_by_its_name(self) -> None:
        words = " ".join(confirmation(lucky()).words)
        assert "The winner of the search, trial 2, was luck" in words
        assert "differs from trial 1 by −0.50 points" in words
        assert "The search saw 99.20 % in it; fresh seeds give 98.00 %: 1.20 points" in words
        assert "not looked at yet" in words

    def test_luck_is_not_told_from_another_budget(self) -> None:
        longer = lucky()
        longer = replace(
            longer, confirming=replace(longer.confirming, spec=replace(longer.confirming.spec, epochs=4))
        )
        words = " ".join(confirmation(longer).words)
        assert "The winner of the search, trial 2, does not keep its place: on the same seeds" in words
        assert "was luck:" not in words

    @pytest.mark.parametrize(
        ("failure", "said"),
        [(Failure.DIVERGED, "was luck"), (Failure.OUT_OF_MEMORY, "does not keep its place")],
    )
    def test_want_of_memory_is_no_luck(self, failure: Failure, said: str) -> None:
        trials = [trial(0, 0.97), trial(1, 0.985)]
        failed = [run(50 + n, 1, 0, None, FAILED, failure=failure) for n in range(3)]
        found = [*runs({0: [0.98, 0.97]}), *failed, run(60, 1, 0, None, PRUNED)]
        words = " ".join(confirmation(stand(trials, found)).words)
        assert f"The winner of the search, trial 1, {said}: it fails on another seed." in words

    def test_the_best_of_several_means_is_said_to_be_lucky_and_its_rivals_share_the_error(self) -> None:
        scores = {1: [0.985, 0.986, 0.985], 2: [0.9846, 0.9853, 0.9846], 3: [0.97, 0.97, 0.97]}
        alone = " ".join(confirmation(stand(SEARCH, runs({k: scores[k] for k in (1, 2)}))).words)
        several = " ".join(confirmation(stand(SEARCH, runs(scores))).words)
        assert "the best of 2 means is a little lucky" in alone
        assert "the best of 3 means is a little lucky" in several
        assert "corrected" not in alone
        assert "corrected for 2 rivals" in several
        one = " ".join(confirmation(stand(SEARCH[:3], runs({2: [0.99, 0.99]}))).words)
        assert "lucky" not in one

    def test_while_more_runs_are_queued_nothing_is_decided_and_nobody_is_out(self) -> None:
        """The target is raised after the runs are queued: a look, or a crash, may come between."""
        done = runs({1: [0.98, 0.98], 2: [0.99, 0.99]})
        queued = run(50, 1, 2, None, State.WAITING)
        found = stand(SEARCH, [*done, queued])
        assert not found.finished
        said = confirmation(found).words
        assert said[-1] == "4 of 5 runs are finished; `tune confirm s` goes on."

    def test_a_winner_that_holds(self) -> None:
        trials = [trial(0, 0.97), trial(1, 0.985)]
        words = " ".join(confirmation(stand(trials, runs({0: [0.95, 0.951], 1: [0.985, 0.986]}))).words)
        assert "It is the winner of the search, too." in words
        assert "nothing of it was luck" in words
        assert "was luck" not in words.replace("of it was luck", "")

    def test_a_winner_that_chance_could_have_put_second(self) -> None:
        trials = [trial(0, 0.97), trial(1, 0.985)]
        words = " ".join(confirmation(stand(trials, runs({0: [0.98, 0.99], 1: [0.985, 0.983]}))).words)
        assert "The winner of the search, trial 1, may be as good" in words
        assert "Next comes" not in words, "who is next was just said"

    def test_a_choice_that_was_close(self) -> None:
        scores = {1: [0.985, 0.986, 0.985], 2: [0.97, 0.97, 0.97], 3: [0.985, 0.984, 0.986]}
        words = " ".join(confirmation(stand(SEARCH, runs(scores))).words)
        assert "Next comes trial 3, 0.03 points behind trial 1 on the same seeds" in words
        assert "cannot tell the two apart" in words

    def test_a_winner_that_fails(self) -> None:
        trials = [trial(0, 0.97), trial(1, 0.985)]
        diverged = run(50, 1, 0, None, FAILED, failure=Failure.DIVERGED)
        found = [*runs({0: [0.98, 0.97]}), diverged, run(51, 1, 0, None, PRUNED), run(52, 1, 1, None, PRUNED)]
        result = confirmation(stand(trials, found))
        words = " ".join(result.words)
        assert result.chosen == 0
        assert "Trial 1 is out: on seed 0 it failed (diverged)." in words
        assert "The winner of the search, trial 1, was luck: it fails on another seed." in words

    def test_nothing_is_chosen_before_everybody_is_done(self) -> None:
        whole, half = runs({1: [0.98, 0.98, 0.98]}), runs({2: [0.99, 0.99]})
        found = confirmation(stand(SEARCH, [*whole, *half], target=6))
        assert (found.chosen, found.best_run) == (None, None)
        assert found.words[-1] == "5 of 6 runs are finished; `tune confirm s` goes on."

    def test_a_reference_is_never_chosen_and_said_to_be_as_good(self) -> None:
        found = confirmation(stand(SEARCH[:2], runs({0: [0.99, 0.99], 1: [0.98, 0.97]}, {0: "course-mlp"})))
        assert found.candidates[0].trial == 0
        assert found.chosen == 1
        assert any("The reference course-mlp is no worse" in sentence for sentence in found.words)

    def test_everybody_out(self) -> None:
        failed = run(0, 1, 0, None, FAILED, failure=Failure.DIVERGED)
        found = confirmation(stand(SEARCH[:2], [failed, run(1, 1, 0, None, PRUNED)]))
        assert found.chosen is None
        assert found.words[-1] == "Nothing can be chosen: every candidate is out."

    def test_an_unfinished_search_and_another_budget_are_said(self) -> None:
        found = confirmation(stand(SEARCH[:3], runs({2: [0.98, 0.98]}), search_target=9, epochs=4))
        assert found.words[0] == "The search is not finished (3 of 9 trials): its leaders may change."
        assert any("4 epochs for 2" in sentence for sentence in found.words)

    def test_longer_training_hides_luck(self) -> None:
        words = " ".join(confirmation(stand(SEARCH[:3], runs({2: [0.995, 0.996]}), epochs=4)).words)
        assert "give 99.55 %: longer training hides whether any of it was luck" in words
        assert "nothing of it was luck" not in words

    def test_fewer_epochs_than_the_search_had_prove_no_luck(self) -> None:
        words = " ".join(confirmation(stand(SEARCH[:3], runs({2: [0.95, 0.95]}), epochs=1)).words)
        assert "with fewer epochs this does not show what was luck" in words
        assert "were luck" not in words

    def test_a_search_that_went_on_has_a_winner_that_is_not_confirmed(self) -> None:
        found = confirmation(stand([*SEARCH, trial(4, 0.999)], runs({2: [0.98, 0.98]})))
        assert any("new winner, trial 4, which is not confirmed" in sentence for sentence in found.words)


class TestLooks:
    def best_of_1(self) -> int:
        run = confirmation(lucky()).best_run
        assert run is not None
        return run.trial_id

    def test_the_gaps_and_the_count(self) -> None:
        mlp = lucky().runs[0].trial_id
        found = confirmation(lucky(looks=[look(self.best_of_1(), 0.98), look(mlp, 0.93)]))
        words = " ".join(found.words)
        assert "(98.60 % on validation) reach 98.00 %" in words
        assert "97.00 %, 98.50 % (+1.50), 98.00 % (−0.50). Some of the last step is no surprise" in words
        assert "97.52 to 98.39 %" in words, "Wilson, 3920 of 4000"
        assert "looked at once for models of this study and once for references." in words
        assert "more than once" not in words

    def test_a_test_set_that_was_no_harder_needs_no_excuse(self) -> None:
        words = " ".join(confirmation(lucky(looks=[look(self.best_of_1(), 0.99)])).words)
        assert "99.00 % (+0.50)." in words
        assert "no surprise" not in words

    def test_more_looks_are_counted_and_warned_of(self) -> None:
        other = lucky().runs[-2].trial_id
        found = confirmation(lucky(looks=[look(other, 0.99), look(self.best_of_1(), 0.98, minutes=9)]))
        words = " ".join(found.words)
        assert "looked at twice for models of this study." in words
        assert "Who looks more than once" in words
