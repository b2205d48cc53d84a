"""What became of the trials, and what the winner gets wrong."""

from __future__ import annotations

import datetime
from dataclasses import replace

import pytest
from made_study import (
    EPOCH,
    NOW,
    SPEC,
    curve,
    trial,
)
from snapshots import Snapshots

from search.analysis.mistakes import Confusion, Mistake, surest_first
from search.analysis.outcomes import best_so_far, front, leaders, spending
from search.records import (
    Failure,
    State,
)
from search.report.one_study.study_sentences import (
    confusion_in_words,
    spent_in_words,
)

SENTENCES = Snapshots(__file__, "study_sentences")


class TestOutcomes:
    def test_best_so_far_goes_by_the_order_of_finishing(self) -> None:
        late = replace(trial(0, score=0.95), finished=NOW + datetime.timedelta(hours=9))
        reached = best_so_far(
            [late, trial(1, State.PRUNED, 0.8), trial(2, score=0.7), trial(3, State.FAILED, 1.0)]
        )
        assert [(r.trial.number, r.finished, r.best) for r in reached] == [
            (1, 1, None),
            (2, 2, 0.7),
            (0, 3, 0.95),
        ], "a pruned trial's score is of a shorter training"

    def test_leaders_are_ranked_among_those_that_were_trained_as_long(self) -> None:
        trials = [
            trial(0, score=0.99, reference="r"),
            trial(1, score=0.7),
            trial(2, State.PRUNED, 0.8, steps={1000: 0.8}),
            trial(3, State.FAILED, 0.9),
            trial(4, State.PRUNED, 0.75, steps={2000: 0.75}),
        ]
        assert [t.number for t in leaders(trials, 2)] == [1, 4, 0]

    def test_the_front_has_no_trial_that_a_smaller_one_beats(self) -> None:
        sizes_and_values = [(10, 0.8), (10, 0.7), (20, 0.8), (30, 0.9), (40, 0.85), (50, 0.95)]
        trials = [trial(n, score=v, parameters=p) for n, (p, v) in enumerate(sizes_and_values)]
        trials.append(trial(9, State.PRUNED, 0.99, parameters=1))
        assert [t.number for t in front(trials)] == [0, 3, 5]

    def test_where_the_time_went(self) -> None:
        trials = [
            trial(0),
            trial(1, State.PRUNED),
            trial(2, State.PRUNED),
            trial(3, State.FAILED, failure=Failure.OUT_OF_MEMORY),
        ]
        curves = {100: curve(0.1, 0.2, 0.3, 0.4), 101: curve(0.1), 102: curve(0.1), 103: curve(0.1)}
        spent = spending(trials, curves, {100: 6.0, 101: 1.0, 102: 1.0, 103: 2.0})
        assert [(s.kind, s.trials, s.seconds, s.steps) for s in spent] == [
            ("complete", 1, 6.0, 4 * EPOCH),
            ("pruned", 2, 2.0, 2 * EPOCH),
            ("failed: out of memory", 1, 2.0, EPOCH),
        ]
        SENTENCES.check("where the time went", [spent_in_words(spent, SPEC)])

    def test_what_a_repetition_took_over_is_counted_once(self) -> None:
        cut, again = trial(0, State.FAILED, failure=Failure.INTERRUPTED), trial(1, retry_of=0)
        curves = {100: curve(0.1, 0.2, 0.3), 101: curve(0.1, 0.2, 0.4, 0.5)}
        changed = replace(curves[101][2], seconds=curves[101][2].seconds + 1)  # trained anew from there
        curves[101] = [*curves[101][:2], changed, curves[101][3]]
        [complete, failed] = spending([cut, again], curves, {100: 3.0, 101: 4.0})
        assert (complete.kind, complete.seconds, complete.steps) == ("complete", 4.0, 4 * EPOCH)
        assert failed.kind == "interrupted", "it has not failed"
        assert (failed.steps, failed.seconds) == (EPOCH, pytest.approx(3.0 - curves[100][1].seconds))

    def test_confusions(self) -> None:
        found = Confusion(head="first_digit", counts=((8, 2, 0), (0, 5, 1), (3, 0, 9)))
        assert (found.examples, found.wrong) == (28, 6)
        assert found.pairs() == [(2, 0, 3), (0, 1, 2), (1, 2, 1)]
        SENTENCES.check("confusions", [confusion_in_words(found, named=1)])


def test_the_most_confident_mistake_comes_first() -> None:
    some = [Mistake(png=b"", truth="", said="", belief=belief) for belief in (0.3, 0.1, 0.2)]
    assert [m.belief for m in surest_first(some)] == [0.1, 0.2, 0.3]
