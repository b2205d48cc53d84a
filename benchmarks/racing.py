"""When may a candidate of a confirmation be dropped? Races simulated candidates under several rules.

    python benchmarks/racing.py --races 20000

Five candidates, whose true accuracies are drawn from a normal distribution, are trained on seed after seed.
The spread between candidates is given in units of the spread between the seeds of one. A rule is judged by
what it saves and by what it loses: true accuracy of the winner with everybody trained on all seeds, minus
that of the winner under the rule.
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Callable, Sequence
from statistics import fmean, stdev

from scipy.special import stdtrit  # type: ignore[import-untyped]  # SciPy ships no types

CANDIDATES = 5
FIRST = 3
"""Seeds before anybody is dropped."""

SEED_SPREAD = 0.001
"""Standard deviation of one candidate's accuracy over seeds, as a fraction. What is lost grows with it."""

STEP = 1 / 8000
"""Accuracies are multiples of this: two heads on 4,000 images."""

Rule = Callable[[Sequence[Sequence[float]], int], list[int]]
"""From the accuracies of those in the race (by seed) and the place of the leader to the places to drop."""


def nobody(_runs: Sequence[Sequence[float]], _leader: int) -> list[int]:
    """The yardstick."""
    return []


def paired_t(level: float) -> Rule:
    """Drops each candidate behind the leader by a one-sided paired t test."""

    def rule(runs: Sequence[Sequence[float]], leader: int) -> list[int]:
        n = len(runs[leader])
        factor = stdtrit(n - 1, level) / math.sqrt(n)
        behind = []
        for place, mine in enumerate(runs):
            gaps = [a - b for a, b in zip(runs[leader], mine, strict=True)]
            if place != leader and fmean(gaps) > factor * max(stdev(gaps), 1e-12):
                behind.append(place)
        return behind

    return rule


def paired_t_pooled(level: float) -> Rule:
    """The same with one variance for all in the race: more degrees of freedom, one assumption more."""

    def rule(runs: Sequence[Sequence[float]], leader: int) -> list[int]:
        n, k = len(runs[leader]), len(runs)
        if k < 2:
            return []
        seeds = [fmean(column) for column in zip(*runs, strict=True)]
        means, whole = [fmean(row) for row in runs], fmean(seeds)
        rest = sum(
            (value - mean - seed + whole) ** 2
            for row, mean in zip(runs, means, strict=True)
            for value, seed in zip(row, seeds, strict=True)
        )
        degrees = (n - 1) * (k - 1)
        half = stdtrit(degrees, level) * math.sqrt(2 * rest / degrees / n)
        return [place for place, mean in enumerate(means) if place != leader and means[leader] - mean > half]

    return rule


def signs(runs: Sequence[Sequence[float]], leader: int) -> list[int]:
    """Drops candidates that lost on every seed so far: the smallest p of a sign or Wilcoxon test, 1/2^n."""
    return [
        place
        for place, mine in enumerate(runs)
        if place != leader and all(a > b for a, b in zip(runs[leader], mine, strict=True))
    ]


RULES: dict[str, Rule] = {
    "nobody is dropped": nobody,
    "behind on every seed (Wilcoxon at its best)": signs,
    "paired t, 95 %": paired_t(0.95),
    "paired t, 97.5 %": paired_t(0.975),
    "paired t, 99 %": paired_t(0.99),
    "paired t, one variance, 95 %": paired_t_pooled(0.95),
    "paired t, one variance, 99 %": paired_t_pooled(0.99),
}


def race(true: Sequence[float], runs: Sequence[Sequence[float]], rule: Rule) -> tuple[float, int]:
    """(true accuracy of the winner, runs spent)."""
    here = list(range(len(true)))
    spent, seeds = 0, len(runs[0])
    for n in range(1, seeds + 1):
        spent += len(here)
        if FIRST <= n < seeds:
            so_far = [runs[candidate][:n] for candidate in here]
            leader = max(range(len(here)), key=lambda place: fmean(so_far[place]))
            dropped = set(rule(so_far, leader))
            here = [candidate for place, candidate in enumerate(here) if place not in dropped]
    return true[max(here, key=lambda candidate: fmean(runs[candidate]))], spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--races", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    print(
        f"{CANDIDATES} candidates, {options.seeds} seeds, {options.races} races, tested after {FIRST} or more"
    )
    spreads = (0.0, 0.5, 1.0, 2.0, 4.0)
    print(f"{'points lost / runs saved at a spread of':<46}" + "".join(f"{s:>16g}" for s in spreads))
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in RULES}
    for spread in spreads:
        generator = random.Random(f"races {spread}")
        lost, spent = dict.fromkeys(RULES, 0.0), dict.fromkeys(RULES, 0)
        for _ in range(options.races):
            true = [generator.gauss(0.99, spread * SEED_SPREAD) for _ in range(CANDIDATES)]
            runs = [
                [round(generator.gauss(mean, SEED_SPREAD) / STEP) * STEP for _ in range(options.seeds)]
                for mean in true
            ]
            best, most = race(true, runs, nobody)
            for name, rule in RULES.items():
                winner, used = race(true, runs, rule)
                lost[name] += best - winner
                spent[name] += used
        for name in RULES:
            saved = 1 - spent[name] / (most * options.races)
            results[name].append((100 * lost[name] / options.races, saved))
    for name, cells in results.items():
        print(f"{name:<46}" + "".join(f"{f'{loss:.4f} / {saved:.0%}':>16}" for loss, saved in cells))


if __name__ == "__main__":
    main()
