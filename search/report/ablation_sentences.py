"""What follows from an ablation, in sentences: which settings helped, and whether extra training did.

A sentence says that a setting helped, or that extra training did, only where `Comparison.verdict` says so: it
is family-wise, and all verdicts of one question err together in at most 2.5 of 100 ablations. What is said of
training scores and generalization gaps rests on pointwise intervals, and is called so. A path is measured and
has no verdicts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from search.analysis import paired_arms
from search.analysis.ablation import Ablation, Contrast, Path, most_seeds
from search.analysis.paired_arms import NoInterval, Verdict
from search.analysis.statistics import Estimate
from search.report.ablation_state import (
    LISTED,
    failures,
    first_look,
    judged,
    lengths_not_judged,
    not_compared_yet,
    not_judged,
    other_ablations,
    unfinished,
)
from search.report.ablation_words import (
    about,
    beside_baseline,
    besides,
    change,
    errors,
    failure,
    mean,
    most_of_path,
    of_networks,
    shown,
    size,
    training,
    verdict_on_length,
)
from search.report.words import (
    amount,
    code_changed_since,
    count,
    difference,
    interval,
    listed,
    share,
    upward,
    value,
)

WANTED = 0.0025
"""Half-width of a fraction's family-wise interval for which the seeds are told; of other metrics, and where
it is reached, half of the width that was reached."""

NAMED = 4
"""Changes that a sentence tells in full; the rest are counted."""


def sentences(found: Ablation) -> tuple[str, ...]:
    """What follows from an ablation: the answers, then how they were judged; few lines, each complete."""
    return tuple(filter(None, _sentences(found)))


def _sentences(found: Ablation) -> Iterator[str]:
    yield unfinished(found)
    yield code_changed_since(found.code_of_search, found.code_of_runs, what="ablation")
    if found.settings or found.lengths or found.unregularized:
        yield first_look(found)
        yield not_judged(found)
        yield _helped(found)
        yield _better(found)
        yield _not_told_apart(found)
        yield _without_interval(found)
        yield _fit(found)
        yield _longer(found)
        yield _unregularized(found)
    else:
        nothing = "Nothing can be compared." if found.finished else "Nothing can be compared yet."
        yield not_judged(found) or nothing
    for path in found.paths:
        yield path_in_words(path, found)
    yield not_compared_yet(found)
    yield failures(found)
    yield judged(found)
    yield other_ablations(found)


def settings_answer(found: Ablation) -> str:
    """Which settings helped, in a sentence or two; empty where no variant was compared yet."""
    if not found.settings:
        return not_judged(found)
    told = [unfinished(found), not_compared_yet(found), first_look(found)]
    decided = [each for each in found.settings if each.found.verdict is not None]
    if not decided:
        return " ".join(filter(None, (*told, _largest(found), _without_interval(found))))
    of, n = f"trial {found.baseline.number}", count(len(decided), "change")
    worse, better = _of(found, Verdict.WORSE), _of(found, Verdict.BETTER)
    if worse:
        told.append(f"{_these(worse, found)}: {_some([_rather(each, found) for each in worse])}.")
    if better:
        told.append(f"Better than {of}: {_some([_named(each, found) for each in better])}.")
    apart = len(_of(found, Verdict.NOT_TOLD_APART))
    if apart:
        which = f"None of {n}" if apart == len(decided) > 1 else f"{apart} of {n}"
        is_ = "is" if apart == len(decided) > 1 else f"{'is' if apart == 1 else 'are'} not"
        told.append(f"{which} {is_} told apart from {of} (family-wise intervals of {_width(found)}).")
    return " ".join(filter(None, told))


def training_answer(found: Ablation) -> str:
    """Whether extra training helped, in a sentence or two; empty where no lengths were compared yet."""
    if not found.lengths:
        return lengths_not_judged(found)
    lead = _lead(found)
    steps = "; ".join(_step(each, found, ends=False) for each in found.lengths)
    told = [f"{lead}: {steps}." if lead else f"{first_look(found)} {steps[0].upper()}{steps[1:]}.".lstrip()]
    longest = _longest_unregularized(found)
    if longest is not None:
        told.append(f"{_both_scores(longest, found)}.")
    return " ".join(told)


def _of(found: Ablation, verdict: Verdict) -> list[Contrast]:
    """The changes with this verdict, the largest differences first."""
    some = [each for each in found.settings if each.found.verdict is verdict]
    return sorted(some, key=lambda each: -abs(each.found.difference))


def _difference(contrast: Contrast, found: Ablation) -> str:
    return difference(contrast.found.difference, found.metric)


def _named(contrast: Contrast, found: Ablation) -> str:
    """optimizer adamw → sgd, at its own learning rate, 0.0188 (−0.21 points)"""
    return f"{change(contrast)}{besides(contrast)} ({_difference(contrast, found)})"


def _rather(contrast: Contrast, found: Ablation, effect: str = "") -> str:
    """dropout 0.2 rather than 0 (the change: −0.31 points)"""
    name = about(contrast)
    before, after = (shown(arm.settings.get(name)) for arm in (contrast.reference, contrast.arm))
    told = effect or _difference(contrast, found)
    return f"{name} {before} rather than {after}{besides(contrast)} (the change: {told})"


def _effect(contrast: Contrast, found: Ablation) -> str:
    """−0.31 points, −0.45 to −0.17, 28 % more errors"""
    told = [_difference(contrast, found), interval(contrast.found.family, found.metric)]
    changed = errors(contrast, found.metric)
    if changed is not None:
        told.append(f"{share(abs(changed.value))} {'more' if changed.value > 0 else 'fewer'} errors")
    return ", ".join(filter(None, told))


def _some(told: Sequence[str], most: int = NAMED) -> str:
    """The first ones, the rest counted."""
    if len(told) <= most:
        return "; ".join(told)
    return f"{'; '.join(told[:most])}; and {len(told) - most} more"


def _these(worse: Sequence[Contrast], found: Ablation) -> str:
    this = "This setting" if len({about(each) for each in worse}) == 1 else "These settings"
    generalization = " generalization" if of_networks(found) else ""
    return f"{this} of trial {found.baseline.number} helped{generalization}"


def _helped(found: Ablation) -> str:
    if not found.settings or all(each.found.verdict is None for each in found.settings):
        return _largest(found)
    worse = _of(found, Verdict.WORSE)
    if not worse:
        return f"No setting of trial {found.baseline.number} is told to be better than its neighbors."
    return f"{_these(worse, found)}: {_some([_rather(each, found, _effect(each, found)) for each in worse])}."


def _better(found: Ablation) -> str:
    better = _of(found, Verdict.BETTER)
    if not better:
        return ""
    one = len(better) == 1
    verb = f"generalize{'s' * one} better" if of_networks(found) else f"{'is' if one else 'are'} better"
    some = [f"{change(each)}{besides(each)} ({_effect(each, found)})" for each in better]
    changes = "One change" if one else count(len(better), "change")
    return f"{changes} {verb} than trial {found.baseline.number}: {_some(some)}."


def _width(found: Ablation) -> str:
    """about ±0.28 points: the median half of the family-wise intervals"""
    halves = found.half_widths
    return "unknown width" if halves is None else f"about ±{size(halves[1], found.metric)}"


def _not_told_apart(found: Ablation) -> str:
    apart, halves = _of(found, Verdict.NOT_TOLD_APART), found.half_widths
    if not apart or halves is None:
        return ""
    some = _some([_named(each, found) for each in apart], LISTED)
    needed = _seeds_needed(found)
    return (
        f"Not told apart from trial {found.baseline.number}: {some}. The intervals reached are "
        f"{_width(found)} family-wise, ±{size(halves[0], found.metric)} pointwise{needed and f'; {needed}'}."
    )


def _seeds_needed(found: Ablation) -> str:
    """about 7 seeds would give ±0.25 points: what would make the intervals of the settings narrower; empty
    where it cannot be told."""
    halves = found.half_widths
    if halves is None:
        return ""
    reached = halves[1]
    wanted = WANTED if found.metric.is_fraction and reached > WANTED else reached / 2
    try:
        seeds = paired_arms.seeds_needed(
            reached,
            found.seeds,
            len(found.measured),
            wanted,
            found.metric,
            compared=sum(each.found.no_interval is None for each in found.settings),
        )
    except ValueError:  # no width, or more seeds than anyone has
        return ""
    told = f"about {seeds:,} seeds would give ±{size(wanted, found.metric)}"
    if seeds > (most := most_seeds(found.record.spec)):
        limit = "the data have room for" if found.divides_anew else "`--seeds` allows"
        told += f", more than the {most} that {limit}"
    return told


_WHY_NONE = {
    NoInterval.ONE_SEED: "one seed",
    NoInterval.IGNORES_SEED: "one of the two has the same score on all seeds",
    NoInterval.NO_SPREAD: "the same on all seeds",
}
"""Why a difference has no interval."""


def _without_interval(found: Ablation) -> str:
    """Changes that no number of seeds tells apart, because nothing varies."""
    if found.seeds < 2:
        return ""
    some = [each for each in found.settings if each.found.no_interval is not None]
    nothing = [each for each in some if _changes_nothing(each)]
    steady = [each for each in some if each.found.no_interval is NoInterval.NO_SPREAD]
    steady = [each for each in steady if not _changes_nothing(each)]
    others = [
        f"{change(each)} ({_difference(each, found)}, {_WHY_NONE[each.found.no_interval]})"
        for each in some
        if each.found.no_interval in (NoInterval.ONE_SEED, NoInterval.IGNORES_SEED)
    ]
    told = []
    if nothing:
        told.append(
            f"The scores are the same on all seeds with {listed([change(each) for each in nothing])}."
        )
    if steady:
        these = _some([_named(each, found) for each in steady])
        told.append(
            f"The same difference on each of {count(found.seeds, 'seed')}, which leaves no spread to test "
            f"and no verdict: {these}."
        )
    if others:
        told.append(f"Without an interval and a verdict: {_some(others)}.")
    return " ".join(told)


def _changes_nothing(contrast: Contrast) -> bool:
    return contrast.found.no_interval is NoInterval.NO_SPREAD and contrast.found.difference == 0


def _largest(found: Ablation) -> str:
    """The differences of a first look."""
    some = sorted(found.settings, key=lambda each: -abs(each.found.difference))
    if not some:
        return ""
    told = _some([_named(each, found) for each in some])
    return f"The largest differences from trial {found.baseline.number}: {told}."


def _fit(found: Ablation) -> str:
    """Whether a change with a verdict fits the training set more or less."""
    told = []
    for each in (*_of(found, Verdict.WORSE), *_of(found, Verdict.BETTER)):
        parts = []
        if each.gap is not None and (sign := _sign(each.gap.train)):
            fits = difference(each.gap.train.value, found.metric)
            parts.append(f"fits the training set {'more' if sign > 0 else 'less'} ({fits})")
        if each.gap is not None and (sign := _sign(each.gap.gap)):
            gap = difference(each.gap.gap.value, upward(found.metric))
            parts.append(f"has a {'larger' if sign > 0 else 'smaller'} generalization gap ({gap})")
        if parts:
            told.append(f"{change(each)} {listed(parts)}")
    if not told:
        return ""
    return f"By pointwise intervals, each for its comparison alone: {_some(told)}."


def _sign(estimate: Estimate) -> int:
    """On which side of 0 the interval lies; 0: on both, or there is none."""
    if not estimate.excludes_zero:
        return 0
    return 1 if estimate.value > 0 else -1


def _step(contrast: Contrast, found: Ablation, *, ends: bool = True) -> str:
    """from 1 epoch to 2 epochs it helps (+0.60 points, +0.41 to +0.79)"""
    before, after = (amount(arm.budget, found.record.spec) for arm in (contrast.reference, contrast.arm))
    verdict = verdict_on_length(contrast)
    said = f" {'the two are' if verdict == 'not told apart' else 'it'} {verdict}" if verdict else ""
    return f"from {before} to {after}{said} ({_with_interval(contrast, found, ends=ends)})"


def _with_interval(contrast: Contrast, found: Ablation, *, ends: bool = True) -> str:
    told = interval(contrast.found.family, found.metric) if ends else ""
    none = _WHY_NONE.get(contrast.found.no_interval) if found.seeds > 1 and contrast.found.no_interval else ""
    return ", ".join(filter(None, (_difference(contrast, found), told, none)))


def _lead(found: Ablation) -> str:
    """Whether extra training always helped; empty without verdicts."""
    verdicts = [each.found.verdict for each in found.lengths]
    subject = "Extra training" if of_networks(found) else "A larger budget"
    if None in verdicts:
        return ""
    if Verdict.WORSE in verdicts:
        return f"{subject} did not always help"
    if Verdict.BETTER not in verdicts:
        return f"{subject} is not told to help or to hurt at any step"
    if Verdict.NOT_TOLD_APART not in verdicts:
        return f"{subject} helped at every step that was tried"
    steps = verdicts.index(Verdict.NOT_TOLD_APART)
    if Verdict.BETTER not in verdicts[steps:]:
        until = amount(found.lengths[steps - 1].arm.budget, found.record.spec)
        return f"{subject} helped up to {until}, and beyond that no difference is told apart"
    return f"{subject} helped at some steps, and at the others no difference is told apart"


def _longer(found: Ablation) -> str:
    if not found.lengths:
        return ""
    lead, own = _lead(found), ""
    if not lead:
        lead = "With extra training" if of_networks(found) else "With a larger budget"
    if of_networks(found):
        own = " (each length is a separate training, with a schedule of that length)"
    told = f"{lead}{own}: {'; '.join(_step(each, found) for each in found.lengths)}."
    if any(each.found.verdict is Verdict.NOT_TOLD_APART for each in found.lengths):
        told += f" Not told apart is a plateau, or a difference too small for {count(found.seeds, 'seed')}."
    return told


def _longest_unregularized(found: Ablation) -> Contrast | None:
    """The longest training without regularization and augmentation, against the baseline of that length."""
    return max(beside_baseline(found), key=lambda each: each.arm.budget, default=None)


def _both_scores(contrast: Contrast, found: Ablation) -> str:
    """What training without regularization and augmentation came to, on training examples too."""
    seeds, metric = contrast.found.seeds, found.metric
    told = []
    for arm in (contrast.arm, contrast.reference):
        fitted = training(arm, seeds)
        beside = "" if fitted is None else f" beside {value(fitted, metric)} on training examples"
        told.append(f"{value(mean(arm, seeds), metric)}{' on validation' * of_networks(found)}{beside}")
    length = amount(contrast.arm.budget, found.record.spec)
    if of_networks(found):
        return (
            f"Without regularization and augmentation a training of {length} reaches {told[0]}; with them "
            f"{told[1]}"
        )
    return f"Without regularization a run of {length} reaches {told[0]}; with it {told[1]}"


def _unregularized(found: Ablation) -> str:
    longest = _longest_unregularized(found)
    if longest is None:
        return ""
    verdict = "" if longest.found.verdict is None else f": {longest.found.verdict}"
    told = f"{_both_scores(longest, found)} ({_with_interval(longest, found)}{verdict})."
    longer = next((each for each in found.unregularized if each.arm.name == each.reference.name), None)
    if longer is not None:
        told += f" Without {'them' if of_networks(found) else 'it'}, {_step(longer, found)}."
    return told


def path_in_words(path: Path, found: Ablation) -> str:
    """Where the gain over a reference came from, else how far it is measured."""
    ends, changes = f"from {path.reference} to trial {found.baseline.number}", count(path.changes, "change")
    if path.failed:
        failed = listed([f"{arm.name} {failure(arm)}" for arm in path.failed])
        return f"What each change {ends} gave cannot be told: {failed}."
    if not path.steps:
        is_ = "is" if path.measured == 1 else "are"
        return f"Of the path {ends}, {path.measured} of {changes} {is_} measured so far."
    metric, first, last = found.metric, path.steps[0], path.steps[-1]
    before, after = mean(first.reference, first.found.seeds), mean(last.arm, last.found.seeds)
    total = after - before
    told = (
        f"Measured change by change {ends}: {value(before, metric)} to {value(after, metric)}, "
        f"{difference(total, metric)}."
    )
    most = most_of_path(path)
    if most is None:
        return told
    steps, gained = most
    names = [about(each) for each in path.steps[:steps]]
    which = f"The first of {changes}" if steps == 1 else f"The first {steps} of {changes}"
    what = f"{share(gained / total)} of it" if gained <= total else f"more, {difference(gained, metric)}"
    return f"{told} {which} ({listed(names)}) gave {what}."
