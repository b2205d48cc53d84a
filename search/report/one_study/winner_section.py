"""The winner: in a sentence, head by head, and its settings. How far a study of any objective is."""

from __future__ import annotations

from search.analysis import two_way
from search.analysis.intervals import accuracy_intervals, of_the_best
from search.analysis.ranking import best_report, gains
from search.analysis.ranking import count as count_states
from search.analysis.two_way import Intervals
from search.heads import joint_of, train_of, validation_of
from search.records import (
    ACCURACY,
    Direction,
    NetworkSpec,
    Report,
    Scores,
    State,
    TrialRecord,
)
from search.report.html import Html, paragraph, safe, strong, table
from search.report.one_study import declared_winner_section
from search.report.one_study.material import Material
from search.report.page import Section
from search.report.words import (
    better,
    code_changed,
    count,
    duration,
    epochs,
    foreign_in_words,
    label,
    percent,
    points,
    share,
    space_changed,
    value,
)

FEW = 1000
"""Validation images; with fewer the page says what a single one is in points."""


def standing(material: Material) -> str:
    """How far the study is, in a sentence."""
    counts, target = material.counted, material.study.target_trials
    made = f"{counts.complete} complete, {counts.pruned} pruned"
    if counts.interrupted:
        made += f", {counts.interrupted} interrupted and repeated"
    if counts.outside_space:
        made += f", {counts.outside_space} not continued in the changed search space"
    if counts.failed_otherwise:
        made += f", {counts.failed_otherwise} failed" + (" and replaced" if counts.finished >= target else "")
    told = (
        foreign_in_words(counts.foreign),
        _left_out(material),
        code_changed(material.trials),
        space_changed(material.study.spec, material.trials),
    )
    besides = "".join(f" {sentence}" for sentence in told)
    if counts.finished >= target:
        return f"All {counts.finished:,} trials are finished ({made}).{besides}".rstrip()
    if material.study.exhausted:
        return (
            f"The search space is exhausted after {counts.finished:,} of {target:,} trials ({made}): every "
            f"configuration that it has was tried.{besides}"
        ).rstrip()
    return (
        f"The study is not finished: {counts.finished:,} of {target:,} trials are ({made}; {counts.running} "
        f"at work). What follows is how it stands.{besides}"
    ).rstrip()


def _left_out(material: Material) -> str:
    """That finished trials are missing here, because their rows were edited."""
    missing = material.counted.finished - count_states(material.trials).finished
    if missing <= 0:
        return ""
    return (
        f"{count(missing, 'finished trial')} cannot be used and {'is' if missing == 1 else 'are'} left out."
    )


def _tried(material: Material) -> int:
    """Measurements that the winner's was chosen among: of all trials, at all moments."""
    failed = {trial.trial_id for trial in material.trials if trial.state is State.FAILED}
    return max(1, sum(len(curve) for trial, curve in material.curves.items() if trial not in failed))


def in_words(material: Material, spec: NetworkSpec) -> Html:
    """The winner in one sentence; a better reference before it."""
    winner = material.winner
    assert winner is not None, "a report is made of a study with a report"
    report = best_report(material.curves[winner.trial_id])
    assert report is not None
    low, high = _intervals(material, report, spec)["mean"]
    n, accuracy = spec.validation_pictures, validation_of(report).accuracy
    size = f" with {winner.parameters:,} parameters" if winner.parameters else ""
    lead = "" if winner.state is State.COMPLETE else " (so far: no trial is complete yet)"
    reference, metric = material.ranking.better_reference, spec.metric
    parts = [
        *([strong(better(reference, metric)), " "] if reference not in (None, winner) else []),
        *_confirmed(material, winner, spec),
        strong(f"Trial {winner.number}"),
        f"{lead}, {_kind(winner, material)}{size}, ",
        *([] if spec.scored_by_answers else _scored(report, spec, winner)),
        "is right on ",
        strong(percent(accuracy)),
        f" of the validation set (95 % interval {low * 100:.2f} to {percent(high)}, which allows for the "
        f"selection of the best of {count(_tried(material), 'measurement')}; {n:,} images{_each(n)}).",
        *_majority(material),
    ]
    if winner.reference:
        parts.append(" No searched trial has come to a report yet.")
    return safe(*parts)


def _scored(report: Report, spec: NetworkSpec, winner: TrialRecord) -> list[str]:
    """What the search optimized, before the accuracy."""
    metric = spec.metric
    if winner.reference:
        return [f"has {metric.title} ", strong(value(report.score, metric)), " and "]
    best = "lowest" if metric.direction is Direction.MINIMIZE else "highest"
    return [
        f"has the {best} {metric.title} of the searched trials, ",
        strong(value(report.score, metric)),
        ", measured once (no interval: validation sampling is not included); it ",
    ]


def _each(images: int) -> str:
    """What one image more is, where that is much."""
    return f", each of which is {percent(1 / images).removesuffix(' %')} points" if images < FEW else ""


def _majority(material: Material) -> list[str]:
    """What always answering with the most frequent class comes to, where classes differ in size."""
    known = material.examples.majority
    return [
        f" Always answering {name}{f' for {head}' if len(known) > 1 else ''}, the most frequent class of the "
        f"validation set, would be right on {percent(share_of_class)}."
        for head, (name, share_of_class) in known.items()
    ]


def _intervals(material: Material, report: Report, spec: NetworkSpec) -> Intervals:
    """Adjusted for choosing the best. Over digits; where the single answers are not known, as if no two
    images shared one."""
    z = of_the_best(_tried(material))
    if material.answers is not None:
        return two_way.intervals(*material.answers, z=z)
    joint = joint_of(report)
    return accuracy_intervals(ACCURACY.parts(report.metrics), joint, spec.validation_pictures, z=z)


def _confirmed(material: Material, winner: TrialRecord, spec: NetworkSpec) -> list[str]:
    """The trial that a confirmation chose, which is the winner from then on; nothing where it is the same."""
    if not spec.scored_by_answers:
        return declared_winner_section.confirmed_mean(material, winner, spec)
    chosen = None if material.confirmation is None else material.confirmation.choice
    if chosen is None or chosen.reference is not None or chosen.trial == winner.number:
        return []
    return [
        strong(f"Trial {chosen.trial}, confirmed"),
        ": ",
        strong(percent(chosen.mean)),
        f" of the validation set in the mean of {count(len(chosen.runs), 'fresh seed')} (95 % interval "
        f"{chosen.low * 100:.2f} to {percent(chosen.high)}). The search had put another first: ",
    ]


def _reference(material: Material) -> str:
    """The published network, the reference: one of what a search begins with."""
    return f"the {material.examples.references_are.removesuffix('s')}"


def _kind(trial: TrialRecord, material: Material) -> str:
    if trial.reference:
        return f"{_reference(material)} {trial.reference}"
    return {"conv": "a convolutional network", "mlp": "a multi-layer perceptron"}.get(
        str(trial.settings.get("model")), f"a {trial.settings.get('model')} network"
    )


def _gains(material: Material, winner: TrialRecord, spec: NetworkSpec) -> list[Html]:
    """The winner beside the references of the same study."""
    if winner.state is not State.COMPLETE:
        return []
    if not spec.scored_by_answers:
        found = gains(material.trials, spec.metric)
        beside = [declared_winner_section.beside_reference(gain, winner, spec) for gain in found]
        return [paragraph(" ".join(beside))] if beside else []
    told = []
    for gain in gains(material.trials):
        assert gain.errors_removed is not None, "of an accuracy they are known"
        more, gone = ("more", "gone") if gain.gain >= 0 else ("less", "added")
        told.append(
            f"{_reference(material).capitalize()} {gain.reference}, trained in the same study, reached "
            f"{percent(gain.score)}: trial {winner.number} has {points(abs(gain.gain)).lstrip('+±')} points "
            f"{more}, {share(abs(gain.errors_removed))} of the errors are {gone}."
        )
    return [paragraph(" ".join(told))] if told else []


def _accuracies(split: Scores) -> dict[str, float]:
    """By head, and of all heads together where there are several."""
    heads = {name: head.accuracy for name, head in split.heads.items()}
    return {**heads, "all heads right": split.joint} if len(heads) > 1 else heads


def _alike(material: Material) -> str:
    """Why the intervals are too narrow for other data."""
    if material.examples.are == "digits":
        return "one hand wrote many of the digits: for other people's they are wider"
    return (
        "images may resemble each other, as several of one object or person do: for images of other origin "
        "they are wider"
    )


def winner(material: Material, spec: NetworkSpec) -> Section:
    """Its settings, and its interval head by head."""
    best = material.winner
    assert best is not None
    report = best_report(material.curves[best.trial_id])
    assert report is not None
    named, train = (_accuracies(split) for split in (validation_of(report), train_of(report)))
    rows, intervals = [], _intervals(material, report, spec)
    for name, accuracy in named.items():
        low, high = intervals["joint" if name == "all heads right" else name]
        rows.append(
            (
                name.replace("_", " "),
                percent(accuracy),
                f"{low * 100:.2f} to {percent(high)}",
                percent(train[name]),
            )
        )
    settings = best.settings
    searched = [setting for setting in material.settings if setting.name in settings]
    names = {setting.name for setting in searched}
    names |= material.without_effect
    rest = ", ".join(f"{name} {label(value)}" for name, value in settings.items() if name not in names)
    return Section(
        heading="The winner: by head, and its settings" if len(named) > 1 else "The winner and its settings",
        folded=True,
        body=(
            *_gains(material, best, spec),
            table(("accuracy", "validation", "95 % interval", "train, running"), rows),
            paragraph(
                f"At its best point, after {epochs(report.step, spec.epoch_images)} of "
                f"{material.curves[best.trial_id][-1].step / spec.epoch_images:.3g}; trained for "
                f"{duration(material.seconds.get(best.trial_id))} on one worker. Train is measured while "
                "training: dropout and augmentation on, the weights still moving. The intervals know of the "
                "images that happened to be drawn and of the choice among "
                f"{count(_tried(material), 'measurement')}, not that {_alike(material)}.",
                kind="note",
            ),
            table(
                ("setting", "value", "what it is"),
                [(setting.name, label(settings[setting.name]), setting.meaning) for setting in searched],
                words=(0, 1, 2),
            ),
            paragraph(f"Not searched: {rest}.", kind="note"),
        ),
    )
