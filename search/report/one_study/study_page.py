"""A report on one study on one page: the answer first, then figures, then details folded."""

from __future__ import annotations

from shlex import quote

from search.analysis.findings import Findings
from search.records import NetworkSpec
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
    searched = spec.confirms is None  # a confirmation's settings were given: it compares none
    lead = safe(_answer(material, found), paragraph(winner_section.standing(material), kind="note"))
    mistakes = material.mistakes
    sections = [
        course_sections.course(material),
        course_sections.curves(material),
        *([question_sections.settings(material, found)] if searched else []),
        *([question_sections.extra(found, spec)] if isinstance(spec, NetworkSpec) else []),
        confirmation_section.confirmed(
            material.confirmation, study=material.study, trials=material.counted.finished
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
    networks = isinstance(spec, NetworkSpec)
    winner = (
        winner_section.in_words(material, spec)
        if isinstance(spec, NetworkSpec)
        else declared_winner_section.in_words(material, spec)
    )
    answers = [("Winner", winner), ("Confirmed?", safe(sure))]
    if spec.confirms is None:
        whole, early = (
            ("Which settings helped to generalize?", "Which settings learn fast?")
            if networks
            else ("Which settings helped?", "Which settings helped early?")
        )
        answers.append((whole, with_commands(generalization(found, spec))))
        fast = speed(found, spec)
        if fast:
            answers.append((early, safe(fast)))
    if networks:
        answers.append(("Did extra training always help?", safe(extra_training(found.training))))
    return answer_list([*answers, ("What to do next?", _next(material, found))])


def _next(material: Material, found: Findings) -> Html:
    name, spec = quote(material.study.name), material.study.spec
    if not material.study.is_finished(material.counted.finished):
        return safe(code(f"tune worker {name}"), " continues with the search.")
    if spec.confirms is not None:
        return safe(code(f"tune report {quote(spec.confirms)}"), " has the ranking by the mean over seeds.")
    told = _about_the_winner(material)
    if found.basis is None or found.generalization:
        return told
    if not isinstance(spec, NetworkSpec):
        return safe(told, " For the settings: a search without a pruner takes every trial to its end.")
    other = quote(f"{material.study.name}-unpruned")
    budget = f"--trials {material.study.target_trials} --epochs {spec.epochs:g}"
    unpruned = code(f"tune run --task {spec.task} --study {other} {budget} --pruner none")
    return safe(told, " For the settings: ", unpruned, " trains every trial to the end.")


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
