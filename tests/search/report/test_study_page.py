"""The page of a report and its figures, on a study whose truth is known because it was made up."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from made_study import (
    EPOCH,
    NOW,
    SETTINGS,
    SPEC,
    by_name,
    curve,
    made,
    material,
    report,
    study,
    trial,
)
from read_page import answers_of, paragraphs_of
from snapshots import Snapshots

from search.analysis.confirmation import Candidate, Confirmation, SeedRun
from search.analysis.effects import effects
from search.analysis.extra_training import Typical
from search.analysis.intervals import wilson
from search.analysis.mistakes import Confusion, Mistake, Mistakes
from search.analysis.outcomes import best_so_far
from search.analysis.ranking import gains
from search.analysis.statistics import Estimate
from search.records import (
    Examples,
    Failure,
    State,
    TestAttempt,
    TestEvaluation,
)
from search.report.confirmation_sentences import choice, sentences
from search.report.html import safe
from search.report.one_study import course_sections, mistakes_section, study_figures
from search.report.one_study.study_figures import DOTS, effect, learning_curves, progress, sizes, thinned
from search.report.one_study.study_page import study_page
from search.report.one_study.study_sentences import extra_training
from search.report.one_study.winner_section import standing
from search.report.page import Chart, Grid
from search.report.words import p_value

SENTENCES = Snapshots(__file__, "study_page")


class TestPage:
    def test_the_answer_comes_first(self) -> None:
        text = study_page(made()).replace("\u00a0", " ")
        found = made().findings()
        assert found.basis is not None
        assert found.basis.step == 2 * EPOCH
        assert found.training.typical is Typical.SELECTED
        assert [each.trial.reference for each in found.training.lost] == ["course-mlp"]
        assert len(found.training.halved) == 11
        assert [each.split("?")[0].split(" Trial")[0] for each in answers_of(text)] == [
            "Winner",
            "Confirmed",
            "Which settings helped to generalize",
            "Which settings learn fast",
            "Did extra training always help",
            "What to do next",
        ]
        SENTENCES.check("a finished search", answers_of(text))
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
        text = study_page(replace(given, trials=whole, exploration_trials=frozenset(range(100)))).replace(
            "\u00a0", " "
        )
        assert "Generalization: which settings helped" in text
        assert "Speed of learning" not in text
        assert "Which settings learn fast" not in text
        assert "--pruner none" not in text

    def test_one_setting_has_one_verdict_on_the_page(self) -> None:
        given = made()
        found = given.findings()
        text = study_page(given).replace("\u00a0", " ")
        for each in found.effects:
            told = re.findall(rf"<li>{each.setting.name}(?: \([^)]*\))?: ([^.;]*)", text)
            assert len(set(told)) == 1, told
        printed = {f"p {sign} {p}" for sign, p in re.findall(r"p (=|&lt;) (0\.\d+)", text)}
        mine = {p_value(each.p).replace("<", "&lt;") for each in (*found.effects, found.training)}
        assert printed <= mine, "no other p-value"

    @pytest.mark.parametrize(
        ("workers", "failure"),
        [(1, None), (3, None), (1, Failure.INTERRUPTED)],
        ids=["one worker", "three workers", "interrupted trials"],
    )
    def test_says_what_the_seed_repeats(
        self, workers: int, failure: Failure | None, request: pytest.FixtureRequest
    ) -> None:
        given = made()
        trials = [*given.trials, *([trial(41, State.FAILED, None, failure=failure)] if failure else [])]
        some = [replace(given.workers[0], worker_id=f"w{n}") for n in range(workers)]
        told = paragraphs_of(study_page(replace(given, trials=trials, workers=some)), "eed 0")
        assert len(told) == 1
        SENTENCES.check(f"what the seed repeats: {request.node.callspec.id}", told)

    def test_says_what_a_gpu_repeats(self) -> None:
        given = made()
        text = study_page(replace(given, workers=[replace(given.workers[0], device="cuda")]))
        SENTENCES.check("what a GPU repeats", paragraphs_of(text, "eed 0"))

    def test_the_winner_is_searched_and_a_better_reference_is_said_first(self) -> None:
        trials = [trial(0, score=0.95, reference="course-conv"), trial(1, score=0.9), trial(2, score=0.92)]
        text = study_page(material(trials, {t.trial_id: curve(0.5, t.score or 0.0) for t in trials}))
        text = text.replace("\u00a0", " ")
        [gain] = gains(trials)
        assert (gain.reference, gain.gain) == ("course-conv", pytest.approx(-0.03))
        assert gain.errors_removed == pytest.approx(-0.6)
        assert text.index("course-conv (trial 0) measured higher") < text.index("<strong>Trial 2</strong>")
        told = [*answers_of(text), *paragraphs_of(text, "course-conv")]
        SENTENCES.check("a better reference", told)
        assert "tune repeat &#x27;mine &amp; &lt;yours&gt;&#x27; --trial 2" in text
        behind = [replace(trials[0], score=0.85), *trials[1:]]
        text = study_page(material(behind, {t.trial_id: curve(0.5, t.score or 0.0) for t in behind}))
        assert "higher than every searched" not in text

    def test_what_a_changed_space_leaves_out_has_not_failed(self) -> None:
        given = made()
        outside = trial(41, State.FAILED, None, failure=Failure.OUTSIDE_SPACE)
        died = trial(42, State.FAILED, None, failure=Failure.WORKER_DIED)
        told = standing(replace(given, trials=[*given.trials, outside, died]))
        assert "1 not continued in the changed search space, 1 failed" in told
        told = standing(replace(given, trials=[*given.trials, outside]))
        assert "failed" not in told

    def test_references_alone_are_no_winner_of_a_search(self) -> None:
        only = trial(0, score=0.95, reference="course-conv")
        text = study_page(material([only], {100: curve(0.5, 0.95)}))
        SENTENCES.check("references alone, a complete one", answers_of(text))

    def test_settings_without_effect_are_not_shown(self) -> None:
        given = trial(0, params={"model": "conv", "dropout": 0.1}, fixed={"kernel": 3, "number_width": 64})
        text = study_page(material([given], {100: curve(0.5, 0.9)}))
        assert "kernel 3" in text
        assert "number_width" not in text

    def test_an_interval_beside_a_verdict_shows_its_side_of_zero(self) -> None:
        found = replace(
            made().findings().training,
            typical=Typical.GAINED,
            gain=Estimate(value=0.0012, low=0.00002, high=0.0024),
        )
        told = extra_training(found)
        assert "brought +0.12 points of accuracy" in told
        assert "95 % interval +0.002 to +0.24;" in told

    def test_says_that_a_study_is_not_finished(self) -> None:
        given = made()
        text = study_page(replace(given, study=replace(given.study, target_trials=500)))
        SENTENCES.check("a study that is not finished", paragraphs_of(text, "not finished"))

    def test_an_exhausted_search_does_not_continue(self) -> None:
        given = made()
        study = replace(given.study, target_trials=500, exhausted=True)
        text = study_page(replace(given, study=study))
        assert "continues with the search" not in text
        assert "<dt>What to do next?</dt><dd><code>tune confirm" in text

    def test_one_pruned_trial_makes_a_page(self) -> None:
        text = study_page(material([trial(0, State.PRUNED, 0.4)], {100: curve(0.4)}))
        told = [*answers_of(text), *paragraphs_of(text, "no trial is complete yet")]
        SENTENCES.check("one pruned trial", told)

    def test_a_confirmation_compares_no_settings(self) -> None:
        """Its runs are a few settings on several seeds: tests would take them for independent experiments."""
        given = made()
        spec = replace(given.study.spec, confirms="s", sampler="random")
        text = study_page(replace(given, study=replace(given.study, spec=spec)))
        assert "Which settings" not in text
        assert "Speed of learning" not in text
        assert "Did extra training always help?" in text

    def test_a_smaller_network_that_cannot_be_told_from_the_winner(self) -> None:
        trials = [
            trial(0, score=0.99, parameters=1_000),
            trial(1, score=0.99, parameters=900),
            trial(2, score=0.9868, parameters=100),
            trial(3, score=0.985, parameters=50),
        ]
        given = material(trials, {t.trial_id: curve(t.score or 0.0) for t in trials})
        alone = material(trials[:2], {t.trial_id: curve(t.score or 0.0) for t in trials[:2]})
        for name, page in {"of four": study_page(given), "of two": study_page(alone)}.items():
            told = paragraphs_of(page, " does with ")
            assert len(told) == 1
            SENTENCES.check(f"a smaller network: {name}", told)

    def test_only_references_make_a_page(self) -> None:
        text = study_page(material([trial(0, reference="course-mlp")], {100: curve(0.4)}))
        SENTENCES.check("references alone, an unfinished one", answers_of(text))

    def test_shows_mistakes_as_images(self) -> None:
        wrong = Mistakes(
            trial=4,
            accuracy=0.9,
            recorded=0.9,
            confusions=(Confusion(head="first_digit", counts=((9, 1), (0, 10))),),
            worst=(Mistake(png=b"\x89PNG", truth="0 · 1", said="1 · 1", belief=0.0004),),
        )
        text = study_page(replace(made(), mistakes=wrong))
        assert "data:image/png;base64,iVBORw==" in text
        another = study_page(replace(made(), mistakes=replace(wrong, accuracy=0.8)))
        told = [*paragraphs_of(text, "mistake"), *paragraphs_of(text, "recorded")]
        SENTENCES.check("mistakes: as recorded", told)
        SENTENCES.check("mistakes: rounded otherwise", paragraphs_of(another, "recorded"))

    def test_classes_have_their_names_and_each_its_accuracy(self) -> None:
        found = Confusion(
            head="label", counts=((8, 2, 0), (1, 9, 0), (0, 0, 1)), labels=("daisy", "<b>", "rose")
        )
        wrong = Mistakes(trial=4, accuracy=18 / 21, recorded=None, confusions=(found,), worst=())
        text = study_page(replace(made(), mistakes=wrong)).replace("\u00a0", " ")
        assert "most often daisy taken for &lt;b&gt; (2×)" in text
        assert "which was not recorded" in text
        row = re.search(r"<tr><td[^>]*>daisy</td>.*?</tr>", text)
        assert row is not None
        cells = re.findall(r">([^<>]+)</td>", row[0])
        assert cells[:4] == ["daisy", "10", "8", "80.00 %"]
        low, high = wilson(8, 10)
        assert cells[4] == f"{low * 100:.2f} to {high * 100:.2f} %"
        axis = study_figures.confusion(found).layout.xaxis
        assert axis.ticktext == ("daisy", "&lt;b>", "rose")

    def test_of_many_classes_the_most_frequent_confusions_are_told(self) -> None:
        names = tuple(f"class {number}" for number in range(30))
        counts = [[20 if truth == said else 0 for said in range(30)] for truth in range(30)]
        counts[7][3], counts[29][0] = 5, 9
        found = Confusion(head="label", counts=tuple(map(tuple, counts)), labels=names)
        wrong = Mistakes(trial=4, accuracy=0.98, recorded=0.98, confusions=(found,), worst=())
        section = mistakes_section.mistakes(wrong, study="s", trial=4)
        told = "".join(map(str, section.body)).replace("\u00a0", " ")
        assert not any(isinstance(part, Grid) for part in section.body), "a figure would be unreadable"
        assert told.index("class 29") < told.index("class 7")
        assert "of the 20 of 30 classes with the most mistakes" in told

    def test_the_majority_and_a_small_validation_set_are_said(self) -> None:
        few = replace(made().study, spec=replace(SPEC, validation_pictures=27))
        examples = Examples(majority={"label": ("daisy", 24 / 27)})
        page = study_page(replace(made(), study=few, examples=examples))
        answer = answers_of(page.replace("\u00a0", " "))[0]
        SENTENCES.check("the majority and a small validation set", [answer])

    def test_tells_a_confirmation_with_every_test_evaluation(self) -> None:
        run = SeedRun(seed=0, trial=1, trial_id=9, report=report(EPOCH, 0.95))
        evaluation = TestEvaluation(
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
            search_score=0.97,
            runs=(run,),
            dropped=False,
            mean=0.95,
            low=0.94,
            high=0.96,
        )
        search = made().study
        confirming = replace(
            search, name="s-confirm", spec=replace(search.spec, confirms=search.name), target_trials=10
        )
        found = Confirmation(
            search=search,
            confirming=confirming,
            seeds=5,
            candidates=(candidate, replace(candidate, trial=8, runs=(), dropped=True)),
            chosen=4,
            best_run=run,
            searched=search.target_trials,
            search_winner=4,
            finished_runs=10,
            wanted=10,
            test_evaluations=(evaluation, evaluation),
        )
        chosen = choice(found, candidate)
        then = sentences(found)[sentences(found).index(chosen) + 1]
        text = study_page(replace(made(), confirmation=found)).replace("\u00a0", " ")
        for said in (
            "<dt>Winner</dt><dd><strong>Trial 4, confirmed</strong>: <strong>95.00 %</strong>",
            f"<dt>Confirmed?</dt><dd>{chosen} {then}</dd>",
            "trial 4, chosen",
            "trial 8, dropped",
            "94.00 % to 96.00 %",
            "1 of 5",
            "evaluated 2 times, for 1 network of this study. Each choice that",
            "chosen by &lt;tune confirm&gt;",
            "91.00 %",
        ):
            assert said in text, said
        assert "unconfirmed" not in text
        failed = TestAttempt(study_id=1, trial_id=9, moment=NOW, reason="chosen", failure="Not <enough>.")
        found = replace(found, test_attempts=(failed,))
        text = study_page(replace(made(), confirmation=found)).replace("\u00a0", " ")
        for said in (
            "evaluated 3 times, for 1 network of this study. Each choice that",
            "1 evaluation was begun and has no result:",
            "Not &lt;enough&gt;.",
            "91.00 %",
        ):
            assert said in text, said
        text = study_page(replace(made(), confirmation=replace(found, test_evaluations=())))
        assert "evaluated 1 time, for 1 network" in text.replace("\u00a0", " ")

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


def test_captions_say_which_value_of_a_trial_is_drawn() -> None:
    captions = [
        each.caption
        for section in (course_sections.course(made()), course_sections.curves(made()))
        for each in section.body
        if isinstance(each, Chart)
    ]
    SENTENCES.check("captions of the course and of the curves", captions)


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
        figure = progress(best_so_far([trial(0, score=1.0)]), [])
        assert min(y for trace in figure.data for y in trace.y) > 0
        assert sizes([trial(0, score=1.0, parameters=5)], []).layout.yaxis.type == "log"

    def test_ten_curves_can_be_told_apart(self) -> None:
        trials = [trial(n) for n in range(10)]
        figure = learning_curves(trials, {t.trial_id: curve(0.5, 0.6) for t in trials}, SPEC)
        assert len({(line.line.color, line.marker.symbol) for line in figure.data}) == 10
        assert figure.layout.xaxis.title.text
        assert figure.layout.yaxis.title.text

    def test_every_dot_of_an_effect_tells_its_trial(self) -> None:
        trials, found = study(30)
        one = by_name(effects(SETTINGS, trials, found, {3}))["dropout"]
        texts = [text for trace in effect(one).data for text in trace.text or ()]
        assert sorted(int(text.split()[1][:-1]) for text in texts) == list(range(30))


def test_numbers_stay_with_their_units() -> None:
    assert safe("98.5 % of 4 s, n = 40 and p < 0.001") == (
        "98.5\u00a0% of 4\u00a0s, n\u00a0=\u00a040 and p\u00a0&lt;\u00a00.001"
    )
