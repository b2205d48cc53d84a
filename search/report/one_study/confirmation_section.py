"""The part of a report that tells what a confirmation found, or that there was none."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote

from search.analysis.confirmation import Candidate, Confirmation
from search.records import (
    DeclaredSpec,
    Direction,
    Examples,
    StudyRecord,
    TestAttempt,
    TestEvaluation,
    TestEvaluationCounts,
)
from search.report.confirmation_sentences import (
    SEEDS_AND_EXAMPLES,
    SEEDS_ONLY,
    choice,
    interval_of_mean,
    of_length,
    sentences,
)
from search.report.html import Html, code, paragraph, subheading, table
from search.report.page import Section
from search.report.words import begun_without_result, count, number, percent, titled, value, widened

HEADING = "Confirmed?"


def in_short(confirmation: Confirmation | None, *, study: StudyRecord, trials: int) -> str:
    """Whether the winner is confirmed, in a sentence or two. trials: how many it was chosen from."""
    if study.spec.confirms is not None:
        return f"It is one seed of a confirmation: the report on {study.spec.confirms} has the means."
    if study.spec.ablates is not None:
        return (
            f"It is one run of an ablation, whose trials are variants of trial {study.spec.baseline} of "
            f"{study.spec.ablates}: the report on {study.spec.ablates} has the differences."
        )
    if confirmation is None:
        tried = count(trials, "trial")
        if isinstance(study.spec, DeclaredSpec):
            title = study.spec.metric.title
            return f"Not yet: the {title} of the best of {tried}, with one seed each, has selection bias."
        what = "accuracy" if study.spec.scored_by_answers else study.spec.metric.title
        return f"Not yet: the {what} of the best of {tried} on the images that chose it has selection bias."
    chosen = confirmation.choice
    if chosen is None:
        return f"Not yet: {confirmation.confirmed_in} has not decided."
    said, words = choice(confirmation, chosen), sentences(confirmation)
    then = words[words.index(said) + 1 :][:1] if said in words else ()
    return " ".join((said, *then))  # whom it chose, and what became of the winner


def confirmed(
    confirmation: Confirmation | None, *, study: StudyRecord, trials: int, examples: Examples
) -> Section:
    """trials: how many the winner was chosen from. examples: that networks are measured on."""
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
    if study.spec.ablates is not None:
        return Section(
            heading=HEADING,
            body=(
                paragraph(
                    f"This study is an ablation: its trials are variants of trial {study.spec.baseline} of "
                    f"{study.spec.ablates} on fresh seeds. The best of them is one selected run.",
                    kind="answer",
                ),
                paragraph(
                    code(f"tune report {quote(study.spec.ablates)}"), " has the differences with intervals."
                ),
            ),
        )
    if confirmation is None:
        return Section(heading=HEADING, body=_unconfirmed(study, trials, examples))
    width = widened(confirmation.widen, "leaders")
    over = "" if confirmation.scored_by_answers else " over seeds"
    if over and confirmation.over_examples:
        over = " over seeds and examples"
    return Section(
        heading=HEADING,
        body=(
            *[
                paragraph(sentence, kind="answer" if not place else "")
                for place, sentence in enumerate(sentences(confirmation))
            ],
            paragraph(
                f"{count(len(confirmation.candidates), 'configuration')} on "
                f"{count(confirmation.seeds, 'fresh seed')}, {of_length(confirmation.confirming.spec)} each"
                f"{width}, in the study {confirmation.confirmed_in}. {_how_to_read(confirmation)}",
                kind="note",
            ),
            table(
                ("configuration", "in the search", "mean on fresh seeds", f"95 % interval{over}", "seeds"),
                [_row(each, confirmation) for each in confirmation.candidates],
            ),
            *(_test_evaluations(confirmation) if confirmation.confirming.spec.has_test else ()),
        ),
    )


def _unconfirmed(study: StudyRecord, trials: int, examples: Examples) -> tuple[Html, ...]:
    """What to think of a winner before a confirmation. trials: how many it was chosen from."""
    command = code(f"tune confirm {quote(study.name)}")
    if isinstance(study.spec, DeclaredSpec):
        return (
            paragraph(
                f"The winner is unconfirmed. It is the best of {count(trials, 'trial')}, each measured with "
                "one seed. Where values vary with the seed, the best of many noisy ones is too good: do not "
                "take a small lead over the second for one.",
                kind="answer",
            ),
            paragraph(command, " repeats the leaders on fresh seeds and ranks them by the mean."),
        )
    extreme, worse = (
        ("largest of many noisy numbers is too large", "less")
        if study.spec.metric.direction is Direction.MAXIMIZE
        else ("smallest of many noisy numbers is too small", "more")
    )
    return (
        paragraph(
            f"The winner is unconfirmed. It is the best of {count(trials, 'trial')} on the very "
            f"images that chose it, and the {extreme}: expect a little {worse} on new {examples.are}, and do "
            "not take a small lead over the second for one.",
            kind="answer",
        ),
        paragraph(
            command,
            " retrains the leaders on fresh seeds, ranks them by the mean, and evaluates "
            "the winner on the test set once. No number on this page comes from the test set.",
        ),
    )


def _how_to_read(confirmation: Confirmation) -> str:
    """What the columns of the table are."""
    if confirmation.scored_by_answers:
        return (
            f"Intervals are 95 % of the mean over seeds and {confirmation.examples.are}; the number from the "
            "search is the one that chose, and is biased upward."
        )
    metric = confirmation.metric
    over = SEEDS_AND_EXAMPLES if confirmation.over_examples else SEEDS_ONLY
    biased = "upward" if metric.direction is Direction.MAXIMIZE else "downward"
    return (
        f"Values are of {titled(metric)}. Intervals are 95 % of the mean, {over}; the value from the "
        f"search is the one that chose, and is biased {biased}."
    )


def _row(candidate: Candidate, confirmation: Confirmation) -> tuple[str, ...]:
    name = candidate.reference or f"trial {candidate.trial}"
    chosen = ", chosen" if candidate.trial == confirmation.chosen else ""
    dropped = ", dropped" if candidate.dropped else ""
    return (
        f"{name}{chosen}{dropped}",
        value(candidate.search_score, confirmation.metric),
        value(candidate.mean, confirmation.metric) if candidate.runs else "–",
        _interval(candidate, confirmation) if candidate.runs else "–",
        f"{len(candidate.runs)} of {confirmation.seeds}",
    )


def _interval(candidate: Candidate, confirmation: Confirmation) -> str:
    if confirmation.scored_by_answers:
        return f"{percent(candidate.low)} to {percent(candidate.high)}"
    return interval_of_mean(candidate, confirmation.metric)


def _in_all(evaluation_counts: TestEvaluationCounts | None) -> str:
    if evaluation_counts is None:
        return ""
    gone = evaluation_counts.of_deleted_studies
    deleted = f", {gone} of them for studies that are deleted" if gone else ""
    return f", and {count(evaluation_counts.total, 'time')} in the whole storage{deleted}"


def _test_evaluations(found: Confirmation) -> list[Html]:
    results, attempts = found.test_evaluations, found.test_attempts
    total = len(results) + len(attempts)
    if not total:
        return [paragraph("The test set was not evaluated for this study.")]
    trials = len({each.trial_id for each in results} | {each.trial_id for each in attempts})
    whose = count(trials, "network" if found.of_networks else "run")
    return [
        subheading("Test evaluations"),
        paragraph(
            f"The test set was evaluated {count(total, 'time')}, for "
            f"{whose} of this study{_in_all(found.evaluation_counts)}. Each choice that follows "
            "an evaluation adds selection bias to the figures of the later ones."
        ),
        *([_of_networks(found) if found.of_networks else _of_code(results)] if results else []),
        *(_without_result(attempts) if attempts else []),
    ]


def _without_result(attempts: Sequence[TestAttempt]) -> list[Html]:
    rows = [(f"{each.moment:%Y-%m-%d %H:%M}", each.reason, each.why) for each in attempts]
    return [
        paragraph(f"{begun_without_result(len(attempts))}:"),
        table(("when (UTC)", "why", "no result because"), rows, words=(0, 1, 2)),
    ]


def _of_networks(found: Confirmation) -> Html:
    """The score where it is not the accuracy, and the accuracies, of a single head one."""
    test_evaluations, metric = found.test_evaluations, found.metric
    scored = () if found.scored_by_answers else (metric.title.removeprefix("validation "),)
    by_head = ("by head", "all heads right") if len(test_evaluations[0].heads) > 1 else ()
    rows = [
        (
            f"{evaluation.moment:%Y-%m-%d %H:%M}",
            evaluation.reason,
            *(value(found.tested(evaluation), metric) for _ in scored),
            percent(evaluation.accuracy),
            *((_by_head(evaluation), percent(evaluation.joint)) if by_head else ()),
            f"{evaluation.pictures:,}",
        )
        for evaluation in test_evaluations
    ]
    return table(
        ("when (UTC)", "why", *scored, "accuracy", *by_head, "images"),
        rows,
        words=(0, 1, *((3 + len(scored),) if by_head else ())),
    )


def _by_head(evaluation: TestEvaluation) -> str:
    return ", ".join(f"{name} {percent(accuracy)}" for name, accuracy in evaluation.heads.items())


def _of_code(test_evaluations: Sequence[TestEvaluation]) -> Html:
    """What the test function of training code returned."""
    rows = [
        (
            f"{evaluation.moment:%Y-%m-%d %H:%M}",
            evaluation.reason,
            ", ".join(f"{name} {number(each)}" for name, each in evaluation.heads.items()),
        )
        for evaluation in test_evaluations
    ]
    return table(("when (UTC)", "why", "metrics"), rows, words=(0, 1, 2))
