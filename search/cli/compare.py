"""`tune compare`: studies of one objective side by side, as a table, as JSON or as a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from search.cli import completion
from search.cli.look import best_json
from search.cli.options import JSONOption, StorageOption, print_json, storage_url, without_garbage_collection
from search.cli.phrases import follow_up, fraction, natural
from search.cli.printing import print_table, say
from search.records import NetworkSpec

if TYPE_CHECKING:
    from search.analysis.comparison import Against, Comparison, Equal, Side
    from search.analysis.statistics import Estimate
    from search.analysis.timeline import Mark
    from search.analysis.two_ablations import TwoAblations
    from search.records import Metric, StudySpec


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("compare")(compare)


@without_garbage_collection()
def compare(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="STUDY STUDY…",
            help="Names of studies.",
            autocompletion=completion.studies,
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Also write a page with figures to this HTML file.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that exists.")] = False,
    storage: StorageOption = None,
    json: JSONOption = False,
) -> None:
    """Sets studies side by side, with intervals.

    Best and typical accuracy, time to a goal, what equal budgets brought. Of
    ablations also which changes have another effect on one winner than on
    the other, and on what settings that depends.
    """
    from search.report.side_by_side.comparison_sentences import words
    from search.report.side_by_side.comparison_table import rows
    from search.service.compare import compare as service
    from search.service.compare import write_page
    from search.service.output import may_write

    if out is not None:
        may_write(out, force=force)
    found = service(storage_url(storage), names)
    comparison = found.comparison
    told = words(comparison)
    if json:
        bests = [best_json(each) for each in found.bests]
        print_json([{**best, **_side(comparison, place)} for place, best in enumerate(bests)])
    else:
        header = ("", *(side.name for side in comparison.sides))
        lines: list[tuple[str, ...]] = []
        for group, some in rows(comparison).items():
            lines += [tuple([""] * len(header))] if lines else []
            lines += [(group.upper(), *[""] * (len(header) - 1)), *((label, *cells) for label, cells in some)]
        print_table(header, lines)
        say("\n" + "\n".join(told), err=True)
        if not comparison.ablations:
            say(_intervals(comparison.spec), err=True)
        if found.ablations:
            command = follow_up("compare", *found.ablations, storage=storage)
            say(f"Which changes do the same to each winner: {command}", err=True)
    if out is not None:
        size = write_page(found, out, force=force)
        typer.echo(f"{out}: {len(comparison.sides)} studies on one page, {size / 1e6:.1f} MB", err=True)


def _intervals(spec: StudySpec) -> str:
    """What the intervals of the table cover."""
    if isinstance(spec, NetworkSpec) and not spec.scored_by_answers:
        return (
            "Intervals cover 95 %: of accuracies over the validation images, adjusted for choosing the best; "
            f"of typical over the complete trials (order statistics). The best {spec.metric.title} has "
            "none: validation sampling is not included. docs/decisions/013 and 030 define the rest."
        )
    if not isinstance(spec, NetworkSpec):
        return (
            "Intervals cover 95 %: of typical over the complete trials (order statistics); of best over the "
            "validation examples, where the code tells which it answers right (`trial.examples`), else there "
            "is none. docs/decisions/013 defines the rest."
        )
    return (
        "Intervals cover 95 %: of best over the validation images, adjusted for choosing it among many; of "
        "typical over the complete trials (order statistics). docs/decisions/013 and 030 define the rest."
    )


def _side(comparison: Comparison, place: int) -> dict[str, Any]:
    """What a comparison adds to the best trial of a study."""
    side = comparison.sides[place]
    line, spec = side.timeline, comparison.spec
    of_networks = isinstance(spec, NetworkSpec)
    return {
        "intervals": {
            name: [each.low, each.high] for name, each in side.best.items() if each.low is not None
        },
        "typical": {name: _estimate(each, spec.metric) for name, each in side.typical.items()},
        "typical_trials": len(side.scores),
        "trials": _counts(side),
        "seconds": line.seconds,
        "training_seconds": line.training_s,
        "paused_seconds": line.paused_s,
        "images_seen": line.steps if of_networks else None,
        "steps_seen": line.steps,
        "reached": [
            {"level": each.level, "mean": _mark(each.mean, spec), "every_head": _mark(each.every_head, spec)}
            for each in side.reached
        ],
        "equal_budget": _equal(comparison, side.equal),
        "best_so_far": [_mark(mark, spec) for mark in line.mean],
        "first_minus_this": _against(comparison.against[place - 1]) if place else None,
        "effects": _effects(comparison.ablations[place - 1]) if place and comparison.ablations else None,
    }


def _effects(pair: TwoAblations) -> list[dict[str, Any]]:
    """Of the changes that this ablation and the first one measured, in the metric's values."""
    from search.report.side_by_side.two_ablations_words import named

    metric = pair.first.metric
    return [
        {
            "change": named(each, pair),
            "first": metric.value_of(each.effects[0]) + 0.0,  # no -0.0
            "this": metric.value_of(each.effects[1]) + 0.0,
            "this_minus_first": _estimate(each.difference, metric),
            "differs": each.differs,
        }
        for each in pair.shared
    ]


def _equal(comparison: Comparison, equal: Equal) -> dict[str, Any]:
    budget, spec = comparison.budget, comparison.spec
    of_networks, after_steps = isinstance(spec, NetworkSpec), natural(equal.after_steps, spec.metric)
    return {
        "trials": budget.trials,
        "images": budget.steps if of_networks else None,
        "budget_steps": budget.steps,
        "seconds": budget.seconds,
        "best_after_trials": natural(equal.after_trials, spec.metric),
        "best_after_images": after_steps if of_networks else None,
        "best_after_steps": after_steps,
        "best_after_seconds": natural(equal.after_seconds, spec.metric),
        "proposed_trials": budget.own,
        "expected_best": natural(equal.expected, spec.metric),
    }


def _counts(side: Side) -> dict[str, int]:
    counts = side.studied.counts
    return {
        "target": side.studied.record.target_trials,
        "complete": counts.complete,
        "pruned": counts.pruned,
        "failed": counts.failed,
        "interrupted": counts.interrupted,
        "outside_space": counts.outside_space,
        "running": counts.running,
        "foreign": counts.foreign,
    }


def _against(against: Against) -> dict[str, Any]:
    from search.report.side_by_side.comparison_sentences import best_against_best, pairs_in_words

    metric = against.first.studied.record.spec.metric
    return {
        "best": {name: _estimate(each, metric) for name, each in against.differences.items()},
        "pairs": [
            {
                "trials": list(pair.trials),
                "reference": pair.reference,
                "values": [natural(score, metric) for score in pair.scores],
            }
            for pair in against.pairs
        ],
        "words": [best_against_best(against), pairs_in_words(against)],
    }


def _estimate(estimate: Estimate, metric: Metric) -> dict[str, float | None]:
    from search.analysis.statistics import in_values

    found = in_values(estimate, metric)
    value = fraction(found.value) if metric.is_fraction else found.value
    return {"value": value, "low": found.low, "high": found.high}


def _mark(mark: Mark | None, spec: StudySpec) -> dict[str, Any] | None:
    if mark is None:
        return None
    return {
        "seconds": mark.seconds,
        "seconds_at_least": mark.earliest_s,
        "images": mark.steps if isinstance(spec, NetworkSpec) else None,
        "steps": mark.steps,
        "trial": mark.trial,
        "value": natural(mark.score, spec.metric),
    }
