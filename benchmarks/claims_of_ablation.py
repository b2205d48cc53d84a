"""How often the verdicts of `tune ablate` are wrong, and how small an effect they find.

    python benchmarks/claims_of_ablation.py            # prints the table; exit code 1 where a claim fails
    python benchmarks/claims_of_ablation.py --n 100    # a first look, in which no row is judged

A plan has a baseline, settings that change nothing, one that is truly better, and lengths of training. Each
seed holds out another tenth of 60,000 digits, of which 24,000 images of two digits are composed. A digit is
equally hard for all arms, networks err on it in other images, and networks of other seeds are better or
worse. `search.analysis.paired_arms` says what it finds. False is a verdict about two arms that are equal in
truth, or one in the wrong direction. Allowed are 5 % of the plans; a row passes when the lower bound of the
rate's 95 % interval (Clopper and Pearson) is at most that. Half-widths of accuracies are in points.

The second table is of two ablations side by side (`tune compare`), of winners on which each change has the
same effect, but for one whose effect is larger by 0.4 points on the second. False is that any of the others
is told to have another effect.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq  # type: ignore[import-untyped]  # SciPy ships no types
from scipy.stats import beta, binomtest  # type: ignore[import-untyped]

from search.analysis.paired_arms import Comparison, Verdict, against_baseline, steps
from search.analysis.statistics import Estimate
from search.analysis.two_ablations import less_effect, share_of_each, variances_of
from search.records import Metric

ALLOWED, ENOUGH = 0.05, 1_000

ACCURACY = Metric(name="validation/accuracy", is_fraction=True)
RETURN = Metric(name="return")

DIGITS, TENTH = 60_000, 6_000
IMAGES = 8
"""Images of each digit, in 24,000 images of two digits out of 6,000."""

EFFECT = 0.002
"""Of the setting that is truly better. Of a metric without bounds: two standard deviations of a score."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One kind of plan."""

    words: str
    seeds: int
    settings: int = 14
    """that change nothing"""
    baseline: float = 0.992
    """true accuracy; of a metric without bounds, 0"""
    worse: tuple[float, ...] = ()
    """true accuracies of settings that are far worse"""
    lengths: tuple[float, ...] | None = (0.0, 0.0, 0.0, 0.0)
    """what shorter trainings lack of the baseline's accuracy"""
    noise: tuple[float, float] = (0.001, 0.001)
    """standard deviation of networks of other seeds, log-uniform between these for each arm"""
    unstable: float = 1.0
    """factor of the noise of arms that are worse in truth"""
    noisy_baseline: bool = False
    """the baseline has the largest noise of all"""
    heavy: bool = False
    """noise from Student's t with 3 degrees of freedom, in place of the normal distribution"""
    families: bool = False
    """a third of the arms share half the variance of their noise, as networks of another architecture"""
    examples: int = 0
    """accuracies are those of this many independent examples instead"""
    unregularized: bool = False
    """the shortest and the longest training are there without regularization too, which changes nothing"""
    looks: tuple[int, ...] = ()
    """the plan is looked at with these numbers of seeds before, and a verdict at any look counts"""
    later: int = 0
    """settings of a second round, as those are that first need a learning rate of their own: the plan is
    looked at without them before"""
    metric: Metric = ACCURACY


def _unbounded(words: str, seeds: int, spread: float = 1.0, **more: Any) -> Cell:
    noise = (1 / spread**0.5, spread**0.5)
    return Cell(words=words, seeds=seeds, metric=RETURN, baseline=0.0, noise=noise, **more)


MIXED = (0.0005, 0.0015)
RISING = (0.017, 0.007, 0.002, 0.0)

CELLS = (
    Cell(words="equal noise", seeds=3),
    Cell(words="equal noise", seeds=5),
    Cell(words="mixed noise", seeds=3, noise=MIXED),
    Cell(words="mixed noise", seeds=5, noise=MIXED),
    Cell(words="mixed noise", seeds=10, noise=MIXED),
    Cell(words="mixed noise, the baseline's largest", seeds=3, noise=MIXED, noisy_baseline=True),
    Cell(
        words="mixed noise, the baseline's largest, heavy tails",
        seeds=5,
        noise=MIXED,
        noisy_baseline=True,
        heavy=True,
    ),
    Cell(words="heavy tails", seeds=3, noise=(0.0015, 0.0015), heavy=True),
    Cell(words="a third of another architecture", seeds=3, noise=(0.0015, 0.0015), families=True),
    Cell(words="accuracy 95 %", seeds=3, baseline=0.95, noise=MIXED),
    Cell(
        words="arms of 97, 95 and 60 %, unstable", seeds=3, worse=(0.97, 0.95, 0.6), noise=MIXED, unstable=3
    ),
    Cell(
        words="arms of 97, 95 and 60 %, unstable", seeds=5, worse=(0.97, 0.95, 0.6), noise=MIXED, unstable=3
    ),
    Cell(words="few settings", seeds=3, settings=4, noise=MIXED),
    Cell(words="one setting, no lengths", seeds=3, settings=1, lengths=None, noise=MIXED),
    Cell(words="longer helps, from 97.5 %", seeds=3, lengths=RISING, noise=MIXED),
    Cell(words="longer helps, short ones unstable", seeds=5, lengths=RISING, noise=MIXED, unstable=3),
    Cell(words="1,000 examples, no digits", seeds=3, examples=1_000, noise=MIXED),
    _unbounded("no bounds, equal noise", 3),
    _unbounded("no bounds, noise differs 4 times", 3, 4),
    _unbounded("no bounds, noise differs 4 times", 5, 4, heavy=True),
    _unbounded("no bounds, noise differs 4 times, the baseline's largest", 3, 4, noisy_baseline=True),
    _unbounded("no bounds, noise differs 4 times, the baseline's largest", 5, 4, noisy_baseline=True),
    Cell(words="also without regularization", seeds=3, unregularized=True, noise=MIXED),
    Cell(
        words="also without regularization, heavy tails", seeds=5, unregularized=True, noise=MIXED, heavy=True
    ),
    Cell(words="looked at with 2 and 3 seeds", seeds=5, looks=(2, 3), noise=MIXED),
    *(
        Cell(
            words=f"looked at with {told} seeds, the baseline's noise largest, also without regularization",
            seeds=seeds,
            looks=looks,
            noise=MIXED,
            noisy_baseline=True,
            unregularized=True,
        )
        for told, seeds, looks in (("2", 3, (2,)), ("2 and 3", 5, (2, 3)), ("2, 3 and 5", 10, (2, 3, 5)))
    ),
    Cell(
        words="looked at with 2, 3 and 5 seeds, heavy tails",
        seeds=10,
        looks=(2, 3, 5),
        noise=MIXED,
        heavy=True,
    ),
    Cell(words="looked at with each number of seeds from 2 on", seeds=6, looks=(2, 3, 4, 5), noise=MIXED),
    _unbounded(
        "no bounds, looked at with 2 and 3 seeds, noise differs 4 times, the baseline's largest",
        5,
        4,
        noisy_baseline=True,
        looks=(2, 3),
    ),
    Cell(words="a second round", seeds=3, later=5, noise=MIXED),
    Cell(
        words="a second round, the baseline's noise largest",
        seeds=3,
        later=5,
        noise=MIXED,
        noisy_baseline=True,
    ),
    Cell(
        words="a second round, the baseline's noise largest",
        seeds=5,
        later=5,
        noise=MIXED,
        noisy_baseline=True,
    ),
    _unbounded(
        "no bounds, a second round, noise differs 4 times, the baseline's largest",
        5,
        4,
        noisy_baseline=True,
        later=5,
    ),
)


@lru_cache
def hard_digits(levels: tuple[float, ...]) -> NDArray[np.float64]:
    """(levels, digits): how often networks of these true accuracies err on each digit of all.

    Most digits are easy: the error rates at 99.2 % are those of a beta distribution with a = 0.03. Digits
    on which no network errs in more than 0.1 % of cases err never, and the others a little more.
    """
    a = 0.03
    at = np.clip(beta.ppf((np.arange(DIGITS) + 0.5) / DIGITS, a, a * 0.992 / 0.008), 1e-12, 1 - 1e-9)
    odds = at / (1 - at)

    def rates(logarithm: float) -> NDArray[np.float64]:
        found: NDArray[np.float64] = odds / (odds + np.exp(-logarithm))
        return found

    all_rates = np.array([rates(brentq(lambda x, p=p: rates(x).mean() - (1 - p), -8, 30)) for p in levels])
    kept = all_rates[:, all_rates.max(axis=0) > 1e-3]
    wanted = DIGITS * (1 - np.array(levels))[:, None]
    found: NDArray[np.float64] = np.minimum(kept * wanted / kept.sum(axis=1, keepdims=True), 1.0)
    return found


def accuracies(cell: Cell, truth: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.float64]:
    """(arms, seeds): share of right answers, without the noise of the networks."""
    if cell.examples:
        right = generator.binomial(cell.examples, truth[:, None], (len(truth), cell.seeds))
        return np.asarray(right / cell.examples, dtype=np.float64)
    levels = tuple(sorted(set(truth.tolist())))
    rates = hard_digits(levels)
    tenth = generator.integers(DIGITS // TENTH, size=rates.shape[1])
    found = np.empty((len(truth), cell.seeds))
    of_arm = np.searchsorted(levels, truth)
    for seed in range(cell.seeds):
        p = rates[:, tenth == seed][of_arm]
        # half of the digits are right or wrong in all of their images, the others in each on their own
        always = generator.random(p.shape) < 0.5
        wrong = np.where(always, generator.random(p.shape) < p, p)
        found[:, seed] = 1 - generator.binomial(IMAGES, wrong).sum(axis=1) / (IMAGES * TENTH)
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """Of one plan."""

    false_settings: bool
    false_lengths: bool
    covered: float
    """share of the pointwise intervals that cover the truth"""
    power: bool
    """the setting that is better in truth is called so"""
    pointwise: float
    """median half-width of the comparisons with the baseline, of arms that are not far worse"""
    family: float


class Names(NamedTuple):
    """Of the arms."""

    settings: list[str]
    shorter: list[str]
    plain: list[str]


def truths_of(cell: Cell, better: float) -> tuple[dict[str, float], Names]:
    """Of each arm the true score. better: by how much the setting is that is truly better."""
    shorter = [f"length {i}" for i in range(len(cell.lengths or ()))]
    truths = {"baseline": cell.baseline, "better": cell.baseline + better}
    truths |= {f"setting {i}": cell.baseline for i in range(cell.settings)}
    truths |= {f"worse {i}": worse for i, worse in enumerate(cell.worse)}
    settings = [name for name in truths if name != "baseline"]
    truths |= {name: cell.baseline - less for name, less in zip(shorter, cell.lengths or (), strict=True)}
    plain = ["shortest, plain", "longest, plain"] if cell.unregularized else []
    truths |= dict(zip(plain, (truths["length 0"], cell.baseline), strict=True)) if plain else {}
    return truths, Names(settings, shorter, plain)


def drawn(cell: Cell, truths: Mapping[str, float], generator: np.random.Generator) -> NDArray[np.float64]:
    """(arms, seeds): scores; the baseline is the first arm."""
    truth = np.array(list(truths.values()))
    shape = len(truth), cell.seeds
    low, high = np.log(cell.noise)
    deviations = np.exp(generator.uniform(low, high, size=len(truth)))
    if cell.noisy_baseline:
        deviations[0] = cell.noise[1]
    noise = generator.standard_t(3, shape) / 3**0.5 if cell.heavy else generator.normal(size=shape)
    if cell.families:
        together = np.arange(len(truth)) % 3 == 2
        noise[together] = (noise[together] + generator.normal(size=cell.seeds)) / 2**0.5
    if not cell.metric.is_fraction:
        found: NDArray[np.float64] = (
            truth[:, None] + deviations[:, None] * noise + generator.normal(size=cell.seeds)
        )
        return found
    deviations *= np.sqrt(truth * (1 - truth) / (cell.baseline * (1 - cell.baseline)))
    deviations[truth < cell.baseline] *= cell.unstable
    y = np.clip(accuracies(cell, truth, generator) + deviations[:, None] * noise, 0, 1)
    return np.round(y * cell.examples) / cell.examples if cell.examples else y


def plan(cell: Cell, generator: np.random.Generator) -> Found:
    """A plan of this kind, and what is said of it."""
    truths, names = truths_of(cell, EFFECT if cell.metric.is_fraction else 2.0)
    y = drawn(cell, truths, generator)
    told = [_verdicts(cell, truths, y[:, :n], names) for n in (*cell.looks, cell.seeds)]
    if cell.later:
        last = names.settings[-cell.later :]
        there = [name not in last for name in truths]
        first = {name: truth for name, truth in truths.items() if name not in last}
        settings = names.settings[: -cell.later]
        told.insert(0, _verdicts(cell, first, y[there], names._replace(settings=settings)))
    return replace(
        told[-1],
        false_settings=any(each.false_settings for each in told),
        false_lengths=any(each.false_lengths for each in told),
    )


def _verdicts(
    cell: Cell,
    truths: Mapping[str, float],
    y: NDArray[np.float64],
    names: Names,
) -> Found:
    """What is said of these scores, (arms, seeds)."""
    settings, shorter, plain = names
    scores = {name: dict(enumerate(row.tolist())) for name, row in zip(truths, y, strict=True)}
    of_settings = against_baseline(scores, "baseline", cell.metric, arms=settings)
    also = [(plain[0], shorter[0]), (plain[1], "baseline"), (plain[1], plain[0])] if plain else []
    of_lengths = steps(scores, [*shorter, "baseline"], cell.metric, also=also) if shorter else []

    def false(each: Comparison) -> bool:
        real = truths[each.arm] - truths[each.reference]
        wrong = {Verdict.BETTER: real <= 1e-12, Verdict.WORSE: real >= -1e-12}
        return each.verdict is not None and wrong.get(each.verdict, False)

    def covers(each: Comparison) -> bool:
        real, of = truths[each.arm] - truths[each.reference], each.pointwise
        return of.low is not None and of.high is not None and of.low <= real <= of.high

    having = [each for each in of_settings + of_lengths if each.no_interval is None]
    near = [each for each in of_settings if not each.arm.startswith("worse") and each.no_interval is None]
    return Found(
        false_settings=any(map(false, of_settings)),
        false_lengths=any(map(false, of_lengths)),
        covered=statistics.fmean(map(covers, having)) if having else math.nan,
        power=of_settings[0].verdict is Verdict.BETTER,
        pointwise=median_half_width([each.pointwise for each in near]),
        family=median_half_width([each.family for each in near]),
    )


def median_half_width(estimates: Sequence[Estimate]) -> float:
    """NaN without any: the baseline has the same score on all seeds, by chance."""
    halves = [each.high - each.value for each in estimates if each.high is not None]
    return statistics.median(halves) if halves else math.nan


def row(place: int, n: int) -> tuple[str, bool]:
    """(a line of the table, whether its claim fails)."""
    cell = CELLS[place]
    found = [plan(cell, np.random.default_rng((place, each))) for each in range(n)]
    told, holds = judged(sum(each.false_settings or each.false_lengths for each in found), n)
    unit = 100 if cell.metric.is_fraction else 1
    arms = 2 + cell.settings + len(cell.worse) + len(cell.lengths or ()) + 2 * cell.unregularized
    parts = [
        f"{cell.words}; {arms} arms, {cell.seeds} seeds",
        f"{n:,}",
        told,
        f"{statistics.fmean(each.false_settings for each in found):.1%}",
        f"{statistics.fmean(each.false_lengths for each in found):.1%}",
        f"{np.nanmean([each.covered for each in found]):.1%}",
        f"{statistics.fmean(each.power for each in found):.0%}",
        f"{unit * np.nanmedian([each.pointwise for each in found]):.2f}",
        f"{unit * np.nanmedian([each.family for each in found]):.2f}",
        holds,
    ]
    return f"| {' | '.join(parts)} |", holds == "NO"


Looks = tuple[tuple[int, int], ...]
"""Numbers of seeds that two ablations have when they are compared, and compared again later."""

ADDED: Looks = ((3, 3), (5, 3), (5, 5), (9, 5), (9, 9))
"""Seeds are added to one and then to the other."""
ONE_SIDE: Looks = ((3, 3), (5, 3), (9, 3))

NOISY = "mixed noise, the baseline's largest"
UNSTABLE = "arms of 97, 95 and 60 %, unstable"


class Pair(NamedTuple):
    """Two ablations. A pair of which any look tells that equal effects differ is a false one."""

    first: str
    """words of a kind of plans, the first one of these words"""
    second: str
    looks: Looks = ()
    """empty: one look, with the seeds of these plans"""


PAIRS = (
    Pair("equal noise", "equal noise"),
    Pair("mixed noise", "mixed noise"),
    Pair(NOISY, "equal noise"),
    Pair(NOISY, NOISY),
    Pair("heavy tails", "heavy tails"),
    Pair("accuracy 95 %", "mixed noise"),
    Pair(UNSTABLE, UNSTABLE),
    Pair("one setting, no lengths", "one setting, no lengths"),
    Pair("longer helps, from 97.5 %", "longer helps, from 97.5 %"),
    Pair("no bounds, noise differs 4 times", "no bounds, noise differs 4 times"),
    Pair("no bounds, noise differs 4 times, the baseline's largest", "no bounds, equal noise"),
    Pair("mixed noise", "mixed noise", ADDED),
    Pair(NOISY, NOISY, ADDED),
    Pair(NOISY, NOISY, ONE_SIDE),
    Pair("no bounds, noise differs 4 times", "no bounds, noise differs 4 times", ADDED),
)


def two_plans(
    cells: Sequence[Cell], looks: Looks, generator: np.random.Generator
) -> tuple[bool, bool, float]:
    """(whether an effect that is equal is told to differ at any look, whether the one that differs is at the
    last, median half-width of all there)."""
    unit = EFFECT if cells[0].metric.is_fraction else 2.0
    drawings = []
    for place, (cell, more) in enumerate(zip(cells, (0.0, 2 * unit), strict=True)):
        truths, names = truths_of(cell, better=unit + more)
        y = drawn(replace(cell, seeds=max(look[place] for look in looks)), truths, generator)
        drawings.append((truths, names, y))
    real, false = ("better", "baseline"), False
    for look in looks:
        found = _two_effects(cells[0].metric, drawings, look)
        differs = {key for key, each in found.items() if each.excludes_zero}
        false |= bool(differs - {real})
    return false, real in differs, median_half_width(list(found.values()))


def _two_effects(
    metric: Metric,
    drawings: Sequence[tuple[Mapping[str, float], Names, NDArray[np.float64]]],
    look: tuple[int, int],
) -> dict[tuple[str, str], Estimate]:
    """The second effect less the first of each change, on the first seeds of both."""
    variances, effects = [], []
    for (truths, names, y), seeds in zip(drawings, look, strict=True):
        scores = {name: dict(enumerate(row.tolist())) for name, row in zip(truths, y[:, :seeds], strict=True)}
        also = [(name, "baseline") for name in names.settings]
        told = steps(scores, [*names.shorter, "baseline"], metric, also=also)
        variances.append(variances_of(scores, metric, "baseline"))
        effects.append({(each.arm, each.reference): each for each in told})
    both = [key for key in effects[0] if key in effects[1]]
    share = share_of_each(len(both), seeds=max(look))
    return {
        key: less_effect(effects[1][key], variances[1], effects[0][key], variances[0], share=share)
        for key in both
    }


def _in_words(looks: Looks) -> str:
    """3 and 3, then 5 and 3 seeds"""
    return f"{', then '.join(f'{one} and {other}' for one, other in looks)} seeds"


def row_of_two(place: int, n: int) -> tuple[str, bool]:
    """(a line of the second table, whether its claim fails)."""
    pair = PAIRS[place]
    cells = [next(cell for cell in CELLS if cell.words == words) for words in (pair.first, pair.second)]
    looks = pair.looks or ((cells[0].seeds, cells[1].seeds),)
    found = [two_plans(cells, looks, np.random.default_rng((1, place, each))) for each in range(n)]
    told, holds = judged(sum(wrong for wrong, _, _ in found), n)
    unit = 100 if cells[0].metric.is_fraction else 1
    parts = [
        f"{' beside '.join(cell.words for cell in cells)}; {_in_words(looks)}",
        f"{n:,}",
        told,
        f"{statistics.fmean(power for _, power, _ in found):.0%}",
        f"{unit * np.nanmedian([half for _, _, half in found]):.2f}",
        holds,
    ]
    return f"| {' | '.join(parts)} |", holds == "NO"


def judged(wrong: int, n: int) -> tuple[str, str]:
    """(the rate with its interval, whether it is low enough)."""
    low, high = binomtest(wrong, n).proportion_ci(method="exact")
    holds = "not judged" if n < ENOUGH else "yes" if low <= ALLOWED else "NO"
    return f"{wrong / n:.1%} ({low:.1%} to {high:.1%})", holds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--n", type=int, default=2 * ENOUGH, help="plans in each row")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", default="", help="rows whose words have this in them")
    arguments, failed = parser.parse_args(), False
    print(
        "| plan | n | false plans (95 %) | settings | lengths | pointwise coverage | power "
        "| half-width, pointwise | family-wise | holds |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|---|"
    )
    with ProcessPoolExecutor(arguments.processes) as pool:
        rows = [place for place, cell in enumerate(CELLS) if arguments.only in cell.words]
        for line, fails in pool.map(row, rows, [arguments.n] * len(rows)):
            print(line, flush=True)
            failed |= fails
        print(
            "\n| two ablations | n | false pairs (95 %) | power at 0.4 points | half-width | holds |\n"
            "|---|--:|--:|--:|--:|---|"
        )
        rows = [place for place, pair in enumerate(PAIRS) if arguments.only in f"{pair.first}; {pair.second}"]
        for line, fails in pool.map(row_of_two, rows, [arguments.n] * len(rows)):
            print(line, flush=True)
            failed |= fails
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
