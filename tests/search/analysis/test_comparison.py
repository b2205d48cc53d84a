"""`tune compare`: its numbers against studies written by hand, its words and its page on finished ones."""

from __future__ import annotations

import dataclasses
import datetime
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from snapshots import Snapshots

from search.analysis.comparison import Comparison, Pair, Studied, compare
from search.analysis.statistics import Estimate
from search.analysis.timeline import Mark
from search.heads import head_report
from search.records import (
    Counts,
    HeadScore,
    NetworkSpec,
    Report,
    Scores,
    State,
    StudyRecord,
    Track,
    TrialRecord,
)
from search.report.side_by_side.comparison_sentences import best_against_best, pairs_in_words, words
from search.report.side_by_side.comparison_table import estimated, rows, when

Command = Callable[..., Any]
"""Of the fixture `here`: how a command ended."""

ZERO = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)


@dataclasses.dataclass(frozen=True)
class Written:
    """A trial of a study written by hand: 10 s and 100 images for each accuracy, one after the other."""

    accuracies: tuple[float, ...]
    state: State = State.COMPLETE
    reference: str | None = None


def studied(spec: NetworkSpec, name: str, trials: list[Written], *, target: int | None = None) -> Studied:
    """One worker, no pauses; the second head is always 0.02 below the first."""
    tracks, reports, now = [], [], 0.0
    for number, trial in enumerate(trials):
        curve = tuple(
            Report(
                step=100 * place,
                seconds=10.0 * place,
                metrics={
                    "validation/accuracy/first": accuracy + 0.01,
                    "validation/accuracy/second": accuracy - 0.01,
                    "validation/joint": accuracy - 0.02,
                },
            )
            for place, accuracy in enumerate(trial.accuracies, start=1)
        )
        ended = now + 10 * len(curve)
        tracks.append(
            Track(
                trial_id=number,
                number=number,
                state=trial.state,
                score=max(trial.accuracies),
                reference=trial.reference,
                retry_of=None,
                failure=None,
                started=ZERO + datetime.timedelta(seconds=now),
                finished=ZERO + datetime.timedelta(seconds=ended),
                reports=curve,
            )
        )
        reports += [(number, report.step) for report in curve]
        now = ended
    complete = [track for track in tracks if track.state is State.COMPLETE]
    best = max(complete, key=lambda track: track.score or 0.0)
    accuracy = best.score or 0.0
    scores = Scores(
        heads={
            "first": HeadScore(loss=0.0, accuracy=accuracy + 0.01),
            "second": HeadScore(loss=0.0, accuracy=accuracy - 0.01),
        },
        joint=accuracy - 0.02,
    )
    return Studied(
        record=StudyRecord(
            study_id=1, name=name, spec=spec, target_trials=target or len(trials), created=ZERO
        ),
        counts=Counts(complete=len(complete), pruned=len(tracks) - len(complete)),
        tracks=tracks,
        reports=reports,
        best=TrialRecord(
            trial_id=best.trial_id,
            number=best.number,
            state=State.COMPLETE,
            score=best.score,
            params={"model": "mlp"},
        ),
        reference=None,
        report=head_report(step=100, seconds=1.0, learning_rate=0.1, train=scores, validation=scores),
        machines=("a processor",),
    )


@pytest.fixture
def two(plain_spec: NetworkSpec) -> Comparison:
    """A short study that began well, and a longer one that came further."""
    short = [Written((0.90, 0.96), reference="r"), Written((0.92,), State.PRUNED), Written((0.94, 0.97))]
    long = [
        *(Written((0.80, 0.85), reference="r"), Written((0.91, 0.93)), Written((0.90, 0.95))),
        *(Written((0.97, 0.99)), Written((0.7,), State.PRUNED)),
    ]
    other = dataclasses.replace(plain_spec, seed=1)
    return compare([studied(plain_spec, "short", short), studied(other, "long", long, target=9)], [[]])


SENTENCES = Snapshots(__file__, "comparison")


class TestNumbers:
    def test_equal_budgets_are_what_the_lesser_study_spent(self, two: Comparison) -> None:
        budget = two.budget
        assert (budget.trials, budget.steps, budget.seconds, budget.own) == (3, 500, 50, 1)
        short, long = (side.equal for side in two.sides)
        assert (short.after_trials, short.after_steps, short.after_seconds) == pytest.approx((0.97,) * 3)
        assert (long.after_trials, long.after_steps, long.after_seconds) == pytest.approx((0.95, 0.93, 0.93))

    def test_the_expected_best_is_of_complete_proposals(self, two: Comparison) -> None:
        """Neither references nor pruned trials, whose scores are of a shorter training."""
        short, long = two.sides
        assert short.equal.expected == pytest.approx(0.97), "its only one"
        assert long.equal.expected == pytest.approx((0.93 + 0.95 + 0.99) / 3), "the best of one is the mean"

    def test_a_best_of_many_has_a_wider_interval(self, plain_spec: NetworkSpec) -> None:
        few = studied(plain_spec, "few", [Written((0.97,))])
        many = studied(plain_spec, "many", [Written((0.97,))] + [Written((0.9,))] * 99)
        wide = [compare([each, few], [[]]).sides[0].best["mean"] for each in (few, many)]
        assert wide[0].low is not None
        assert wide[1].low is not None
        assert wide[1].low < wide[0].low
        assert wide[1].high == wide[0].high

    def test_typical_is_the_median_of_complete_proposals(self, two: Comparison) -> None:
        short, long = two.sides
        assert short.typical["mean"].value == pytest.approx(0.97)
        assert {name: each.value for name, each in long.typical.items()} == pytest.approx(
            {"mean": 0.95, "first": 0.96, "second": 0.94, "joint": 0.93}
        )
        assert long.scores == pytest.approx((0.93, 0.95, 0.99))

    def test_goals_are_timed_on_the_mean_and_on_every_head(self, two: Comparison) -> None:
        reached = {each.level: each for each in two.sides[0].reached}
        assert reached[0.95].mean is not None
        assert (reached[0.95].mean.seconds, reached[0.95].mean.steps) == (20, 200)
        assert reached[0.95].every_head is not None
        assert reached[0.95].every_head.seconds == 20, "0.96 on the mean is 0.95 on the lower head"
        assert reached[0.98].mean is None
        late = {each.level: each for each in two.sides[1].reached}
        assert late[0.98].mean is not None
        assert late[0.98].mean.seconds == 80
        assert late[0.99].every_head is None

    def test_every_study_has_a_cell_in_every_row(self, two: Comparison) -> None:
        found = rows(two)
        assert all(len(cells) == 2 for some in found.values() for _, cells in some)
        labels = [label for some in found.values() for label, _ in some]
        assert len(set(labels)) == len(labels)
        assert dict(found["the studies"])["finished"] == ("3 of 3", "5 of 9")
        assert dict(found["first seen"])["95 % mean"] == ("20 s, 0.00 M", "1 min 00 s, 0.00 M")


class TestWords:
    def test_who_is_unfinished_and_why_nothing_is_paired(self, two: Comparison) -> None:
        [against] = two.against
        difference = against.differences["mean"]
        assert difference.value == pytest.approx(-0.02)
        assert difference.high is not None
        assert difference.high < 0, "the network of long is the better one"
        assert against.pairs == ()
        assert [side.studied.record.is_finished(side.studied.counts.finished) for side in two.sides] == [
            True,
            False,
        ]
        assert "short is unfinished" not in " ".join(words(two))
        SENTENCES.check("an unfinished study, and nothing is paired", words(two))

    def test_what_was_not_searched_is_told(self, plain_spec: NetworkSpec) -> None:
        ablation = dataclasses.replace(plain_spec, ablates="s", baseline=3)
        specs = [plain_spec, ablation, dataclasses.replace(plain_spec, confirms="s")]
        sides = [studied(spec, f"s{n}", [Written((0.9,))]) for n, spec in enumerate(specs)]
        told = words(compare(sides, [[], []]))
        assert not any(each.startswith("s0 is") for each in told)
        said = [each for each in told if each.startswith(("s1 is", "s2 is"))]
        SENTENCES.check("what was not searched", said)

    def test_a_better_reference_is_named(self, plain_spec: NetworkSpec) -> None:
        first = studied(plain_spec, "short", [Written((0.92,))])
        reference = dataclasses.replace(first.best, number=7, score=0.96, reference="r")
        first = dataclasses.replace(first, reference=reference)
        other = studied(plain_spec, "long", [Written((0.9,))])
        other = dataclasses.replace(
            other, reference=dataclasses.replace(other.best, score=0.8, reference="r")
        )
        found = compare([first, other], [[]])
        SENTENCES.check("a better reference is named", words(found))
        assert not any("In long a reference came first" in each for each in words(found))
        told = dict(rows(found)["accuracy on validation"])
        assert told["best trial"] == ("0", "0")
        assert told["best reference"] == ("r 96.00 %", "r 80.00 %")

    def test_interrupted_trials_have_a_row_where_there_are_any(self, plain_spec: NetworkSpec) -> None:
        first, other = (studied(plain_spec, name, [Written((0.9,))]) for name in ("short", "long"))
        assert "interrupted" not in dict(rows(compare([first, other], [[]]))["the studies"])
        stopped = dataclasses.replace(first, counts=Counts(complete=1, failed=3, interrupted=2))
        told = dict(rows(compare([stopped, other], [[]]))["the studies"])
        assert (told["interrupted"], told["failed"]) == (("2", "0"), ("1", "0"))

    @pytest.mark.parametrize(
        "changes",
        [{"epochs": 9}, {"epochs": 9, "checksums": {"x": "1"}}],
        ids=["budget", "budget and data"],
    )
    def test_what_differs_beside_the_seed_is_not_called_sampling_error(
        self, plain_spec: NetworkSpec, changes: dict[str, Any], request: pytest.FixtureRequest
    ) -> None:
        first = studied(plain_spec, "short", [Written((0.90, 0.96), reference="r")])
        spec = dataclasses.replace(plain_spec, seed=1, **changes)
        other = studied(spec, "long", [Written((0.80, 0.85), reference="r")])
        told = words(compare([first, other], [[]]))
        assert not any("By seed alone" in each for each in told)
        SENTENCES.check(f"not by seed alone: {request.node.callspec.id}", told)

    def test_of_several_runs_of_a_reference_none_stands_for_it(self, plain_spec: NetworkSpec) -> None:
        first = studied(plain_spec, "short", [Written((0.96,), reference="r")])
        twice = [Written((0.85,), reference="r"), Written((0.86,), reference="r")]
        other = studied(dataclasses.replace(plain_spec, seed=1), "long", twice)
        assert "r ended at" not in " ".join(words(compare([first, other], [[]])))

    @pytest.mark.parametrize(
        ("epochs", "scores"),
        [
            (1, [(0.9, 0.9)]),
            (1, [(0.9, 0.9), (0.9, 0.895)]),
            (2, [(0.9, 0.93)]),
            (2, [(0.9, 0.92), (0.9, 0.94)]),
            (1, []),
        ],
        ids=["one equal", "two apart", "one with another budget", "two with another budget", "none"],
    )
    def test_pairs(
        self,
        plain_spec: NetworkSpec,
        epochs: float,
        scores: list[tuple[float, float]],
        request: pytest.FixtureRequest,
    ) -> None:
        trials = [Written((0.9,)), Written((0.9,))]
        first = studied(plain_spec, "short", trials)
        other = studied(dataclasses.replace(plain_spec, epochs=epochs), "long", trials)
        pairs = [Pair(trials=(n, n), reference=None, scores=score) for n, score in enumerate(scores)]
        found = compare([first, other], [pairs])
        difference = found.against[0].differences["mean"]
        assert difference.low is not None
        assert difference.high is not None
        assert difference.low <= 0 <= difference.high, "the two networks cannot be told apart"
        SENTENCES.check(f"pairs: {request.node.callspec.id}", words(found))

    def test_pairs_that_differ_alike_have_no_interval(self, plain_spec: NetworkSpec) -> None:
        """0.25 points in both, up to rounding."""
        spec = dataclasses.replace(plain_spec, epochs=2)
        both = [studied(each, f"s{n}", [Written((0.9,))]) for n, each in enumerate((plain_spec, spec))]
        scores = [(0.9, 0.8975), (0.95, 0.9475)]
        pairs = [Pair(trials=(n, n), reference=None, scores=each) for n, each in enumerate(scores)]
        [against] = compare(both, [pairs]).against
        told = pairs_in_words(against)
        assert "+0.25 points above s1 in every pair" in told
        assert "95 %" not in told
        SENTENCES.check("pairs: the same difference", [told])

    def test_a_verdict_shows_on_which_side_of_zero_its_interval_ends(self, plain_spec: NetworkSpec) -> None:
        spec = dataclasses.replace(plain_spec, epochs=2)
        both = [studied(each, f"s{n}", [Written((0.9,))]) for n, each in enumerate((plain_spec, spec))]
        pairs = [Pair(trials=(n, n), reference=None, scores=(0.9 + n / 1e6, 0.89996)) for n in range(9)]
        [against] = compare(both, [pairs]).against
        close = Estimate(value=-0.00004, low=-0.00007, high=-0.00001)
        told = [
            best_against_best(dataclasses.replace(against, differences={"mean": close})),
            pairs_in_words(against),
        ]
        assert "−0.004 points, 95 % interval −0.01 to −0.001" in told[0]
        assert "+0.004 points above" in told[1]
        SENTENCES.check("a verdict close to zero", told)

    @pytest.mark.parametrize(
        "change", [{"epochs": 5}, {"checksums": {"x": "1"}}], ids=["epochs", "data files"]
    )
    def test_what_else_differs(
        self, plain_spec: NetworkSpec, change: dict[str, Any], request: pytest.FixtureRequest
    ) -> None:
        both = [studied(plain_spec, "a", [Written((0.9,))])]
        both.append(studied(dataclasses.replace(plain_spec, **change), "b", [Written((0.9,))]))
        SENTENCES.check(f"what else differs: {request.node.callspec.id}", words(compare(both, [[]])))

    @pytest.mark.parametrize(
        ("early", "late", "expected"),
        [(41, 41, "41 s, 0.15 M"), (34, 41, "34 to 41 s, 0.15 M"), (50, 70, "50 s to 1 min 10 s, 0.15 M")],
    )
    def test_a_moment_reads_as_it_is_known(self, early: float, late: float, expected: str) -> None:
        assert when(Mark(seconds=late, earliest_s=early, steps=150_000, trial=1, score=0.9)) == expected
        assert (when(None), estimated(None)) == ("not seen", "–")


class TestCommand:
    def test_table(self, finished: Path, here: Command) -> None:
        done = here("compare", "twodigit", "again", cwd=finished)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[0].split() == ["twodigit", "again"]
        for label in ("best second_digit", "typical joint", "95 % every head", "after 4 trials", "wall time"):
            assert f"\n{label} " in done.stdout
        assert "Nothing is paired: twodigit has seed 0, again seed 1." in done.stderr

    def test_json_has_the_best_of_each_and_more(self, finished: Path, here: Command) -> None:
        both = here("compare", "twodigit", "again", "--json", cwd=finished).parsed
        for row, name in zip(both, ("twodigit", "again"), strict=True):
            best = here("best", name, "--json", cwd=finished).parsed
            assert best.pop("confirmed") is None
            assert {key: row[key] for key in best} == best
            low, high = row["intervals"]["mean"]
            assert low < row["value"] < high
            trials = here("trials", name, "--json", cwd=finished).parsed
            assert row["images_seen"] == sum(trial["images"] for trial in trials)
            assert row["training_seconds"] == pytest.approx(sum(trial["seconds"] for trial in trials))
            assert row["training_seconds"] <= row["seconds"], (
                "one worker cannot train for longer than it works"
            )
            assert row["best_so_far"][-1]["value"] == max(trial["value"] for trial in trials)
            assert row["equal_budget"]["trials"] == 4
        assert both[0]["first_minus_this"] is None
        assert both[1]["first_minus_this"]["best"]["mean"]["value"] == round(
            both[0]["value"] - both[1]["value"], 12
        )

    def test_the_same_seed_makes_pairs_of_the_references(
        self, finished: Path, here: Command, tmp_path: Path
    ) -> None:
        connection = sqlite3.connect(finished / "studies.db")
        copy = sqlite3.connect(tmp_path / "studies.db")
        connection.backup(copy)
        [[study_id]] = copy.execute("SELECT study_id FROM studies WHERE study_name = 'again'")
        [[spec]] = copy.execute("SELECT spec FROM tune_studies WHERE study_id = ?", [study_id])
        claimed = json.dumps(
            {**json.loads(spec), "seed": 0}
        )  # so that what was another run looks like the same
        copy.execute("UPDATE tune_studies SET spec = ? WHERE study_id = ?", [claimed, study_id])
        copy.commit()
        copy.close()
        connection.close()
        [_, other] = here("compare", "twodigit", "again", "--json", cwd=tmp_path).parsed
        pairs = other["first_minus_this"]["pairs"]
        assert [(pair["trials"], pair["reference"]) for pair in pairs] == [
            *(([0, 0], "course-mlp"), ([1, 1], "course-conv"))
        ]
        assert "2 runs are the same in both" in other["first_minus_this"]["words"][1]

    def test_a_page_is_never_written_over_unasked(
        self, finished: Path, here: Command, tmp_path: Path
    ) -> None:
        page = tmp_path / "page.html"
        arguments = ("compare", "again", "twodigit", "--out", str(page))
        done = here(*arguments, cwd=finished)
        assert done.returncode == 0, done.stderr
        written = page.read_text(encoding="utf-8")
        assert "<h1>twodigit: again and twodigit</h1>" in written
        assert written.count('class="chart"') == 4
        page.write_text("mine")
        refused = here(*arguments, cwd=finished)
        assert (refused.returncode, refused.stdout, page.read_text()) == (2, "", "mine")
        assert "exists; --force writes over it" in refused.stderr
        assert here(*arguments, "--force", cwd=finished).returncode == 0
        assert page.stat().st_size > 100_000

    @pytest.mark.parametrize(
        ("arguments", "code", "expected"),
        [
            (["twodigit"], 2, "takes two studies or more; `tune best twodigit` shows one"),
            (["twodigit", "twodigit"], 2, "takes two studies or more"),
            (["twodigit", "sum"], 2, "Only studies of one task can be compared"),
            (["twodigit", "agian"], 2, "There is no study agian"),
            (["twodigit", "again", "--out", "nowhere/page.html"], 2, "there is no folder nowhere"),
            (["twodigit", "again", "--out", "."], 2, "is a folder"),
        ],
    )
    def test_refusals(
        self, finished: Path, here: Command, arguments: list[str], code: int, expected: str
    ) -> None:
        done = here("compare", *arguments, cwd=finished)
        assert (done.returncode, done.stdout) == (code, "")
        assert expected in done.stderr
        assert len(done.stderr.splitlines()) == 1

    def test_an_empty_study_is_told(self, finished: Path, here: Command, tmp_path: Path) -> None:
        copy = tmp_path / "studies.db"
        copy.write_bytes((finished / "studies.db").read_bytes())
        made = here("run", "--task", "twodigit", "--study", "empty", "--detach", cwd=tmp_path)
        assert made.returncode == 0, made.stderr
        done = here("compare", "twodigit", "empty", cwd=tmp_path)
        assert (done.returncode, done.stdout) == (1, "")
        assert "The study empty has no complete trial yet" in done.stderr


def of_one_head(comparison: Comparison) -> Comparison:
    """The same where each network has a single head."""
    names = ("mean", "first", "joint")
    sides = tuple(
        dataclasses.replace(
            side,
            best={name: side.best[name] for name in names},
            typical={name: side.typical[name] for name in names},
        )
        for side in comparison.sides
    )
    return dataclasses.replace(comparison, sides=sides)


class TestOtherScores:
    def test_a_score_that_answers_do_not_tell_has_no_interval_over_examples(
        self, plain_spec: NetworkSpec
    ) -> None:
        """The accuracies beside it have theirs."""
        spec = dataclasses.replace(plain_spec, score="macro_f1")
        studies = [studied(spec, name, [Written((0.9, 0.95))]) for name in ("a", "b")]
        found = compare(studies, [[]])
        best = found.sides[0].best
        assert (best["mean"].low, best["mean"].high) == (None, None)
        low, high = best["first"].low, best["first"].high
        assert low is not None
        assert high is not None
        assert low < best["first"].value < high
        [against] = found.against
        assert against.differences["mean"].low is None
        assert against.differences["first"].low is not None
        assert found.sides[0].reached == (), "goals are accuracies"
        told = " ".join(words(found))
        assert "no interval. Whether one of them is better was not tested." in told
        assert "tell the two networks apart" not in told
        table = rows(found)
        assert set(table) == {"the studies", "on validation", "at equal budgets"}
        labels = dict(table["on validation"])
        assert labels["best validation macro f1"][0] == "95.00 %"
        assert labels["best accuracy, first"][0].startswith("96.00 % [")

    def test_one_head_has_one_accuracy(self, two: Comparison) -> None:
        found = of_one_head(two)
        assert [*found.sides[0].told] == ["mean"]
        table = rows(found)
        labels = [name for name, _ in table["accuracy on validation"] if "accuracy" in name]
        assert labels == ["best accuracy", "typical accuracy"]
        assert [name for name, _ in table["first seen"]] == ["95 %", "98 %", "99 %"]
        assert not any("joint" in name or "head" in name for some in table.values() for name, _ in some)
