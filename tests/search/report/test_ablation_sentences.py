"""What an ablation says, on ablations whose truth was made up: a verdict where the family-wise interval has
one, and nothing that was not measured."""

from __future__ import annotations

from dataclasses import replace

import pytest
from made_ablation import LENGTHS, PATH, ROLLING, VARIANTS, Made, made_ablation, made_valley_ablation

from search.analysis.ablation import Ablation, Contrast
from search.analysis.paired_arms import Verdict
from search.report.ablation_sentences import sentences, settings_answer, training_answer
from search.report.ablation_table import length_rows, path_rows, setting_rows
from search.report.ablation_words import change


def words(found: Ablation) -> str:
    return "\n".join(sentences(found))


def contrast(found: Ablation, name: str) -> Contrast:
    return next(each for each in found.settings if each.arm.name == name)


def line(found: Ablation, start: str) -> str:
    """The one sentence that begins so."""
    [told] = [each for each in sentences(found) if each.startswith(start)]
    return told


class TestSettings:
    def test_a_setting_helped_where_the_family_wise_interval_says_so(self) -> None:
        found = made_ablation()
        told = line(found, "These settings of trial 17 helped generalization: ")
        worse = {change(each) for each in found.settings if each.found.verdict is Verdict.WORSE}
        assert worse == {"dropout 0.2 → 0", "blocks 2 → 1", "channels 16 → 8", "optimizer adamw → sgd"}
        assert "dropout 0.2 rather than 0 (the change: −0." in told
        assert "more errors" in told
        assert told.count("rather than") == len(worse)
        assert "activation" not in told

    def test_a_better_variant_is_told(self) -> None:
        told = line(made_ablation(), "One change generalizes better than trial 17: ")
        assert "channels 16 → 32 (+0." in told
        assert "fewer errors" in told

    def test_what_is_not_told_apart_has_the_width_reached_and_the_seeds_for_another(self) -> None:
        told = line(made_ablation(noise=0.002), "Not told apart from trial 17: ")
        for said in (
            "activation silu → relu (",
            "family-wise, ±",
            " pointwise; about ",
            " seeds would give ",
        ):
            assert said in told, said
        assert "±0.25 points" in told

    def test_a_width_that_the_data_have_no_room_for_is_told(self) -> None:
        assert "more than the 9 that the data have room for" in words(made_ablation(noise=0.002))

    def test_an_arm_with_a_learning_rate_of_its_own_says_so(self) -> None:
        found = made_ablation()
        assert "optimizer adamw rather than sgd, at its own learning rate, 0.0188 (" in words(found)
        rows = {row[0] for row in setting_rows(found)[1]}
        assert "optimizer adamw → sgd, at its own learning rate, 0.0188" in rows

    def test_what_is_said_of_the_training_set_is_pointwise(self) -> None:
        told = line(made_ablation(), "By pointwise intervals, each for its comparison alone: ")
        assert "dropout 0.2 → 0 fits the training set more (+0." in told
        assert "has a larger generalization gap (+0." in told
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
        told = words(made_ablation(arms, noise=0.002))
        assert "No setting of trial 17 is told to be better than its neighbors." in told
        assert "generalize" not in told

    def test_a_setting_without_any_effect_on_the_scores(self) -> None:
        found = made_ablation([VARIANTS[0], VARIANTS[3], replace(VARIANTS[8], effect=0.0)], noise=0.0)
        assert "The scores are the same on all seeds with activation silu → relu." in words(found)


class TestSeeds:
    def test_each_seed_holds_out_other_examples(self) -> None:
        told = line(made_ablation(), "How it was judged: ")
        assert "on the same 3 seeds; each seed holds out another tenth of the training examples" in told
        assert "97.5 % of repetitions" in told
        assert "validation sampling" not in told

    def test_one_validation_set_is_told(self) -> None:
        told = line(made_ablation(folds=0), "How it was judged: ")
        assert "tenth" not in told
        assert (
            "All seeds share one validation set. Intervals are over seeds only; validation sampling" in told
        )

    def test_one_seed_is_a_first_look_without_verdicts(self) -> None:
        found = made_ablation(seeds=1)
        told = words(found)
        assert told.startswith("This is a first look on 1 seed, with no intervals and no verdicts")
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
        assert "The largest differences from trial 17: blocks 2 → 1 (−1." in told
        header, rows = setting_rows(found)
        assert {row[header.index("verdict")] for row in rows[1:]} == {"one seed"}

    def test_two_seeds_have_intervals_and_no_verdicts(self) -> None:
        found = made_ablation(seeds=2)
        assert words(found).startswith("This is a first look on 2 seeds, with no verdicts")
        header, rows = setting_rows(found)
        assert {row[header.index("verdict")] for row in rows[1:]} == {"too few seeds"}
        assert all(" to " in row[header.index("pointwise 95 %")] for row in rows[1:])

    def test_an_unfinished_ablation_says_how_much_is_missing(self) -> None:
        told = words(made_ablation(missing=5))
        assert "is not finished: 5 of 59 runs are missing, and `tune ablate twodigit --trial 17` con" in told

    def test_earlier_ablations_are_named(self) -> None:
        told = words(made_ablation(others=("twodigit.ablate", "twodigit.ablate-3")))
        assert (
            "twodigit.ablate and twodigit.ablate-3 are earlier ablations, of other trials of twodigit."
            in told
        )


class TestFailures:
    SGD = replace(VARIANTS[1], fails=2)

    def test_a_variant_that_diverged_is_a_result(self) -> None:
        found = made_ablation([VARIANTS[0], self.SGD, *VARIANTS[2:], *LENGTHS])
        assert "optimizer=sgd diverged on 2 of 3 seeds: what failed is a result" in words(found)
        assert "optimizer adamw rather than sgd" not in words(found)
        header, rows = setting_rows(found)
        assert ("optimizer=sgd", "diverged on 2 of 3 seeds") in {
            (row[0], row[header.index("verdict")]) for row in rows
        }

    def test_a_length_that_failed_is_among_the_lengths(self) -> None:
        found = made_ablation([*VARIANTS, *LENGTHS[:3], replace(LENGTHS[3], fails=1)])
        assert "baseline for 16 epochs diverged on 1 of 3 seeds" in words(found)
        header, rows = length_rows(found)
        assert rows[-1][0] == "16 epochs"
        assert rows[-1][header.index("verdict")] == "diverged on 1 of 3 seeds"
        assert not any("16 epochs" in row[0] for row in rows[:-1])

    def test_nothing_is_compared_with_a_baseline_that_failed(self) -> None:
        found = made_ablation([replace(VARIANTS[0], fails=3), *VARIANTS[1:]])
        assert "Nothing can be compared." in words(found)
        assert "baseline diverged on 3 of 3 seeds" in words(found)
        assert settings_answer(found) == training_answer(found) == ""


class TestLengths:
    def test_each_step_has_its_verdict(self) -> None:
        told = line(made_ablation(), "Extra training helped up to 8 epochs, and beyond that no difference is")
        for said in (
            "from 1 epoch to 2 epochs it helps (+0.",
            "from 4 epochs to 8 epochs it helps (+0.",
            "from 8 epochs to 16 epochs the two are not told apart (",
            "Not told apart is a plateau, or a difference too small for 3 seeds.",
        ):
            assert said in told, said

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
        told = line(made_ablation(), "Without regularization and augmentation 16 epochs give 9")
        assert "on validation beside 100.00 % on training examples; with them 99." in told
        assert ": worse)" in told
        assert "Without them, from 4 epochs to 16 epochs it hurts (−0." in told

    def test_no_lengths_no_answer(self) -> None:
        found = made_ablation(VARIANTS)
        assert training_answer(found) == ""
        assert length_rows(found)[1] == []
        assert "xtra training" not in words(found)

    def test_lengths_alone(self) -> None:
        found = made_ablation([VARIANTS[0], *LENGTHS])
        assert settings_answer(found) == ""
        assert setting_rows(found)[1] == []
        assert "was trained for every length on the same 3 seeds" in words(found)


class TestPath:
    def test_the_shortest_prefix_is_measured_and_has_no_verdict(self) -> None:
        found = made_ablation((*VARIANTS, *PATH))
        told = line(found, "Measured change by change from course-conv to trial 17: 9")
        assert "The first 2 of 4 changes (optimizer and channels) gave " in told
        header, rows = path_rows(found)
        assert "verdict" not in header
        assert rows[0][0] == "course-conv"
        assert rows[1][0] == "optimizer sgd → adamw, lr 0.01 → 0.003"
        assert not any("course-conv" in row[0] for row in setting_rows(found)[1])

    def test_without_a_gain_there_is_no_prefix(self) -> None:
        arms = [replace(each, effect=0.01) for each in PATH]
        assert "gave" not in line(made_ablation((*VARIANTS, *arms)), "Measured change by change")


class TestOtherMetrics:
    def test_a_minimized_metric_is_told_in_its_values(self) -> None:
        found = made_valley_ablation()
        told = words(found)
        assert "This setting of trial 17 helped: push none rather than left (the change: +2." in told
        assert "One change is better than trial 17: bounces 0 → 1 (−0." in told
        assert (
            "A larger budget helped at every step that was tried: from 2 steps to 5 steps it helps (−0."
            in told
        )
        assert "Intervals are over seeds only; validation sampling is not included." in told
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
        told = words(made_valley_ablation(seeds=1))
        assert "With a larger budget: from 2 steps to 5 steps (−" in told


def test_the_answers_are_few_lines() -> None:
    assert len(sentences(made_ablation((*VARIANTS, *LENGTHS, *PATH)))) <= 10
    told = settings_answer(made_ablation())
    assert told.startswith("These settings of trial 17 helped generalization: ")
    assert "6 of 11 changes are not told apart from trial 17 (family-wise intervals of about ±0." in told
    assert settings_answer(made_valley_ablation()).endswith("(family-wise intervals of about ±0.238).")


def test_the_means_of_the_table_differ_by_the_differences() -> None:
    header, rows = setting_rows(made_ablation())
    means = [float(row[header.index("mean")].removesuffix(" %")) for row in rows]
    differences = [row[header.index("difference, points")].replace("−", "-") for row in rows[1:]]
    for mean, difference in zip(means[1:], differences, strict=True):
        assert mean - means[0] == pytest.approx(float(difference), abs=0.011)


def test_an_arm_with_many_changes_names_them() -> None:
    arm = Made(name="push=left", effect=-2.0, changed={"push": "left", "friction": 0.5}, budget=5)
    found = made_valley_ablation([ROLLING[0], arm, *ROLLING[2:]])
    assert "push none rather than left, with friction 0.5 (" in words(found)
    assert contrast(found, "push=left").changed[0] == "push"
