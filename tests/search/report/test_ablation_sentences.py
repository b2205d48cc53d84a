"""What an ablation says, on ablations whose truth was made up: a verdict where the family-wise interval has
one, and nothing that was not measured."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import ClassVar

import pytest
from made_ablation import LENGTHS, PATH, ROLLING, VARIANTS, Made, made_ablation, made_valley_ablation
from made_study import EPOCH
from snapshots import Snapshots

from search.analysis.ablation import Ablation, Contrast
from search.analysis.paired_arms import NoInterval, Verdict
from search.analysis.statistics import Estimate
from search.records import ACCURACY, Value
from search.report.ablation_sentences import path_in_words, sentences, settings_answer, training_answer
from search.report.ablation_table import length_rows, path_rows, setting_rows
from search.report.ablation_words import besides, change
from search.report.words import interval

SENTENCES = Snapshots(__file__, "ablation_sentences")


def words(found: Ablation) -> str:
    return "\n".join(sentences(found))


def contrast(found: Ablation, name: str) -> Contrast:
    return next(each for each in found.settings if each.arm.name == name)


def line(found: Ablation, start: str) -> str:
    """The one sentence that begins so."""
    [told] = [each for each in sentences(found) if each.startswith(start)]
    return told


def path(found: Ablation) -> str:
    """What is told of the only path."""
    [one] = found.paths
    return path_in_words(one, found)


def changes(found: Ablation, verdict: Verdict | None) -> set[str]:
    """The changes of settings with this verdict."""
    return {change(each) for each in found.settings if each.found.verdict is verdict}


class TestSettings:
    def test_a_setting_helped_where_the_family_wise_interval_says_so(self) -> None:
        found = made_ablation()
        told = line(found, "These settings of trial 17 helped generalization: ")
        worse = changes(found, Verdict.WORSE)
        assert worse == {"dropout 0.2 → 0", "blocks 2 → 1", "channels 16 → 8", "optimizer adamw → sgd"}
        assert told.count("rather than") == len(worse)
        assert "activation" not in told
        SENTENCES.check("settings that helped", [told])

    def test_a_better_variant_is_told(self) -> None:
        found = made_ablation()
        assert changes(found, Verdict.BETTER) == {"channels 16 → 32"}
        SENTENCES.check("a better variant", [line(found, "One change generalizes better than trial 17: ")])

    def test_what_is_not_told_apart_has_the_width_reached_and_the_seeds_for_another(self) -> None:
        found = made_ablation(noise=0.002)
        assert "activation silu → relu" in changes(found, Verdict.NOT_TOLD_APART)
        SENTENCES.check("not told apart", [line(found, "Not told apart from trial 17: ")])

    def test_a_width_that_the_data_have_no_room_for_is_told(self) -> None:
        assert "more than the 9 that the data have room for" in words(made_ablation(noise=0.002))
        assert "more than the 20 that `--seeds` allows" in words(made_ablation(noise=0.01, folds=0))

    def test_an_arm_with_a_learning_rate_of_its_own_says_so(self) -> None:
        found = made_ablation()
        own = besides(contrast(found, "optimizer=sgd"))
        assert own == ", at its own learning rate, 0.0188"
        assert f"optimizer adamw rather than sgd{own} (" in words(found)
        assert f"optimizer adamw → sgd{own}" in {row[0] for row in setting_rows(found)[1]}

    def test_what_is_said_of_the_training_set_is_pointwise(self) -> None:
        told = line(made_ablation(), "By pointwise intervals")
        SENTENCES.check("the training set and generalization gaps", [told])
        assert "training set" not in words(made_ablation(fitted=False))

    def test_an_accuracy_on_training_examples_is_no_score_of_another_kind(self) -> None:
        """Means over the classes are known of validation alone: nothing is said of gaps."""
        found = made_ablation(score="macro_f1")
        assert [arm.training for arm in found.arms] == [None] * len(found.arms)
        assert all(each.gap is None for each in found.settings)
        told = " ".join(sentences(found))
        assert "training set" not in told
        assert "macro f1" in told

    def test_noise_has_no_verdicts(self) -> None:
        arms = [replace(each, effect=0.0) for each in VARIANTS]
        found = made_ablation(arms, noise=0.002)
        assert {each.found.verdict for each in found.settings} == {Verdict.NOT_TOLD_APART}
        assert "generalize" not in words(found)
        SENTENCES.check("noise", sentences(found)[:1])

    def test_a_setting_without_any_effect_on_the_scores(self) -> None:
        found = made_ablation([VARIANTS[0], VARIANTS[3], replace(VARIANTS[8], effect=0.0)], noise=0.0)
        same = contrast(found, "activation=relu").found
        assert (same.difference, same.no_interval) == (0, NoInterval.NO_SPREAD)
        SENTENCES.check("a setting without any effect", [line(found, "The scores are the same")])


class TestSeeds:
    def test_more_seeds_have_a_stricter_level(self) -> None:
        told = [line(made_ablation(seeds=seeds), "How it was judged: ") for seeds in (3, 5, 7)]
        levels = [re.findall(r"[0-9.]+ %", each.partition("repetitions")[0])[-1] for each in told]
        assert levels == ["97.5 %", "98.75 %", "99.17 %"]
        assert ["look" in each for each in told] == [False, True, True]
        header, _ = setting_rows(made_ablation(seeds=5))
        assert "family-wise 98.75 %" in header

    def test_each_seed_holds_out_other_examples(self) -> None:
        told = line(made_ablation(), "How it was judged: ")
        assert "validation sampling" not in told
        SENTENCES.check("judged on other examples for each seed", [told])

    def test_one_validation_set_is_told(self) -> None:
        told = line(made_ablation(folds=0), "How it was judged: ")
        assert "tenth" not in told
        assert "favors it" in told
        assert "favors it" in line(made_ablation(folds=0, seeds=1), "How it was judged: ")
        assert "favors it" in line(made_valley_ablation(), "How it was judged: ")
        assert "favors it" not in line(made_ablation(), "How it was judged: ")
        SENTENCES.check("judged on one validation set", [told])

    def test_one_seed_is_a_first_look_without_verdicts(self) -> None:
        found = made_ablation(seeds=1)
        told = words(found)
        SENTENCES.check("one seed", sentences(found))
        for verdict in (
            "helped",
            "helps",
            "hurts",
            "generalizes",
            "better than trial",
            " to −",
            "family-wise",
        ):
            assert verdict not in told, verdict
        header, rows = setting_rows(found)
        assert {row[header.index("verdict")] for row in rows[1:]} == {"one seed"}

    def test_two_seeds_have_intervals_and_no_verdicts(self) -> None:
        found = made_ablation(seeds=2)
        SENTENCES.check("two seeds", sentences(found)[:1])
        header, rows = setting_rows(found)
        assert {row[header.index("verdict")] for row in rows[1:]} == {"too few seeds"}
        assert all(" to " in row[header.index("pointwise 95 %")] for row in rows[1:])

    def test_scores_that_ignore_the_seed_have_no_verdicts_and_the_short_answer_says_so(self) -> None:
        found = made_ablation([VARIANTS[0], VARIANTS[4], VARIANTS[6]], noise=0.0)
        assert {each.found.verdict for each in found.settings} == {None}
        assert "which leaves no spread to test and no verdict: " in settings_answer(found)

    def test_a_learning_rate_that_nobody_chose_is_not_called_the_arms_own(self) -> None:
        arms = (VARIANTS[0], VARIANTS[1], VARIANTS[4])
        assert "rather than sgd, at its own learning rate, 0.0188" in words(made_ablation(arms))
        told = words(made_ablation(arms, chooses={}))
        assert "rather than sgd, with lr 0.0188" in told
        assert "own learning rate" not in told

    def test_an_unfinished_ablation_says_how_much_is_missing(self) -> None:
        found = made_ablation(missing=5)
        assert (found.wanted - found.finished_runs, found.wanted) == (5, 68)
        SENTENCES.check("an unfinished ablation", [line(found, "The ablation is not finished")])

    def test_before_a_run_is_queued_nothing_is_missing_but_all(self) -> None:
        SENTENCES.check("an ablation without a run", sentences(made_ablation([]))[:1])

    def test_other_ablations_are_named(self) -> None:
        found = made_ablation(others=("twodigit.ablate", "twodigit.ablate-3"))
        SENTENCES.check("other ablations", sentences(found)[-1:])


class TestFailures:
    SGD = replace(VARIANTS[1], fails=2)

    def test_a_variant_that_diverged_is_a_result(self) -> None:
        found = made_ablation([VARIANTS[0], self.SGD, *VARIANTS[2:], *LENGTHS])
        assert [arm.name for arm in found.failed] == ["optimizer=sgd"]
        SENTENCES.check("a variant that diverged", [line(found, "optimizer=sgd diverged")])
        assert "optimizer adamw rather than sgd" not in words(found)
        header, rows = setting_rows(found)
        assert ("optimizer=sgd", "diverged on 2 of 3 seeds") in {
            (row[0], row[header.index("verdict")]) for row in rows
        }

    def test_a_length_that_failed_is_among_the_lengths(self) -> None:
        found = made_ablation([*VARIANTS, *LENGTHS[:3], replace(LENGTHS[3], fails=1)])
        assert [(arm.name, arm.budget) for arm in found.failed] == [("baseline", LENGTHS[3].budget)]
        SENTENCES.check("a length that diverged", [line(found, "baseline for 16 epochs diverged")])
        header, rows = length_rows(found)
        assert rows[-1][0] == "16 epochs"
        assert rows[-1][header.index("verdict")] == "diverged on 1 of 3 seeds"
        assert not any("16 epochs" in row[0] for row in rows[:-1])

    def test_nothing_is_compared_with_a_baseline_that_failed(self) -> None:
        found = made_ablation([replace(VARIANTS[0], fails=3), *VARIANTS[1:]])
        SENTENCES.check("a baseline that diverged", sentences(found))
        assert settings_answer(found) == sentences(found)[0]
        assert training_answer(found) == ""

    def test_a_baseline_that_diverged_once_is_no_reason_to_wait(self) -> None:
        """Other lengths are compared all the same."""
        found = made_ablation([replace(VARIANTS[0], fails=1), *VARIANTS[1:], *LENGTHS])
        assert found.finished
        assert not found.settings
        assert found.lengths
        SENTENCES.check("a baseline that diverged on one seed", sentences(found)[:1])
        assert settings_answer(found) == sentences(found)[0]

    def test_without_any_variant_left_nothing_is_judged(self) -> None:
        found = made_ablation([VARIANTS[0], *(replace(each, fails=1) for each in VARIANTS[1:4]), *LENGTHS])
        told = settings_answer(found)
        assert told in sentences(found)
        assert training_answer(found).startswith("Extra training helped up to 8 epochs")
        one = made_ablation([VARIANTS[0], replace(VARIANTS[1], fails=1)])
        SENTENCES.check("all variants diverged", [told, settings_answer(one)])

    def test_a_variant_that_waits_may_still_be_judged(self) -> None:
        found = made_ablation([VARIANTS[0], replace(VARIANTS[1], fails=1), replace(VARIANTS[2], waits=3)])
        assert settings_answer(found) == ""
        assert sentences(found)[1] == "Nothing can be compared yet."

    def test_lengths_that_diverged_are_told(self) -> None:
        found = made_ablation([*VARIANTS, *(replace(each, fails=1) for each in LENGTHS)])
        SENTENCES.check("all lengths but one diverged", [training_answer(found)])


class TestLengths:
    def test_each_step_has_its_verdict(self) -> None:
        found = made_ablation()
        better, apart = Verdict.BETTER, Verdict.NOT_TOLD_APART
        assert [each.found.verdict for each in found.lengths] == [better, better, better, apart]
        SENTENCES.check("lengths", [line(found, "Extra training helped up to 8 epochs")])

    @pytest.mark.parametrize(
        ("last", "lead"),
        [
            (0.008, "Extra training helped at every step that was tried"),
            (-0.008, "Extra training did not always help"),
        ],
    )
    def test_the_lead_follows_the_verdicts(self, last: float, lead: str) -> None:
        arms = [*VARIANTS, *LENGTHS[:3], replace(LENGTHS[3], effect=last)]
        found = made_ablation(arms)
        assert lead in words(found)
        assert training_answer(found).startswith(lead)

    def test_without_regularization_training_is_told_beside_validation(self) -> None:
        found = made_ablation()
        verdicts = {(each.arm.name, each.reference.name): each.found.verdict for each in found.unregularized}
        assert verdicts["unregularized", "unregularized"] is Verdict.WORSE
        told = line(found, "Without regularization and augmentation a training of 16 epochs reaches 9")
        SENTENCES.check("without regularization", [told])

    def test_one_epoch_is_told_in_the_singular(self) -> None:
        short = [replace(each, budget=EPOCH) for each in LENGTHS if each.name == "unregularized"]
        found = made_ablation([*VARIANTS, *LENGTHS[:4], short[0]])
        told = line(found, "Without regularization and augmentation ")
        assert " a training of 1 epoch reaches 9" in told

    def test_a_length_without_an_interval_says_why(self) -> None:
        """Every seed reaches 100 %."""
        arms = [*VARIANTS, *LENGTHS[:3], replace(LENGTHS[3], effect=0.5)]
        found = made_ablation(arms)
        assert found.lengths[-1].found.no_interval is NoInterval.IGNORES_SEED
        told = training_answer(found)
        assert told.startswith("From 1 epoch to 2 epochs it helps (")
        assert "points, one of the two has the same score on all seeds)" in told

    def test_no_lengths_no_answer(self) -> None:
        found = made_ablation(VARIANTS)
        assert training_answer(found) == ""
        assert length_rows(found)[1] == []
        assert "xtra training" not in words(found)

    def test_lengths_alone(self) -> None:
        found = made_ablation([VARIANTS[0], *LENGTHS])
        assert settings_answer(found) == ""
        assert setting_rows(found)[1] == []
        SENTENCES.check("judged on lengths alone", [line(found, "How it was judged: ")])


class TestRounds:
    FIRST = (VARIANTS[0], *VARIANTS[4:], *LENGTHS)

    def test_verdicts_stay_while_a_later_round_is_trained(self) -> None:
        later = (replace(VARIANTS[1], waits=2), replace(VARIANTS[3], waits=3))
        found = made_ablation(self.FIRST, later=later)
        told = words(found)
        assert "first look" not in told
        assert "helped generalization: blocks 2 rather than 1" in told
        SENTENCES.check("a later round", [sentences(found)[0], line(found, "Not compared until ")])
        assert line(found, "Not compared until ") in settings_answer(found)

    def test_one_arm_of_a_later_round(self) -> None:
        found = made_ablation(self.FIRST[:-1], later=(replace(LENGTHS[-1], waits=1),))
        SENTENCES.check("a later round of one length", [line(found, "Not compared until ")])
        assert "16 epochs, without" not in str(length_rows(found))

    def test_runs_that_follow_a_choice_are_missing_too(self) -> None:
        chooses = {f"{name}, lr={rate}": {"lr": rate} for name in FOLLOW for rate in (0.01, 0.1)}
        found = made_ablation(self.FIRST, chooses=chooses)
        assert found.finished_runs == found.wanted
        told = [sentences(found)[0], sentences(made_ablation(self.FIRST, chooses=chooses, missing=1))[0]]
        SENTENCES.check("runs that follow a choice", told)


FOLLOW = ("optimizer=adam", "optimizer=sgd", "batch_size=128")


class TestPath:
    def test_the_shortest_prefix_is_measured_and_has_no_verdict(self) -> None:
        found = made_ablation((*VARIANTS, *PATH))
        told = line(found, "Measured change by change from course-conv to trial 17: 9")
        SENTENCES.check("a path", [told])
        header, rows = path_rows(found.paths[0], found.metric)
        assert "verdict" not in header
        assert rows[0][0] == "course-conv"
        assert rows[1][0] == "optimizer sgd → adamw, lr 0.01 → 0.003"
        assert not any("course-conv" in row[0] for row in setting_rows(found)[1])

    CHOOSES: ClassVar[dict[str, dict[str, Value]]] = {
        f"course-conv + {name}": {} for name in ("optimizer", "channels", "dropout", "affine")
    }

    def test_before_its_order_is_known_nothing_is_told_of_it(self) -> None:
        found = made_ablation((*VARIANTS, PATH[0]), chooses=self.CHOOSES)
        assert path_rows(found.paths[0], found.metric)[1] == []
        SENTENCES.check("a path whose order is known only now", [sentences(found)[0], path(found)])

    def test_before_all_is_measured_it_is_told_how_far_it_is(self) -> None:
        arms = (*PATH[:2], *(replace(each, waits=1) for each in PATH[2:]))
        SENTENCES.check("a path that is not measured", [path(made_ablation((*VARIANTS, *arms)))])

    @pytest.mark.parametrize("failing", [0, 2, 3])
    def test_a_step_that_failed_is_named(self, failing: int) -> None:
        """The last one too: two changes would be told as one."""
        arms = [replace(each, fails=place == failing) for place, each in enumerate(PATH)]
        found = made_ablation((*VARIANTS, *arms))
        assert path_rows(found.paths[0], found.metric)[1] == []
        told = "What each change from course-conv to trial 17 gave cannot be told: "
        assert path(found) == f"{told}{PATH[failing].name} diverged on 1 of 3 seeds."

    def test_a_baseline_that_failed_is_named(self) -> None:
        found = made_ablation([replace(VARIANTS[0], fails=1), *PATH])
        assert path(found).endswith("cannot be told: baseline diverged on 1 of 3 seeds.")

    def test_each_reference_has_a_path(self) -> None:
        second = [replace(each, name=each.name.replace("conv", "mlp"), effect=-0.02) for each in PATH[:3]]
        found = made_ablation((*VARIANTS, *PATH, *second), chooses={"course-mlp + model": {}})
        assert [(each.reference, each.changes, len(each.steps)) for each in found.paths] == [
            ("course-conv", 4, 4),
            ("course-mlp", 3, 3),
        ]
        lines = [each for each in sentences(found) if each.startswith("Measured change by change from ")]
        assert [each.split()[5] for each in lines] == ["course-conv", "course-mlp"]

    def test_without_a_gain_there_is_no_prefix(self) -> None:
        arms = [replace(each, effect=0.01) for each in PATH]
        assert "gave" not in line(made_ablation((*VARIANTS, *arms)), "Measured change by change")

    def test_a_gain_that_may_be_chance_has_no_prefix(self) -> None:
        """A share of it would be one of noise, 1573 % for instance."""
        arms = [replace(each, effect=-0.0014 + 0.006 * (place == 1)) for place, each in enumerate(PATH)]
        found = made_ablation((*VARIANTS, *arms), noise=0.001)
        gain = found.paths[0].gain
        assert gain is not None
        assert gain.difference > 0
        assert not gain.pointwise.excludes_zero
        assert "gave" not in line(found, "Measured change by change")

    def test_a_prefix_that_gives_more_than_all_is_told_in_points(self) -> None:
        arms = [
            replace(each, effect=effect) for each, effect in zip(PATH, (-0.01, 0.01, 0.0, 0.0), strict=True)
        ]
        told = line(made_ablation((*VARIANTS, *arms)), "Measured change by change")
        assert "The first of 4 changes (optimizer) gave more, +2." in told
        assert "%" not in told.partition(" gave ")[2]


class TestOtherMetrics:
    def test_a_larger_gap_of_a_loss_is_positive(self) -> None:
        overfits = replace(VARIANTS[9], effect=0.02, fits=-0.02)
        found = made_ablation([*VARIANTS[:9], overfits], score="log_loss", level=0.5)
        dropout = contrast(found, "dropout=0.0")
        assert dropout.gap is not None
        assert dropout.gap.gap.value > 0
        told = line(found, "By pointwise intervals, ")
        assert re.search(r"dropout 0.2 → 0 .* larger generalization gap \(\+0\.0[34]", told)
        header, rows = setting_rows(found)
        cells = {row[0]: row[header.index("change of the gap")] for row in rows}
        assert cells["dropout 0.2 → 0"].startswith(("+0.03", "+0.04"))

    def test_a_minimized_metric_is_told_in_its_values(self) -> None:
        found = made_valley_ablation()
        told = words(found)
        assert changes(found, Verdict.WORSE) == {"push none → left"}
        assert changes(found, Verdict.BETTER) == {"bounces 0 → 1"}
        assert {each.found.verdict for each in found.lengths} == {Verdict.BETTER}
        SENTENCES.check("a minimized metric", sentences(found))
        for foreign in ("points", "errors", "trained", "xtra training", "generaliz", "epoch"):
            assert foreign not in told, foreign

    def test_its_table_has_no_errors_and_no_training(self) -> None:
        header, rows = setting_rows(made_valley_ablation())
        assert header == ("change", "mean", "difference", "pointwise 95 %", "family-wise 97.5 %", "verdict")
        verdicts = {row[0]: row[-1] for row in rows}
        assert verdicts["push none → left"] == "worse"
        assert verdicts["bounces 0 → 1"] == "better"
        low, high = (
            float(end.replace("−", "-"))
            for end in next(r for r in rows if r[0][:4] == "push")[3].split(" to ")
        )
        assert low < high

    def test_one_seed_of_it(self) -> None:
        told = line(made_valley_ablation(seeds=1), "With a larger budget: ")
        SENTENCES.check("a larger budget on one seed", [told])


def test_the_answers_are_few_lines() -> None:
    assert len(sentences(made_ablation((*VARIANTS, *LENGTHS, *PATH)))) <= 10
    told = [settings_answer(found) for found in (made_ablation(), made_valley_ablation())]
    SENTENCES.check("answers on the settings", told)


def test_the_means_of_the_table_differ_by_the_differences() -> None:
    header, rows = setting_rows(made_ablation())
    means = [float(row[header.index("mean")].removesuffix(" %")) for row in rows]
    differences = [row[header.index("difference, points")].replace("−", "-") for row in rows[1:]]
    for mean, difference in zip(means[1:], differences, strict=True):
        assert mean - means[0] == pytest.approx(float(difference), abs=0.011)


@pytest.mark.parametrize(
    ("low", "told"),
    [(0.0012, "+0.12 to +0.31"), (0.00004, "+0.004 to +0.31"), (-0.00003, "−0.003 to +0.31")],
)
def test_an_interval_shows_on_which_side_of_0_it_ends(low: float, told: str) -> None:
    assert interval(Estimate(value=0.0015, low=low, high=0.0031), ACCURACY) == told


def test_an_arm_with_many_changes_names_them() -> None:
    arm = Made(name="push=left", effect=-2.0, changed={"push": "left", "friction": 0.5}, budget=5)
    found = made_valley_ablation([ROLLING[0], arm, *ROLLING[2:]])
    assert "push none rather than left, with friction 0.5 (" in words(found)
    assert contrast(found, "push=left").changed[0] == "push"
