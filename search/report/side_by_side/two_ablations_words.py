"""What two ablations say together: which changes do the same to both winners, and on what answers depend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from search.analysis.ablation import Ablation
from search.analysis.paired_arms import Verdict
from search.analysis.two_ablations import Alike, Shared, TwoAblations
from search.analysis.two_way import SEEDS
from search.records import DeclaredSpec, Metric, NetworkSpec, Value
from search.report.ablation_sentences import NAMED
from search.report.ablation_words import about, change, shown, size
from search.report.words import amount, count, difference, first_of, interval, listed, without_unit

Row = tuple[str, tuple[str, ...]]

UNLIKE = 12
"""Settings in which two winners differ that a sentence names."""


def sentences(pair: TwoAblations) -> tuple[str, ...]:
    """Which effects differ and on what that depends; few lines, each complete."""
    return tuple(_sentences(pair))


def _sentences(pair: TwoAblations) -> Iterator[str]:
    if not pair.shared:
        yield f"{_both(pair)} have no change in common."
        return
    yield from _unlike_budgets(pair)
    judged = [each for each in pair.shared if each.differs is not None]
    if not judged:
        yield (
            f"{_both(pair)} have {count(len(pair.shared), 'change')} in common. Whether their effects differ "
            f"is told from {SEEDS} seeds of both on."
        )
        return
    differing = [each for each in judged if each.differs]
    if differing:
        yield _differ(pair, differing, len(judged))
        yield _depends(pair, differing)
    else:
        yield (
            f"{_both(pair)} have {count(len(judged), 'change')} in common, and for none of them the two "
            f"effects are told apart (intervals of about ±{_width(pair, judged)}, which hold together): no "
            "answer is told to depend on which of the two winners is changed."
        )
    yield from _alike_verdicts(pair)
    if any(_verdicts_unlike(each) and not each.differs for each in judged):
        yield (
            "A verdict in one of the two alone is no difference between them: a change that is not told "
            "apart from 0 in the other may have the same effect there."
        )


def _both(pair: TwoAblations) -> str:
    return f"{pair.first.record.name} and {pair.other.record.name}"


def _winner(found: Ablation) -> str:
    return f"trial {found.baseline.number} of {found.searched.name}"


def _unlike_budgets(pair: TwoAblations) -> Iterator[str]:
    """The effects of settings are of other lengths of training."""
    if pair.first.budget == pair.other.budget:
        return
    lengths = [
        f"{amount(each.budget, each.record.spec)} in {each.record.name}" for each in (pair.first, pair.other)
    ]
    yield f"Their variants were trained for other lengths, {listed(lengths)}, on which effects may depend."


def _differ(pair: TwoAblations, differing: Sequence[Shared], judged: int) -> str:
    metric = pair.first.metric
    told = [
        f"{named(each, pair)} ({_effects(each, metric)}; the second less the first "
        f"{without_unit(each.difference.value, metric)}, {interval(each.difference, metric)})"
        for each in differing
    ]
    some = first_of(told, NAMED)
    return (
        f"{len(differing)} of {count(judged, 'change')} that both measured "
        f"{'has' if len(differing) == 1 else 'have'} another effect on {_winner(pair.other)} than on "
        f"{_winner(pair.first)}: {some}. The intervals hold together."
    )


def _effects(shared: Shared, metric: Metric) -> str:
    """−0.04 and −0.77 points"""
    return f"{without_unit(shared.effects[0], metric)} and {difference(shared.effects[1], metric)}"


def _depends(pair: TwoAblations, differing: Sequence[Shared]) -> str:
    """In what the winners and the variants differ: on one of these things at least the effects depend."""
    which = "This effect depends" if len(differing) == 1 else "These effects depend"
    told = [f"{name} {_pair_of(values)}" for name, values in pair.unlike.items()]
    also = list(dict.fromkeys(unlike for each in differing for unlike in _unlike_variants(each)))
    also += _unlike_studies(pair)
    if not told and not also:
        return (
            f"The two winners have the same settings, so that {which[0].lower()}{which[1:]} on something "
            "that is not recorded."
        )
    if len(told) + len(also) == 1:
        return f"{which} on the one thing in which the two ablations differ: {(told + also)[0]}."
    few = [*_first_settings(told), *also]
    return f"{which} on at least one of what differs between the two ablations: {listed(few)}."


def _unlike_variants(shared: Shared) -> Iterator[str]:
    """In what the two variants of a change differ: the learning rates that were chosen for them, how far a
    step goes."""
    if shared.alike in (Alike.LENGTH, Alike.PLAIN):
        return
    one, other = shared.first, shared.other
    name = about(one)
    ends = [(each.reference.settings.get(name), each.arm.settings.get(name)) for each in (one, other)]
    same_start = ends[0][0] == ends[1][0]  # else the winners differ in this setting, which is told already
    if shared.alike in (Alike.UP, Alike.DOWN) and same_start and ends[0] != ends[1]:
        steps = [" → ".join(map(shown, each)) for each in ends]
        yield f"the step itself ({name} {' and '.join(steps)})"
    for name in dict.fromkeys([*one.changed[1:], *other.changed[1:]]):
        values = one.arm.settings.get(name), other.arm.settings.get(name)
        if values[0] != values[1]:
            yield f"{name} with {change(one)}, {_pair_of(values)}"


def _unlike_studies(pair: TwoAblations) -> list[str]:
    """In what the two ablations differ besides their settings."""
    found = [] if pair.first.budget == pair.other.budget else ["the length of the training"]
    one, other = pair.first.record.spec, pair.other.record.spec
    if isinstance(one, NetworkSpec) and isinstance(other, NetworkSpec):
        found += ["the data"] if one.checksums != other.checksums else []
        found += ["the precision"] if one.precision != other.precision else []
    if isinstance(one, DeclaredSpec) and isinstance(other, DeclaredSpec):
        same = one.options == other.options and pair.first.code_of_runs == pair.other.code_of_runs
        found += [] if same else ["the code"]
    return found


def _first_settings(told: Sequence[str]) -> list[str]:
    """The first ones, the rest counted."""
    if len(told) <= UNLIKE:
        return list(told)
    return [*told[:UNLIKE], f"{len(told) - UNLIKE} more settings"]


def _pair_of(values: tuple[Value | None, Value | None]) -> str:
    """432 and 216"""
    return " and ".join(map(shown, values))


def _verdicts(shared: Shared) -> tuple[Verdict | None, Verdict | None]:
    """In the direction of the first."""
    other = shared.other.found.verdict
    if shared.alike is Alike.BACK and other is not None:
        back = {Verdict.BETTER: Verdict.WORSE, Verdict.WORSE: Verdict.BETTER}
        other = back.get(other, other)
    return shared.first.found.verdict, other


def _verdicts_unlike(shared: Shared) -> bool:
    one, other = _verdicts(shared)
    return None not in (one, other) and one is not other


def _alike_verdicts(pair: TwoAblations) -> Iterator[str]:
    """What is better, or worse, in both."""
    for verdict in (Verdict.WORSE, Verdict.BETTER):
        both = [each for each in pair.shared if _verdicts(each) == (verdict, verdict)]
        if both:
            told = [f"{named(each, pair)} ({_effects(each, pair.first.metric)})" for each in both]
            yield f"{verdict.value.capitalize()} in both: {first_of(told, 2 * NAMED)}."


def _width(pair: TwoAblations, judged: Sequence[Shared]) -> str:
    halves = [each.difference.high - each.difference.value for each in judged if each.difference.high]
    return size(median(halves), pair.first.metric)


def named(shared: Shared, pair: TwoAblations) -> str:
    """optimizer adamw → sgd; dropout → 0; channels, a step up; 1 epoch → 2 epochs"""
    spec, one = pair.first.record.spec, shared.first
    match shared.alike:
        case Alike.TO:
            return f"{about(one)} → {shown(one.arm.settings.get(about(one)))}"
        case Alike.UP:
            return f"{about(one)}, a step up"
        case Alike.DOWN:
            return f"{about(one)}, a step down"
        case Alike.LENGTH:
            return f"{amount(one.reference.budget, spec)} → {amount(one.arm.budget, spec)}"
        case Alike.PLAIN if one.arm.name == one.reference.name:
            lengths = [amount(arm.budget, spec) for arm in (one.reference, one.arm)]
            return f"without regularization, {' → '.join(lengths)}"
        case Alike.PLAIN:
            return f"without regularization, {amount(one.arm.budget, spec)}"
    return change(one)


def effect_rows(pairs: Sequence[TwoAblations]) -> list[Row]:
    """A row for each change that the first ablation and another one measured, a cell for each of them."""
    cells: dict[str, dict[int, str]] = {}
    for place, pair in enumerate(pairs, start=1):
        for each in pair.shared:
            row = cells.setdefault(named(each, pair), {})
            metric, verdicts = pair.first.metric, _verdicts(each)
            row[0] = _cell(each.effects[0], verdicts[0], metric)
            row[place] = _cell(each.effects[1], verdicts[1], metric) + (", differs" if each.differs else "")
    return [
        (label, tuple(row.get(place, "–") for place in range(len(pairs) + 1))) for label, row in cells.items()
    ]


def _cell(effect: float, verdict: Verdict | None, metric: Metric) -> str:
    told = without_unit(effect, metric)
    return told if verdict is None else f"{told} {verdict.value}"
