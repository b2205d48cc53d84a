"""A comparison as the rows of a table: a label, and a cell for each study. For terminals and pages."""

from __future__ import annotations

from search.analysis.comparison import Comparison, Side
from search.analysis.statistics import Estimate
from search.analysis.timeline import Mark
from search.records import TrialRecord
from search.report.words import duration, percent

Row = tuple[str, tuple[str, ...]]


def rows(comparison: Comparison) -> dict[str, list[Row]]:
    """The rows by group, in the order of reading."""
    sides = comparison.sides
    return {
        "the studies": _studies(sides),
        "accuracy on validation": _accuracies(sides),
        "first seen": _reached(sides),
        "at equal budgets": _equal(comparison),
    }


def _row(label: str, cells: list[str]) -> Row:
    return label, tuple(cells)


def _studies(sides: tuple[Side, ...]) -> list[Row]:
    specs = [side.studied.record.spec for side in sides]
    counts = [side.studied.counts for side in sides]
    return [
        _row(
            "finished",
            [f"{c.finished} of {s.studied.record.target_trials}" for c, s in zip(counts, sides, strict=True)],
        ),
        _row("complete", [str(each.complete) for each in counts]),
        _row("pruned", [str(each.pruned) for each in counts]),
        *(
            [_row("interrupted", [str(each.interrupted) for each in counts])]
            if any(each.interrupted for each in counts)
            else []
        ),
        _row("failed", [str(each.failed_otherwise) for each in counts]),
        *_foreign([each.foreign for each in counts]),
        _row("wall time", [duration(side.timeline.seconds) for side in sides]),
        _row("training time", [duration(side.timeline.training_s) for side in sides]),
        _row("images seen", [f"{side.timeline.images:,}" for side in sides]),
        _row("sampler", [spec.sampler for spec in specs]),
        _row("pruner", [spec.pruner for spec in specs]),
        _row("precision", [spec.precision for spec in specs]),
        _row("epochs", [f"{spec.epochs:g}" for spec in specs]),
        _row("seed", [str(spec.seed) for spec in specs]),
    ]


def _foreign(counts: list[int]) -> list[Row]:
    """Trials that other programs added; no row where there are none."""
    return [_row("foreign", list(map(str, counts)))] if any(counts) else []


def _accuracies(sides: tuple[Side, ...]) -> list[Row]:
    best = [side.studied.best for side in sides]
    found = [
        _row("best reference", [_reference(side.studied.reference) for side in sides]),
        _row("best trial", [str(each.number) for each in best]),
        _row("model", [str(trial.settings["model"]) for trial in best]),
        _row("parameters", [f"{trial.parameters or 0:,}" for trial in best]),
    ]
    for name in sides[0].best:
        found.append(_row(f"best {name}", [estimated(side.best.get(name)) for side in sides]))
    found.append(_row("typical of", [f"{len(side.scores)} complete" for side in sides]))
    for name in sides[0].best:
        found.append(_row(f"typical {name}", [estimated(side.typical.get(name)) for side in sides]))
    return found


def _reference(reference: TrialRecord | None) -> str:
    return "–" if reference is None else f"{reference.reference} {percent(reference.value)}"


def _reached(sides: tuple[Side, ...]) -> list[Row]:
    found = []
    for place, reached in enumerate(sides[0].reached):
        level = percent(reached.level, 0)
        found.append(_row(f"{level} mean", [when(side.reached[place].mean) for side in sides]))
        found.append(_row(f"{level} every head", [when(side.reached[place].every_head) for side in sides]))
    return found


def _equal(comparison: Comparison) -> list[Row]:
    budget, equal = comparison.budget, [side.equal for side in comparison.sides]
    return [
        _row(f"after {budget.trials} trials", [percent(each.after_trials) for each in equal]),
        _row(f"after {millions(budget.images)} images", [percent(each.after_images) for each in equal]),
        _row(f"after {duration(budget.seconds)}", [percent(each.after_seconds) for each in equal]),
        _row(f"expected best of {budget.own} complete", [percent(each.expected) for each in equal]),
    ]


def estimated(estimate: Estimate | None) -> str:
    """98.53 % [98.10, 98.86], or less where less is known."""
    if estimate is None:
        return "–"
    if estimate.low is None or estimate.high is None:
        return percent(estimate.value)
    return f"{percent(estimate.value)} [{estimate.low * 100:.2f}, {estimate.high * 100:.2f}]"


def when(mark: Mark | None) -> str:
    """34 to 41 s, 0.15 M (images); a span where the moment is not known better."""
    if mark is None:
        return "not seen"
    early, late = duration(mark.earliest_s), duration(mark.seconds)
    if early == late:
        return f"{late}, {millions(mark.images)}"
    if mark.seconds < 60:
        early = early.removesuffix(" s")
    return f"{early} to {late}, {millions(mark.images)}"


def millions(images: int) -> str:
    """0.15 M, 12.4 M."""
    return f"{images / 1e6:.2f} M" if images < 10_000_000 else f"{images / 1e6:.1f} M"
