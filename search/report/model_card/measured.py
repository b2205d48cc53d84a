"""What was measured of a network, as parts of its card: scores, ablation, learning curve."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from search.analysis.ablation import Ablation
from search.analysis.confirmation import Confirmation
from search.analysis.intervals import accuracy_intervals
from search.analysis.two_way import Intervals
from search.heads import train_of, validation_of
from search.records import (
    Direction,
    NetworkSpec,
    Report,
    Scores,
    TestEvaluation,
    Value,
)
from search.report import ablation_sentences
from search.report.ablation_table import setting_rows
from search.report.confirmation_sentences import interval_of_mean, sampled, sentences
from search.report.markdown import plain, sparkline, table
from search.report.model_card.facts import CardFacts
from search.report.words import begun_without_result, hardware, percent, scored, value, widened

CURVE_ROWS = 16
"""Points of a learning curve in its table; of a longer one, a subset."""


def accuracy(facts: CardFacts) -> list[str]:
    """How good it is: accuracies on every split, with intervals, and what they are worth."""
    spec, found = facts.spec, facts.confirmation
    names = columns(facts)
    known = facts.intervals
    rows = [
        (
            "validation",
            spec.validation_pictures,
            fractions(validation_of(facts.report)),
            known.get("validation"),
        )
    ]
    rows += [
        (
            f"test ({plain(evaluation.reason)}, {evaluation.moment:%Y-%m-%d})",
            evaluation.pictures,
            _evaluation_fractions(evaluation),
            known.get("test"),
        )
        for evaluation in facts.test_evaluations
    ]
    lines = [
        "## How good it is",
        "",
        *table(
            ("split", "images", *titles(names)),
            [
                (split, f"{images:,}", *_intervals(fractions, images, names, intervals))
                for split, images, fractions, intervals in rows
            ],
            numbers=range(1, 2 + len(names)),
        ),
        "",
        _on_intervals(facts),
        *_scores(facts),
    ]
    if facts.environment.get(f"precision_{facts.trial.settings['model']}") == "bfloat16":
        lines.append(
            "It was trained and scored in bfloat16; the files compute in float32 and may differ by an image "
            "or two."
        )
    if found is None:
        lines.append(
            "This trial was chosen by its validation score, so this score has selection bias: "
            "expect somewhat less on new images."
        )
    else:
        lines += _confirmed(found, facts.trial.number)
    if facts.test_attempts:
        lines.append(f"On the test set {begun_without_result(facts.test_attempts)}.")
    elif not facts.test_evaluations:
        lines.append("These weights were not evaluated on the test set.")
    return [*lines, ""]


def headline(facts: CardFacts) -> str:
    """97.80 % (mean of the heads): the score in bold, and what it is of."""
    metric, several = facts.spec.metric, " (mean of the heads)" if len(facts.heads) > 1 else ""
    accuracy = f"**{percent(validation_of(facts.report).accuracy)}**{several}"
    if facts.spec.scored_by_answers:
        return accuracy
    title = metric.title.removeprefix("validation ")
    return f"{title} **{value(facts.report.score, metric)}**{several}; its accuracy is {accuracy}"


def columns(facts: CardFacts) -> list[str]:
    """Keys of the columns of accuracies: with one head there is one."""
    heads = [name for name, _ in facts.heads]
    return ["mean", *heads, "joint"] if len(heads) > 1 else ["mean"]


def titles(names: Sequence[str]) -> Sequence[str]:
    """Of these columns."""
    return ["accuracy"] if len(names) == 1 else names


def _on_intervals(facts: CardFacts) -> str:
    """What the intervals of the accuracies know."""
    if facts.examples.are == "digits":
        alike = "as if no two digits were of one hand: for other people's digits they are wider"
    else:
        alike = "as if no two images resembled each other: for images of other origin they are wider"
    joint = " `joint`: every head is right." if len(facts.heads) > 1 else ""
    return (
        f"Accuracies with 95 % intervals over {facts.examples.are} (Wilson, for as many independent answers "
        f"as vary as much; {alike}).{joint}"
    )


def _scores(facts: CardFacts) -> list[str]:
    """What the search optimized where that is not the accuracy, and what is as good as knowing nothing."""
    metric, told = facts.spec.metric, []
    if not facts.spec.scored_by_answers:
        found = [f"on validation {value(facts.report.score, metric)}"]
        tested = [each for each in facts.test_evaluations if each.scores]
        found += [f"on test {value(metric.score_of(each.value), metric)}" for each in tested]
        title = metric.title.removeprefix("validation ")
        told.append(f"The search optimized the {title}: {', '.join(found)}, without an interval.")
    for head, (name, fraction) in facts.examples.majority.items():
        of_head = f" for `{head}`" if len(facts.heads) > 1 else ""
        told.append(
            f"Always answering {plain(name)}{of_head}, the most frequent class of validation, would be right "
            f"on {percent(fraction)}."
        )
    return told


def _confirmed(found: Confirmation, trial: int) -> list[str]:
    candidate = found.choice
    assert candidate is not None, "its best run is what this card is about"
    worse = "less" if found.metric.direction is Direction.MAXIMIZE else "more"
    mean = f"{percent(candidate.mean)} on validation"
    between = f", 95 % interval {percent(candidate.low)} to {percent(candidate.high)}"
    if not found.scored_by_answers:
        mean = scored(candidate.mean, found.metric)
        between = f", 95 % interval {interval_of_mean(candidate, found.metric)}, {sampled(candidate)}"
        between = between if candidate.has_interval else ""
    return [
        f"Its settings are those of trial {candidate.trial} of {plain(found.study)}{widened(found.widen)}, "
        f"which were retrained on {len(candidate.runs)} fresh seeds: {mean} on average{between}. Of these, "
        f"trial {trial} of {plain(found.confirmed_in)} scored best: expect the mean, and rather a little "
        f"{worse} where it is the best of several.",
        *sentences(found),
    ]


def ablated(found: Ablation | None) -> list[str]:
    """Which settings mattered, where that was measured."""
    if found is None:
        return []
    lines = ["## What mattered", ""]
    lines += [f"- {_with_plain_names(sentence, found)}" for sentence in ablation_sentences.sentences(found)]
    header, rows = setting_rows(found)
    if rows:
        cells = [tuple(plain(cell) if not place else cell for place, cell in enumerate(row)) for row in rows]
        lines += ["", *table(header, cells, numbers=range(1, len(header)))]
    return [*lines, ""]


def _with_plain_names(sentence: str, found: Ablation) -> str:
    """The sentence, its study names escaped outside of commands."""
    parts = sentence.split("`")
    for name in dict.fromkeys((*found.others, found.record.name, found.searched.name)):
        parts = [part if place % 2 else part.replace(name, plain(name)) for place, part in enumerate(parts)]
    return "`".join(parts)


def training(facts: CardFacts) -> list[str]:
    """Its settings and its learning curve."""
    spec, curve = facts.spec, list(facts.curve)
    every = max(1, math.ceil(len(curve) / CURVE_ROWS))
    shown = [each for i, each in enumerate(curve) if i % every == 0 or each in (curve[-1], facts.report)]
    accuracies = [validation_of(each).accuracy for each in curve]
    rows = [_row(each, spec, taken=each == facts.report) for each in shown]
    machine = f" on {hardware(facts.environment)}" if facts.environment else ""
    return [
        "## How it was trained",
        "",
        *table(
            ("setting", "value", "meaning"),
            [(f"`{each.name}`", _value(each.value), each.meaning) for each in facts.settings],
        ),
        "",
        f"{curve[-1].step:,} training images in {curve[-1].seconds:,.0f} s{machine}. Validation "
        "accuracy: "
        f"{sparkline(accuracies)} "
        f"({percent(accuracies[0])} to {percent(accuracies[-1])})",
        "",
        *table(
            ("images", "epoch", "loss, train", "loss, validation", "accuracy, train", "accuracy, validation"),
            rows,
            numbers=range(6),
        ),
        "",
        "Train is measured while training, with dropout and augmentation; in bold, where the weights were "
        "taken.",
        "",
    ]


def _row(report: Report, spec: NetworkSpec, *, taken: bool) -> tuple[str, ...]:
    """Of the learning curve. taken: whether the weights are those of this report."""
    train, validation = train_of(report), validation_of(report)
    accuracy = percent(validation.accuracy)
    return (
        f"{report.step:,}",
        f"{report.step / spec.epoch_images:.2f}",
        f"{train.loss:.4f}",
        f"{validation.loss:.4f}",
        percent(train.accuracy),
        f"**{accuracy}**" if taken else accuracy,
    )


def fractions(scores: Scores) -> dict[str, float]:
    """Accuracies by column."""
    heads = {name: head.accuracy for name, head in scores.heads.items()}
    return {"mean": scores.accuracy, **heads, "joint": scores.joint}


def _evaluation_fractions(evaluation: TestEvaluation) -> dict[str, float]:
    return {"mean": evaluation.accuracy, **evaluation.heads, "joint": evaluation.joint}


def _intervals(
    fractions: Mapping[str, float], n: int, names: Sequence[str], known: Intervals | None
) -> list[str]:
    heads = {name: fraction for name, fraction in fractions.items() if name not in ("mean", "joint")}
    intervals = known or accuracy_intervals(heads, fractions["joint"], n)
    return [
        f"{percent(fractions[name])} [{intervals[name][0] * 100:.2f}, {intervals[name][1] * 100:.2f}]"
        for name in names
    ]


def _value(value: Value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
