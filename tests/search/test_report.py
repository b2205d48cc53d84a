"""A report's numbers, sentences and page, on studies whose truth is known because it was made up."""

from __future__ import annotations

import datetime
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from search.confirmation import Candidate, Confirmation, Look, SeedRun
from search.records import (
    Failure,
    HeadScore,
    Point,
    Scores,
    State,
    StudyRecord,
    StudySpec,
    TrialRecord,
    Value,
    Worker,
)
from search.report.confirming.verdict import choice
from search.report.html import safe
from search.report.one_study import basis
from search.report.one_study.effects import Effect, Setting, Verdict, effects
from search.report.one_study.figures import DOTS, effect, learning_curves, progress, sizes, thinned
from search.report.one_study.findings import work_out
from search.report.one_study.material import Material
from search.report.one_study.mistakes import Confusion, Mistake, Mistakes, confusion_in_words, surest_first
from search.report.one_study.outcomes import best_so_far, front, leaders, spending, spent_in_words
from search.report.one_study.sentences import compared, extra_training, in_short, schedule, sentence
from search.report.one_study.study_page import study_page
from search.report.one_study.training import Training, Typical, chosen_among, courses, training
from search.report.words import p_value

NOW = datetime.datetime(2026, 11, 22, 12, tzinfo=datetime.UTC)
EPOCH = 1000

OPTIMIZER = Setting(name="optimizer", meaning="optimiser", ordered=False, log=False)
DROPOUT = Setting(name="dropout", meaning="probability", ordered=True, log=False)
DEPTH = Setting(name="depth", meaning="hidden layers", ordered=True, log=False)
TAPER = Setting(name="taper", meaning="taper", ordered=True, log=False)
MODEL = Setting(name="model", meaning="family", ordered=False, log=False)


def scores(accuracy: float, loss: float = 0.5) -> Scores:
    heads = {name: HeadScore(loss=loss, accuracy=accuracy) for name in ("first_digit", "second_digit")}
    return Scores(heads=heads, joint=accuracy**2)


def point(images: int, validation: float, *, train: float | None = None, loss: float = 0.5) -> Point:
    return Point(
        images=images,
        seconds=images / 1000,
        learning_rate=0.1,
        train=scores(validation if train is None else train),
        validation=scores(validation, loss),
    )


def trial(
    number: int,
    state: State = State.COMPLETE,
    value: float | None = 0.9,
    params: Mapping[str, Value] | None = None,
    **more: object,
) -> TrialRecord:
    return TrialRecord(
        trial_id=100 + number,
        number=number,
        state=state,
        value=value,
        params={"model": "mlp"} if params is None else params,
        finished=NOW + datetime.timedelta(minutes=number),
        **more,  # type: ignore[arg-type]
    )


def curve(*accuracies: float, losses: Sequence[float] | None = None) -> list[Point]:
    """Measured at 1, 2, 3 … epochs."""
    return [
        point(EPOCH * (place + 1), accuracy, loss=0.5 if losses is None else losses[place])
        for place, accuracy in enumerate(accuracies)
    ]


def material(
    trials: Sequence[TrialRecord], curves: Mapping[int, Sequence[Point]], **changed: object
) -> Material:
    spec = StudySpec(
        task="twodigit",
        space={"model": "mlp", "dropout": {"low": 0.0, "high": 0.5}},
        epochs=4,
        epoch_images=EPOCH,
        validation_pictures=4000,
        seed=0,
        sampler="tpe",
        pruner="asha",
        references=("course-mlp",),
        checksums={"labels": "0" * 64},
    )
    values: dict[str, object] = {
        "study": StudyRecord(
            study_id=1, name="mine & <yours>", spec=spec, target_trials=len(trials), created=NOW
        ),
        "trials": trials,
        "curves": curves,
        "seconds": {trial_id: points[-1].seconds for trial_id, points in curves.items()},
        "workers": (
            Worker(worker_id="w", host="host", pid=1, device="cpu", threads=1, environment={"torch": "2"}),
        ),
        "settings": (OPTIMIZER, DROPOUT, DEPTH),
        "without_effect": frozenset({"number_width"}),
        "at_random": frozenset(each.number for each in trials if each.number % 3 == 0),
        "budget": 4 * EPOCH,
        "mistakes": "The winner's weights were not kept.",
        "confirmation": None,
        "command": "tune run --task twodigit",
        "space": "dropout = 0.1",
        "moment": NOW,
        "version": "0",
    }
    return Material(**{**values, **changed})  # type: ignore[arg-type]


class TestBasis:
    def test_is_the_last_moment_that_every_finished_trial_reached(self) -> None:
        """Nine in ten are not all: those that are missing were pruned for being bad."""
        trials = [trial(n, State.PRUNED) for n in range(10)]
        curves = {t.trial_id: curve(0.5, 0.6, 0.7) for t in trials[:9]}
        curves[109] = curve(0.4, 0.5)
        found = basis.common(trials, curves, budget=3 * EPOCH)
        assert found is not None
        assert (found.images, len(found.trials), found.to_the_end) == (2 * EPOCH, 10, False)
        assert found.scores[0] == pytest.approx(0.6), "at that moment, not at the end"

    def test_diverged_trials_are_the_worst_and_nothing_is_dropped_silently(self) -> None:
        trials = [
            trial(0, reference="course-mlp"),
            trial(1, State.FAILED, failure=Failure.DIVERGED),
            trial(2, State.FAILED, failure=Failure.DIVERGED),
            trial(3, State.RUNNING, None),
            trial(4, State.PRUNED),
            trial(5, State.FAILED, failure=Failure.INTERRUPTED),
            trial(6, State.FAILED, failure=Failure.OUT_OF_MEMORY),
        ]
        curves = {100: curve(0.5), 102: curve(0.95, 0.97, 0.5), 104: curve(0.5, 0.6), 105: curve(0.9, 0.9)}
        found = basis.common(trials, curves, budget=4 * EPOCH)
        assert found is not None
        assert found.scores == {1: basis.DIVERGED, 2: basis.DIVERGED, 4: pytest.approx(0.6)}
        assert (found.diverged, found.unmeasured) == (2, 2), "one runs, one had no memory"
        assert basis.common(trials[:4], curves, budget=4 * EPOCH) is None
        told = compared(found, epoch_images=EPOCH)
        assert "3 searched trials, 2 of which diverged: they count as the worst results." in told
        assert "2 trials are left out" in told

    @pytest.mark.parametrize(("states", "end"), [("ccc", True), ("ccp", False), ("ccr", True)])
    def test_the_end_is_only_the_end_where_nothing_was_pruned(self, states: str, end: bool) -> None:
        kinds = {"c": State.COMPLETE, "p": State.PRUNED, "r": State.RUNNING}
        trials = [trial(n, kinds[each]) for n, each in enumerate(states)]
        curves = {t.trial_id: curve(*[0.5] * (4 if t.state is not State.RUNNING else 1)) for t in trials}
        found = basis.common(trials, curves, budget=4 * EPOCH)
        assert found is not None
        assert found.to_the_end is end

    def test_the_gap_is_train_less_validation(self) -> None:
        assert basis.gap(point(1, 0.9, train=0.95)) == pytest.approx(0.05)


def study(n: int, seed: int = 0) -> tuple[list[TrialRecord], dict[int, float]]:
    """Accuracy depends on the optimiser and on dropout being in the middle; on nothing else."""
    draw = random.Random(seed)
    trials, found = [], {}
    for number in range(n):
        optimizer, dropout = draw.choice(("sgd", "nesterov", "adam", "adamw")), draw.uniform(0, 0.5)
        trials.append(
            trial(
                number,
                params={"optimizer": optimizer, "dropout": dropout, "depth": draw.randint(1, 3)},
                fixed={"model": "mlp"},
            )
        )
        gain = 0.06 if optimizer in ("adam", "adamw") else 0.0
        found[number] = 0.85 + gain - 1.6 * (dropout - 0.25) ** 2 + draw.gauss(0, 0.01)
    return trials, found


def by_name(found: Sequence[Effect]) -> dict[str, Effect]:
    return {each.setting.name: each for each in found}


SETTINGS = (OPTIMIZER, DROPOUT, DEPTH)


class TestEffects:
    def test_finds_what_was_put_in_and_nothing_else(self) -> None:
        trials, found = study(240)
        drawn = frozenset(range(0, 240, 2))
        seen = by_name(effects(SETTINGS, trials, found, drawn))
        assert [each.verdict for each in seen.values()] == [
            Verdict.MATTERS,
            Verdict.MATTERS,
            Verdict.UNCLEAR,
        ]
        assert {each.n for each in seen.values()} == {120}, "one n for all"
        assert seen["optimizer"].best is not None
        assert seen["optimizer"].best.label in ("adam", "adamw")
        assert {group.label for group in seen["optimizer"].beaten} == {"sgd", "nesterov"}
        best = seen["dropout"].best
        assert best is not None, "an effect that is no trend is found too"
        low, high = map(float, best.label.split(" to "))
        assert 0.1 < low < high < 0.4
        assert list(seen)[-1] == "depth", "what matters comes first"

    def test_what_only_the_sampler_shows_has_no_effect(self) -> None:
        """Dropout does nothing, but whoever has little of it has Adam, unless drawn at random."""
        draw, trials, found = random.Random(1), [], {}
        drawn = frozenset(range(0, 120, 3))
        for number in range(120):
            adam = draw.random() < 0.5
            low = draw.random() < 0.5 if number in drawn else adam
            params = {
                "optimizer": "adam" if adam else "sgd",
                "dropout": draw.uniform(0, 0.2) + (0 if low else 0.3),
            }
            trials.append(trial(number, params=params))
            found[number] = (0.9 if adam else 0.8) + draw.gauss(0, 0.01)
        seen = by_name(effects((OPTIMIZER, DROPOUT), trials, found, drawn))
        assert seen["optimizer"].verdict is Verdict.MATTERS
        assert seen["dropout"].verdict is Verdict.UNCLEAR
        assert (seen["dropout"].n, len(seen["dropout"].points)) == (40, 120), "shown, not tested"
        told = in_short(list(seen.values()))
        assert told == (
            "optimizer (better with adam than with sgd) (1 of 2 settings tested, n = 40 trials drawn at "
            "random)."
        )

    def test_a_best_group_of_four_takes_part(self) -> None:
        """Small groups are not left out: they can be the best."""
        trials = [trial(n, params={"model": "mlp", "depth": 1 if n < 4 else 2 + n % 2}) for n in range(40)]
        found = {n: 0.95 + n / 1e4 if n < 4 else 0.8 + n / 1e4 for n in range(40)}
        [seen] = effects((DEPTH,), trials, found, range(40))
        assert [group.n for group in seen.groups] == [4, 18, 18]
        assert seen.verdict is Verdict.MATTERS
        assert seen.best is not None
        assert seen.best.label == "1"

    def test_rates_that_diverge_are_not_better(self) -> None:
        """Higher is better until four in five of the highest diverge."""
        draw, trials, found = random.Random(5), [], {}
        rate = Setting(name="lr", meaning="rate", ordered=True, log=True)
        for number in range(100):
            at = draw.random()
            trials.append(trial(number, params={"lr": 10 ** (4 * at - 4)}))
            diverges = at > 0.75 and draw.random() < 0.8
            found[number] = basis.DIVERGED if diverges else 0.8 + 0.1 * at + draw.gauss(0, 0.01)
        [seen] = effects((rate,), trials, found, range(100))
        highest = seen.groups[-1].label
        assert seen.best is not None
        assert seen.best.label != highest
        assert highest in [group.label for group in seen.beaten]
        assert re.search(rf"{highest} \(n = 25, \d+ diverged\)", sentence(seen).replace(" or ", " "))

    def test_one_corrected_p_decides_and_is_printed(self) -> None:
        trials, found = study(40)
        for each in effects(SETTINGS, trials, found, range(40)):
            assert p_value(each.p) in sentence(each)
            assert (each.p < 0.05) == (each.verdict is Verdict.MATTERS)
            assert each.rank_test is not None
            assert each.p >= min(1.0, 2 * each.rank_test.p)

    def test_chance_alone_matters_in_one_study_of_twenty_at_most(self) -> None:
        """Half of what a page may get wrong; `benchmarks/claims_hold.py` does it thoroughly."""
        wrong = 0
        for seed in range(60):
            trials, _ = study(40, seed)
            draw = random.Random(1000 + seed)
            noise = {t.number: draw.random() for t in trials}
            found = effects(SETTINGS, trials, noise, range(40))
            wrong += any(each.verdict is Verdict.MATTERS for each in found)
        assert wrong <= 5, "of sixty; one and a half are to be expected"

    def test_too_few_are_said_to_be_too_few(self) -> None:
        trials, found = study(11)
        seen = effects(SETTINGS, trials, found, range(11))
        assert {each.verdict for each in seen} == {Verdict.TOO_FEW}
        assert sentence(seen[0]).endswith("or with one value: optimizer (n = 11).")
        assert in_short(seen).startswith(
            "Cannot be told: of the trials drawn at random only 11 can be compared"
        )

    def test_a_setting_of_all_families_is_tested_by_ranks_within_them(self) -> None:
        """Convolutions are better, and have more dropout: that is not dropout's doing."""
        draw, trials, found = random.Random(4), [], {}
        for number in range(80):
            conv = number % 2 == 1
            dropout = draw.uniform(0.2, 0.5) if conv else draw.uniform(0, 0.3)
            params: dict[str, Value] = {"model": "conv" if conv else "mlp", "dropout": dropout}
            trials.append(trial(number, params=params if conv else {**params, "depth": draw.randint(1, 3)}))
            found[number] = (0.98 if conv else 0.9) + draw.gauss(0, 0.01)
        seen = by_name(effects((MODEL, DROPOUT, DEPTH), trials, found, range(80)))
        assert {name: each.n for name, each in seen.items()} == {"model": 80, "dropout": 80, "depth": 40}
        assert {name: each.verdict for name, each in seen.items()} == {
            "model": Verdict.MATTERS,
            "dropout": Verdict.UNCLEAR,
            "depth": Verdict.UNCLEAR,
        }

    def test_a_setting_is_looked_at_where_it_does_something(self) -> None:
        """A network with one hidden layer has no taper."""
        trials = [trial(n, params={"model": "mlp", "depth": 1 + n % 3}) for n in range(12)]
        for each in trials:
            if each.settings["depth"] != 1:
                each.params["taper"] = 0.5 + each.number / 40  # type: ignore[index]
        same = dict.fromkeys(range(12), 0.5)
        seen = by_name(effects((DEPTH, TAPER), trials, same, range(12)))
        assert {name: each.n for name, each in seen.items()} == {"depth": 12, "taper": 8}


def trained(curves: Sequence[Sequence[Point]], *, among: int | None = None) -> Training:
    trials = [trial(n) for n in range(len(curves))]
    by_id = {t.trial_id: c for t, c in zip(trials, curves, strict=True)}
    return training(courses(trials, by_id), pictures=4000, among=among)


RISING = (0.5, 0.6, 0.7, 0.8)
FLAT = (0.5, 0.8, 0.8, 0.8)
DEAD = (0.101, 0.100, 0.102, 0.099)


class TestTraining:
    def test_the_facts_of_a_curve(self) -> None:
        [found] = courses([trial(0)], {100: curve(0.90, 0.95, 0.97, 0.94, losses=[3, 2, 1, 2])})
        assert (found.best_images, found.images) == (3 * EPOCH, 4 * EPOCH)
        assert (found.best, found.last, found.half) == (0.97, 0.94, 0.95)
        assert found.gain == pytest.approx(-0.01)
        assert found.loss_ratio == pytest.approx(2)

    def test_half_of_an_odd_training_is_not_known_unless_it_is_nearly_so(self) -> None:
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
        ("curves", "typical", "says", "why"),
        [
            ([], Typical.NONE, "Cannot be told yet: no trial has been", "nothing ran to the end"),
            ([RISING[:1]] * 9, Typical.NONE, "Cannot be told: no network", "nobody was measured at half"),
            ([RISING] * 3, Typical.UNCLEAR, "cannot be told: the second half", "three are too few"),
            ([RISING] * 9, Typical.GAINED, "For the typical network, yes", "all rise"),
            ([RISING] * 12 + [DEAD], Typical.GAINED, "None of 13 lost", "a dead network decides nothing"),
            (
                [RISING] * 9 + [(0.5, 0.9, 0.1, 0.1)],
                Typical.GAINED,
                "None of 9 lost more than the drawing of validation images explains; 9 gained more than "
                "that. Left out: 1 network that collapsed (trial 9 ended at 10.00 %).",
                "nor a collapsed one",
            ),
            ([(0.5, 0.9, 0.1, 0.1)], Typical.NONE, "Cannot be told. Left out: 1 network", "nothing else"),
            ([RISING[::-1]] * 9, Typical.LOST, "For the typical network, no", "all fall"),
            ([FLAT] * 9, Typical.UNCLEAR, "None of 9 lost", "nothing gained, and nothing lost"),
        ],
    )
    def test_the_answer(
        self, curves: Sequence[Sequence[float]], typical: Typical, says: str, why: str
    ) -> None:
        found = trained([curve(*each) for each in curves])
        assert found.typical is typical, why
        assert says in extra_training(found), why

    def test_names_those_that_lost(self) -> None:
        found = trained([curve(*RISING)] * 3 + [curve(0.5, 0.9, 0.8, 0.8)])
        assert "1 of 4 lost more than the drawing of validation images explains: trial 3 (−10.00 points)" in (
            extra_training(found)
        )
        assert "; 3 gained more than that." in extra_training(found)

    def test_a_loss_that_rises_while_accuracy_does_is_no_overfitting(self) -> None:
        found = trained([curve(0.90, 0.95, 0.96, 0.97, losses=[0.1, 0.1, 0.2, 0.3])] * 9)
        assert found.typical is Typical.GAINED
        assert "overfit" not in extra_training(found)

    def test_survivors_are_not_typical(self) -> None:
        """The pruner chose the luckier ones among equals, who fall back by themselves."""
        found = trained([curve(*RISING)] * 9, among=30)
        assert found.typical is Typical.SELECTED
        assert "it cannot be told: the pruner chose which were trained to the end" in extra_training(found)
        assert len(found.gained) == 9
        fallen = [curve(0.5, 0.990, 0.985, 0.982)]  # clear by itself, and not for the luckiest of 90
        assert [len(trained(fallen, among=among).lost) for among in (None, 90)] == [1, 0]

    def test_among_whom_the_pruner_chose(self) -> None:
        trials = [trial(0), trial(1, State.PRUNED), trial(2, State.PRUNED)]
        curves = {100: curve(0.5, 0.6, 0.7, 0.8), 101: curve(0.5, 0.6), 102: curve(0.5)}
        assert chosen_among(trials, curves) == 2
        assert chosen_among(trials[:1], curves) is None

    def test_what_a_falling_rate_has_to_do_with_it(self) -> None:
        assert "In 2 networks the learning rate falls toward the end (cosine)" in schedule(
            {"cosine": 2, "constant": 1}
        )
        assert schedule({"constant": 4}) == ""


class TestOutcomes:
    def test_best_so_far_goes_by_the_order_of_finishing(self) -> None:
        late = replace(trial(0, value=0.95), finished=NOW + datetime.timedelta(hours=9))
        reached = best_so_far(
            [late, trial(1, State.PRUNED, 0.8), trial(2, value=0.7), trial(3, State.FAILED, 1.0)]
        )
        assert [(r.trial.number, r.finished, r.best) for r in reached] == [
            (1, 1, None),
            (2, 2, 0.7),
            (0, 3, 0.95),
        ], "a pruned trial's score is of a shorter training"

    def test_leaders_are_ranked_among_those_that_were_trained_as_long(self) -> None:
        trials = [
            trial(0, value=0.99, reference="r"),
            trial(1, value=0.7),
            trial(2, State.PRUNED, 0.8, steps={1000: 0.8}),
            trial(3, State.FAILED, 0.9),
            trial(4, State.PRUNED, 0.75, steps={2000: 0.75}),
        ]
        assert [t.number for t in leaders(trials, 2)] == [1, 4, 0]

    def test_the_front_has_no_trial_that_a_smaller_one_beats(self) -> None:
        sizes_and_values = [(10, 0.8), (10, 0.7), (20, 0.8), (30, 0.9), (40, 0.85), (50, 0.95)]
        trials = [trial(n, value=v, parameters=p) for n, (p, v) in enumerate(sizes_and_values)]
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
        assert [(s.kind, s.trials, s.seconds, s.images) for s in spent] == [
            ("complete", 1, 6.0, 4 * EPOCH),
            ("pruned", 2, 2.0, 2 * EPOCH),
            ("failed: out of memory", 1, 2.0, EPOCH),
        ]
        told = spent_in_words(spent, total_images=4 * EPOCH, epoch_images=EPOCH)
        assert "10 s: 60 % on 1 trial complete, 20 % on 2 trials pruned" in told
        assert "these 3 trials would have seen 12 epochs; they saw 6 (50 %)" in told

    def test_what_a_repetition_took_over_is_counted_once(self) -> None:
        cut, again = trial(0, State.FAILED, failure=Failure.INTERRUPTED), trial(1, retry_of=0)
        curves = {100: curve(0.1, 0.2, 0.3), 101: curve(0.1, 0.2, 0.4, 0.5)}
        changed = replace(curves[101][2], seconds=curves[101][2].seconds + 1)  # trained anew from there
        curves[101] = [*curves[101][:2], changed, curves[101][3]]
        [complete, failed] = spending([cut, again], curves, {100: 3.0, 101: 4.0})
        assert (complete.kind, complete.seconds, complete.images) == ("complete", 4.0, 4 * EPOCH)
        assert failed.kind == "interrupted", "it has not failed"
        assert (failed.images, failed.seconds) == (EPOCH, pytest.approx(3.0 - curves[100][1].seconds))

    def test_confusions(self) -> None:
        found = Confusion(head="first_digit", counts=((8, 2, 0), (0, 5, 1), (3, 0, 9)))
        assert (found.examples, found.wrong) == (28, 6)
        assert found.pairs() == [(2, 0, 3), (0, 1, 2), (1, 2, 1)]
        assert confusion_in_words(found, named=1) == (
            "First digit: 6 mistakes in 28 examples (21.43 %); most often 2 taken for 0 (3×)."
        )


def made(n: int = 40) -> Material:
    """A study with a bit of everything."""
    draw = random.Random(3)
    trials, found = study(n)
    curves: dict[int, list[Point]] = {}
    records = []
    for each in trials:
        state = State.COMPLETE if each.number % 4 == 0 else State.PRUNED
        top = min(0.99, found[each.number])
        whole = [top * share for share in (0.8, 0.9, 0.97, 1.0)]
        curves[each.trial_id] = curve(*(whole if state is State.COMPLETE else whole[:2]))
        value = curves[each.trial_id][-1].validation.accuracy
        records.append(replace(each, state=state, value=value, parameters=draw.randint(10_000, 900_000)))
    records.append(trial(n, value=0.8, params={}, reference="course-mlp", parameters=76_628))
    curves[100 + n] = curve(0.7, 0.82, 0.81, 0.77, losses=[0.5, 0.4, 0.5, 0.6])
    return material(records, curves)


class TestPage:
    def test_the_answer_comes_first(self) -> None:
        text = study_page(made()).replace("\u00a0", " ")
        answer = text[text.index('<dl class="answers">') : text.index("</dl>")]
        for said in (
            "<dt>Winner</dt><dd><strong>Trial",
            "<dt>Confirmed?</dt><dd>Not yet",
            "<dt>Which settings helped to generalize?</dt><dd>Cannot be told from this search: all trials "
            "can be compared only after 2 epochs of 4",
            "<dt>Which settings learn fast?</dt><dd>After 2 epochs: ",
            "<dt>Did extra training always help?</dt><dd>For the typical network it cannot be told: the",
            "1 of 11 lost more than the drawing of validation images explains: course-mlp (−5.00 points)",
            "<dt>What to do next?</dt><dd><code>tune confirm",
            "--pruner none",
        ):
            assert said in answer, said
        for said in (
            "The winner is unconfirmed",
            "tune repeat &#x27;mine &amp; &lt;yours&gt;&#x27; --trial",
            "0" * 64,
            "The winner&#x27;s weights were not kept.",
        ):
            assert said in text, said
        assert "mine & <yours>" not in text.replace("mine & \\u003cyours>", "")
        assert "mine &amp; &lt;yours&gt;" in text

    def test_without_pruning_settings_are_judged_by_what_whole_trainings_came_to(self) -> None:
        given = made()
        whole = [t for t in given.trials if t.state is State.COMPLETE]
        text = study_page(replace(given, trials=whole, at_random=frozenset(range(100)))).replace(
            "\u00a0", " "
        )
        assert "Generalization: which settings helped" in text
        assert "Speed of learning" not in text
        assert "Which settings learn fast" not in text
        assert "--pruner none" not in text

    def test_one_setting_has_one_verdict_on_the_page(self) -> None:
        given = made()
        found = work_out(given)
        text = study_page(given).replace("\u00a0", " ")
        for each in found.effects:
            told = re.findall(rf"{each.setting.name} \([^)]*\): ([^.;]*)", text)
            assert len(set(told)) == 1, told
        printed = {f"p {sign} {p}" for sign, p in re.findall(r"p (=|&lt;) (0\.\d+)", text)}
        mine = {p_value(each.p).replace("<", "&lt;") for each in (*found.effects, found.training)}
        assert printed <= mine, "no other p-value"

    @pytest.mark.parametrize(
        ("workers", "failure", "said"),
        [
            (
                1,
                None,
                "One worker trained all of it: with seed 0, --workers 1 and a processor of the same kind",
            ),
            (3, None, "Seed 0 alone does not repeat this search: 3 workers had a part in it"),
            (
                1,
                Failure.INTERRUPTED,
                "some trials failed or were interrupted: seed 0 repeats the search as far",
            ),
        ],
    )
    def test_says_what_the_seed_repeats(self, workers: int, failure: Failure | None, said: str) -> None:
        given = made()
        trials = [*given.trials, *([trial(41, State.FAILED, None, failure=failure)] if failure else [])]
        some = [replace(given.workers[0], worker_id=f"w{n}") for n in range(workers)]
        assert said in study_page(replace(given, trials=trials, workers=some))

    def test_says_what_a_gpu_repeats(self) -> None:
        given = made()
        text = study_page(replace(given, workers=[replace(given.workers[0], device="cuda")]))
        assert "on a GPU: seed 0 repeats the course of the search only as far as the GPU repeats" in text

    def test_the_winner_is_searched_and_a_better_reference_is_said_first(self) -> None:
        trials = [trial(0, value=0.95, reference="course-conv"), trial(1, value=0.9), trial(2, value=0.92)]
        text = study_page(material(trials, {t.trial_id: curve(0.5, t.value or 0.0) for t in trials}))
        text = text.replace("\u00a0", " ")
        better = "The reference course-conv (trial 0) measured higher than every searched network: 95.00 %"
        assert text.index(better) < text.index("<strong>Trial 2</strong>"), text
        assert "trial 2 has 3.00 points less, 60 % of the errors are added" in text
        assert "tune repeat &#x27;mine &amp; &lt;yours&gt;&#x27; --trial 2" in text
        behind = [replace(trials[0], value=0.85), *trials[1:]]
        text = study_page(material(behind, {t.trial_id: curve(0.5, t.value or 0.0) for t in behind}))
        assert "higher than every searched" not in text

    def test_references_alone_are_no_winner_of_a_search(self) -> None:
        only = trial(0, value=0.95, reference="course-conv")
        text = study_page(material([only], {100: curve(0.5, 0.95)}))
        assert "No searched trial has come to a report yet." in text

    def test_settings_without_effect_are_not_shown(self) -> None:
        given = trial(0, params={"model": "conv", "dropout": 0.1}, fixed={"kernel": 3, "number_width": 64})
        text = study_page(material([given], {100: curve(0.5, 0.9)}))
        assert "kernel 3" in text
        assert "number_width" not in text

    def test_says_that_a_study_is_not_finished(self) -> None:
        given = made()
        text = study_page(replace(given, study=replace(given.study, target_trials=500)))
        assert "The study is not finished: 41 of 500 trials are" in text

    def test_an_exhausted_search_does_not_go_on(self) -> None:
        given = made()
        study = replace(given.study, target_trials=500, exhausted=True)
        text = study_page(replace(given, study=study))
        assert "goes on with the search" not in text
        assert "<dt>What to do next?</dt><dd><code>tune confirm" in text

    def test_one_pruned_trial_makes_a_page(self) -> None:
        text = study_page(material([trial(0, State.PRUNED, 0.4)], {100: curve(0.4)}))
        assert "so far: no trial is complete yet" in text
        assert "Cannot be told yet: no trial has been trained to the end." in text
        assert "of the trials drawn at random only 0 can be compared" in text.replace("\u00a0", " ")

    def test_a_confirmation_compares_no_settings(self) -> None:
        """Its runs are a few settings on several seeds: tests would take them for so many experiments."""
        given = made()
        spec = replace(given.study.spec, confirms="s", sampler="random")
        text = study_page(replace(given, study=replace(given.study, spec=spec)))
        assert "Which settings" not in text
        assert "Speed of learning" not in text
        assert "Did extra training always help?" in text

    def test_a_smaller_network_that_cannot_be_told_from_the_winner(self) -> None:
        trials = [
            trial(0, value=0.99, parameters=1_000),
            trial(1, value=0.99, parameters=900),
            trial(2, value=0.9868, parameters=100),
            trial(3, value=0.985, parameters=50),
        ]
        given = material(trials, {t.trial_id: curve(t.value or 0.0) for t in trials})
        text = study_page(given).replace("\u00a0", " ")
        assert "Trial 2 does with 100 parameters, 10 % of the winner&#x27;s 1,000" in text, text
        alone = material(trials[:2], {t.trial_id: curve(t.value or 0.0) for t in trials[:2]})
        assert "Trial 1 does with 900 parameters" in study_page(alone).replace("\u00a0", " ")

    def test_only_references_make_a_page(self) -> None:
        text = study_page(material([trial(0, reference="course-mlp")], {100: curve(0.4)}))
        assert "the published network course-mlp" in text
        assert "no trial of the search is finished" in text

    def test_shows_mistakes_as_pictures(self) -> None:
        wrong = Mistakes(
            trial=4,
            accuracy=0.9,
            recorded=0.9,
            confusions=(Confusion(head="first_digit", counts=((9, 1), (0, 10))),),
            worst=(Mistake(png=b"\x89PNG", truth="0 · 1", said="1 · 1", belief=0.0004),),
        )
        text = study_page(replace(made(), mistakes=wrong))
        assert "data:image/png;base64,iVBORw==" in text
        assert "0 taken for 1 (1×)" in text
        assert "as recorded." in text
        assert "recorded were" in study_page(replace(made(), mistakes=replace(wrong, accuracy=0.8)))

    def test_tells_a_confirmation_with_every_look(self) -> None:
        run = SeedRun(seed=0, trial=1, trial_id=9, point=point(EPOCH, 0.95))
        look = Look(
            study_id=1,
            trial_id=9,
            moment=NOW,
            reason="chosen by <tune confirm>",
            pictures=4000,
            heads={"first_digit": 0.96, "second_digit": 0.94},
            joint=0.91,
        )
        candidate = Candidate(
            trial=4,
            reference=None,
            settings={},
            search_value=0.97,
            runs=(run,),
            dropped=False,
            mean=0.95,
            low=0.94,
            high=0.96,
        )
        found = Confirmation(
            study="s",
            task="twodigit",
            confirmed_in="s-confirm",
            seeds=5,
            epochs=4,
            candidates=(candidate, replace(candidate, trial=8, runs=(), dropped=True)),
            chosen=4,
            best_run=run,
            looks=(look, look),
            words=(),
        )
        chosen = choice(found, candidate)
        found = replace(found, words=("It is not finished.", chosen, "It won the search, too.", "And more."))
        text = study_page(replace(made(), confirmation=found)).replace("\u00a0", " ")
        for said in (
            "<dt>Winner</dt><dd><strong>Trial 4, confirmed</strong>: <strong>95.00 %</strong>",
            f"<dt>Confirmed?</dt><dd>{chosen} It won the search, too.</dd>",
            "trial 4, chosen",
            "trial 8, dropped",
            "94.00 % to 96.00 %",
            "1 of 5",
            "evaluated 2 times, for 1 network of this study. The more often",
            "chosen by &lt;tune confirm&gt;",
            "91.00 %",
        ):
            assert said in text, said
        assert "unconfirmed" not in text

    @pytest.mark.parametrize(
        ("asked", "told"),
        [
            ("auto", "auto; Xeon: float32 for mlp; Xeon: bfloat16 for conv; H200: bfloat16 for conv"),
            ("float32", "float32"),
        ],
    )
    def test_the_precision_is_told_for_each_processor(self, asked: str, told: str) -> None:
        given = made()
        environments: list[dict[str, str | int]] = [
            {"cpu": "Xeon", "precision_mlp": "float32", "precision_conv": "bfloat16"},
            {"cpu": "Xeon", "precision_mlp": "float32", "precision_conv": "bfloat16"},
            {"cpu": "EPYC", "gpu": "H200", "precision_conv": "bfloat16"},
        ]
        workers = tuple(replace(given.workers[0], environment=each) for each in environments)
        study = replace(given.study, spec=replace(given.study.spec, precision=asked))
        text = study_page(replace(given, study=study, workers=workers)).replace("\u00a0", " ")
        assert re.search(rf">precision</t[dh]>\s*<td[^>]*>{told}<", text)


class TestFigures:
    def test_many_trials_are_thinned_and_the_best_kept(self) -> None:
        some = list(range(25_000))
        kept = thinned(some, keep=lambda each: each == 24_999)
        assert len(kept) <= DOTS + 1
        assert kept[0] == 0
        assert kept[-1] == 24_999
        assert kept == sorted(kept)
        assert thinned(some[:5]) == some[:5]

    def test_a_perfect_score_has_a_place_on_a_logarithmic_scale(self) -> None:
        figure = progress(best_so_far([trial(0, value=1.0)]), [])
        assert min(y for trace in figure.data for y in trace.y) > 0
        assert sizes([trial(0, value=1.0, parameters=5)], []).layout.yaxis.type == "log"

    def test_ten_curves_can_be_told_apart(self) -> None:
        trials = [trial(n) for n in range(10)]
        figure = learning_curves(trials, {t.trial_id: curve(0.5, 0.6) for t in trials}, epoch_images=EPOCH)
        assert len({(line.line.color, line.marker.symbol) for line in figure.data}) == 10
        assert figure.layout.xaxis.title.text
        assert figure.layout.yaxis.title.text

    def test_every_dot_of_an_effect_tells_its_trial(self) -> None:
        trials, found = study(30)
        one = by_name(effects(SETTINGS, trials, found, {3}))["dropout"]
        texts = [text for trace in effect(one).data for text in trace.text or ()]
        assert sorted(int(text.split()[1][:-1]) for text in texts) == list(range(30))


def test_the_surest_mistake_comes_first() -> None:
    some = [Mistake(png=b"", truth="", said="", belief=belief) for belief in (0.3, 0.1, 0.2)]
    assert [m.belief for m in surest_first(some)] == [0.1, 0.2, 0.3]


def test_numbers_stay_with_their_units() -> None:
    assert safe("98.5 % of 4 s, n = 40 and p < 0.001") == (
        "98.5\u00a0% of 4\u00a0s, n\u00a0=\u00a040 and p\u00a0&lt;\u00a00.001"
    )
