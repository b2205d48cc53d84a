"""A comparison as the rows of a table: a label, and a cell for each study. For terminals and pages."""

from __future__ import annotations

from search.analysis.comparison import MEAN, Comparison, Side
from search.analysis.statistics import Estimate
from search.analysis.timeline import Mark
from search.records import ACCURACY, Metric, NetworkSpec, StudySpec, TrialRecord
from search.report.side_by_side.two_ablations_words import Row, effect_rows
from search.report.words import amount, duration, percent, plural, titled, value


def rows(comparison: Comparison) -> dict[str, list[Row]]:
    """The rows by group, in the order of reading."""
    sides, accuracy = comparison.sides, comparison.spec.scored_by_answers
    if comparison.ablations:  # their runs have other budgets and other examples: no best is comparable
        return {**_effects(comparison), "the studies": _studies(sides)}
    if not isinstance(comparison.spec, NetworkSpec):
        return {
            "the studies": _studies(sides),
            titled(comparison.spec.metric): _values(sides),
            "at equal budgets": _equal(comparison),
        }
    return {
        "the studies": _studies(sides),
        "accuracy on validation" if accuracy else "on validation": _accuracies(sides),
        **({"first seen": _reached(sides)} if accuracy else {}),
        "at equal budgets": _equal(comparison),
    }


def _effects(comparison: Comparison) -> dict[str, list[Row]]:
    """What changes do in ablations; nothing where they have none in common."""
    found = effect_rows(comparison.ablations)
    unit = ", points" if comparison.spec.metric.is_fraction else ""
    return {f"effects of changes{unit}": found} if found else {}


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
        *_spent(sides),
        _row("sampler", [spec.sampler for spec in specs]),
        _row("pruner", [spec.pruner for spec in specs]),
        *_budgets(specs),
        _row("seed", [str(spec.seed) for spec in specs]),
    ]


def _spent(sides: tuple[Side, ...]) -> list[Row]:
    spec, steps = sides[0].studied.record.spec, [f"{side.timeline.steps:,}" for side in sides]
    seconds = [duration(side.timeline.training_s) for side in sides]
    if isinstance(spec, NetworkSpec):
        return [_row("training time", seconds), _row("images seen", steps)]
    return [_row("time of all trials", seconds), _row(f"{plural(spec.unit)} of all trials", steps)]


def _budgets(specs: list[StudySpec]) -> list[Row]:
    networks = [spec for spec in specs if isinstance(spec, NetworkSpec)]
    if networks:
        return [
            _row("precision", [spec.precision for spec in networks]),
            _row("epochs", [f"{spec.epochs:g}" for spec in networks]),
        ]
    return [_row("budget of a trial", [amount(spec.budget, spec) for spec in specs])]


def _foreign(counts: list[int]) -> list[Row]:
    """Trials that other programs added; no row where there are none."""
    return [_row("foreign", list(map(str, counts)))] if any(counts) else []


def _accuracies(sides: tuple[Side, ...]) -> list[Row]:
    best, metric = [side.studied.best for side in sides], sides[0].studied.record.spec.metric
    found = [
        _row("best reference", [_reference(side.studied.reference, metric) for side in sides]),
        _row("best trial", [str(each.number) for each in best]),
        _row("model", [str(trial.settings["model"]) for trial in best]),
        _row("parameters", [f"{trial.parameters or 0:,}" for trial in best]),
    ]
    told = {name: measured(name, sides[0]) for name in sides[0].told}
    for name, (what, of) in told.items():
        found.append(_row(f"best {what}", [estimated(side.best.get(name), of) for side in sides]))
    found.append(_row("typical of", [f"{len(side.scores)} complete" for side in sides]))
    for name, (what, of) in told.items():
        found.append(_row(f"typical {what}", [estimated(side.typical.get(name), of) for side in sides]))
    return found


def measured(name: str, side: Side) -> tuple[str, Metric]:
    """What one of `Side.told` is called, and what it is measured as: the score as the search's metric, all
    others as accuracies."""
    spec = side.studied.record.spec
    if spec.scored_by_answers:
        return ("accuracy" if side.told == (MEAN,) else name), ACCURACY
    return (spec.metric.title, spec.metric) if name == MEAN else (f"accuracy, {name}", ACCURACY)


def _values(sides: tuple[Side, ...]) -> list[Row]:
    """As `_accuracies`, of an objective that has no heads and perhaps no model."""
    metric = sides[0].studied.record.spec.metric
    best = [side.studied.best for side in sides]
    found = [
        _row("best reference", [_reference(side.studied.reference, metric) for side in sides]),
        _row("best trial", [str(trial.number) for trial in best]),
    ]
    if any(trial.parameters is not None for trial in best):
        sizes = ["–" if trial.parameters is None else f"{trial.parameters:,}" for trial in best]
        found.append(_row("parameters", sizes))
    return [
        *found,
        _row("best", [estimated(side.best.get(MEAN), metric) for side in sides]),
        _row("typical of", [f"{len(side.scores)} complete" for side in sides]),
        _row("typical", [estimated(side.typical.get(MEAN), metric) for side in sides]),
    ]


def _reference(reference: TrialRecord | None, metric: Metric = ACCURACY) -> str:
    return "–" if reference is None else f"{reference.reference} {value(reference.score, metric)}"


def _reached(sides: tuple[Side, ...]) -> list[Row]:
    found = []
    for place, reached in enumerate(sides[0].reached):
        level = percent(reached.level, 0)
        mean = [when(side.reached[place].mean) for side in sides]
        if sides[0].told == (MEAN,):
            found.append(_row(level, mean))
            continue
        found.append(_row(f"{level} mean", mean))
        found.append(_row(f"{level} every head", [when(side.reached[place].every_head) for side in sides]))
    return found


def _equal(comparison: Comparison) -> list[Row]:
    spec, budget = comparison.spec, comparison.budget
    equal = [side.equal for side in comparison.sides]
    steps = amount(budget.steps, spec)
    if isinstance(spec, NetworkSpec):
        steps = f"{millions(budget.steps)} images"

    def row(label: str, scores: list[float | None]) -> Row:
        return _row(label, [value(score, spec.metric) for score in scores])

    return [
        row(f"after {budget.trials} trials", [each.after_trials for each in equal]),
        row(f"after {steps}", [each.after_steps for each in equal]),
        row(f"after {duration(budget.seconds)}", [each.after_seconds for each in equal]),
        row(f"expected best of {budget.own} complete", [each.expected for each in equal]),
    ]


def estimated(estimate: Estimate | None, metric: Metric = ACCURACY) -> str:
    """98.53 % [98.10, 98.86] or 0.0431 [0.042, 0.0457], or less where less is known."""
    if estimate is None:
        return "–"
    told = value(estimate.value, metric)
    if estimate.low is None or estimate.high is None:
        return told
    if estimate.low == estimate.high and metric != ACCURACY:
        return told  # most trials ended with the same value: an interval without width tells nothing more
    low, high = (
        value(end, metric).removesuffix(" %") for end in metric.by_value(estimate.low, estimate.high)
    )
    return f"{told} [{low}, {high}]"


def when(mark: Mark | None) -> str:
    """34 to 41 s, 0.15 M (images); a span where the moment is not known better."""
    if mark is None:
        return "not seen"
    early, late = duration(mark.earliest_s), duration(mark.seconds)
    if early == late:
        return f"{late}, {millions(mark.steps)}"
    if mark.seconds < 60:
        early = early.removesuffix(" s")
    return f"{early} to {late}, {millions(mark.steps)}"


def millions(images: int) -> str:
    """0.15 M, 12.4 M."""
    return f"{images / 1e6:.2f} M" if images < 10_000_000 else f"{images / 1e6:.1f} M"
