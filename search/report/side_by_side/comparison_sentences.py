"""What a comparison lets one say, and what it does not, sentence by sentence."""

from __future__ import annotations

from collections.abc import Sequence

from search.analysis.comparison import MEAN, Against, Comparison, Side, Studied
from search.analysis.statistics import paired
from search.records import State
from search.report.words import better, count, duration, listed, percent, points


def words(comparison: Comparison) -> tuple[str, ...]:
    """Everything that one should know before one believes the table."""
    told = [*_unlike(comparison.sides), *_clocks(comparison.sides)]
    told += [
        f"In {side.name} a reference came first. {better(side.studied.better_reference)}"
        for side in comparison.sides
        if side.studied.better_reference
    ]
    for against in comparison.against:
        told += [best_against_best(against), pairs_in_words(against)]
    told.append(
        "Each best was selected among the trials of its study. More trials mean more selection bias: its "
        "value is too high, although its interval allows for that. The rows at equal budgets are fairer, and "
        "`tune confirm` trains the leaders again on fresh seeds."
    )
    return tuple(told)


def _unlike(sides: Sequence[Side]) -> list[str]:
    """In what the studies differ beside their search."""
    told = []
    for side in sides:
        finished, record = side.studied.counts.finished, side.studied.record
        if not record.is_finished(finished):
            told.append(f"{side.name} is unfinished: {finished} of {record.target_trials} trials.")
        if not side.typical:
            told.append(f"{side.name} has no complete trial but references, so nothing of it is typical.")
    budgets = {side.name: f"{side.studied.record.spec.epochs:g}" for side in sides}
    if len(set(budgets.values())) > 1:
        each = listed([f"{epochs} in {name}" for name, epochs in budgets.items()])
        told.append(f"A trial may last for other numbers of epochs: {each}.")
    if len({tuple(sorted(side.studied.record.spec.checksums.items())) for side in sides}) > 1:
        told.append(
            "The studies were made with different data files: their accuracies are of other pictures."
        )
    if len({frozenset(side.studied.machines) for side in sides}) > 1:
        told.append("They ran on different machines, so that seconds compare machines too; images do not.")
    return told


def _clocks(sides: Sequence[Side]) -> list[str]:
    return [
        f"{side.name} rested {count(side.timeline.pauses, 'time')}, for {duration(side.timeline.paused_s)} "
        "in all; its clock stood still meanwhile."
        for side in sides
        if side.timeline.pauses
    ]


def best_against_best(against: Against) -> str:
    """Whether the validation pictures can tell the two best networks apart."""
    found = against.differences[MEAN]
    assert found.low is not None
    assert found.high is not None
    first, other = against.first.name, against.other.name
    pictures = against.first.studied.record.spec.validation_pictures
    told = (
        f"The best of {first} less the best of {other}: {points(found.value)} points, "
        f"95 % interval {points(found.low)} to {points(found.high)}"
    )
    blind = (
        ""
        if against.image_by_image
        else " It takes their errors for independent, as the single answers are not known: rather too wide."
    )
    if found.low <= 0 <= found.high:
        return (
            f"{told}. The interval holds 0, so {pictures:,} images do not tell the two networks apart. It "
            f"allows for the choice of each among many.{blind}"
        )
    better = first if found.value > 0 else other
    return (
        f"{told}, with room for the choice of each among many. The network of {better} is the better one; "
        f"that its search is, does not follow.{blind}"
    )


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
    if (one.epochs, one.epoch_images) == (two.epochs, two.epoch_images):
        return f"{runs} the same in both, in settings, seed and budget: {_ground(differences)}"
    mean = paired(differences)
    if mean is None or mean.low is None or mean.high is None:
        return (
            f"{runs} paired, with the same settings and seed and other budgets: "
            f"{points(differences[0])} points for {first.name}. One pair has no interval."
        )
    return (
        f"{runs} paired, with the same settings and seed and other budgets: {first.name} is "
        f"{points(mean.value)} points above {other.name}, 95 % interval of the mean "
        f"{points(mean.low)} to {points(mean.high)}."
    )


def _ground(differences: Sequence[float]) -> str:
    """Runs that should be equal say nothing of the search, and much of the ground that it stands on."""
    largest = max(map(abs, differences))
    if largest == 0.0:
        return "they ended equal, so that machine and versions do not blur the comparison."
    return (
        f"they ended up to {points(largest)[1:]} points apart, so that machine, versions or number format "
        "differ; lesser differences between the studies mean nothing."
    )


def _references(against: Against) -> str:
    """How far the same reference ended from itself on another seed: the size of chance, if nothing else
    differs. Of several runs of one, as a confirmation has them, none is taken for it."""
    studies = (against.first.studied, against.other.studied)
    one, two = (study.record.spec for study in studies)
    differing = {
        "budget": (one.epochs, one.epoch_images) != (two.epochs, two.epoch_images),
        "data": one.checksums != two.checksums,
        "machines": set(studies[0].machines) != set(studies[1].machines),
    }
    also = [name for name, differs in differing.items() if differs]
    scores = [_reference_scores(study) for study in studies]
    both = [
        f"{name} ended at {percent(scores[0][name][0])} and {percent(scores[1][name][0])}"
        for name in scores[0]
        if len(scores[0][name]) == len(scores[1].get(name, ())) == 1
    ]
    why = f"With other seeds, and other {listed(also)}," if also else "By seed alone"
    return f" {why} {listed(both)}." if both else ""


def _reference_scores(study: Studied) -> dict[str, list[float]]:
    """The best accuracy of each complete run, by reference."""
    found: dict[str, list[float]] = {}
    for track in study.tracks:
        if track.reference and track.state is State.COMPLETE and track.points:
            found.setdefault(track.reference, []).append(max(point.accuracy for point in track.points))
    return found
