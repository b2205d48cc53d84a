"""Who continues, who waits and who ends: by hand on small cases, and whole searches on invented scores."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.study.promotion import Asha, Candidate, OneAtATime, ScoresAt, geometric_rungs, rung_reached

RUNGS = (1, 4, 16)
RULE = Asha(rungs=RUNGS, eta=4, finalists=2, patience=2, waiting=3)


def standing(*scores: float, rung: int = 1) -> list[Candidate]:
    return [Candidate(number=number, rung=rung, score=score) for number, score in enumerate(scores)]


def at_one_rung(scores: Sequence[float]) -> ScoresAt:
    """The scores of trials 0, 1, … at the first rung."""
    return at({1: dict(enumerate(scores))})


def at(scores: Mapping[int, Mapping[int, float]]) -> ScoresAt:
    """By rung and number of the trial."""
    return lambda rung: list(scores.get(rung, {}).items())


def test_no_trial_continues_before_there_are_eta_to_choose_from() -> None:
    decision = RULE.decide(standing(0.9, 0.5), at_one_rung([0.9, 0.5]), drained=False)
    assert (decision.go, decision.end) == (None, ())


def test_the_best_of_eta_continues() -> None:
    scores = [0.5, 0.9, 0.6, 0.4]
    decision = RULE.decide(standing(*scores), at_one_rung(scores), drained=False)
    assert decision.go == 1
    assert set(decision.end) == {0, 3}, "two better ones and one place: no prospects"


def test_a_rung_passes_on_no_more_than_its_share() -> None:
    """Four stood at the first rung and one of them was passed on: the next place opens with the eighth."""
    best = Candidate(number=4, rung=1, score=0.99)
    first = {0: 0.5, 1: 0.4, 2: 0.3, 3: 0.2, 4: 0.99}
    assert RULE.decide([best], at({1: first, 4: {0: 0.6}}), drained=False).go is None
    more = {**first, 5: 0.0, 6: 0.0, 7: 0.0}
    assert RULE.decide([best], at({1: more, 4: {0: 0.6}}), drained=False).go == 4
    go = RULE.decide([best], at({1: first, 4: {0: 0.6}}), drained=True).go
    assert go == 4, "a finalist continues in any case"


def test_scores_of_other_workers_count() -> None:
    decision = RULE.decide(standing(0.5), at_one_rung([0.5, 0.9, 0.9, 0.1]), drained=False)
    assert (decision.go, decision.end) == (None, (0,))


def test_the_most_advanced_goes_first() -> None:
    candidates = [
        Candidate(number=7, rung=1, score=0.99),
        Candidate(number=8, rung=4, score=0.90),
    ]
    others = {1: 0.1, 2: 0.1, 3: 0.1}
    stood = at({1: {**others, 7: 0.99}, 4: {**others, 8: 0.90}})
    assert RULE.decide(candidates, stood, drained=False).go == 8


def test_at_the_end_the_least_advanced_goes_first() -> None:
    """A trial that is trained to the end then was compared with all that came as far."""
    candidates = [
        Candidate(number=7, rung=4, score=0.99),
        Candidate(number=8, rung=1, score=0.90),
        Candidate(number=9, rung=1, score=0.95),
    ]
    stood = at({1: {8: 0.90, 9: 0.95}, 4: {7: 0.99}})
    assert RULE.decide(candidates, stood, drained=True).go == 9


def test_an_interrupted_trial_continues_to_the_rung_that_it_was_promoted_to() -> None:
    """At 8 images no trial is judged: one that stands there had won the way to 16."""
    cut = Candidate(number=5, rung=8, score=0.1)
    others = {rung: {1: 0.9, 2: 0.8, 5: 0.1} for rung in (1, 4, 8)}
    for drained in (False, True):
        decision = RULE.decide([cut], at(others), drained=drained)
        assert (decision.go, decision.end) == (5, ())


def test_a_trial_with_a_larger_budget_continues_beyond_the_rungs_of_its_study() -> None:
    beyond = Candidate(number=5, rung=16, score=0.1)
    others = {rung: {1: 0.9, 2: 0.8, 5: 0.1} for rung in RUNGS}
    for drained in (False, True):
        decision = RULE.decide([beyond], at(others), drained=drained)
        assert (decision.go, decision.end) == (5, ())


def test_the_number_of_waiting_trials_is_limited() -> None:
    """Two would-be finalists and three others."""
    scores = [0.9 - number / 100 for number in range(6)]
    patient = Asha(rungs=RUNGS, eta=100, patience=100, waiting=3)
    assert patient.decide(standing(*scores), at_one_rung(scores), drained=False).end == (5,)


def test_at_the_end_the_finalists_continue_and_the_others_end() -> None:
    scores = [0.7, 0.9, 0.8]
    decision = RULE.decide(standing(*scores), at_one_rung(scores), drained=True)
    assert (decision.go, decision.end) == (1, (0,))


def test_of_equals_the_earlier_trial_is_better() -> None:
    """On few validation images most good trials are equal, and only two of them are finalists."""
    scores = [0.99] * 9
    decision = RULE.decide(standing(*scores), at_one_rung(scores), drained=True)
    assert (decision.go, decision.end) == (0, tuple(range(2, 9)))
    elsewhere = RULE.decide(standing(*scores)[4:], at_one_rung(scores), drained=True)
    assert (elsewhere.go, elsewhere.end) == (None, tuple(range(4, 9))), "in whichever worker they wait"


def test_a_reference_is_never_pruned_and_continues_last() -> None:
    reference = Candidate(number=0, rung=1, score=0.1, reference=True)
    other = Candidate(number=1, rung=1, score=0.9)
    crowd = at_one_rung([0.1, 0.9, *[0.5] * 10])
    assert RULE.decide([reference, other], crowd, drained=False).end == ()
    assert RULE.decide([reference, other], crowd, drained=True).go == 1
    assert RULE.decide([reference], crowd, drained=True).go == 0


def test_a_worker_that_holds_one_trial_continues_it() -> None:
    rule = OneAtATime()
    assert rule.decide([], at_one_rung([]), drained=True).go is None
    assert rule.decide(standing(0.1), at_one_rung([0.9]), drained=False).go == 0


@given(
    seed=st.integers(0, 10_000),
    trials=st.integers(1, 60),
    workers=st.integers(1, 4),
    eta=st.integers(2, 5),
    waiting=st.integers(1, 8),
)
def test_a_search_ends_and_its_finalists_are_the_best(
    seed: int, trials: int, workers: int, eta: int, waiting: int
) -> None:
    """A trial's score is the same at every rung, so the best ones must reach the end."""
    rungs = (1, 2, 3)
    rule = Asha(rungs=rungs, eta=eta, waiting=waiting)
    generator = random.Random(seed)
    scores = [generator.random() for _ in range(trials)]
    stood: dict[int, dict[int, float]] = {rung: {} for rung in rungs}
    hands: list[dict[int, Candidate]] = [{} for _ in range(workers)]
    fresh = iter(range(trials))
    complete: list[int] = []
    begun = turns = 0
    idle: set[int] = set()
    while len(idle) < workers:
        assert (turns := turns + 1) < 100 * trials * workers, "it never ends"
        worker = generator.randrange(workers)
        mine = hands[worker]
        for drained in (False, True):
            decision = rule.decide(list(mine.values()), at(stood), drained=drained)
            assert decision.go not in decision.end
            for number in decision.end:
                del mine[number]
            number = decision.go
            if number is None and not drained and (new := next(fresh, None)) is not None:
                begun, number = begun + 1, new
                mine[number] = Candidate(number=number, rung=0, score=scores[number])
            if number is not None:
                break
        if number is None:
            assert not mine, "a drained worker keeps nothing"
            idle.add(worker)
            continue
        now = Candidate(number=number, rung=mine[number].rung + 1, score=scores[number])
        stood[now.rung][number] = now.score
        mine[number] = now
        if now.rung == rungs[-1]:
            complete.append(number)
            del mine[number]
    assert begun == trials
    if workers == 1:
        assert max(range(trials), key=scores.__getitem__) in complete


@pytest.mark.parametrize(
    ("first", "total", "rungs"),
    [
        (10, 160, (10, 40, 160)),
        (10, 200, (10, 40, 200)),  # 160 -> 200 would be a short last stretch
        (10, 400, (10, 40, 160, 400)),
        (10, 10, (10,)),
        (10, 15, (10, 15)),  # there is always an early judgement
    ],
)
def test_rungs_are_a_factor_apart(first: int, total: int, rungs: tuple[int, ...]) -> None:
    assert geometric_rungs(first, total, 4) == rungs


@pytest.mark.parametrize(
    ("rungs", "reports", "reached"),
    [
        ((2, 4, 8, 20), range(5, 21, 5), {5: 4, 10: 8, 20: 20}),
        ((4, 8, 16, 32, 50), range(5, 51, 5), {5: 4, 10: 8, 20: 16, 35: 32, 50: 50}),
        ((7, 14, 28, 56, 100), range(5, 101, 5), {10: 7, 15: 14, 30: 28, 60: 56, 100: 100}),
        ((4, 8, 16, 32, 50), (3, 40, 50), {40: 32, 50: 50}),  # one report may pass several
        ((4, 8), range(1, 10), {4: 4, 8: 8}),  # a larger budget than the study's
    ],
)
def test_a_trial_stands_at_a_rung_with_its_first_report_at_or_after_it(
    rungs: Sequence[int], reports: Sequence[int], reached: dict[int, int]
) -> None:
    before = 0
    for step in reports:
        assert rung_reached(rungs, before, step) == reached.get(step, step)
        before = step
