"""The winner of a study of another objective than networks: in a sentence, its metrics, its settings. What
its score is beside a reference's, and its mean over seeds, is said in the same words of networks whose score
is not the accuracy.

Nothing is known of what such a value varies with, so none has an interval here.
"""

from __future__ import annotations

from search.analysis.confirmation import Candidate
from search.analysis.ranking import Gain, best_report, gains
from search.records import DeclaredSpec, Direction, State, StudySpec, TrialRecord
from search.report.confirmation_sentences import interval_of_mean, sampled
from search.report.html import Html, paragraph, safe, strong, table
from search.report.one_study.material import Material
from search.report.one_study.study_sentences import budget
from search.report.page import Section
from search.report.words import amount, better, count, difference, duration, label, metric_values, value


def in_words(material: Material, spec: DeclaredSpec) -> Html:
    """The winner in a few sentences; a better reference before it."""
    winner, metric = material.winner, spec.metric
    assert winner is not None, "a report is made of a study with a report"
    report = best_report(material.curves[winner.trial_id])
    assert report is not None
    first = material.ranking.better_reference
    named = f", the reference {winner.reference}," if winner.reference else ""
    best = "lowest" if metric.direction is Direction.MINIMIZE else "highest"
    parts = [
        *([strong(better(first, metric)), " "] if first is not None and first is not winner else []),
        *confirmed_mean(material, winner, spec),
        strong(f"Trial {winner.number}"),
        f"{named} has the {best} {metric.title}{_among(material, winner)}: ",
        strong(value(report.score, metric)),
        f", after {amount(report.step, spec)} of {budget(spec)}. It was measured once, and one measurement "
        f"does not tell how far such a value varies. Settings: {_settings(winner)}.",
    ]
    if winner.reference:
        parts.append(" No searched trial has come to a report yet.")
    return safe(*parts)


def _among(material: Material, winner: TrialRecord) -> str:
    """The trials that it is the best of."""
    if winner.state is not State.COMPLETE:
        return " so far (no searched trial is complete yet)"
    complete = sum(
        trial.state is State.COMPLETE
        and trial.reference is None
        and trial.score is not None
        and trial.set_aside is None
        for trial in material.trials
    )
    return f" of {count(complete, 'complete searched trial')}" if winner.reference is None else ""


def _settings(trial: TrialRecord) -> str:
    return ", ".join(f"{name} {label(chosen)}" for name, chosen in trial.settings.items()) or "none"


def confirmed_mean(material: Material, winner: TrialRecord, spec: StudySpec) -> list[str]:
    """The trial that a confirmation chose, which is the winner from then on; nothing where it is the same."""
    chosen = None if material.confirmation is None else material.confirmation.choice
    if chosen is None or chosen.reference is not None or chosen.trial == winner.number:
        return []
    return [
        strong(f"Trial {chosen.trial}, confirmed"),
        f": {spec.metric.title} ",
        strong(value(chosen.mean, spec.metric)),
        f", the mean of {count(len(chosen.runs), 'fresh seed')}{_interval(chosen, spec)}. The search had put "
        "another first: ",
    ]


def _interval(chosen: Candidate, spec: StudySpec) -> str:
    if not chosen.has_interval:
        return ""
    return f" (95 % interval {interval_of_mean(chosen, spec.metric)}, {sampled(chosen)})"


def beside_reference(gain: Gain, winner: TrialRecord, spec: StudySpec) -> str:
    """The winner beside a reference of the same study: two measurements, no claim about others."""
    by = difference(gain.gain, spec.metric).lstrip("+−±")
    up = spec.metric.direction is Direction.MAXIMIZE
    more = "as good" if gain.gain == 0 else f"{by} {'higher' if up == (gain.gain > 0) else 'lower'}"
    return (
        f"The reference {gain.reference}, tried in the same study, reached {value(gain.score, spec.metric)}: "
        f"trial {winner.number} is {more}."
    )


def winner(material: Material, spec: DeclaredSpec) -> Section:
    """Its metrics and its settings."""
    best = material.winner
    assert best is not None
    curve = material.curves[best.trial_id]
    report = best_report(curve)
    assert report is not None
    compared = " ".join(
        beside_reference(gain, best, spec)
        for gain in (gains(material.trials, spec.metric) if best.state is State.COMPLETE else [])
    )
    settings = best.settings
    searched = [setting.name for setting in material.settings if setting.name in settings]
    rest = ", ".join(f"{name} {label(chosen)}" for name, chosen in settings.items() if name not in searched)
    return Section(
        heading="The winner: its metrics and settings",
        folded=True,
        body=(
            *([paragraph(compared)] if compared else []),
            table(("metric", "value"), list(metric_values(report).items())),
            paragraph(
                f"At its best report, after {amount(report.step, spec)} of {budget(spec)}; it came to "
                f"{amount(curve[-1].step, spec)} in {duration(material.seconds.get(best.trial_id))}. "
                "Each value was measured once.",
                kind="note",
            ),
            table(("setting", "value"), [(name, label(settings[name])) for name in searched], words=(0, 1)),
            *([paragraph(f"Not searched: {rest}.", kind="note")] if rest else []),
        ),
    )
