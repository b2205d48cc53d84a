"""What a comparison lets one say, and what it does not, sentence by sentence."""

from __future__ import annotations

from collections.abc import Sequence

from search.analysis.comparison import MEAN, Against, Comparison, Side, Studied
from search.analysis.over_seeds import same_difference
from search.analysis.statistics import Estimate, paired
from search.records import DeclaredSpec, Direction, Metric, NetworkSpec, State, StudySpec
from search.report.side_by_side.two_ablations_words import sentences
from search.report.words import (
    better,
    count,
    difference,
    duration,
    interval,
    listed,
    plural,
    points,
    signed_difference,
    value,
)


def words(comparison: Comparison) -> tuple[str, ...]:
    """Everything that one should know before one believes the table."""
    told, metric = [*_unlike(comparison.sides), *_clocks(comparison.sides)], comparison.spec.metric
    told += [sentence for pair in comparison.ablations for sentence in sentences(pair)]
    told += [
        f"In {side.name} a reference came first. {better(side.studied.better_reference, metric)}"
        for side in comparison.sides
        if side.studied.better_reference
    ]
    if comparison.ablations:  # their runs have other budgets and other examples: no best is comparable
        return tuple(told)
    for against in comparison.against:
        told += [best_against_best(against), pairs_in_words(against)]
    return (*told, _selection(comparison.spec))


def _selection(spec: StudySpec) -> str:
    if spec.scored_by_answers:
        return (
            "Each best was selected among the trials of its study. More trials mean more selection bias: its "
            "value is too high, although its interval allows for that. The rows at equal budgets are fairer, "
            "and `tune confirm` retrains the leaders on fresh seeds."
        )
    return (
        "Each best was selected among the trials of its study, with one seed. Where results vary from "
        "seed to seed, it is biased towards better values, and more so among more trials. The rows at equal "
        "budgets are fairer, and `tune confirm` repeats the leaders on fresh seeds."
    )


def _unlike(sides: Sequence[Side]) -> list[str]:
    """In what the studies differ beside their search."""
    told = []
    for side in sides:
        finished, record = side.studied.counts.finished, side.studied.record
        told += _not_a_search(side)
        told += _set_aside(side)
        if not record.is_finished(finished):
            told.append(f"{side.name} is unfinished: {finished} of {record.target_trials} trials.")
        if not side.typical:
            told.append(f"{side.name} has no complete trial but references, so nothing of it is typical.")
    specs = {side.name: side.studied.record.spec for side in sides}
    budgets = {name: _budget_in_words(spec) for name, spec in specs.items()}
    if len(set(budgets.values())) > 1:
        lengths = listed([f"{length} in {name}" for name, length in budgets.items()])
        what = "epochs" if isinstance(sides[0].studied.record.spec, NetworkSpec) else plural(_unit(sides))
        told.append(f"A trial may last for other numbers of {what}: {lengths}.")
    told += _unlike_data(list(specs.values()))
    if len({frozenset(side.studied.machines) for side in sides}) > 1:
        told.append(
            f"They ran on different machines, so that seconds compare machines too; {_unit(sides)}s do not."
        )
    return told


def _not_a_search(side: Side) -> list[str]:
    """What the trials of a confirmation or an ablation are: nothing was searched among them."""
    spec = side.studied.record.spec
    if spec.confirms is not None:
        return [f"{side.name} is a confirmation: its trials are leaders of {spec.confirms} on fresh seeds."]
    if spec.ablates is not None:
        return [
            f"{side.name} is an ablation: its trials are variants of trial {spec.baseline} of "
            f"{spec.ablates}, and its best is one selected run."
        ]
    return []


def _set_aside(side: Side) -> list[str]:
    """Why a best may be worse than a row below it says, after a change of the search space."""
    changes = side.studied.record.spec.space_changes
    if not changes or not changes[-1].set_aside:
        return []
    which = count(len(changes[-1].set_aside), "trial")
    return [
        f"The search space of {side.name} was changed: {which} outside the present one cannot be its best, "
        "and count in its other rows."
    ]


def _unit(sides: Sequence[Side]) -> str:
    return sides[0].studied.record.spec.unit


def _budget_in_words(spec: StudySpec) -> str:
    return f"{spec.epochs:g}" if isinstance(spec, NetworkSpec) else f"{spec.budget:,}"


def _unlike_data(specs: Sequence[StudySpec]) -> list[str]:
    """What was learned from, or what else the objective was told, where that differs."""
    networks = [spec for spec in specs if isinstance(spec, NetworkSpec)]
    if len({tuple(sorted(spec.checksums.items())) for spec in networks}) > 1:
        what = "accuracies" if networks[0].scored_by_answers else "scores"
        return [f"The studies were made with different data files: their {what} are of other images."]
    declared = [spec for spec in specs if isinstance(spec, DeclaredSpec)]
    absent = object()
    unlike = [
        name
        for name in sorted({name for spec in declared for name in spec.options})
        if any(spec.options.get(name, absent) != declared[0].options.get(name, absent) for spec in declared)
    ]
    if unlike:
        return [
            f"The studies gave their objective other options ({listed(unlike)}), so that their values may be "
            "of different things."
        ]
    return []


def _clocks(sides: Sequence[Side]) -> list[str]:
    return [
        f"{side.name} rested {count(side.timeline.pauses, 'time')}, for {duration(side.timeline.paused_s)} "
        "in all; its clock stood still meanwhile."
        for side in sides
        if side.timeline.pauses
    ]


def best_against_best(against: Against) -> str:
    """Whether the validation images can tell the two best networks apart. Of other objectives nothing is
    known of the examples, and of other scores nothing follows from the answers: there the difference is no
    verdict."""
    found = against.differences[MEAN]
    first, other = against.first.name, against.other.name
    spec = against.first.studied.record.spec
    if not isinstance(spec, NetworkSpec) and found.low is not None:
        return _of_code(against)
    if not spec.scored_by_answers:
        verb = "maximized" if spec.metric.direction is Direction.MAXIMIZE else "minimized"
        return (
            f"The best of {first} less the best of {other}: {difference(found.value, spec.metric)} "
            f"({spec.metric.title}, which is {verb}); one run each; no interval. Whether one of them is "
            "better was not tested."
        )
    assert isinstance(spec, NetworkSpec), "no other score is made of answers"
    images = spec.validation_pictures
    told = (
        f"The best of {first} less the best of {other}: {_value(found, spec.metric)}, "
        f"95 % interval {interval(found, spec.metric)}"
    )
    blind = (
        ""
        if against.image_by_image
        else " It takes their errors for independent, as the single answers are not known: rather too wide."
    )
    if not found.excludes_zero:
        return (
            f"{told}. The interval holds 0, so {images:,} images do not tell the two networks apart. It "
            f"allows for the choice of each among many.{blind}"
        )
    better = first if found.value > 0 else other
    return (
        f"{told}, adjusted for choosing each among many. The network of {better} is the better one; "
        f"that its search is, does not follow.{blind}"
    )


def _value(found: Estimate, metric: Metric) -> str:
    """+0.31 points: a difference, in more digits where its interval excludes 0 and it would be 0.00."""
    return (signed_difference if found.excludes_zero else difference)(found.value, metric)


def _of_code(against: Against) -> str:
    """The same of training code whose single answers are known."""
    metric, found = against.first.studied.record.spec.metric, against.differences[MEAN]
    first, other = against.first.name, against.other.name
    told = (
        f"The best of {first} less the best of {other}: {_value(found, metric)} ({metric.title}), "
        f"95 % interval {interval(found, metric)} over validation examples; one run each, adjusted "
        "for choosing each among many."
    )
    if not found.excludes_zero:
        return f"{told} The interval holds 0: these examples do not tell the two apart."
    better = first if found.value > 0 else other
    return f"{told} The run of {better} is the better one; that its search is, does not follow."


def pairs_in_words(against: Against) -> str:
    """What the runs that both studies have in common say, or why there are none."""
    first, other = against.first, against.other
    one, two = first.studied.record.spec, other.studied.record.spec
    if one.seed != two.seed:
        seeds = f"{first.name} has seed {one.seed}, {other.name} seed {two.seed}"
        return f"Nothing is paired: {seeds}.{_references(against)}"
    if not against.pairs:
        return (
            f"Nothing is paired: no complete trial of {first.name} has the settings and the seed of one "
            f"of {other.name}."
        )
    runs = count(len(against.pairs), "run") + (" is" if len(against.pairs) == 1 else " are")
    differences = [pair.scores[0] - pair.scores[1] for pair in against.pairs]
    differing = _differing(against)
    names = {"budget": "budgets", "options": "options"}
    unlike = [plural for name, plural in names.items() if differing.get(name)]
    if not unlike:
        return f"{runs} the same in both, in settings, seed and budget: {_blur(differences, one)}"
    told = f"{runs} paired, with the same settings and seed and other {listed(unlike)}"
    if not one.scored_by_answers:
        return f"{told}: {_paired_values(against, differences)}"
    if len(differences) == 1:
        return f"{told}: {points(differences[0])} points for {first.name}. One pair has no interval."
    mean = paired(differences)
    assert mean is not None
    told = f"{told}: {first.name} is {_value(mean, one.metric)} above {other.name}"
    if _same_in_all(against):
        return f"{told} in every pair, so that there is no interval."
    return f"{told}, 95 % interval of the mean {interval(mean, one.metric)}."


def _same_in_all(against: Against) -> bool:
    """Whether all pairs have one difference: that has no spread, which is not certainty."""
    return same_difference([pair.scores for pair in against.pairs])


def _paired_values(against: Against, differences: Sequence[float]) -> str:
    """The differences within pairs of an objective of which no examples are known."""
    metric = against.first.studied.record.spec.metric
    told = f"{against.first.name} less {against.other.name} is"
    if len(differences) == 1:
        return f"{told} {difference(differences[0], metric)}. One pair has no interval."
    if _same_in_all(against):
        return f"{told} {difference(differences[0], metric)} in every pair, so that there is no interval."
    mean = paired(differences)
    assert mean is not None
    return (
        f"{told} {_value(mean, metric)} on average, 95 % interval of the mean {interval(mean, metric)}, "
        "over these pairs only; validation sampling is not included."
    )


def _blur(differences: Sequence[float], spec: StudySpec) -> str:
    """How far runs that should be equal differ: that says what machine and versions do, not the search."""
    largest = max(map(abs, differences))
    if largest == 0.0:
        return "they ended equal, so that machine and versions do not blur the comparison."
    if not spec.scored_by_answers:
        gap = difference(spec.metric.score_of(largest), spec.metric)[1:]
        return (
            f"they ended up to {gap} apart, so that machine or versions differ, or the objective does not "
            "repeat itself exactly; lesser differences between the studies may be no more than that."
        )
    return (
        f"they ended up to {points(largest)[1:]} points apart, so that machine, versions or number format "
        "differ; lesser differences between the studies mean nothing."
    )


def _references(against: Against) -> str:
    """How far the same reference ended from itself on another seed: the size of chance, if nothing else
    differs. Of several runs of one, as a confirmation has them, none is taken for it."""
    studies = (against.first.studied, against.other.studied)
    metric = studies[0].record.spec.metric
    also = [name for name, differs in _differing(against).items() if differs]
    scores = [_reference_scores(study) for study in studies]
    both = [
        f"{name} ended at {value(scores[0][name][0], metric)} and {value(scores[1][name][0], metric)}"
        for name in scores[0]
        if len(scores[0][name]) == len(scores[1].get(name, ())) == 1
    ]
    why = f"With other seeds, and other {listed(also)}," if also else "By seed alone"
    return f" {why} {listed(both)}." if both else ""


def _differing(against: Against) -> dict[str, bool]:
    """In what two studies differ beside their seed and their search."""
    studies = (against.first.studied, against.other.studied)
    one, two = (study.record.spec for study in studies)
    differing = {"budget": one.budget != two.budget}
    if isinstance(one, NetworkSpec) and isinstance(two, NetworkSpec):
        differing["budget"] = (one.epochs, one.epoch_images) != (two.epochs, two.epoch_images)
        differing["data"] = one.checksums != two.checksums
    elif isinstance(one, DeclaredSpec) and isinstance(two, DeclaredSpec):
        differing["options"] = one.options != two.options
    return {**differing, "machines": set(studies[0].machines) != set(studies[1].machines)}


def _reference_scores(study: Studied) -> dict[str, list[float]]:
    """The best score of each complete run, by reference."""
    found: dict[str, list[float]] = {}
    for track in study.tracks:
        if track.reference and track.state is State.COMPLETE and track.reports:
            found.setdefault(track.reference, []).append(max(report.score for report in track.reports))
    return found
