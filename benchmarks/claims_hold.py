"""How often the sentences of a report and of a comparison are false, and how often they find what is there.

    python benchmarks/claims_hold.py                        # prints the table; exit code 1 where a claim
    fails python benchmarks/claims_hold.py --null 100 --strong 20 # a first look

A sentence that the tool prints about data is a claim with an error rate. Studies whose truth is known are
made up, the report's and the comparison's own functions say what they found, and every false verdict is
counted. Allowed are 5 % of the pages with a false verdict. A row passes when the lower bound of the rate's 95
% interval (Clopper and Pearson) is at most 5 %; rows are judged only from 1,000 studies on. An accuracy is a
count of right answers to as many images as a study has, drawn anew for each measurement: the noise is that of
the true ones or more, since real networks share images and mistakes.

What varies is crossed pairwise: every number of trials with every pruner, and over these rows in turn the
sampler and what breaks. The sampler stands for any that learns: after twenty trials two in three of its
proposals change a few settings of one of the best, so that settings keep company.

Rows for the sentences of `tune confirm` come from `claims_of_confirm.py`, where there is one.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import math
import sys
import time
from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import cycle, product
from multiprocessing import get_context
from typing import Any

import numpy as np
from scipy.stats import binomtest  # type: ignore[import-untyped]  # SciPy ships no types

from search.analysis.basis import common
from search.analysis.effects import Group, Setting, Verdict, effects
from search.analysis.extra_training import Typical, chosen_among, courses, training
from search.analysis.intervals import interval, of_the_best, z_of_the_best
from search.analysis.ranking import winner
from search.analysis.statistics import Estimate, difference, median, paired
from search.heads import head_report
from search.records import Failure, HeadScore, Report, Scores, State, TrialRecord, Value

ALLOWED = 0.05
ENOUGH = 1_000
"""Studies below which a rate is shown and not judged."""

IMAGES = 4_000
EPOCH = 36_000
RUNGS = tuple(EPOCH * at // 8 for at in (1, 2, 4, 8, 16, 32, 64))
"""Images at each report: an eighth of an epoch, doubled until eight."""

TRIALS = (4, 30, 100, 300)
PRUNERS = ("none", "asha", "halving", "hyperband", "median", "percentile")
SAMPLERS = ("random", "learns")
BROKEN = ("nothing", "collapsed", "diverged")

FAMILIES = ("mlp", "conv")
OPTIONS: Mapping[str, Sequence[Value]] = {
    "model": FAMILIES,
    "optimizer": ("sgd", "nesterov", "adam", "adamw"),
    "batch_size": (32, 64, 128),
    "schedule": ("constant", "cosine", "linear"),
    "depth": (1, 2, 3),
    "pairing": ("fixed", "fresh"),
}
NUMBERS = ("lr", "momentum", "weight_decay", "label_smoothing", "dropout", "shift", "channels")
SETTINGS = tuple(
    Setting(
        name=name,
        meaning=name,
        ordered=name in (*NUMBERS, "batch_size", "depth"),
        log=False,
    )
    for name in (*OPTIONS, *NUMBERS)
)

OF_FAMILY = {"depth": "mlp", "channels": "conv"}
"""Settings that one model family has."""


def _is_active(name: str, settings: Mapping[str, Value]) -> bool:
    return OF_FAMILY.get(name, settings["model"]) == settings["model"]


Random = np.random.Generator

Every = Callable[..., Iterable[Any]]
"""`map`, or that of a pool of processes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line of the table."""

    claim: str
    condition: str
    n: int
    """studies, or pages"""
    false: int | None
    """of them, those where something false was said; None: nothing was false by construction"""
    found: int | None = None
    """of them, those where what is there was found; None: nothing was there"""

    @property
    def passes(self) -> bool:
        """Whether the rate of false verdicts may be what is allowed."""
        if self.false is None or self.n < ENOUGH:
            return True
        return bool(binomtest(self.false, self.n).proportion_ci(method="exact").low <= ALLOWED)

    def line(self) -> str:
        """In Markdown."""
        false = found = "–"
        if self.false is not None:
            low, high = binomtest(self.false, self.n).proportion_ci(method="exact")
            false = f"{self.false / self.n:.1%} ({low:.1%} to {high:.1%})"
        if self.found is not None:
            found = f"{self.found / self.n:.0%}"
        verdict = "yes" if self.passes else "NO"
        if self.false is None or self.n < ENOUGH:
            verdict = "not judged"
        return f"| {self.claim} | {self.condition} | {self.n:,} | {false} | {found} | {verdict} |"


HEADER = "| claim | studies | n | false (95 %) | found | holds |\n|---|---|--:|--:|--:|---|"


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """How studies are made up."""

    trials: int
    pruner: str = "none"
    sampler: str = "random"
    broken: str = "nothing"
    """collapsed: one network in ten answers at random; diverged: one trial in ten fails, whatever its
    settings; fast: accuracy rises with the rate, and four in five of the highest quarter of rates diverge;
    late: one in ten falls to chance at the end"""
    strong: bool = False
    """three settings matter, and the second half of a training brings 1 point; else nothing does"""
    widened: bool = False
    """the rate matters, and after half of the trials its range is doubled and two optimizers come with it:
    all trials fit the present space, and only those drawn since are a random sample of it"""

    def __str__(self) -> str:
        told = f"{self.trials} trials, {self.pruner}, {self.sampler}, {self.broken} breaks"
        return f"{told}, space widened" if self.widened else told


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """A study, and what is true of it."""

    trials: Sequence[TrialRecord]
    curves: Mapping[int, Sequence[Report]]
    exploration_trials: frozenset[int]
    truth: Mapping[int, Sequence[float]]
    """true accuracies at each rung by trial"""


Past = Sequence[tuple[float, Mapping[str, Value]]]
"""(score, settings) of the trials so far."""


def proposal(draw: Random, past: Past) -> tuple[dict[str, Value], bool]:
    """Settings, and whether they are those of an exploration trial."""
    numbers = draw.random(len(SETTINGS)).tolist()
    settings: dict[str, Value] = dict(zip(NUMBERS, numbers, strict=False))
    for (name, options), at in zip(OPTIONS.items(), numbers[len(NUMBERS) :], strict=True):
        settings[name] = options[int(at * len(options))]
    if len(past) < 20 or draw.random() < 1 / 3:
        return settings, True
    best = sorted(past, key=lambda each: -each[0])[: len(past) // 5]
    chosen = best[int(draw.integers(len(best)))][1]
    kept, moved = draw.random(len(SETTINGS)), draw.normal(0, 0.05, len(SETTINGS)).tolist()
    for keep, by, (name, value) in zip(kept, moved, chosen.items(), strict=True):
        if keep < 0.8:
            settings[name] = clipped(float(value) + by, 0.0, 1.0) if name in NUMBERS else value
    return settings, False


def narrow(settings: Mapping[str, Value]) -> dict[str, Value]:
    """As if drawn before the space was widened."""
    optimizers = OPTIONS["optimizer"]
    place = optimizers.index(settings["optimizer"]) % 2
    return {**settings, "lr": float(settings["lr"]) / 2, "optimizer": optimizers[place]}


def clipped(value: float, low: float, high: float) -> float:
    return min(high, max(low, value))


def quality(draw: Random, settings: Mapping[str, Value], condition: Condition) -> list[float]:
    """True accuracies at each rung. From half of the training on nothing changes unless it is strong."""
    at_the_end, at_first = draw.normal(0, 1, 2).tolist()
    last = 0.985 + (0.004 if condition.strong else 0.001) * at_the_end
    gain = 0.01 if condition.strong else 0.0
    early = 0.04 * at_first
    if condition.strong:
        # A best value in the middle, two better options of four, and more is better.
        effect = -2 * (float(settings["dropout"]) - 0.5) ** 2
        effect += 0.25 * (settings["optimizer"] in ("adam", "adamw")) + 0.4 * float(settings["lr"])
        early += 0.3 * effect
        last += 0.02 * (effect - 0.3)
    elif condition.broken == "fast":
        early += 0.1 * float(settings["lr"])
    elif condition.widened:
        early += 0.05 * float(settings["lr"])
        last += 0.004 * (float(settings["lr"]) - 0.5)
    lows = (0.80 + early, 0.88 + early / 2, 0.93 + early / 3, 0.96 + early / 4, 0.975 + early / 8)
    return [clipped(at, 0.1, 0.998) for at in (*lows, last - gain, last)]


def passes(pruner: str, rung: int, score: float, others: Sequence[float], bracket: int) -> bool:
    """Whether a trial that stands so at a rung is let on. others: scores of those before it there, rising."""
    if pruner == "none":
        return True
    better = len(others) - bisect_right(others, score)
    if pruner in ("median", "percentile"):
        return len(others) < 5 or better <= len(others) * (0.5 if pruner == "median" else 0.25)
    if pruner != "asha" and (rung % 2 or (pruner == "hyperband" and rung < 2 * bracket)):
        return True
    return better < max(1, (len(others) + 1) // (3 if pruner == "asha" else 4))


def make(draw: Random, condition: Condition) -> Made:
    """A study. Its networks have one head, and its trials' losses mean nothing."""
    trials: list[TrialRecord] = []
    curves: dict[int, list[Report]] = {}
    truth: dict[int, list[float]] = {}
    exploration_trials: set[int] = set()
    past: list[tuple[float, Mapping[str, Value]]] = []
    seen: list[list[float]] = [[] for _ in RUNGS]
    for number in range(condition.trials):
        settings, explored = proposal(draw, past if condition.sampler == "learns" else ())
        if condition.widened and number < condition.trials // 2:
            settings = narrow(settings)
            explored = False  # as search.service.report.drawn has it: drawn in an earlier space
        if explored:
            exploration_trials.add(number)
        true = quality(draw, settings, condition)
        falls, stops = draw.random(2)
        if condition.broken == "collapsed" and falls < 0.1:
            true = [0.1] * len(RUNGS)
        if condition.broken == "late" and falls < 0.1:
            true = [*true[:-1], 0.1]
        diverges = condition.broken == "diverged" and falls < 0.1
        if condition.broken == "fast":
            diverges = float(settings["lr"]) > 0.75 and falls < 0.8
        bracket, state = int(draw.integers(3)), State.FAILED if diverges else State.COMPLETE
        curve: list[Report] = []
        best = 0.0
        for rung, right in enumerate(draw.binomial(IMAGES, true).tolist()):
            if diverges and rung >= stops * len(RUNGS):
                break
            score = right / IMAGES
            scores = Scores(heads={"digit": HeadScore(loss=1 - score, accuracy=score)}, joint=score)
            curve.append(
                head_report(step=RUNGS[rung], seconds=1.0, learning_rate=0.1, train=scores, validation=scores)
            )
            best = max(best, score)
            let_on = passes(condition.pruner, rung, score, seen[rung], bracket)
            insort(seen[rung], score)
            if not let_on and rung < len(RUNGS) - 1:
                state = State.FAILED if diverges else State.PRUNED
                break
        trials.append(
            TrialRecord(
                trial_id=number,
                number=number,
                state=state,
                score=best if curve else None,
                params={name: value for name, value in settings.items() if _is_active(name, settings)},
                failure=Failure.DIVERGED if diverges else None,
            )
        )
        truth[number] = true
        if curve:
            curves[number] = curve
        past.append((0.0 if diverges else best, settings))
    return Made(trials=trials, curves=curves, exploration_trials=frozenset(exploration_trials), truth=truth)


PAGE = "report: a false verdict on the page"
SETS = "a setting matters"
WHICH = "this value is better than that"
TYPICAL = "the typical network gained, or lost"
SINGLE = "this network gained, or lost"
BEST = "the winner's interval misses its truth"


def report_says(made: Made, condition: Condition) -> tuple[set[str], set[str]]:
    """The claims of a report on this study that are false, and those that found something that is there."""
    false: set[str] = set()
    found: set[str] = set()
    best = winner(made.trials).searched
    basis = common(made.trials, made.curves, budget=RUNGS[-1])
    if basis is not None:
        told = effects(SETTINGS, basis.trials, basis.scores, made.exploration_trials)
        matter = {"lr", "optimizer", "dropout"} if condition.strong else set()
        matter |= {"lr"} if condition.broken == "fast" or condition.widened else set()
        for each in told:
            if each.verdict is not Verdict.MATTERS:
                continue
            name = each.setting.name
            (found if name in matter else false).add(SETS)
            for pair in each.apart:
                higher, lower = each.groups[pair.higher], each.groups[pair.lower]
                wrong = name not in matter or _false_pair(name, higher, lower, condition)
                (false if wrong else found).add(WHICH)
    grown = training(
        courses(made.trials, made.curves),
        images=IMAGES,
        among=chosen_among(made.trials, made.curves),
    )
    gained = condition.strong or condition.broken == "late"
    if grown.typical in (Typical.GAINED, Typical.LOST):
        right = condition.strong and grown.typical is Typical.GAINED
        (found if right else false).add(TYPICAL)
    for course in (*grown.gained, *grown.lost):
        true = made.truth[course.trial.number]
        right = (true[-1] - true[-2]) * (course.gain or 0.0) > 0
        (found if right and gained else false).add(SINGLE)
    if best is not None:
        low, high = best_interval(made, best)
        report = max(made.curves[best.number], key=lambda each: each.score)
        if not low <= made.truth[best.number][RUNGS.index(report.step)] <= high:
            false.add(BEST)
    if false - {BEST}:
        false.add(PAGE)
    return false, found


def _false_pair(name: str, higher: Group, lower: Group, condition: Condition) -> bool:
    """Whether the opposite is true."""
    if name == "optimizer":
        return higher.low not in ("adam", "adamw")
    low_a, high_a, low_b, high_b = map(float, (higher.low, higher.high, lower.low, lower.high))
    if name == "dropout":  # the middle is best
        return abs((low_a + high_a) / 2 - 0.5) > abs((low_b + high_b) / 2 - 0.5)
    if condition.broken == "fast" and high_a > 0.75:
        return (min(high_a, 1.0) - 0.75) / (high_a - low_a) > 0.5 or low_a > low_b
    return low_a < low_b and not (condition.broken == "fast" and high_b > 0.75)


def best_interval(made: Made, best: TrialRecord) -> tuple[float, float]:
    """As the page prints it."""
    tried = measurements(made)
    return interval(best.score or 0.0, IMAGES, of_the_best(tried))


def measured(accuracy: float, z: float) -> Estimate:
    """An accuracy on the validation images, with its interval."""
    low, high = interval(accuracy, IMAGES, (z, z))
    return Estimate(value=accuracy, low=low, high=high)


def measurements(made: Made) -> int:
    """Measurements of all trials that did not fail."""
    return max(1, sum(len(made.curves.get(t.number, ())) for t in made.trials if t.state is not State.FAILED))


Told = tuple[Counter[str], Counter[str]]
"""Studies with a false claim of each kind, and studies with one that found what is there."""


def of_studies(condition: Condition, n: int, seed: tuple[int, int]) -> Told:
    """What the reports on n studies say."""
    false: Counter[str] = Counter()
    found: Counter[str] = Counter()
    for repeat in range(n):
        draw = np.random.default_rng((*seed, repeat))
        wrong, right = report_says(make(draw, condition), condition)
        false.update(wrong)
        found.update(right)
    return false, found


def of_reports(conditions: Sequence[Condition], n: int, seed: int, every: Every) -> Iterator[Row]:
    """A row for each condition, and one for each claim over all conditions."""
    false: Counter[str] = Counter()
    found: Counter[str] = Counter()
    strong = conditions[0].strong
    seeds = [(seed, place) for place in range(len(conditions))]
    for condition, (wrong, right) in zip(
        conditions, every(of_studies, conditions, [n] * len(seeds), seeds), strict=True
    ):
        false += wrong
        found += right
        yield Row(
            claim=PAGE if not strong else "report: strong effects",
            condition=str(condition),
            n=n,
            false=wrong[PAGE],
            found=right[SETS] if strong or condition.broken == "fast" or condition.widened else None,
        )
    for claim in (SETS, WHICH, TYPICAL, SINGLE, BEST):
        yield Row(
            claim=claim,
            condition=f"all {len(conditions)} rows above",
            n=n * len(conditions),
            false=false[claim],
            found=found[claim] if strong else None,
        )


def of_comparisons(n: int, seed: int) -> Iterator[Row]:
    """The better of two bests; intervals of pairs and of the typical trial."""
    for (one, other), apart in product(((4, 300), (100, 100), (300, 30)), (0.0, 0.01)):
        false = found = 0
        spread = 0.001 if apart else 0.0
        for repeat in range(n):
            draw = np.random.default_rng((seed, one, other, repeat))
            truths = [
                0.985 - apart * side + spread * draw.normal(size=k) for side, k in enumerate((one, other))
            ]
            tops = []
            for true in truths:
                rights = draw.binomial(IMAGES, np.clip(true, 0, 1)) / IMAGES
                tops.append((float(rights.max()), float(true[int(rights.argmax())])))
            z = z_of_the_best(max(one, other))
            told = difference(*(measured(top, z) for top, _ in tops))
            assert told.low is not None
            assert told.high is not None
            if not told.low <= 0 <= told.high:
                right = (tops[0][1] - tops[1][1]) * told.value > 0
                false, found = false + (not right), found + right
        strong = apart > 0
        yield Row(
            claim="compare: the network of A is the better one",
            condition=f"best of {one} and of {other}, {f'{apart:.0%} apart' if strong else 'equally good'}",
            n=n,
            false=false,
            found=found if strong else None,
        )
    for pairs in (2, 3, 10):
        draw = np.random.default_rng((seed, pairs))
        means = [paired(draw.normal(0, 0.002, pairs).tolist()) for _ in range(n)]
        missed = sum(not (e.low or 0.0) <= 0 <= (e.high or 0.0) for e in means if e is not None)
        yield Row(claim="compare: interval of paired runs", condition=f"{pairs} pairs", n=n, false=missed)
    for k in (6, 30, 100):
        draw = np.random.default_rng((seed, k, 1))
        drawn = [median(draw.exponential(1, k).tolist()) for _ in range(n)]
        missed = sum(not (e.low or 0.0) <= math.log(2) <= (e.high or 0.0) for e in drawn)
        yield Row(claim="compare: interval of typical", condition=f"{k} trials", n=n, false=missed)


def null_conditions() -> list[Condition]:
    """Every number of trials with every pruner; samplers and breakages in turn, so that all pairs are met."""
    beside = cycle(product(SAMPLERS, BROKEN))
    rows = []
    for trials in TRIALS:
        for pruner in PRUNERS:
            sampler, broken = next(beside)
            rows.append(Condition(trials=trials, pruner=pruner, sampler=sampler, broken=broken))
        next(beside)  # or each pruner would meet one pair alone
    return rows


def special_conditions() -> list[Condition]:
    """Rates that diverge, networks that fall at the end, and spaces that were widened."""
    return [
        *(Condition(trials=n, sampler=s, broken="fast") for n, s in product((30, 100, 300), SAMPLERS)),
        Condition(trials=100, pruner="asha", sampler="learns", broken="fast"),
        Condition(trials=30, broken="late"),
        Condition(trials=100, broken="late"),
        *(Condition(trials=n, sampler=s, widened=True) for n, s in product((60, 200), SAMPLERS)),
    ]


def strong_conditions() -> list[Condition]:
    """Effects that should be found."""
    return [
        Condition(trials=n, pruner=p, sampler=s, strong=True)
        for n, p, s in product(TRIALS, ("none", "asha"), SAMPLERS)
    ]


OTHERS = ("claims_of_confirm",)
"""Modules beside this one whose `rows(null, strong)` gives more rows: claim, condition, n, wrong, found."""


def of_others(null: int, strong: int) -> Iterator[Row]:
    """What the other modules measure; one that is not there is passed over."""
    for name in OTHERS:
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as missing:
            if missing.name != name:
                raise
            continue
        for each in module.rows(null, strong):
            yield Row(
                claim=each.claim, condition=each.condition, n=each.n, false=each.wrong, found=each.found
            )


def rows(null: int, strong: int, seed: int, tell: Callable[[str], None], every: Every = map) -> list[Row]:
    """The whole table, each row told as soon as it is there."""
    found: list[Row] = []
    parts = (
        of_reports(null_conditions(), null, seed, every),
        of_reports(special_conditions(), null, seed + 1, every),
        of_reports(strong_conditions(), strong, seed + 2, every),
        of_comparisons(null, seed),
        of_others(null, strong),
    )
    for part in parts:
        for row in part:
            found.append(row)
            tell(row.line())
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--null", type=int, default=ENOUGH, help="studies in each row without effects")
    parser.add_argument("--strong", type=int, default=200, help="studies in each row with strong effects")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    began = time.monotonic()
    print(HEADER)
    with ProcessPoolExecutor(arguments.processes, mp_context=get_context("spawn")) as pool:
        tell = functools.partial(print, flush=True)
        found = rows(arguments.null, arguments.strong, arguments.seed, tell, pool.map)
    failing = [row for row in found if not row.passes]
    print(f"\n{len(found)} rows, {len(failing)} fail; {time.monotonic() - began:.0f} s.")
    return 1 if failing else 0


if __name__ == "__main__":
    sys.exit(main())
