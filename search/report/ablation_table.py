"""Tables of an ablation, as text for a terminal and a page: the settings, the lengths, the path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from search.analysis.ablation import BASELINE, UNREGULARIZED, Ablation, Contrast, Path, is_on_path
from search.analysis.ablation_arms import Arm
from search.analysis.paired_arms import share_of
from search.analysis.statistics import Estimate
from search.records import Metric
from search.report.ablation_words import (
    besides,
    change,
    errors,
    failure,
    mean,
    of_networks,
    step_of_path,
    training,
    verdict_on_length,
)
from search.report.words import amount, interval, percent, upward, value, without_unit

Table = tuple[tuple[str, ...], list[tuple[str, ...]]]
"""(header, rows); no rows where there is nothing to tell."""

NONE = "–"

POINTWISE = "pointwise 95 %"

TRAINING = "on training examples"

ERRORS = "errors"


def setting_rows(found: Ablation) -> Table:
    """The baseline and each variant less the baseline, the largest gain first; then the variants that failed.

    Differences and intervals are in points of a fraction, else in values of the metric.
    """
    metric, family = found.metric, _family(found)
    changed, less, gap = "change", _headed("difference", metric), _headed("change of the gap", metric)
    rows: list[dict[str, str]] = []
    for each in found.settings:
        rows.append(
            {
                changed: f"{change(each)}{besides(each)}",
                "mean": _mean(each.arm, each, metric),
                **_compared(each, less, family, metric),
                ERRORS: _share(errors(each, metric)),
                "verdict": _verdict(each),
                TRAINING: _training(each.arm, each, metric),
                gap: NONE if each.gap is None else _gap(each.gap.gap, upward(metric)),
            }
        )
    if found.settings:
        first = found.settings[0]
        baseline = {
            changed: f"baseline, trial {found.baseline.number}",
            "mean": _mean(first.reference, first, metric),
            TRAINING: _training(first.reference, first, metric),
        }
        rows.insert(0, baseline)
    rows += [
        {changed: arm.name, "verdict": failure(arm)}
        for arm in found.failed
        if arm.budget == found.budget and arm.name != UNREGULARIZED and not is_on_path(arm, found.searched)
    ]
    columns = [changed, "mean", less, POINTWISE, family, ERRORS, "verdict", TRAINING, gap]
    return _table(columns, rows, optional=(ERRORS, TRAINING, gap))


def length_rows(found: Ablation) -> Table:
    """The baseline of each length less the next shorter one; then without regularization."""
    metric, spec, family = found.metric, found.record.spec, _family(found)
    at, less = "trained for" if of_networks(found) else "run for", _headed("difference", metric)
    rows: list[dict[str, str]] = []
    if found.lengths:
        first = found.lengths[0]
        rows.append(
            {
                at: amount(first.reference.budget, spec),
                "mean": _mean(first.reference, first, metric),
                TRAINING: _training(first.reference, first, metric),
            }
        )
    for each in (*found.lengths, *found.unregularized):
        plain = each.arm.name == UNREGULARIZED
        against = amount(each.reference.budget, spec) if each.arm.name == each.reference.name else "baseline"
        rows.append(
            {
                at: amount(each.arm.budget, spec) + (", without regularization" if plain else ""),
                "mean": _mean(each.arm, each, metric),
                "compared with": against,
                **_compared(each, less, family, metric),
                "verdict": _verdict(each) if each.arm.name != each.reference.name else _on_length(each),
                TRAINING: _training(each.arm, each, metric),
            }
        )
    rows += [
        {at: amount(arm.budget, spec) + (", without regularization" if arm.name == UNREGULARIZED else "")}
        | {"verdict": failure(arm)}
        for arm in found.failed
        if arm.name in (BASELINE, UNREGULARIZED)
    ]
    columns = [at, "mean", "compared with", less, POINTWISE, family, "verdict", TRAINING]
    return _table(columns, rows, optional=(TRAINING,))


def path_rows(path: Path, metric: Metric) -> Table:
    """The reference, and what each step adds to the one before; measured, without verdicts."""
    if not path.steps:
        return ("change", "mean"), []
    first, gained = path.steps[0], 0.0
    less, so_far = _headed("difference", metric), _headed("so far", metric)
    rows = [{"change": first.reference.name, "mean": _mean(first.reference, first, metric)}]
    for each in path.steps:
        gained += each.found.difference
        rows.append(
            {
                "change": step_of_path(each),
                "mean": _mean(each.arm, each, metric),
                less: without_unit(each.found.difference, metric),
                POINTWISE: interval(each.found.pointwise, metric),
                so_far: without_unit(gained, metric),
            }
        )
    return _table(["change", "mean", less, POINTWISE, so_far], rows)


def _table(columns: Sequence[str], rows: Sequence[Mapping[str, str]], optional: Sequence[str] = ()) -> Table:
    """Of rows by column. optional: columns that are left out where no row has anything in them."""
    shown = [
        name for name in columns if name not in optional or any(row.get(name, NONE) != NONE for row in rows)
    ]
    return tuple(shown), [tuple(row.get(name) or NONE for name in shown) for row in rows]


def _headed(text: str, metric: Metric) -> str:
    return f"{text}, points" if metric.is_fraction else text


def _gap(estimate: Estimate, metric: Metric) -> str:
    """+0.67 (+0.55 to +0.79), with the pointwise interval."""
    told, ends = without_unit(estimate.value, metric), interval(estimate, metric)
    return f"{told} ({ends})" if ends else told


def _mean(arm: Arm, contrast: Contrast, metric: Metric) -> str:
    """Over the seeds on which it is compared, so that differences of means are the differences told."""
    return value(mean(arm, contrast.found.seeds), metric)


def _training(arm: Arm, contrast: Contrast, metric: Metric) -> str:
    return value(training(arm, contrast.found.seeds), metric)


def _family(found: Ablation) -> str:
    """Heading of the intervals that verdicts are made of."""
    return f"family-wise {share_of(found.seeds) * 100:.4g} %"


def _compared(contrast: Contrast, less: str, family: str, metric: Metric) -> dict[str, str]:
    return {
        less: without_unit(contrast.found.difference, metric),
        POINTWISE: interval(contrast.found.pointwise, metric),
        family: interval(contrast.found.family, metric),
    }


def _share(changed: Estimate | None) -> str:
    """+28 % (15 to 41): by which share the errors change."""
    if changed is None:
        return NONE
    told = _signed_share(changed.value)
    if changed.low is None or changed.high is None:
        return f"{told} %"
    return f"{told} % ({_signed_share(changed.low)} to {_signed_share(changed.high)})"


def _signed_share(part: float) -> str:
    text = percent(abs(part), 0).removesuffix(" %")
    return text if text == "0" else f"{'+' if part > 0 else '−'}{text}"


def _verdict(contrast: Contrast) -> str:
    """The verdict, else why there is none."""
    found = contrast.found
    if found.verdict is not None:
        return found.verdict.value
    return "too few seeds" if found.no_interval is None else found.no_interval.value


def _on_length(contrast: Contrast) -> str:
    return verdict_on_length(contrast) or _verdict(contrast)
