"""Which arms of an ablation are compared: those that were queued together, later ones once they caught up."""

from __future__ import annotations

from dataclasses import replace

import pytest
from made_ablation import LENGTHS, PATH, VARIANTS, WINNER, Made, made_ablation
from made_study import trial

from search.analysis.ablation_arms import Arm, ArmRun, Read, arms_of, compared, rounds
from search.records import STEP, AblationRun, Failure, State, Value, short_arm

FIRST = (VARIANTS[0], *VARIANTS[4:], *LENGTHS)
"""A round without the arms whose learning rate is chosen."""


def arm(name: str, queued: list[int], done: int) -> Arm:
    """queued: numbers of its trials, by index of the seed. done: seeds, the first ones, that are complete."""
    runs = tuple(
        ArmRun(seed=seed, trial=number, score=0.9, training=None) for seed, number in enumerate(queued[:done])
    )
    return Arm(name=name, budget=4, settings={}, runs=runs, failed={}, queued=dict(enumerate(queued)))


def names(arms: tuple[Arm, ...]) -> list[str]:
    return [each.name for each in arms]


class TestRounds:
    def test_arms_that_were_queued_together_are_a_round(self) -> None:
        first, second = arm("a", [0, 2, 4], 3), arm("b", [1, 3, 5], 3)
        later, latest = arm("c", [6, 8, 10], 3), arm("d", [7, 9, 11], 3)
        assert rounds([latest, second, later, first]) == [[first, second], [later, latest]]

    def test_seeds_that_are_added_later_change_no_round(self) -> None:
        first, second = arm("a", [0, 1, 2, 6, 8], 3), arm("b", [3, 4, 5, 7, 9], 3)
        assert rounds([first, second]) == [[first], [second]]

    def test_one_seed_is_one_round(self) -> None:
        assert len(rounds([arm("a", [0], 1), arm("b", [1], 1), arm("c", [9], 0)])) == 1

    def test_an_arm_whose_first_run_cannot_be_read_stays_in_its_round(self) -> None:
        first = arm("a", [0, 2, 4], 3)
        damaged = replace(arm("b", [1, 3, 5], 3), queued={1: 3, 2: 5})
        assert rounds([first, damaged]) == [[first, damaged]]


class TestCompared:
    def test_a_later_round_waits_as_a_whole(self) -> None:
        first, done, begun = arm("a", [0, 1, 2], 3), arm("b", [3, 5, 7], 3), arm("c", [4, 6, 8], 2)
        chosen, behind = compared([first, done, begun])
        assert (names(chosen), names(behind)) == (["a"], ["b", "c"])
        chosen, behind = compared([first, done, arm("c", [4, 6, 8], 3)])
        assert (names(chosen), names(behind)) == (["a", "b", "c"], [])

    def test_an_arm_of_a_later_round_without_a_run_counts(self) -> None:
        chosen, behind = compared([arm("a", [0, 1], 2), arm("b", [2, 4], 2), arm("c", [3, 5], 0)])
        assert (names(chosen), names(behind)) == (["a"], ["b", "c"])

    def test_within_a_round_nothing_is_left_out(self) -> None:
        chosen, behind = compared([arm("a", [0, 2, 4], 3), arm("b", [1, 3, 5], 1)])
        assert (names(chosen), names(behind)) == (["a", "b"], [])

    def test_a_round_that_caught_up_stays_while_seeds_are_added(self) -> None:
        chosen, behind = compared([arm("a", [0, 1, 2, 6], 4), arm("b", [3, 4, 5, 7], 3)])
        assert (names(chosen), names(behind)) == (["a", "b"], [])

    def test_what_is_not_compared_tells_rounds_apart_too(self) -> None:
        first, failed, later = arm("a", [0], 1), arm("b", [1, 2], 2), arm("c", [3, 4], 0)
        assert names(compared([first, later], beside=[failed])[1]) == ["c"]
        assert names(compared([first, later])[1]) == []


class TestLaterRound:
    def test_it_takes_no_verdict_back(self) -> None:
        before = made_ablation(FIRST)
        found = made_ablation(FIRST, later=[replace(VARIANTS[1], waits=2), replace(VARIANTS[3], waits=3)])
        assert (found.seeds, found.settings, found.lengths) == (3, before.settings, before.lengths)
        assert names(found.behind) == ["optimizer=sgd", "batch_size=128"]
        assert found.measured == before.measured
        assert not found.finished

    def test_once_it_has_all_seeds_it_is_compared(self) -> None:
        found = made_ablation(FIRST, later=VARIANTS[1:4])
        assert (found.seeds, found.behind, found.finished) == (3, (), True)
        assert {each.arm.name for each in found.settings} == {each.name for each in VARIANTS[1:]}

    def test_an_arm_that_is_behind_in_its_round_lowers_the_seeds(self) -> None:
        found = made_ablation([*VARIANTS[:4], replace(VARIANTS[4], waits=1)])
        assert (found.seeds, found.behind) == (2, ())


class TestFollow:
    CHOOSES = ("optimizer=sgd, lr=0.01", "optimizer=sgd, lr=0.1")

    def test_an_option_whose_learning_rate_is_known_only_now_is_missing(self) -> None:
        chooses = {name: {"lr": 0.01} for name in self.CHOOSES}
        found = made_ablation(FIRST, chooses=chooses)
        assert (found.finished_runs >= found.wanted, found.follow, found.finished) == (
            True,
            ("optimizer=sgd",),
            False,
        )
        assert made_ablation(FIRST, later=VARIANTS[1:2], chooses=chooses).finished

    @pytest.mark.parametrize(("arms", "follows", "measured"), [(1, True, 0), (3, True, 2), (4, False, 4)])
    def test_a_path_whose_order_is_known_only_now_is_missing(
        self, arms: int, follows: bool, measured: int
    ) -> None:
        chooses: dict[str, dict[str, Value]] = {
            f"course-conv{STEP}{name}": {} for name in ("optimizer", "channels", "dropout", "affine")
        }
        found = made_ablation((*VARIANTS, *PATH[:arms]), chooses=chooses)
        [path] = found.paths
        assert (path.changes, path.follows, path.measured) == (4, follows, measured)
        assert found.finished is not follows
        assert len(path.steps) == (0 if follows else 4)


def test_the_last_step_of_a_path_is_about_the_change_that_is_left() -> None:
    course: dict[str, Value] = {"divisor": 1, "channels": 8}
    arms = (
        replace(PATH[0], changed={"dropout": 0.5, **course}),
        Made(name=f"course-conv{STEP}dropout", effect=-0.002, changed=course),
    )
    chooses: dict[str, dict[str, Value]] = {
        f"course-conv{STEP}{name}": {} for name in ("dropout", "channels")
    }
    winner: dict[str, Value] = {"divisor": 8, **WINNER}
    [path] = made_ablation((*VARIANTS, *arms), winner=winner, chooses=chooses).paths
    assert [step.changed for step in path.steps] == [("dropout",), ("channels", "divisor")]


class TestQueued:
    @pytest.mark.parametrize("readable", [True, False])
    def test_a_repetition_was_queued_when_the_run_was_that_it_repeats(self, readable: bool) -> None:
        found = made_ablation(VARIANTS[:1])
        run = AblationRun(arm="baseline", seed=0, budget=found.budget)
        died = replace(trial(3, ablation=run), state=State.FAILED, failure=Failure.WORKER_DIED)
        again = replace(trial(90, ablation=run), state=State.WAITING, retry_of=3)
        read = Read(
            searched=found.searched,
            baseline=found.baseline,
            record=found.record,
            runs=[died, again] if readable else [again],
            curves={},
        )
        [only] = arms_of(read)
        assert only.queued == {0: 3}


def test_settings_without_an_effect_are_no_part_of_an_arm() -> None:
    """Else the last step of a path would change the width of a number that the task does not have."""
    found = made_ablation(VARIANTS[:1])
    run = AblationRun(arm="baseline", seed=0, budget=found.budget)
    read = Read(
        searched=found.searched,
        baseline=found.baseline,
        record=found.record,
        runs=[replace(trial(0, ablation=run), params={"dropout": 0.1, "number_width": 64})],
        curves={},
        without_effect=frozenset({"number_width"}),
    )
    [only] = arms_of(read)
    assert only.settings == {"dropout": 0.1}


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("dropout=0.0", "dropout=0.0"),
        ("course-conv + optimizer + dropout", "course-conv + optimizer + dropout"),
        ("course-conv + optimizer + dropout + affine", "course-conv + … + affine (3 changes)"),
    ],
)
def test_the_name_of_an_arm_of_a_long_path_is_short(name: str, short: str) -> None:
    assert short_arm(name) == short
