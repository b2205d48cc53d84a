"""The part of a report that tells what a confirmation found, or that there was none."""

from __future__ import annotations

from shlex import quote

from search.analysis.confirmation import Candidate, Confirmation
from search.records import Look, StudyRecord, TestEvaluations
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
        return f"Not yet: the best of {tried} on the pictures that chose it is always a little lucky."
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
                    f"{study.spec.confirms} on fresh seeds. The best of them is one lucky seed.",
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
                    " trains the leaders again on fresh seeds, ranks them by the mean, and looks at the "
                    "test set once. No number on this page comes from the test set.",
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
            *_looks(confirmation.looks, confirmation.evaluations),
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


def _in_all(evaluations: TestEvaluations | None) -> str:
    if evaluations is None:
        return ""
    gone = evaluations.of_deleted_studies
    deleted = f", {gone} of them for studies that are deleted" if gone else ""
    return f", and {count(evaluations.total, 'time')} in the whole storage{deleted}"


def _looks(looks: tuple[Look, ...], evaluations: TestEvaluations | None) -> list[Html]:
    if not looks:
        return [paragraph("The test set has not been looked at for this study.")]
    trials = len({look.trial_id for look in looks})
    rows = [
        (
            f"{look.moment:%Y-%m-%d %H:%M}",
            look.reason,
            percent(look.accuracy),
            ", ".join(f"{name} {percent(accuracy)}" for name, accuracy in look.heads.items()),
            percent(look.joint),
            f"{look.pictures:,}",
        )
        for look in looks
    ]
    return [
        subheading("Looks at the test set"),
        paragraph(
            f"The test set was evaluated {count(len(looks), 'time')}, for {count(trials, 'network')} of this "
            f"study{_in_all(evaluations)}. The more often, the more may have been chosen by it, and the less "
            "the numbers are worth."
        ),
        table(
            ("when (UTC)", "why", "accuracy", "by head", "all heads right", "pictures"), rows, words=(0, 1, 3)
        ),
    ]
