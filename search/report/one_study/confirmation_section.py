"""The part of a report that tells what a confirmation found, or that there was none."""

from __future__ import annotations

from shlex import quote

from search.analysis.confirmation import Candidate, Confirmation
from search.records import StudyRecord, TestEvaluation, TestEvaluationCounts
from search.report.confirmation_sentences import choice, sentences
from search.report.html import Html, code, paragraph, subheading, table
from search.report.page import Section
from search.report.words import count, percent, widened

HEADING = "Confirmed?"


def in_short(confirmation: Confirmation | None, *, study: StudyRecord, trials: int) -> str:
    """Whether the winner is confirmed, in a sentence or two. trials: how many it was chosen from."""
    if study.spec.confirms is not None:
        return f"It is one seed of a confirmation: the report on {study.spec.confirms} has the means."
    if confirmation is None:
        tried = count(trials, "trial")
        return f"Not yet: the accuracy of the best of {tried} on the images that chose it has selection bias."
    chosen = confirmation.choice
    if chosen is None:
        return f"Not yet: {confirmation.confirmed_in} has not decided."
    said, words = choice(confirmation, chosen), sentences(confirmation)
    then = words[words.index(said) + 1 :][:1] if said in words else ()
    return " ".join((said, *then))  # whom it chose, and what became of the winner


def confirmed(confirmation: Confirmation | None, *, study: StudyRecord, trials: int) -> Section:
    """trials: how many the winner was chosen from."""
    if study.spec.confirms is not None:
        return Section(
            heading=HEADING,
            body=(
                paragraph(
                    "This study is itself a confirmation: its trials are the leaders of "
                    f"{study.spec.confirms} on fresh seeds. The best of them is one selected seed.",
                    kind="answer",
                ),
                paragraph(code(f"tune report {quote(study.spec.confirms)}"), " has the ranking by the mean."),
            ),
        )
    if confirmation is None:
        return Section(
            heading=HEADING,
            body=(
                paragraph(
                    f"The winner is unconfirmed. It is the best of {count(trials, 'trial')} on the very "
                    "pictures that chose it, and the largest of many noisy numbers is too large: expect a "
                    "little less on new digits, and do not take a small lead over the second for one.",
                    kind="answer",
                ),
                paragraph(
                    code(f"tune confirm {quote(study.name)}"),
                    " trains the leaders again on fresh seeds, ranks them by the mean, and evaluates "
                    "the winner on the test set once. No number on this page comes from the test set.",
                ),
            ),
        )
    width = widened(confirmation.widen, "leaders")
    return Section(
        heading=HEADING,
        body=(
            *[
                paragraph(sentence, kind="answer" if not place else "")
                for place, sentence in enumerate(sentences(confirmation))
            ],
            paragraph(
                f"{count(len(confirmation.candidates), 'configuration')} on "
                f"{count(confirmation.seeds, 'fresh seed')}, {confirmation.epochs:g} epochs each{width}, in "
                f"the study {confirmation.confirmed_in}. Intervals are 95 % of the mean over seeds and "
                "digits; the number from the search is the one that chose, and is biased upward.",
                kind="note",
            ),
            table(
                ("configuration", "in the search", "mean on fresh seeds", "95 % interval", "seeds"),
                [_row(each, confirmation) for each in confirmation.candidates],
            ),
            *_test_evaluations(confirmation.test_evaluations, confirmation.evaluation_counts),
        ),
    )


def _row(candidate: Candidate, confirmation: Confirmation) -> tuple[str, ...]:
    name = candidate.reference or f"trial {candidate.trial}"
    chosen = ", chosen" if candidate.trial == confirmation.chosen else ""
    dropped = ", dropped" if candidate.dropped else ""
    return (
        f"{name}{chosen}{dropped}",
        percent(candidate.search_value),
        percent(candidate.mean) if candidate.runs else "–",
        f"{percent(candidate.low)} to {percent(candidate.high)}" if candidate.runs else "–",
        f"{len(candidate.runs)} of {confirmation.seeds}",
    )


def _in_all(evaluation_counts: TestEvaluationCounts | None) -> str:
    if evaluation_counts is None:
        return ""
    gone = evaluation_counts.of_deleted_studies
    deleted = f", {gone} of them for studies that are deleted" if gone else ""
    return f", and {count(evaluation_counts.total, 'time')} in the whole storage{deleted}"


def _test_evaluations(
    test_evaluations: tuple[TestEvaluation, ...], evaluation_counts: TestEvaluationCounts | None
) -> list[Html]:
    if not test_evaluations:
        return [paragraph("The test set was not evaluated for this study.")]
    trials = len({evaluation.trial_id for evaluation in test_evaluations})
    rows = [
        (
            f"{evaluation.moment:%Y-%m-%d %H:%M}",
            evaluation.reason,
            percent(evaluation.accuracy),
            ", ".join(f"{name} {percent(accuracy)}" for name, accuracy in evaluation.heads.items()),
            percent(evaluation.joint),
            f"{evaluation.pictures:,}",
        )
        for evaluation in test_evaluations
    ]
    return [
        subheading("Test evaluations"),
        paragraph(
            f"The test set was evaluated {count(len(test_evaluations), 'time')}, for "
            f"{count(trials, 'network')} of this study{_in_all(evaluation_counts)}. Each choice that follows "
            "an evaluation adds selection bias to the accuracies of the later ones."
        ),
        table(
            ("when (UTC)", "why", "accuracy", "by head", "all heads right", "images"), rows, words=(0, 1, 3)
        ),
    ]
