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
from search.report.one_study import basis, generalisation
from search.report.one_study.effects import Effect, Setting, effects, sentence
from search.report.one_study.figures import DOTS, effect, progress, sizes, thinned
from search.report.one_study.material import Material
from search.report.one_study.mistakes import Confusion, Mistake, Mistakes, confusion_in_words, surest_first
from search.report.one_study.outcomes import best_so_far, front, leaders, spending, spent_in_words
from search.report.one_study.questions import answers
from search.report.one_study.study_page import study_page
from search.report.one_study.training import courses, doublings, verdict
from search.report.statistics import Explained

NOW = datetime.datetime(2026, 11, 22, 12, tzinfo=datetime.UTC)
EPOCH = 1000

OPTIMIZER = Setting(name="optimizer", meaning="optimiser", family=None, ordered=False, log=False)
DROPOUT = Setting(name="dropout", meaning="probability", family=None, ordered=True, log=False)
DEPTH = Setting(name="depth", meaning="hidden layers", family="mlp", ordered=True, log=False)
TAPER = Setting(name="taper", meaning="taper", family="mlp", ordered=True, log=False, needs=("depth", 1))
MODEL = Setting(name="model", meaning="family", family=None, ordered=False, log=False)


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
    def test_early_is_the_latest_moment_that_nine_in_ten_reached(self) -> None:
        trials = [trial(n, State.PRUNED) for n in range(10)]
        curves = {t.trial_id: curve(0.5, 0.6, 0.7) for t in trials[:2]}
        curves |= {t.trial_id: curve(0.5, 0.6) for t in trials[2:9]}
        curves[109] = curve(0.5)
        found = basis.early(trials, curves)
        assert found is not None
        assert (found.images, len(found.trials), found.missing) == (2 * EPOCH, 9, 1)
        assert found.scores()[0] == pytest.approx(0.6), "at that moment, not at the end"

    def test_references_failures_and_trials_without_a_report_are_no_part_of_it(self) -> None:
        trials = [
            trial(0, reference="course-mlp"),
            trial(1, State.FAILED),
            trial(2, State.RUNNING, None),
            trial(3, State.PRUNED),
        ]
        curves = {100: curve(0.5), 101: curve(0.5), 103: curve(0.5, 0.6)}
        found = basis.early(trials, curves)
        assert found is not None
        assert ([t.number for t in found.trials], found.images, found.missing) == ([3], 2 * EPOCH, 0)
        assert basis.early(trials[:3], curves) is None

    def test_late_comes_after_an_epoch_and_takes_twelve(self) -> None:
        trials = [trial(n) for n in range(12)]
        curves = {t.trial_id: curve(0.5, 0.6, 0.7) for t in trials}
        found = basis.late(trials, curves, epoch_images=EPOCH)
        assert found is not None
        assert found.images == 3 * EPOCH
        assert basis.late(trials[:11], curves, epoch_images=EPOCH) is None
        assert (
            basis.late(trials, {key: points[:1] for key, points in curves.items()}, epoch_images=EPOCH)
            is None
        )

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
        trials, found = study(120)
        chance = frozenset(range(0, 120, 2))
        seen = by_name(effects(SETTINGS, trials, found, chance, family=None))
        assert seen["optimizer"].shown
        assert seen["dropout"].shown, "an effect that is no trend is found too"
        assert seen["dropout"].trend is not None
        assert abs(seen["dropout"].trend.rho) < 0.3
        assert not seen["depth"].clear
        assert seen["optimizer"].best.label in ("adam", "adamw")
        low, high = map(float, seen["dropout"].best.label.split(" to "))
        assert 0.1 < low < high < 0.4
        assert list(seen)[-1] == "depth", "the largest share comes first"

    def test_what_only_the_sampler_shows_is_not_shown(self) -> None:
        """Dropout does nothing, but whoever has little of it has Adam, unless drawn at random."""
        draw, trials, found = random.Random(1), [], {}
        chance = frozenset(range(0, 120, 3))
        for number in range(120):
            adam = draw.random() < 0.5
            low = draw.random() < 0.5 if number in chance else adam
            params = {
                "optimizer": "adam" if adam else "sgd",
                "dropout": draw.uniform(0, 0.2) + (0 if low else 0.3),
            }
            trials.append(trial(number, params=params))
            found[number] = (0.9 if adam else 0.8) + draw.gauss(0, 0.01)
        seen = by_name(effects((OPTIMIZER, DROPOUT), trials, found, chance, family=None))
        assert seen["optimizer"].shown
        assert seen["dropout"].clear
        assert not seen["dropout"].shown
        assert "the company that the sampler gave it" in sentence(seen["dropout"])
        told = generalisation.which(list(seen.values()), _basis_of(trials), epoch_images=EPOCH)
        assert "optimizer (best adam)" in told[0]
        assert "dropout" not in told[0]
        assert "dropout" in told[1]
        assert "do not show which of them did it" in told[1]

    def test_what_runs_the_other_way_at_random_is_not_shown(self) -> None:
        """The sampler tries batch 128 with Adam; among the random ones 32 is the better batch."""
        batch = Setting(name="batch", meaning="examples", family=None, ordered=True, log=False)
        draw, trials, found = random.Random(2), [], {}
        chance = frozenset(range(0, 150, 3))
        for number in range(150):
            large = draw.random() < 0.5
            trials.append(trial(number, params={"batch": 128 if large else 32}))
            side = -0.02 if number in chance else 0.05
            found[number] = 0.9 + (side if large else 0.0) + draw.gauss(0, 0.005)
        [seen] = effects((batch,), trials, found, chance, family=None)
        assert seen.best.label == "128"
        assert seen.clear
        assert seen.random is not None
        assert seen.p_random_of_all < 0.05, "they do differ at random"
        assert not seen.agrees
        assert not seen.shown
        assert not seen.likely
        assert "but not so: 128 does not stand above 32 there" in sentence(seen)

    def test_where_the_best_were_never_drawn_at_random_nothing_is_said_of_them(self) -> None:
        trials, found, chance = [], {}, set()
        for number in range(60):
            batch = (32, 64, 128)[number % 3]
            trials.append(trial(number, params={"optimizer": f"o{batch}"}))
            found[number] = 0.8 + batch / 1000 + number / 1e5
            if batch < 128:
                chance.add(number)
        [seen] = effects((OPTIMIZER,), trials, found, chance, family=None)
        assert seen.best.label == "o128"
        assert seen.agrees is None
        assert not seen.shown
        assert "Too few were drawn at random to check it among them (n = 40)" in sentence(seen)

    def test_a_hint_at_random_is_called_likely(self) -> None:
        """Among fewer random trials: their p passes by itself, not for all settings at once."""
        trials, found = study(120)
        seen = effects(SETTINGS, trials, found, frozenset(range(120)), family=None)
        weak = [
            replace(each, n_random=30, random=Explained(share=0.1, p=0.04), p_random_of_all=0.12)
            for each in seen
            if each.setting.name == "optimizer"
        ]
        assert (weak[0].shown, weak[0].likely) == (False, True)
        [told] = generalisation.which(weak, _basis_of(trials), epoch_images=EPOCH)
        assert "no setting's own effect is established. Likely: optimizer" in told
        assert "there is a hint of it (p = 0.040; 0.12 corrected)" in sentence(weak[0])

    def test_chance_alone_is_clear_in_one_study_of_twenty_at_most(self) -> None:
        clear = 0
        for seed in range(60):
            trials, _ = study(40, seed)
            draw = random.Random(1000 + seed)
            noise = {t.number: draw.random() for t in trials}
            clear += any(each.clear for each in effects(SETTINGS, trials, noise, (), family=None))
        assert clear <= 8, "of sixty; three are to be expected"

    def test_too_few_are_said_to_be_too_few(self) -> None:
        trials, found = study(11)
        seen = effects(SETTINGS, trials, found, (), family=None)
        assert {each.tested for each in seen} == {None}
        assert sentence(seen[0]).endswith("not enough data to tell, n = 11.")

    def test_settings_of_all_families_are_looked_at_within_one(self) -> None:
        mlps = [trial(n, params={"model": "mlp", "dropout": 0.1 * n, "depth": 1}) for n in range(5)]
        convs = [trial(n, params={"model": "conv", "dropout": 0.1 * n}) for n in range(5, 12)]
        found = {t.number: 0.5 for t in (*mlps, *convs)}
        seen = by_name(effects((MODEL, DROPOUT, DEPTH), [*mlps, *convs], found, (), family="conv"))
        assert {name: each.n for name, each in seen.items()} == {"model": 12, "dropout": 7, "depth": 5}

    def test_a_setting_is_looked_at_where_it_does_something(self) -> None:
        """The taper of a network with one hidden layer is drawn, and means nothing."""
        trials = [
            trial(n, params={"model": "mlp", "depth": 1 + n % 3, "taper": 0.5 + n / 40}) for n in range(12)
        ]
        seen = by_name(effects((DEPTH, TAPER), trials, dict.fromkeys(range(12), 0.5), (), family="mlp"))
        assert {name: each.n for name, each in seen.items()} == {"depth": 12, "taper": 8}
        [told] = generalisation.company((TAPER,), trials[:4], trials)
        assert told.best == "0.525 50 %, 0.55 50 %", "of trials 1 and 2"
        assert generalisation.company((TAPER,), [trials[0], trials[3]], trials) == []


def _basis_of(trials: Sequence[TrialRecord]) -> basis.Basis:
    return basis.Basis(images=EPOCH // 4, trials=tuple(trials), points={}, missing=0)


class TestQuestions:
    def test_are_answered_with_n_and_interval(self) -> None:
        trials, found = study(120)
        told = {a.title: a.sentences for a in answers(SETTINGS, trials, found, range(0, 120, 2), family=None)}
        [adam] = told["SGD or Adam?"]
        assert adam.startswith("Adam stood higher than SGD")
        assert "apart by +6" in adam or "apart by +5" in adam
        assert "p < 0.001" in adam
        assert "seen too" in adam
        [dropout] = told["How much dropout?"]
        assert dropout.startswith("Dropout (probability) matters, but not as more or less")
        [depth] = told["How deep?"]
        assert "no effect of depth" in depth
        assert "n = 120" in depth
        assert told["How wide?"] == ("The study did not vary width, channels and hidden: it cannot say.",)

    def test_a_trend_is_told_with_its_direction(self) -> None:
        trials, _ = study(60)
        found = {t.number: 0.9 - 0.1 * float(t.params["dropout"]) for t in trials}
        told = {a.title: a.sentences for a in answers((DROPOUT,), trials, found, (), family=None)}
        assert "less did better: rank correlation −1.00" in told["How much dropout?"][0]
        assert "Too few were drawn at random" in told["How much dropout?"][0]

    def test_two_of_one_side_are_not_enough(self) -> None:
        trials = [trial(n, params={"optimizer": "sgd" if n < 2 else "adam"}) for n in range(20)]
        found = {n: n / 20 for n in range(20)}
        [told] = answers((OPTIMIZER,), trials, found, (), family=None)[0].sentences
        assert told == "Not enough data to tell, 2 trials with SGD and 18 trials with Adam."


class TestTraining:
    def test_the_facts_of_a_curve(self) -> None:
        [found] = courses(
            [trial(0)], {100: curve(0.90, 0.95, 0.97, 0.94, losses=[3, 2, 1, 2])}, pictures=4000
        )
        assert (found.best_images, found.images) == (3 * EPOCH, 4 * EPOCH)
        assert (found.best, found.drift) == (pytest.approx(0.97), pytest.approx(-0.03))
        assert found.since_half == pytest.approx(-0.01)
        assert found.loss_ratio == pytest.approx(2)
        assert found.peaked
        assert found.fell
        assert found.loss_rose
        assert found.noise == pytest.approx((0.97 * 0.03 / 4000) ** 0.5)

    def test_a_plateau_begins_where_the_curve_stays_within_the_noise(self) -> None:
        rising = curve(0.90, 0.9695, 0.95, 0.968, 0.97, 0.97)
        [found] = courses([trial(0)], {100: rising}, pictures=4000)
        assert found.plateau_images == 4 * EPOCH, "after the dip at three"
        assert not found.fell

    def test_half_of_an_odd_training_is_not_known_unless_it_is_nearly_so(self) -> None:
        [found] = courses([trial(0)], {100: curve(0.5, 0.6, 0.7)}, pictures=4000)
        assert found.since_half is None
        eleven = curve(*(0.5 + n / 100 for n in range(11)))
        [found] = courses([trial(0)], {100: eleven}, pictures=4000)
        assert found.since_half == pytest.approx(0.06), "after five epochs of eleven"
        [short] = courses([trial(0)], {100: curve(0.5)}, pictures=4000)
        assert short.since_half is None

    def test_only_complete_trials_ran_to_the_end(self) -> None:
        trials = [trial(0, State.PRUNED), trial(1, State.FAILED), trial(2), trial(3, reference="course-mlp")]
        curves = {t.trial_id: curve(0.5, 0.6) for t in trials}
        assert [c.trial.number for c in courses(trials, curves, pictures=10)] == [2, 3]

    def test_doublings_are_of_all_but_failed_trials(self) -> None:
        trials = [trial(0), trial(1, State.PRUNED), trial(2, State.FAILED)]
        curves = {100: curve(0.5, 0.75, 0.8, 0.9), 101: curve(0.5, 0.4), 102: curve(0.1, 0.2)}
        first, second = doublings(trials, curves)
        assert (first.images, second.images) == (EPOCH, 2 * EPOCH)
        assert first.gains == pytest.approx((0.25, -0.1))
        assert first.removed == pytest.approx((0.5, -0.2))
        assert second.gains == pytest.approx((0.15,))
        assert first.helped == 1

    @pytest.mark.parametrize(
        ("curves", "begins", "why"),
        [
            ([], "Cannot be told yet", "nothing ran to the end"),
            ([curve(0.5, 0.9)] * 2, "Too few curves to tell: only 2", "two are none"),
            ([curve(0.5, 0.6, 0.7, 0.8)] * 3, "It never hurt here: all 3 curves", "all rise"),
            (
                [curve(0.5, 0.6, 0.7, 0.8)] * 3 + [curve(0.5, 0.9, 0.8, 0.8)],
                "No, not always. Of 4",
                "one falls",
            ),
            ([curve(0.5, 0.6, losses=[1, 2])] * 3, "No, not always. Of 3", "the loss rises"),
            ([curve(0.8)] * 3, "It did no harm: none of 3", "nobody measured at half"),
            (
                [curve(0.5, 0.8, 0.8, 0.8)] * 3,
                "Not measurably in every case: of 3 curves that ran to the end, in 3 of 3",
                "nothing gained, and nothing lost beyond the noise",
            ),
        ],
    )
    def test_the_answer(self, curves: Sequence[Sequence[Point]], begins: str, why: str) -> None:
        trials = [trial(n) for n in range(len(curves))]
        found = courses(trials, {t.trial_id: c for t, c in zip(trials, curves, strict=True)}, pictures=4000)
        said = verdict(found, epoch_images=EPOCH, schedules={"cosine": len(found)})
        assert said.answer.startswith(begins), why

    def test_the_answer_names_the_counterexamples(self) -> None:
        trials = [trial(0), trial(1), trial(2), trial(7, reference="course-mlp")]
        curves = {t.trial_id: curve(0.5, 0.7, 0.8, 0.9) for t in trials[:3]} | {
            107: curve(0.5, 0.9, 0.8, 0.8)
        }
        said = verdict(courses(trials, curves, pictures=4000), epoch_images=EPOCH, schedules={"constant": 4})
        assert "trial 7, course-mlp" in said.answer
        assert [c.trial.number for c in said.counterexamples] == [7]
        assert "1 of 4 curves had their best validation accuracy before the end (25 %" in said.reasons[0]
        assert not any("learning rate falls" in reason for reason in said.reasons)


class TestOutcomes:
    def test_best_so_far_goes_by_the_order_of_finishing(self) -> None:
        late = replace(trial(0, value=0.95), finished=NOW + datetime.timedelta(hours=9))
        reached = best_so_far(
            [late, trial(1, State.PRUNED, 0.8), trial(2, value=0.7), trial(3, State.FAILED, 1.0)]
        )
        assert [(r.trial.number, r.finished, r.best) for r in reached] == [
            (1, 1, 0.8),
            (2, 2, 0.8),
            (0, 3, 0.95),
        ]

    def test_leaders_come_first_and_references_after_them(self) -> None:
        trials = [
            trial(0, value=0.99, reference="r"),
            trial(1, value=0.7),
            trial(2, State.PRUNED, 0.8),
            trial(3, State.FAILED, 0.9),
        ]
        assert [t.number for t in leaders(trials, 1)] == [2, 0]

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
    curves[100 + n] = curve(0.7, 0.82, 0.81, 0.80, losses=[0.5, 0.4, 0.5, 0.6])
    return material(records, curves)


class TestPage:
    def test_answers_the_questions_of_the_exercise(self) -> None:
        text = study_page(made())
        for said in (
            "Which settings helped to generalise? </strong>After 2 epochs, 40 trials compared",
            "Did extra training always help? </strong>No, not always. Of 11 curves",
            "trial 40, course-mlp",
            "The winner is unconfirmed",
            "tune confirm",
            "tune repeat &#x27;mine &amp; &lt;yours&gt;&#x27; --trial",
            "0" * 64,
            "The winner&#x27;s weights were not kept.",
        ):
            assert said in text.replace("\u00a0", " "), said
        assert "mine & <yours>" not in text.replace("mine & \\u003cyours>", "")
        assert "mine &amp; &lt;yours&gt;" in text

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
        better = "The reference course-conv (trial 0) is better than every searched network: 95.00 %"
        assert text.index(better) < text.index("<strong>Trial 2</strong>"), text
        assert "trial 2 has 3.00 points less, 60 % of the errors are added" in text
        assert "tune repeat &#x27;mine &amp; &lt;yours&gt;&#x27; --trial 2" in text
        behind = [replace(trials[0], value=0.85), *trials[1:]]
        text = study_page(material(behind, {t.trial_id: curve(0.5, t.value or 0.0) for t in behind}))
        assert "better than every searched" not in text

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

    def test_one_pruned_trial_makes_a_page(self) -> None:
        text = study_page(material([trial(0, State.PRUNED, 0.4)], {100: curve(0.4)}))
        assert "so far: no trial is complete yet" in text
        assert "Cannot be told yet: no trial has been trained to the end." in text
        assert "not enough data to tell" in text.lower()

    def test_a_confirmation_compares_no_settings(self) -> None:
        """Its runs are a few settings on several seeds: tests would take them for so many experiments."""
        given = made()
        spec = replace(given.study.spec, confirms="s", sampler="random")
        text = study_page(replace(given, study=replace(given.study, spec=spec)))
        assert "Which settings helped" not in text
        assert "What each setting did" not in text
        assert "SGD or Adam" not in text
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
        assert "no trial of the search has come to a report" in text

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
            f"Is the winner confirmed? </strong>{chosen} It won the search, too.</li>",
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

    def test_every_dot_of_an_effect_tells_its_trial(self) -> None:
        trials, found = study(30)
        one = by_name(effects(SETTINGS, trials, found, (), family=None))["dropout"]
        texts = [text for trace in effect(one, frozenset({3})).data for text in trace.text or ()]
        assert sorted(int(text.split()[1][:-1]) for text in texts) == list(range(30))


def test_the_surest_mistake_comes_first() -> None:
    some = [Mistake(png=b"", truth="", said="", belief=belief) for belief in (0.3, 0.1, 0.2)]
    assert [m.belief for m in surest_first(some)] == [0.1, 0.2, 0.3]


def test_numbers_stay_with_their_units() -> None:
    assert safe("98.5 % of 4 s, n = 40 and p < 0.001") == (
        "98.5\u00a0% of 4\u00a0s, n\u00a0=\u00a040 and p\u00a0&lt;\u00a00.001"
    )
