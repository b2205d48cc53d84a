"""A report on one study on one page: the answer first, then figures, then details folded."""

from __future__ import annotations

from shlex import quote

from search.analysis.findings import Findings
from search.report.html import Html, answer_list, code, paragraph, safe, with_commands
from search.report.one_study import (
    confirmation_section,
    course_sections,
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
    best = material.winner
    assert best is not None, "a report is made of a study with a report"
    name, found = material.study.name, material.findings()
    searched = material.study.spec.confirms is None  # a confirmation's settings were given: it compares none
    lead = safe(_answer(material, found), paragraph(winner_section.standing(material), kind="note"))
    sections = [
        course_sections.course(material),
        course_sections.curves(material),
        *([question_sections.settings(material, found)] if searched else []),
        question_sections.extra(material, found),
        confirmation_section.confirmed(
            material.confirmation, study=material.study, trials=material.counted.finished
        ),
        winner_section.winner(material),
        mistakes_section.mistakes(material.mistakes, study=name, trial=best.number),
        course_sections.sizes(material),
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
    answers = [("Winner", winner_section.in_words(material)), ("Confirmed?", safe(sure))]
    if spec.confirms is None:
        told = generalization(found, epoch_images=spec.epoch_images, budget=material.budget)
        answers.append(("Which settings helped to generalize?", with_commands(told)))
        fast = speed(found, epoch_images=spec.epoch_images)
        if fast:
            answers.append(("Which settings learn fast?", safe(fast)))
    answers += [
        ("Did extra training always help?", safe(extra_training(found.training))),
        ("What to do next?", _next(material, found)),
    ]
    return answer_list(answers)


def _next(material: Material, found: Findings) -> Html:
    name, spec = quote(material.study.name), material.study.spec
    if not material.study.is_finished(material.counted.finished):
        return safe(code(f"tune worker {name}"), " continues with the search.")
    if spec.confirms is not None:
        return safe(code(f"tune report {quote(spec.confirms)}"), " has the ranking by the mean over seeds.")
    confirms = code(f"tune confirm {name}")
    if material.confirmation is None:
        told = safe(confirms, " trains the leaders again on fresh seeds and evaluates the test set once.")
    elif material.confirmation.choice is None:
        told = safe(confirms, " continues with the confirmation.")
    else:
        told = safe(
            code(f"tune export {name} --out model"), " writes the confirmed network for other programs."
        )
    if found.basis is None or found.generalization:
        return told
    other = quote(f"{material.study.name}-unpruned")
    budget = f"--trials {material.study.target_trials} --epochs {spec.epochs:g}"
    unpruned = code(f"tune run --task {spec.task} --study {other} {budget} --pruner none")
    return safe(told, " For the settings: ", unpruned, " trains every trial to the end.")
