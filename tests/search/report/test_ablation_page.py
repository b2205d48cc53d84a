"""The page of an ablation, and where else it appears: the report on its search, its own report, the card."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from typing import Any

import pytest
from made_ablation import LENGTHS, PATH, VARIANTS, made_ablation, made_valley_ablation
from made_study import made, trial
from made_valley import made_valley
from read_page import answers_of, paragraphs_of
from snapshots import Snapshots

from search.analysis.ranking import Ranking
from search.analysis.timeline import timeline
from search.records import STEP, Counts, Value
from search.report.ablation_figures import forest, lengths, waterfall
from search.report.ablation_page import ablation_page
from search.report.dashboard_notes import study_card
from search.report.one_study.study_page import study_page
from search.service.report import command_of

ODD = "</script><b>{x}"
SENTENCES = Snapshots(__file__, "ablation_page")


def text(page: str) -> str:
    """What a person reads on a page, but for the figures."""
    body = page.split("<main>")[1].split("</main>")[0]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).replace("\u00a0", " ").split())


def charts(page: str) -> list[Any]:
    found = re.search(r'id="charts">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    parsed: list[Any] = json.loads(found[1])
    return parsed


WHOLE = (*VARIANTS, *LENGTHS, *PATH)


class TestPage:
    def test_the_answers_come_first(self) -> None:
        page = ablation_page(made_ablation(WHOLE))
        told, answers = text(page), answers_of(page)
        order = [
            "twodigit: what mattered in trial 17",
            *answers,
            "Ablation: from course-conv to trial 17",
            "No number on this page comes from a test set.",
        ]
        places = [told.index(each) for each in order]
        assert places == sorted(places)
        SENTENCES.check("a whole ablation", answers)

    def test_it_has_a_figure_for_each_question(self) -> None:
        assert len(charts(ablation_page(made_ablation(WHOLE)))) == 3
        assert len(charts(ablation_page(made_ablation(VARIANTS)))) == 1
        assert len(charts(ablation_page(made_valley_ablation()))) == 2

    def test_the_same_values_give_the_same_page(self) -> None:
        assert ablation_page(made_ablation(WHOLE)) == ablation_page(made_ablation(WHOLE))

    def test_odd_names_stay_text(self) -> None:
        arm = replace(VARIANTS[8], name=f"activation={ODD}", changed={"activation": ODD})
        page = ablation_page(made_ablation((*VARIANTS, arm, *LENGTHS), name=ODD, missing=1))
        assert ODD not in page
        assert "</script><b>" not in page
        assert ODD in text(page)
        labels = [label for chart in charts(page)[:1] for label in chart["layout"]["yaxis"]["ticktext"]]
        assert any("&lt;/script&gt;&lt;b&gt;(x)" in label for label in labels)
        hovers = [told for trace in charts(page)[0]["data"] for told in trace.get("text") or ()]
        assert not any("<b>" in told for told in hovers)

    def test_other_objectives_have_their_own_words(self) -> None:
        page = ablation_page(made_valley_ablation())
        told = text(page)
        SENTENCES.check("another objective", answers_of(page))
        for foreign in ("accuracy", "epoch", "trained", "generaliz", "points", "extra training"):
            assert foreign not in told, foreign

    def test_each_path_has_an_answer_and_those_that_are_measured_a_figure(self) -> None:
        second = [replace(each, name=each.name.replace("conv", "mlp")) for each in PATH[:2]]
        chooses: dict[str, dict[str, Value]] = {
            f"course-mlp{STEP}{name}": {} for name in ("model", "optimizer")
        }
        for waits, drawn in ((0, 2), (1, 1)):
            arms = (VARIANTS[0], *PATH, *(replace(each, waits=waits) for each in second))
            page = ablation_page(made_ablation(arms, chooses=chooses))
            asked = [each.split("?")[0] for each in answers_of(page)][2:]
            assert asked == [f"By what is trial 17 better than course-{name}" for name in ("conv", "mlp")]
            assert len(charts(page)) == drawn

    def test_a_finished_ablation_does_not_wait(self) -> None:
        for arms in ([replace(VARIANTS[0], fails=1), *VARIANTS[1:]], LENGTHS):
            page = text(ablation_page(made_ablation([VARIANTS[0], *arms] if arms is LENGTHS else arms)))
            assert "too few runs are finished" not in page

    def test_before_the_first_seed_is_whole(self) -> None:
        found = made_ablation(VARIANTS[:1], missing=20)
        page = ablation_page(found)
        told = text(page)
        SENTENCES.check("before the first seed is whole", answers_of(page))
        assert "20 of 23 runs are missing" in told
        assert "Nothing can be compared yet." in told


class TestFigures:
    def test_each_variant_has_a_dot_and_two_intervals(self) -> None:
        figure = forest(made_ablation()).to_plotly_json()
        dots = [dot for trace in figure["data"] if trace["mode"] == "markers" for dot in trace["x"]]
        assert len(dots) == len(VARIANTS) - 1
        lines = [trace for trace in figure["data"] if trace["mode"] == "lines"]
        assert sum(x is None for trace in lines for x in trace["x"]) == 2 * len(dots)

    def test_variants_of_a_setting_stand_together(self) -> None:
        axis = forest(made_ablation()).to_plotly_json()["layout"]["yaxis"]
        names = [label.split("<br>")[0].split(" ")[0] for label in axis["ticktext"]]
        assert [name for place, name in enumerate(names) if name != names[place - 1]] == list(
            dict.fromkeys(names)
        )

    def test_a_variant_far_away_stands_at_the_edge_with_its_number(self) -> None:
        arms = [replace(each, effect=-0.1) if each.name == "blocks=1" else each for each in VARIANTS]
        layout = forest(made_ablation(arms)).to_plotly_json()["layout"]
        assert [note["text"].split(".")[0] for note in layout["annotations"]] in (["−9"], ["−10"])
        assert layout["xaxis"]["range"][0] > -3
        assert "annotations" not in forest(made_ablation()).to_plotly_json()["layout"]

    def test_less_is_better_on_the_left(self) -> None:
        axis = forest(made_valley_ablation()).to_plotly_json()["layout"]["xaxis"]
        assert axis["title"]["text"] == "change of energy<br>(left is better)"

    def test_validation_and_training_with_and_without_regularization(self) -> None:
        figure = lengths(made_ablation()).to_plotly_json()
        assert [trace["name"] for trace in figure["data"] if trace.get("name")] == [
            "validation",
            "training",
            "validation, unregularized",
            "training, unregularized",
        ]
        assert list(figure["layout"]["xaxis"]["ticktext"]) == ["1", "2", "4", "8", "16"]

    def test_a_waterfall_goes_from_the_reference_to_the_baseline(self) -> None:
        found = made_ablation(WHOLE)
        figure = waterfall(found.paths[0], found).to_plotly_json()
        bars = [trace for trace in figure["data"] if trace["type"] == "bar"]
        assert [len(trace["y"]) for trace in bars] == [2, 2], "the prefix, and the rest"
        starts = [base for trace in bars for base in trace["base"]]
        ends = [base + size for trace in bars for base, size in zip(trace["base"], trace["x"], strict=True)]
        assert ends[:-1] == pytest.approx(starts[1:])


class TestReport:
    def test_the_first_page_answers_from_the_ablation(self) -> None:
        page = study_page(replace(made(), ablation=made_ablation()))
        answers, told = answers_of(page), text(page)
        assert told.index(answers[-1]) < told.index("The course of the search")
        assert "tune ablate" not in " ".join(answers)
        assert "Ablation: which settings helped" in told
        SENTENCES.check("the report of a search that was ablated", answers)

    def test_without_one_the_present_answers_stay_and_the_command_is_offered(self) -> None:
        page = study_page(made())
        assert "Ablation:" not in text(page)
        told = [each for each in answers_of(page) if each.startswith(("Which settings helped", "What to do"))]
        SENTENCES.check("the report of a search without an ablation", told)
        of_another = answers_of(study_page(made_valley()))
        SENTENCES.check("an ablation of another objective is offered", of_another[-1:])

    def test_an_unfinished_one_is_continued(self) -> None:
        answers = answers_of(study_page(replace(made(), ablation=made_ablation(missing=3))))
        SENTENCES.check("the report of a search with an unfinished ablation", answers[-1:])

    def test_an_ablation_whose_baseline_diverged_says_so_before_the_search_answers(self) -> None:
        arms = [replace(VARIANTS[0], fails=1), *VARIANTS[1:]]
        failed = replace(made(), ablation=made_ablation(arms))
        [told] = [each for each in answers_of(study_page(failed)) if each.startswith("Which settings helped")]
        [alone] = [
            each for each in answers_of(study_page(made())) if each.startswith("Which settings helped")
        ]
        question, _, answer = alone.partition("? ")
        assert told.startswith(f"{question}? No setting of trial 17 can be judged: the baseline, ")
        assert told.endswith(f"diverged on 1 of 3 seeds. {answer}")

    def test_runs_that_follow_a_choice_are_offered(self) -> None:
        waits = made_ablation(VARIANTS[:1], chooses={"optimizer=adam, lr=0.01": {"lr": 0.01}})
        answers = answers_of(study_page(replace(made(), ablation=waits)))
        SENTENCES.check("the report of a search with an ablation whose runs follow", answers[-1:])

    def test_without_lengths_the_search_answers_for_them(self) -> None:
        answers = answers_of(study_page(replace(made(), ablation=made_ablation(VARIANTS))))
        told = [each for each in answers if each.startswith("Did extra training always help?")]
        SENTENCES.check("the report of a search with an ablation without lengths", told)

    def test_of_another_objective(self) -> None:
        answers = answers_of(study_page(replace(made_valley(), ablation=made_valley_ablation())))
        SENTENCES.check("the report of another objective that was ablated", answers)

    def test_the_report_on_an_ablation_says_what_it_is(self) -> None:
        given = made()
        spec = replace(given.study.spec, ablates="twodigit", baseline=17)
        page = study_page(replace(given, study=replace(given.study, spec=spec)))
        told = text(page)
        SENTENCES.check(
            "the report of an ablation", [*answers_of(page), *paragraphs_of(page, "is an ablation")]
        )
        for asked in ("Which settings", "Did extra training", "tune confirm", "tune export"):
            assert asked not in told, asked

    def test_its_command_makes_it_again(self) -> None:
        found = made_ablation(WHOLE)
        runs = [trial(place, ablation=run) for place, run in enumerate(found.asked)]
        settings = "optimizer,batch_size,blocks,channels,activation,dropout,affine"
        made_by = f"tune ablate twodigit --trial 17 --settings {settings}"
        assert command_of(found.record, runs) == f"{made_by} --lengths --seeds 3 --path course-conv"
        short = [run for run in runs if run.ablation and run.ablation.budget == found.budget]
        short = [run for run in short if run.ablation and run.ablation.arm != "unregularized"]
        assert command_of(found.record, short) == f"{made_by} --seeds 3 --path course-conv"
        alone = [run for run in short if run.ablation and "=" not in run.ablation.arm]
        no_settings = made_by.partition(" --settings")[0]
        assert command_of(found.record, alone) == f"{no_settings} --no-lengths --seeds 3 --path course-conv"

    def test_each_path_takes_a_command_of_its_own(self) -> None:
        second = replace(PATH[0], name="course-mlp")
        chooses: dict[str, dict[str, Value]] = {
            f"course-mlp{STEP}{name}": {} for name in ("model", "optimizer")
        }
        found = made_ablation((VARIANTS[0], *PATH, second), chooses=chooses)
        told = command_of(found.record, [trial(place, ablation=run) for place, run in enumerate(found.asked)])
        each = "tune ablate twodigit --trial 17 --no-lengths --seeds 3 --path"
        assert told == f"{each} course-conv && {each} course-mlp"


@pytest.mark.parametrize(("score", "told"), [
    ("accuracy", [True, True, False]), ("macro_f1", [False, False, True]), ("log_loss", [False] * 3),
])  # fmt: skip
def test_a_share_of_errors_is_told_of_an_accuracy_alone(score: str, told: list[bool]) -> None:
    page = text(ablation_page(made_ablation((*VARIANTS, *LENGTHS), score=score)))
    parts = ("The share of errors", "equal shares of errors gone", "equal shares of what is missing")
    assert [part in page for part in parts] == told


def test_the_dashboards_note_says_what_an_ablation_is() -> None:
    given = made()
    best = given.winner
    assert best is not None
    spec = replace(given.study.spec, ablates="two_digit", baseline=17)
    note = study_card(
        replace(given.study, spec=spec),
        Counts(complete=20),
        timeline([], []),
        Ranking(searched=best, reference=None),
        given.curves[best.trial_id][-1],
        [],
        {},
        measurements=9,
    )
    SENTENCES.check("the dashboard's note", [line for line in note.splitlines() if "ablation" in line])
    assert "selection bias" not in note
