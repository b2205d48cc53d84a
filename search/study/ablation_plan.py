"""What an ablation trains: a baseline, its neighbors, and the baseline for shorter and longer, on the same
seeds.

Arms whose best learning rate is another one (another optimizer, another batch size) get one that is chosen
on a seed which is in no result; so is the order of the changes on a path. Both need results first: `plan` is
asked again when the runs that choose are finished, and then has the others too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from search.analysis.ablation import BASELINE, RATES
from search.records import STEP, AblationRun, NetworkSpec, StudySpec, Value
from search.space.defaults import BY_NAME
from search.space.spec import space_of_spec
from search.study.variants import Variant, changes, label, nearest, unregularized, variants
from tune.space import Choice, Float, Int

VARIANT_SHARE = 0.5
"""Of the search's budget, for which variants are trained."""

LENGTHS = (0.125, 0.25, 1.0, 2.0)
"""Budgets of the question about extra training, as shares of the search's budget, beside that of variants."""

RATED = ("optimizer", "batch_size")
"""Settings that ask for another learning rate."""

GRID = 5
"""Learning rates among which one is chosen."""

FACTOR = 3.0
"""Between two of them, where no range was searched."""

BEYOND = 3
"""Rates that are tried beyond them, one after the other, while the one at the end is the best."""

CHOOSING_SHARE = 0.5
"""Of the variants' budget, for which runs are trained that choose."""

TOGETHER = (("optimizer", "lr", "momentum"), ("channels", "growth", "divisor"))
"""Settings that change in one step of a path: each alone would be a broken network."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AblationRequest:
    """What of an ablation is asked for."""

    settings: tuple[str, ...] | None = None
    """names of the settings to be changed, ("all",) for every one; None: the main ones"""
    seeds: int = 3
    lengths: bool = True
    """whether the baseline is trained for shorter and longer too"""
    path: str | None = None
    """reference from which a path leads to the baseline; None: there is none"""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedRun:
    """One training of an ablation."""

    run: AblationRun
    settings: Mapping[str, Value]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is to be trained, as far as it is known."""

    runs: tuple[PlannedRun, ...]
    """in the order in which they begin: those that choose, then seed by seed, so that an ablation that is
    stopped early is a smaller one"""
    follow: tuple[AblationRun, ...]
    """whose settings are known only when the runs that choose are finished"""


Scores = Mapping[AblationRun, float | None]
"""Of finished runs that choose; None for one that failed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredArm:
    """An arm that an ablation has already: some run of it is queued, or further."""

    name: str
    budget: int
    settings: Mapping[str, Value]
    seeds: frozenset[int]
    """indices of those for which it is queued, or was"""
    failed: bool = False
    """whether a run of it failed for good, so that it is compared with nothing"""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Arm:
    name: str
    settings: Mapping[str, Value] | None
    """None: not known before runs that choose are finished"""
    budget: int


def variant_budget(spec: StudySpec) -> tuple[int, float | None]:
    """Steps of a variant of a study's trial, and epochs where networks are trained."""
    if isinstance(spec, NetworkSpec):
        epochs = VARIANT_SHARE * spec.epochs
        return round(spec.epoch_images * epochs), epochs
    return max(1, round(VARIANT_SHARE * spec.budget)), None


def plan(
    spec: StudySpec,
    settings: Mapping[str, Value],
    request: AblationRequest,
    *,
    searched_for: int,
    reference: Mapping[str, Value] | None = None,
    scores: Scores,
    there: Sequence[MeasuredArm] = (),
) -> Plan:
    """The ablation of a trial.

    spec: of the ablation, so that its budget is the variants'. settings: of the baseline. searched_for: the
    search's budget; where it is 1, no lengths are planned: there is nothing to train for longer. reference:
    settings of the path's reference. scores: of the runs that choose, as far as they are finished. there: the
    arms of earlier requests. They keep their settings, and get the seeds of this request too, since arms are
    compared on the seeds that all of them have; unless they failed. Raises UsageError for settings that
    cannot be changed.
    """
    kept = {(arm.name, arm.budget): arm for arm in there}
    choosing: list[PlannedRun] = []
    arms = [_Arm(name=BASELINE, settings=settings, budget=spec.budget)]
    changed = variants(spec, settings, request.settings)
    arms += [_with_own_rate(spec, variant, choosing, scores, kept) for variant in changed]
    asks_lengths = request.lengths and searched_for > 1
    lengths = [max(1, round(searched_for * share)) for share in LENGTHS] if asks_lengths else []
    longer = [budget for budget in dict.fromkeys(lengths) if budget != spec.budget]
    arms += [_Arm(name=BASELINE, settings=settings, budget=budget) for budget in longer]
    plain = unregularized(spec, settings) if request.lengths else None
    if plain is not None:
        # With one regularizer on, the variant that switches it off is the same configuration.
        others = [each.settings for each in changed]
        others += [arm.settings for arm in there if arm.budget == spec.budget and arm.name != plain.name]
        is_variant = any(not changes(spec, other, plain.settings) for other in others)
        budgets = {spec.budget, max([spec.budget, *longer])} - ({spec.budget} if is_variant else set())
        arms += [_Arm(name=plain.name, settings=plain.settings, budget=budget) for budget in sorted(budgets)]
    if reference is not None and request.path is not None:
        arms += _path(spec, settings, request.path, reference, choosing, scores)
    asked = {(arm.name, arm.budget) for arm in arms}
    arms += [
        _Arm(name=arm.name, settings=arm.settings, budget=arm.budget)
        for arm in there
        if not arm.failed and (arm.name, arm.budget) not in asked
    ]
    measured: list[PlannedRun] = []
    follow: list[AblationRun] = []
    for seed in range(request.seeds):
        for arm in sorted(arms, key=lambda arm: -arm.budget):
            run = AblationRun(arm=arm.name, seed=seed, budget=arm.budget)
            before = kept.get((arm.name, arm.budget))
            if before is not None and before.failed and seed not in before.seeds:
                continue
            own = arm.settings if before is None else before.settings
            if own is None:
                follow.append(run)
            else:
                measured.append(PlannedRun(run=run, settings=own))
    return Plan(runs=(*choosing, *measured), follow=tuple(follow))


def _with_own_rate(
    spec: StudySpec,
    variant: Variant,
    choosing: list[PlannedRun],
    scores: Scores,
    kept: Collection[tuple[str, int]],
) -> _Arm:
    """A variant, with another learning rate where it asks for one; the runs that choose it are added to
    `choosing`. kept: the arms that are there, by name and budget."""
    arm = _Arm(name=variant.name, settings=variant.settings, budget=spec.budget)
    rate = next((name for name in RATES if name in variant.settings), None)
    if rate is None or variant.changed[0] not in RATED:
        return arm
    values = rates(spec, rate, variant.settings[rate])
    if len(values) < 2:
        return arm
    runs = _of_rates(spec, variant, rate, values)
    if (arm.name, arm.budget) in kept:  # its learning rate was chosen
        choosing += [each for each in runs if each.run in scores]
        return arm
    while all(each.run in scores for each in runs):
        best = max(range(len(runs)), key=lambda place: _score(scores, runs[place].run))
        if _score(scores, runs[best].run) == FAILED:
            choosing += runs
            return arm
        beyond = _beyond(spec, rate, values, best) if len(values) < GRID + BEYOND else None
        if beyond is None:
            choosing += runs
            return replace(arm, settings=runs[best].settings)
        values = sorted([*values, beyond])
        runs = _of_rates(spec, variant, rate, values)
    choosing += runs
    return replace(arm, settings=None)


def _of_rates(spec: StudySpec, variant: Variant, rate: str, values: Sequence[float]) -> list[PlannedRun]:
    """A run for each of these learning rates."""
    return [
        _choosing(spec, f"{variant.name}, {label(rate, value)}", {**variant.settings, rate: value})
        for value in values
    ]


def _beyond(spec: StudySpec, name: str, values: Sequence[float], best: int) -> float | None:
    """The next learning rate to try after the best one, which is at an end; None: it lies between others, or
    no other rate is allowed, as none is beyond the range of training code. values: at least two, rising."""
    if not isinstance(spec, NetworkSpec) or 0 < best < len(values) - 1:
        return None
    legal = BY_NAME[name].legal
    assert isinstance(legal, Float), "it is a learning rate"
    found = nearest(legal, values[-1] ** 2 / values[-2] if best else values[0] ** 2 / values[1])
    return found if found not in values else None


def _choosing(
    spec: StudySpec, name: str, settings: Mapping[str, Value], share: float = CHOOSING_SHARE
) -> PlannedRun:
    budget = max(1, round(share * spec.budget))
    return PlannedRun(run=AblationRun(arm=name, seed=0, budget=budget, chooses=True), settings=settings)


FAILED = float("-inf")
"""Score of a run that failed."""


def _score(scores: Scores, run: AblationRun) -> float:
    found = scores[run]
    return FAILED if found is None else found


def rates(spec: StudySpec, name: str, now: Value) -> list[float]:
    """Learning rates to choose from, rising: evenly over the range that the study searched on its scale, or
    of the numbers that it chose among; of networks with one rate around the baseline's. Fewer than two:
    there is nothing to choose from."""
    domain = space_of_spec(spec).domains.get(name)
    shares = [place / (GRID - 1) for place in range(GRID)]
    found: list[float] = []
    match domain:
        case Choice(options=options):
            numbers = sorted(
                each for each in options if isinstance(each, int | float) and not isinstance(each, bool)
            )
            found = [numbers[round(share * (len(numbers) - 1))] for share in shares if numbers]
        case Int() | Float():
            low, high = domain.low, domain.high
            spread = [low * (high / low) ** s if domain.log else low + (high - low) * s for s in shares]
            found = [nearest(domain, number) for number in spread]
    if len(set(found)) < 2 and isinstance(spec, NetworkSpec) and isinstance(now, int | float):
        legal = BY_NAME[name].legal
        assert isinstance(legal, Float), "it is a learning rate"
        found = [nearest(legal, now * FACTOR ** (place - GRID // 2)) for place in range(GRID)]
    return list(dict.fromkeys(found))


def _path(
    spec: StudySpec,
    settings: Mapping[str, Value],
    name: str,
    reference: Mapping[str, Value],
    choosing: list[PlannedRun],
    scores: Scores,
) -> list[_Arm]:
    """The reference with one change of the winner's more at each step, the one first that helps it most."""
    steps = path_changes(spec, reference, settings)
    first = _Arm(name=name, settings=reference, budget=spec.budget)
    alone = {
        step: _choosing(spec, f"{name}{STEP}{step}", _changed(reference, settings, names), share=1.0)
        for step, names in steps.items()
    }
    choosing += alone.values()
    if any(each.run not in scores for each in alone.values()):
        return [first, *(_Arm(name=step, settings=None, budget=spec.budget) for step in list(steps)[1:])]
    order = sorted(steps, key=lambda step: -_score(scores, alone[step].run))
    arms = [first]
    for count in range(1, len(order)):
        names = [each for step in order[:count] for each in steps[step]]
        arms.append(
            _Arm(
                name=STEP.join([name, *order[:count]]),
                settings=_changed(reference, settings, names),
                budget=spec.budget,
            )
        )
    return arms


def path_changes(
    spec: StudySpec, reference: Mapping[str, Value], settings: Mapping[str, Value]
) -> dict[str, tuple[str, ...]]:
    """The steps from a reference to other settings: what each is called, and the settings that it changes."""
    left = list(changes(spec, reference, settings))
    groups: list[tuple[str, ...]] = []
    if "model" in left:  # settings of one family mean nothing to the other
        own = [name for name in left if name not in reference or name not in settings]
        groups.append(tuple(dict.fromkeys(["model", *own])))
        left = [name for name in left if name not in groups[0]]
    for together in TOGETHER:
        if together[0] in left:
            groups.append(tuple(name for name in together if name in left))
            left = [name for name in left if name not in together]
    groups += [(name,) for name in left]
    return {group[0]: group for group in groups}


def _changed(
    reference: Mapping[str, Value], settings: Mapping[str, Value], names: Sequence[str]
) -> dict[str, Value]:
    found = {name: value for name, value in reference.items() if name not in names or name in settings}
    return {**found, **{name: settings[name] for name in names if name in settings}}
