"""The page and the notes of a study that trains no networks: its own metric, and no claim beyond what was
measured."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from made_valley import made_valley
from read_page import answers_of, paragraphs_of, plain
from snapshots import Snapshots
from valley import BUDGET, ENERGY, valley_spec

from search.analysis.confirmation import Candidate, Confirmation, SeedRun
from search.analysis.ranking import Gain, Ranking
from search.analysis.timeline import timeline
from search.records import CheckpointRecord, Counts, Direction, Metric, Report, State, TrialRecord
from search.report.dashboard_notes import study_card, trial_card
from search.report.one_study.material import Material
from search.report.one_study.study_page import study_page
from search.report.words import value
from search.service.report import space_in_words
from search.space.spec import declared_entries
from tune.space import Choice, Float, Int, Space

SENTENCES = Snapshots(__file__, "study_page_of_another_objective")


def words_of(material: Material) -> str:
    """What a person reads on the page, but for the figures."""
    return plain(study_page(material).split("<main>")[1].split("</main>")[0])


def charts_of(material: Material) -> list[Any]:
    found = re.search(r'id="charts">(.*?)</script>', study_page(material), re.DOTALL)
    assert found is not None
    charts: list[Any] = json.loads(found[1])
    return charts


def test_the_answer_comes_first_and_is_of_its_metric() -> None:
    given = made_valley()
    best = given.winner
    assert best is not None
    told = words_of(given)
    complete = sum(trial.state is State.COMPLETE for trial in given.trials)
    answers = answers_of(study_page(given))
    winner = f"Trial {best.number} has the lowest energy of {complete} complete searched trials:"
    assert answers[0].startswith(f"Winner {winner} {value(best.score, ENERGY)} , after 9 steps of 9.")
    basis = given.findings().basis
    assert basis is not None
    assert basis.step == 2
    SENTENCES.check("a finished search", answers)
    for said in (
        "Lower is better: the search minimizes the energy.",
        "Compared is the energy after 2 steps",
        "they count as the worst results",
        "would have made",
        "metric energy, minimized budget of a trial 9 steps",
        "friction: a number from 0.001 to 1, on a logarithmic scale",
        "height",
    ):
        assert said in told, said


@pytest.mark.parametrize("pruned", [True, False])
def test_nothing_is_said_that_only_networks_have(pruned: bool) -> None:
    told = words_of(made_valley(pruned=pruned))
    for foreign in (
        *("accuracy", "network", "image", "picture", "example", "epoch", "head", "parameter", "loss"),
        *(
            "tune repeat",
            "tune export",
            "test set",
            "generaliz",
            "extra training",
            "trained",
            "task",
            "digit",
        ),
    ):
        assert foreign not in told, foreign
    assert "95 %" not in told, "a value that was measured once has no interval"


def test_without_a_pruner_settings_are_judged_by_where_trials_ended() -> None:
    given = made_valley(100, pruned=False)
    basis = given.findings().basis
    assert basis is not None
    assert (basis.step, len(given.trials)) == (9, 100)
    page = study_page(given)
    told = [*answers_of(page), *paragraphs_of(page, "Compared is the energy")]
    assert not any("helped early" in each for each in told)
    SENTENCES.check("without a pruner", told)


METRICS: dict[str, tuple[Metric, Callable[[float], float]]] = {
    "any number, less is better": (ENERGY, float),
    "any number, more is better": (Metric(name="depth"), lambda energy: -energy),
    "a positive one over decades": (
        Metric(name="validation/loss", direction=Direction.MINIMIZE),
        lambda energy: math.exp(energy / 2),
    ),
    "a share, more is better": (
        Metric(name="hit_rate", is_fraction=True),
        lambda energy: math.exp(-max(0.0, energy + 3.2) / 4),
    ),
    "a share, less is better": (
        Metric(name="error_rate", is_fraction=True, direction=Direction.MINIMIZE),
        lambda energy: 1 - math.exp(-max(0.0, energy + 3.2) / 4),
    ),
}


@pytest.mark.parametrize(("metric", "measured"), METRICS.values(), ids=METRICS)
def test_figures_have_its_values_and_diverged_trials_a_place_at_the_worse_end(
    metric: Metric, measured: Callable[[float], float]
) -> None:
    better = "higher" if metric.direction is Direction.MAXIMIZE else "lower"
    seen, diverged = 0, 0
    for chart in charts_of(made_valley(100, pruned=False, metric=metric, measured=measured)):
        axis = chart["layout"].get("yaxis", {})
        if axis.get("title", {}).get("text") != f"{metric.title} ({better} is better)":
            continue
        seen += 1
        dots = [dot for trace in chart["data"] for dot in trace["y"]]
        assert all(isinstance(dot, int | float) for dot in dots), "each has a place"
        if axis.get("type") == "log":
            assert min(dots) > 0
        if "range" not in axis:
            continue
        low, high = sorted(10**end if axis.get("type") == "log" else end for end in axis["range"])
        inside = sum(low <= dot <= high for dot in dots)
        assert inside >= 0.85 * len(dots)
        for place, text in _texts(chart):
            if "diverged" in text:
                diverged += 1
                assert low - 1e-3 * (high - low) <= place <= high + 1e-3 * (high - low)
                others = [at for at, other in _texts(chart) if "diverged" not in other and low <= at <= high]
                # Shares of which more is better are drawn by what is missing.
                downwards = better == "higher" and not metric.is_fraction
                assert place <= min(others) if downwards else place >= max(others)
    assert seen >= 3, "the search, the curves, each setting"
    assert diverged


def _texts(chart: Any) -> Iterator[tuple[float, str]]:
    for trace in chart["data"]:
        yield from zip(trace["y"], trace.get("text") or (), strict=False)


def confirmed(given: Material, means: tuple[float, float]) -> Confirmation:
    """Of the two leaders, the second of the search chosen. means: their energies."""
    ranked = sorted(
        (trial for trial in given.trials if trial.state is State.COMPLETE), key=lambda t: -(t.score or 0)
    )
    chosen, first = ranked[1], ranked[0]
    candidates = []
    for trial, mean in ((chosen, means[0]), (first, means[1])):
        runs = tuple(
            SeedRun(
                seed=seed,
                trial=seed,
                trial_id=500 + seed,
                report=Report(
                    step=BUDGET, seconds=1.0, metrics={"energy": mean + 0.1 * (seed - 1)}, metric=ENERGY
                ),
            )
            for seed in range(3)
        )
        candidates.append(
            Candidate(
                trial=trial.number,
                reference=None,
                settings=trial.settings,
                search_score=trial.score or 0.0,
                runs=runs,
                dropped=False,
                mean=-mean,
                low=-mean - 0.25,
                high=-mean + 0.25,
            )
        )
    confirming = replace(
        given.study, name="deep.confirm", spec=replace(given.study.spec, confirms="deep"), target_trials=6
    )
    return Confirmation(
        search=given.study,
        confirming=confirming,
        seeds=3,
        candidates=tuple(candidates),
        chosen=chosen.number,
        best_run=candidates[0].runs[0],
        searched=given.study.target_trials,
        search_winner=first.number,
        finished_runs=6,
        wanted=6,
        test_evaluations=(),
    )


def test_a_confirmation_names_its_winner_and_over_what_its_interval_is() -> None:
    given = made_valley()
    found = confirmed(given, (-2.5, -2.4))
    told = answers_of(study_page(replace(given, confirmation=found)))
    assert told[0].startswith(f"Winner Trial {found.chosen}, confirmed : energy −2.5")
    assert f"trial {found.chosen}" in told[-1]
    SENTENCES.check("a confirmed winner", told)


def test_an_unfinished_search_says_so_and_a_better_reference_comes_first() -> None:
    given = made_valley()
    best = given.winner
    assert best is not None
    reference = replace(best, number=99, trial_id=199, reference="still", score=(best.score or 0.0) + 0.5)
    curve = [Report(step=BUDGET, seconds=1.0, metrics={"energy": -(reference.score or 0.0)}, metric=ENERGY)]
    unfinished = replace(
        given,
        trials=[*given.trials, reference],
        curves={**given.curves, 199: curve},
        study=replace(given.study, target_trials=500),
    )
    told = words_of(unfinished)
    lower = f"(trial 99) measured lower than every searched trial: energy {value(reference.score, ENERGY)}."
    assert told.index(lower) < told.index(f"Trial {best.number} has the lowest energy")
    assert f"trial {best.number} is 0.5 higher." in told
    SENTENCES.check("an unfinished search with a better reference", answers_of(study_page(unfinished)))


def test_the_space_is_told_in_words() -> None:
    space = Space(
        {
            "kind": Choice(options=("a", "b")),
            "rate": Float(low=0.1, high=1.0, log=True, when={"kind": "a"}),
            "turns": Int(low=2, high=8, step=2, when={"rate": {"above": 0.5}}),
        }
    )
    told = space_in_words(valley_spec(space=declared_entries(space)))
    SENTENCES.check("a space with conditions", told.splitlines())


def test_the_dashboards_notes_say_metric_and_value() -> None:
    given = made_valley()
    best = given.winner
    assert best is not None
    report = given.curves[best.trial_id][-1]
    card = study_card(
        given.study,
        Counts(complete=20, pruned=36),
        timeline([], []),
        Ranking(searched=best, reference=None),
        report,
        [Gain(reference="still", trial=99, score=2.0, gain=0.5, errors_removed=None)],
        best.settings,
        measurements=300,
    )
    assert f"## Winner: trial {best.number}, energy {value(best.score, ENERGY)}\n" in card
    assert f"| height | {value(-report.metrics['height'], ENERGY)} |" in card
    assert "- −0.5 against still (−2)" in card
    assert "Best after 9 steps." in card
    assert "measured once" in card
    kept = CheckpointRecord(
        trial_id=best.trial_id, path="p", sha256="0" * 64, score=report.score, step=9, bytes=2_000_000
    )
    note = trial_card(1, given.study, report, kept, best.settings, measurements=300)
    assert note.startswith(f"## Rank 1 by energy: {value(report.score, ENERGY)}\n")
    for foreign in ("accuracy", "validation", "weights", "training", "95 %"):
        assert foreign not in card + note, foreign


def test_a_study_with_one_pruned_trial_has_a_page() -> None:
    given = made_valley()
    only = next(trial for trial in given.trials if trial.state is State.PRUNED)
    page = study_page(replace(given, trials=[only], curves={only.trial_id: given.curves[only.trial_id]}))
    SENTENCES.check("one pruned trial", answers_of(page))


def test_models_have_a_size_where_it_is_known() -> None:
    given = made_valley()
    trials: list[TrialRecord] = [replace(trial, parameters=10 + trial.number) for trial in given.trials]
    told = words_of(replace(given, trials=trials))
    assert "Size and energy" in told
    assert "on the front parameters energy" in told
