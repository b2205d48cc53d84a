"""Confirmations of objectives of which no single answers are known: intervals over seeds only, in words."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from snapshots import Snapshots

from search.analysis import over_seeds, racing
from search.analysis.confirmation import Confirmation
from search.analysis.standing import Stand, confirmation
from search.analysis.statistics import student_interval
from search.cli.look import _confirmed
from search.records import (
    Confirming,
    DeclaredSpec,
    Direction,
    Metric,
    Report,
    SpaceChange,
    State,
    StudyRecord,
    TrialRecord,
)
from search.report.confirmation_sentences import NO_TEST, SEEDS_ONLY, sentences

NOW = datetime.datetime(2026, 11, 23, 12, tzinfo=datetime.UTC)
LOSS = Metric(name="loss", direction=Direction.MINIMIZE)
ERROR = Metric(name="error", direction=Direction.MINIMIZE, is_fraction=True)
F1 = Metric(name="f1", is_fraction=True)

SENTENCES = Snapshots(__file__, "confirmation_over_seeds")
VERDICTS = ("is behind it by", "Next comes", "better than")


def spec(metric: Metric, confirms: str | None = None) -> DeclaredSpec:
    return DeclaredSpec(
        objective="o",
        metric=metric,
        unit="step",
        budget=9,
        space={},
        seed=0,
        sampler="random",
        pruner="none",
        confirms=confirms,
    )


def study(number: int, name: str, target: int, metric: Metric, confirms: str | None = None) -> StudyRecord:
    return StudyRecord(
        study_id=number, name=name, spec=spec(metric, confirms), target_trials=target, created=NOW
    )


def trial(number: int, score: float | None, **more: object) -> TrialRecord:
    state = State.PRUNED if score is None else State.COMPLETE
    return TrialRecord(
        trial_id=number,
        number=number,
        state=state,
        score=score,
        params={},
        **more,  # type: ignore[arg-type]
    )


def stand(
    values: Mapping[int, Sequence[float]], metric: Metric = LOSS, references: Mapping[int, str] | None = None
) -> Stand:
    """values: of the metric, by candidate and seed; the search saw the lowest in each."""
    names = references or {}
    trials = [trial(n, metric.score_of(min(each)), reference=names.get(n)) for n, each in values.items()]
    runs: list[TrialRecord] = []
    for seed in range(max(map(len, values.values()))):
        for number, each in values.items():
            score = metric.score_of(each[seed]) if seed < len(each) else None
            confirming = Confirming(candidate=number, seed=seed)
            run = trial(len(runs), score, confirming=confirming, reference=names.get(number))
            runs.append(replace(run, trial_id=1000 + len(runs)))
    return Stand(
        searched=study(1, "s", len(trials), metric),
        trials=trials,
        confirming=study(2, "s.confirm", len(runs), metric, "s"),
        runs=runs,
        curves={
            run.trial_id: [
                Report(
                    step=9,
                    seconds=1.0,
                    metrics={metric.name: metric.value_of(run.score)},
                    metric=metric,
                )
            ]
            for run in runs
            if run.score is not None
        },
        test_evaluations=(),
        yardstick=frozenset(),
    )


def told(found: Confirmation) -> str:
    return " ".join(sentences(found))


def test_a_clear_winner_of_a_minimized_metric() -> None:
    found = confirmation(stand({1: [2.01, 2.0, 1.99, 2.0, 2.02], 2: [1.7, 3.4, 3.5, 3.45, 3.38]}))
    assert found.chosen == 1
    best, gap = found.candidates[0], found.gaps[0]
    # 2.004 and its deviation 0.0114 over 5 seeds; t of 4 degrees of freedom at 2.5 and 1.25 %
    assert LOSS.value_of(best.low) == pytest.approx(2.004 + 3.495406 * 0.0114018 / math.sqrt(5), abs=1e-5)
    assert LOSS.value_of(best.high) == pytest.approx(2.004 - 2.776445 * 0.0114018 / math.sqrt(5), abs=1e-5)
    assert (gap.seeds, gap.comparisons) == (5, 1)
    assert told(found).endswith(NO_TEST)
    assert "digits" not in told(found)
    assert "image" not in told(found)
    SENTENCES.check("a clear winner of a minimized metric", sentences(found))


def test_each_verdict_says_that_it_is_over_seeds_only() -> None:
    values = {0: [2.5, 2.51, 2.49], 1: [2.01, 2.0, 1.99], 2: [3.4, 3.42, 3.41], 3: [1.9, 3.0, 2.6]}
    found = confirmation(stand(values, references={0: "plain"}))
    said = [each for each in sentences(found) if any(verdict in each for verdict in VERDICTS)]
    [to_reference] = [gap for gap in found.gaps if gap.trial == 0]
    assert to_reference.by == pytest.approx(0.5)
    assert not any(gap.one_sided for gap in found.gaps), "both ends hold for all pairs together"
    assert to_reference.low is not None
    assert to_reference.low > 0
    assert said
    assert all(SEEDS_ONLY in each for each in said)
    SENTENCES.check("each verdict says that it is over seeds only", sentences(found))


def test_a_better_reference_of_a_minimized_metric_has_the_lower_mean() -> None:
    values = {0: [1.0, 1.5, 0.9], 1: [1.4, 1.2, 1.3]}
    found = confirmation(stand(values, references={0: "plain"}))
    reference, mine = found.candidates
    assert (reference.reference, found.chosen, mine.trial) == ("plain", 1, 1)
    assert LOSS.value_of(reference.mean) == pytest.approx(3.4 / 3)
    assert LOSS.value_of(mine.mean) == pytest.approx(1.3)
    assert "reference plain" in sentences(found)[0]
    SENTENCES.check("a better reference of a minimized metric", sentences(found))


@pytest.mark.parametrize(("aside", "told"), [((), 0), ((2,), 0), ((1,), 1)])
def test_best_says_that_the_confirmed_trial_is_set_aside(aside: tuple[int, ...], told: int) -> None:
    found = confirmation(stand({1: [1.0, 2.0, 3.0]}))
    change = SpaceChange(space={}, moment=NOW, set_aside=aside)
    search = replace(found.search, spec=replace(found.search.spec, space_changes=(change,)))
    [(_, line)] = _confirmed(replace(found, search=search))
    assert line.count("It is set aside") == told


@pytest.mark.parametrize(("metric", "ends"), [(ERROR, (-1.0, 0.0)), (F1, (0.0, 1.0))])
def test_a_fraction_stays_one(metric: Metric, ends: tuple[float, float]) -> None:
    found = confirmation(stand({1: [0.01, 0.9, 0.4]}, metric)).candidates[0]
    assert (found.low, found.high) == ends


@pytest.mark.parametrize(("name", "direction", "values", "ends"), [
    ("mse", Direction.MINIMIZE, [0.01, 0.02, 0.3], (0.0, math.inf)),
    ("val_log_loss", Direction.MINIMIZE, [0.01, 0.02, 0.3], (0.0, math.inf)),
    ("mse", Direction.MINIMIZE, [0.01, -0.02, 0.3], (-math.inf, math.inf)),  # this one can be negative
    ("loss", Direction.MINIMIZE, [0.01, 0.02, 0.3], (-math.inf, math.inf)),  # a density's can be negative
    ("energy", Direction.MINIMIZE, [0.01, 0.02, 0.3], (-math.inf, math.inf)),
    ("accuracy", Direction.MAXIMIZE, [0.99, 0.995, 0.9], (0.0, 1.0)),
    ("test/Accuracy", Direction.MAXIMIZE, [0.99, 0.995, 0.9], (0.0, 1.0)),
    ("accuracy", Direction.MAXIMIZE, [99.0, 99.5, 90.0], (0.0, 100.0)),  # in percent
    ("accuracy", Direction.MAXIMIZE, [99.0, 990.0, 90.0], (-math.inf, math.inf)),
    ("error_rate", Direction.MINIMIZE, [0.01, 0.02, 0.3], (0.0, 100.0)),  # perhaps in percent
    ("error_rate", Direction.MINIMIZE, [0.5, 0.7, 0.99], (0.0, 100.0)),
])  # fmt: skip
def test_an_interval_stays_in_the_range_that_the_name_of_a_metric_tells(
    name: str, direction: Direction, values: list[float], ends: tuple[float, float]
) -> None:
    metric = Metric(name=name, direction=direction)
    scores = [metric.score_of(value) for value in values]
    low, high = metric.by_value(*over_seeds.range_of(metric, scores))
    assert (metric.value_of(low), metric.value_of(high)) == ends
    found = over_seeds.mean(scores, metric)
    assert found.low is not None
    assert found.high is not None
    mean, half_width = np.mean(values), student_interval(values)[2] - np.mean(values)
    assert sorted((metric.value_of(found.low), metric.value_of(found.high))) == pytest.approx(
        [max(ends[0], mean - half_width), min(ends[1], mean + half_width)]
    )


@pytest.mark.parametrize("name", ["accuracy", "mse"])
def test_what_is_cut_off_an_interval_covers_no_truth(name: str) -> None:
    metric, random = Metric(name=name), np.random.default_rng(0)
    low, high = (0.0, 1.0) if name == "accuracy" else (0.0, math.inf)
    for _ in range(300):
        shape = random.uniform(0.2, 3.0)
        truth, scores = (
            (shape / (shape + 0.3), random.beta(shape, 0.3, 4))
            if name == "accuracy"
            else (shape, random.exponential(shape, 4))
        )
        whole, cut = student_interval(scores.tolist()), over_seeds.mean(scores.tolist(), metric)
        assert cut.low is not None
        assert cut.high is not None
        assert low <= cut.low <= cut.high <= high
        assert (cut.low <= truth <= cut.high) == (whole[1] <= truth <= whole[2])


def test_two_seeds_allow_no_verdict() -> None:
    found = confirmation(stand({1: [1.0, 1.1], 2: [9.0, 9.2]}))
    assert [gap.low for gap in found.gaps] == [None]
    assert "is behind it" not in told(found)
    SENTENCES.check("two seeds allow no verdict", sentences(found))


def test_code_that_ignores_the_seed_gets_no_verdict() -> None:
    found = confirmation(stand({1: [1.0] * 5, 2: [2.0, 2.1, 2.2, 2.0, 2.1], 3: [1.5, 1.5, 1.5 + 1e-15]}))
    assert [gap.low for gap in found.gaps] == [None, None]
    assert not found.candidates[0].has_interval
    assert [each.trial for each in found.candidates if each.is_constant] == [1, 3]
    assert found.chosen == 1
    assert not any(verdict in told(found) for verdict in VERDICTS)
    two = confirmation(stand({1: [1.0, 1.0], 2: [2.0, 2.5]}))
    assert [each.trial for each in two.candidates if each.is_constant] == [1]
    SENTENCES.check("code that ignores the seed: two candidates of three", sentences(found))
    SENTENCES.check("code that ignores the seed: one candidate", sentences(two))


def test_a_difference_that_never_varies_is_not_certain() -> None:
    """The seed moves both alike, up to rounding."""
    found = confirmation(stand({1: [1.1, 1.2, 1.3], 2: [1.4, 1.5, 1.6]}))
    assert [gap.low for gap in found.gaps] == [None]
    SENTENCES.check("a difference that never varies", sentences(found))
    assert not any(verdict in told(found) for verdict in VERDICTS)


@pytest.mark.parametrize(("candidates", "seeds"), [(3, 3), (3, 5), (2, 5)])
def test_equal_candidates_are_told_apart_in_one_of_twenty_confirmations_at_most(
    candidates: int, seeds: int
) -> None:
    """The race included, which ends early for what looks worse. 5 % and three standard errors."""
    wrong, pages = 0, 150
    for number in range(pages):
        generator = np.random.default_rng((candidates, seeds, number))
        values: dict[int, list[float]] = {n: [] for n in range(candidates)}
        for seed in range(seeds):
            out = racing.in_vain(stand(values).runs) if seed >= 3 else set()
            for candidate, mine in values.items():
                if candidate not in out:
                    mine.append(float(generator.normal()))
        found = confirmation(stand(values))
        wrong += any((gap.low or 0.0) > 0 or (gap.high or 0.0) < 0 for gap in found.gaps)
    assert wrong <= pages * 0.05 + 3 * math.sqrt(pages * 0.05 * 0.95)


def test_pairs_and_the_ends_of_the_race_share_the_error() -> None:
    assert over_seeds.share(leaders=2, references=0, seeds=3) == pytest.approx(0.95)
    assert over_seeds.share(leaders=3, references=0, seeds=3) == pytest.approx(1 - 0.05 / 3)
    assert over_seeds.share(leaders=3, references=2, seeds=5) == pytest.approx(1 - 0.05 / 27)
    assert over_seeds.share(leaders=1, references=0, seeds=2) == pytest.approx(0.95)
