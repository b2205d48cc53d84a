"""Which trials are compared, when, and what each setting did: on studies whose truth is known because it was
made up."""

from __future__ import annotations

import datetime
import random
import re
from dataclasses import replace

import pytest
from made_study import (
    DEPTH,
    DROPOUT,
    EPOCH,
    MODEL,
    OPTIMIZER,
    SETTINGS,
    SPEC,
    TAPER,
    by_name,
    curve,
    report,
    study,
    trial,
)
from snapshots import Snapshots

from search.analysis import basis
from search.analysis.effects import Setting, Verdict, effects
from search.records import (
    ACCURACY,
    Failure,
    SpaceChange,
    State,
    Value,
)
from search.report.one_study.study_sentences import (
    compared,
    in_short,
    sentence,
)
from search.report.words import label_of_range, p_value

SENTENCES = Snapshots(__file__, "study_sentences")


class TestBasis:
    def test_is_the_last_moment_that_every_finished_trial_reached(self) -> None:
        """Nine in ten are not all: those that are missing were pruned for being bad."""
        trials = [trial(n, State.PRUNED) for n in range(10)]
        curves = {t.trial_id: curve(0.5, 0.6, 0.7) for t in trials[:9]}
        curves[109] = curve(0.4, 0.5)
        found = basis.common(trials, curves, budget=3 * EPOCH)
        assert found is not None
        assert (found.step, len(found.trials), found.to_the_end) == (2 * EPOCH, 10, False)
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
        assert found.scores == {1: ACCURACY.worst, 2: ACCURACY.worst, 4: pytest.approx(0.6)}
        assert (found.diverged, found.unmeasured) == (2, 2), "one runs, one had no memory"
        assert basis.common(trials[:4], curves, budget=4 * EPOCH) is None
        SENTENCES.check("what is compared: diverged trials", [compared(found, SPEC)])

    @pytest.mark.parametrize(("states", "end"), [("ccc", True), ("ccp", False), ("ccr", True)])
    def test_the_end_is_only_the_end_where_nothing_was_pruned(self, states: str, end: bool) -> None:
        kinds = {"c": State.COMPLETE, "p": State.PRUNED, "r": State.RUNNING}
        trials = [trial(n, kinds[each]) for n, each in enumerate(states)]
        curves = {t.trial_id: curve(*[0.5] * (4 if t.state is not State.RUNNING else 1)) for t in trials}
        found = basis.common(trials, curves, budget=4 * EPOCH)
        assert found is not None
        assert found.to_the_end is end

    def test_the_gap_is_train_less_validation(self) -> None:
        assert basis.gap(report(1, 0.9, train=0.95)) == pytest.approx(0.05)


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
        assert seen["optimizer"].best.low in ("adam", "adamw")
        assert {group.low for group in seen["optimizer"].beaten} == {"sgd", "nesterov"}
        best = seen["dropout"].best
        assert best is not None, "an effect that is no trend is found too"
        assert 0.1 < best.low < best.high < 0.4
        assert list(seen)[-1] == "depth", "what matters comes first"

    def test_what_only_the_sampler_shows_has_no_effect(self) -> None:
        """Dropout does nothing, but trials with little of it have Adam, except in exploration trials."""
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
        assert seen["optimizer"].n == 40
        SENTENCES.check("one setting of two matters", [in_short(list(seen.values()), SPEC)])

    def test_a_best_group_of_four_takes_part(self) -> None:
        """Small groups are not left out: they can be the best."""
        trials = [trial(n, params={"model": "mlp", "depth": 1 if n < 4 else 2 + n % 2}) for n in range(40)]
        found = {n: 0.95 + n / 1e4 if n < 4 else 0.8 + n / 1e4 for n in range(40)}
        [seen] = effects((DEPTH,), trials, found, range(40))
        assert [group.n for group in seen.groups] == [4, 18, 18]
        assert seen.verdict is Verdict.MATTERS
        assert seen.best is not None
        assert (seen.best.low, seen.best.high) == (1, 1)

    def test_rates_that_diverge_are_not_better(self) -> None:
        """Higher is better until four in five of the highest diverge."""
        draw, trials, found = random.Random(5), [], {}
        rate = Setting(name="lr", meaning="rate", ordered=True, log=True)
        for number in range(100):
            at = draw.random()
            diverges = at > 0.75 and draw.random() < 0.8
            end = {"state": State.FAILED, "failure": Failure.DIVERGED} if diverges else {}
            trials.append(trial(number, params={"lr": 10 ** (4 * at - 4)}, **end))
            found[number] = ACCURACY.worst if diverges else 0.8 + 0.1 * at + draw.gauss(0, 0.01)
        [seen] = effects((rate,), trials, found, range(100))
        assert seen.best is not None
        assert seen.best is not seen.groups[-1]
        assert seen.groups[-1] in seen.beaten
        highest = label_of_range(seen.groups[-1].low, seen.groups[-1].high)
        assert re.search(rf"{highest} \(n = 25, \d+ diverged\)", sentence(seen).replace(" or ", " "))

    def test_one_corrected_p_decides_and_is_printed(self) -> None:
        trials, found = study(40)
        for each in effects(SETTINGS, trials, found, range(40)):
            assert p_value(each.p) in sentence(each)
            assert (each.p < 0.05) == (each.verdict is Verdict.MATTERS)
            assert each.rank_test is not None
            assert each.p >= min(1.0, 2 * each.rank_test.p)

    def test_noise_alone_matters_in_one_study_of_twenty_at_most(self) -> None:
        """Half of what a page may get wrong; `benchmarks/claims_hold.py` does it thoroughly."""
        wrong = 0
        for seed in range(60):
            trials, _ = study(40, seed)
            draw = random.Random(1000 + seed)
            noise = {t.number: draw.random() for t in trials}
            found = effects(SETTINGS, trials, noise, range(40))
            wrong += any(each.verdict is Verdict.MATTERS for each in found)
        assert wrong <= 5, "of sixty; one and a half are to be expected"

    def test_settings_with_too_few_trials_are_named(self) -> None:
        trials, found = study(11)
        seen = effects(SETTINGS, trials, found, range(11))
        assert {each.verdict for each in seen} == {Verdict.TOO_FEW}
        assert (seen[0].setting.name, seen[0].n) == ("optimizer", 11)
        SENTENCES.check("settings with too few trials", [*map(sentence, seen), in_short(seen, SPEC)])
        change = SpaceChange(space={}, moment=datetime.datetime.now(datetime.UTC), set_aside=())
        changed = replace(SPEC, space_changes=(change,))
        SENTENCES.check("too few trials of the present space", [in_short(seen, changed)])

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

    def test_a_setting_is_tested_on_trials_in_which_it_is_active(self) -> None:
        """A network with one hidden layer has no taper."""
        trials = [trial(n, params={"model": "mlp", "depth": 1 + n % 3}) for n in range(12)]
        for each in trials:
            if each.settings["depth"] != 1:
                each.params["taper"] = 0.5 + each.number / 40  # type: ignore[index]
        same = dict.fromkeys(range(12), 0.5)
        seen = by_name(effects((DEPTH, TAPER), trials, same, range(12)))
        assert {name: each.n for name, each in seen.items()} == {"depth": 12, "taper": 8}
