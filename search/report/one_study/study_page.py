"""A report on one study on one page: the answer first, then figures, then details folded."""

from __future__ import annotations

from shlex import quote

from search.analysis.findings import Findings
from search.records import NetworkSpec, StudySpec
from search.report import ablation_page
from search.report.ablation_sentences import settings_answer, training_answer
from search.report.ablation_words import command
from search.report.html import Html, answer_list, code, paragraph, safe, with_commands
from search.report.one_study import (
    confirmation_section,
    course_sections,
    declared_winner_section,
    mistakes_section,
    question_sections,
    reproduction_section,
    winner_section,
)
from search.report.one_study.material import Material
from search.report.one_study.study_sentences import extra_training, generalization, speed
from search.report.page import page


def study_page(material: Material) -> str:
    """The whole page. At least one trial must have come to a report."""
    best, spec = material.winner, material.study.spec
    assert best is not None, "a report is made of a study with a report"
    name, found = material.study.name, material.findings()
    searched = spec.searches  # settings of confirmations and ablations were given: the page compares none
    lead = safe(_answer(material, found), paragraph(winner_section.standing(material), kind="note"))
    mistakes = material.mistakes
    sections = [
        course_sections.course(material),
        course_sections.curves(material),
        *([] if material.ablation is None else ablation_page.sections_of(material.ablation)),
        *([question_sections.settings(material, found)] if searched else []),
        *(
            [question_sections.extra(found, spec)]
            if isinstance(spec, NetworkSpec) and _compares(spec)
            else []
        ),
        confirmation_section.confirmed(
            material.confirmation,
            study=material.study,
            trials=material.counted.finished,
            examples=material.examples,
        ),
        winner_section.winner(material, spec)
        if isinstance(spec, NetworkSpec)
        else declared_winner_section.winner(material, spec),
        *([] if mistakes is None else [mistakes_section.mistakes(mistakes, study=name, trial=best.number)]),
        *([course_sections.sizes(material)] if course_sections.has_sizes(material) else []),
        course_sections.time(material),
        reproduction_section.repeat(material),
    ]
    footer = (
        f"Made by tune {material.version} from the study {name}, read {material.moment:%Y-%m-%d %H:%M} UTC."
    )
    return page(f"{name}: what the search found", sections, lead=lead, footer=footer)


def _answer(material: Material, found: Findings) -> Html:
    """What a reader came for."""
    spec, tried = material.study.spec, material.counted.finished
    sure = confirmation_section.in_short(material.confirmation, study=material.study, trials=tried)
    winner = (
        winner_section.in_words(material, spec)
        if isinstance(spec, NetworkSpec)
        else declared_winner_section.in_words(material, spec)
    )
    answers = [("Winner", winner), ("Confirmed?", safe(sure))]
    if spec.searches:
        whole, early = (
            ("Which settings helped to generalize?", "Which settings learn fast?")
            if isinstance(spec, NetworkSpec)
            else ("Which settings helped?", "Which settings helped early?")
        )
        answers.append((whole, with_commands(_settings(material, found))))
        fast = speed(found, spec)
        if fast:
            answers.append((early, safe(fast)))
    if _compares(spec):
        answers += _longer(material, found)
    return answer_list([*answers, ("What to do next?", _next(material))])


def _settings(material: Material, found: Findings) -> str:
    """Which settings helped: by an ablation where it compared some, else by the search, and why so."""
    ablation = material.ablation
    measured = "" if ablation is None else settings_answer(ablation)
    if ablation is not None and ablation.settings:
        return measured
    return " ".join(filter(None, (measured, generalization(found, material.study.spec))))


def _compares(spec: StudySpec) -> bool:
    """Whether the trials' courses tell what more training does: those of an ablation have several lengths on
    purpose, and its own page says what they tell."""
    return spec.ablates is None


def _longer(material: Material, found: Findings) -> list[tuple[str, Html]]:
    """Whether extra training helped: by an ablation where it measured that, else by the trials' courses."""
    ablation = material.ablation
    measured = "" if ablation is None else training_answer(ablation)
    if isinstance(material.study.spec, NetworkSpec):
        by_search = "" if ablation is not None and ablation.lengths else extra_training(found.training)
        told = with_commands(" ".join(filter(None, (measured, by_search))))
        return [("Did extra training always help?", told)]
    return [("Did a larger budget always help?", with_commands(measured))] if measured else []


def _next(material: Material) -> Html:
    name, spec = quote(material.study.name), material.study.spec
    finished = material.study.is_finished(material.counted.finished)
    if spec.ablates is not None and not finished:
        asked = [trial.ablation for trial in material.trials if trial.ablation]
        return safe(code(command(material.study, asked)), " continues with the ablation.")
    if not finished:
        return safe(code(f"tune worker {name}"), " continues with the search.")
    if spec.based_on is not None:
        what = (
            "the differences with their intervals" if spec.ablates else "the ranking by the mean over seeds"
        )
        return safe(code(f"tune report {quote(spec.based_on)}"), f" has {what}.")
    return safe(_about_the_winner(material), *_about_the_settings(material))


def _about_the_settings(material: Material) -> list[str]:
    """What measures them, where that is not done."""
    name, found = quote(material.study.name), material.ablation
    if material.ranking.searched is None:  # there is no winner to be changed
        return []
    if found is None:
        longer = "extra training" if isinstance(material.study.spec, NetworkSpec) else "a larger budget"
        told = f" measures which settings helped, and whether {longer} does."
        return [" For the settings: ", code(f"tune ablate {name}"), told]
    if not found.finished:
        continues = code(command(found.record, found.asked))
        return [" For the settings: ", continues, " continues with the ablation."]
    return []


def _about_the_winner(material: Material) -> Html:
    """What to do next with the winner of a finished search."""
    name, networks = quote(material.study.name), isinstance(material.study.spec, NetworkSpec)
    confirms = code(f"tune confirm {name}")
    if material.confirmation is None and networks:
        return safe(confirms, " retrains the leaders on fresh seeds and evaluates the test set once.")
    if material.confirmation is None:
        return safe(confirms, " repeats the leaders on fresh seeds, to tell how far their values vary.")
    chosen = material.confirmation.choice
    if chosen is None:
        return safe(confirms, " continues with the confirmation.")
    if networks:
        return safe(
            code(f"tune export {name} --out model"), " writes the confirmed network for other programs."
        )
    settings = code(f"tune trials {name} --json")
    return safe(f"Use the settings of trial {chosen.trial}; ", settings, " has them to the last digit.")
