"""What the second half of a training brought, on curves written by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from made_study import (
    EPOCH,
    curve,
    trial,
)
from snapshots import Snapshots

from search.analysis.extra_training import Training, Typical, chosen_among, courses, training
from search.records import (
    Report,
    State,
)
from search.report.one_study.study_sentences import (
    extra_training,
    schedule,
)

SENTENCES = Snapshots(__file__, "study_sentences")


def trained(curves: Sequence[Sequence[Report]], *, among: int | None = None) -> Training:
    trials = [trial(n) for n in range(len(curves))]
    by_id = {t.trial_id: c for t, c in zip(trials, curves, strict=True)}
    return training(courses(trials, by_id), images=4000, among=among)


RISING = (0.5, 0.6, 0.7, 0.8)

FLAT = (0.5, 0.8, 0.8, 0.8)

DEAD = (0.101, 0.100, 0.102, 0.099)


class TestTraining:
    def test_the_facts_of_a_curve(self) -> None:
        [found] = courses([trial(0)], {100: curve(0.90, 0.95, 0.97, 0.94, losses=[3, 2, 1, 2])})
        assert (found.best_step, found.step) == (3 * EPOCH, 4 * EPOCH)
        assert (found.best, found.last, found.half) == (0.97, 0.94, 0.95)
        assert found.gain == pytest.approx(-0.01)
        assert found.loss_ratio == pytest.approx(2)

    def test_the_score_at_half_the_budget_needs_a_report_near_it(self) -> None:
        [found] = courses([trial(0)], {100: curve(0.5, 0.6, 0.7)})
        assert found.gain is None
        [found] = courses([trial(0)], {100: curve(*(0.5 + n / 100 for n in range(11)))})
        assert found.gain == pytest.approx(0.06), "after five epochs of eleven"

    def test_only_complete_trials_ran_to_the_end(self) -> None:
        trials = [trial(0, State.PRUNED), trial(1, State.FAILED), trial(2), trial(3, reference="course-mlp")]
        curves = {t.trial_id: curve(0.5, 0.6) for t in trials}
        assert [c.trial.number for c in courses(trials, curves)] == [2, 3]

    def test_a_loss_that_training_does_not_lower_is_not_shown(self) -> None:
        smoothed = trial(0, fixed={"label_smoothing": 0.085})
        [found] = courses([smoothed], {100: curve(0.98, 0.99, losses=[0.10, 0.12])})
        assert found.loss_ratio is None

    @pytest.mark.parametrize(
        ("curves", "typical", "gained", "lost", "collapsed", "why"),
        [
            ([], Typical.NONE, 0, 0, [], "nothing ran to the end"),
            ([RISING[:1]] * 9, Typical.NONE, 0, 0, [], "no network was measured at half"),
            ([RISING] * 3, Typical.UNCLEAR, 3, 0, [], "three are too few"),
            ([RISING] * 9, Typical.GAINED, 9, 0, [], "all rise"),
            ([RISING] * 12 + [DEAD], Typical.GAINED, 12, 0, [], "a dead network decides nothing"),
            ([RISING] * 9 + [(0.5, 0.9, 0.1, 0.1)], Typical.GAINED, 9, 0, [9], "nor a collapsed one"),
            ([(0.5, 0.9, 0.1, 0.1)], Typical.NONE, 0, 0, [0], "a collapsed one alone"),
            ([RISING[::-1]] * 9, Typical.LOST, 0, 9, [], "all fall"),
            ([FLAT] * 9, Typical.UNCLEAR, 0, 0, [], "nothing gained, and nothing lost"),
        ],
    )
    def test_the_answer(
        self,
        curves: Sequence[Sequence[float]],
        typical: Typical,
        gained: int,
        lost: int,
        collapsed: list[int],
        why: str,
    ) -> None:
        found = trained([curve(*each) for each in curves])
        assert (found.typical, len(found.gained), len(found.lost)) == (typical, gained, lost), why
        assert [each.trial.number for each in found.collapsed] == collapsed
        SENTENCES.check(f"extra training: {why}", [extra_training(found)])

    def test_names_those_that_lost(self) -> None:
        found = trained([curve(*RISING)] * 3 + [curve(0.5, 0.9, 0.8, 0.8)])
        assert [(each.trial.number, each.gain) for each in found.lost] == [(3, pytest.approx(-0.1))]
        assert len(found.gained) == 3
        SENTENCES.check("extra training: one lost", [extra_training(found)])

    def test_a_loss_that_rises_while_accuracy_does_is_no_overfitting(self) -> None:
        found = trained([curve(0.90, 0.95, 0.96, 0.97, losses=[0.1, 0.1, 0.2, 0.3])] * 9)
        assert found.typical is Typical.GAINED
        assert "overfit" not in extra_training(found)

    def test_survivors_are_not_typical(self) -> None:
        """The pruner chose the luckier ones among equals, who fall back by themselves."""
        found = trained([curve(*RISING)] * 9, among=30)
        assert found.typical is Typical.SELECTED
        SENTENCES.check("extra training: the pruner chose", [extra_training(found)])
        assert len(found.gained) == 9
        fallen = [curve(0.5, 0.990, 0.985, 0.982)]  # clear by itself, and not for the luckiest of 90
        assert [len(trained(fallen, among=among).lost) for among in (None, 90)] == [1, 0]

    def test_among_whom_the_pruner_chose(self) -> None:
        trials = [trial(0), trial(1, State.PRUNED), trial(2, State.PRUNED)]
        curves = {100: curve(0.5, 0.6, 0.7, 0.8), 101: curve(0.5, 0.6), 102: curve(0.5)}
        assert chosen_among(trials, curves) == 2
        assert chosen_among(trials[:1], curves) is None

    def test_what_a_falling_rate_has_to_do_with_it(self) -> None:
        SENTENCES.check("a falling learning rate", [schedule({"cosine": 2, "constant": 1})])
        assert schedule({"constant": 4}) == ""
