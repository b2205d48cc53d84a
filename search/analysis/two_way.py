"""Intervals of accuracies that vary with the seed of a network and with the digits that it is scored on.

Another seed gives another network, other digits give another score; an interval that knows of one source only
is too narrow, and more seeds make it worse. The variance of a mean over seeds and examples is estimated from
both sides (Cameron, Gelbach and Miller 2011; Owen 2007):

- between seeds, from the scores of single seeds: 3 to 10 of them, so with Student's t;
- between digits, from the mean score of each example over the seeds. Two examples that share a digit are
  dependent, and a composed image has two digits: the dyadic cluster-robust variance (Fafchamps and Gubert
  2007; Aronow, Samii and Assenova 2015). There are thousands of digits, so with the normal distribution.

What varies with both is in both parts: the interval is a little too wide rather than too narrow. The two
half-widths are added as squares, each with its own quantile (Zou and Donner 2008, MOVER). Satterthwaite's
degrees of freedom would be narrower and err in 7.5 instead of 5 % with three seeds (docs/decisions/029).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from search.analysis.intervals import BOTH_95, Z, wilson
from search.analysis.statistics import Estimate
from search.records import Answers

Scores = NDArray[np.float64]
"""(seeds, examples): share of the heads that are right."""

Digits = NDArray[np.int64]
"""(examples, digits of one): which digits an example is made of."""

Intervals = Mapping[str, tuple[float, float]]
"""(low, high) of "mean", of each head, of "joint", as fractions."""

SEEDS = 3
"""The least number of seeds for a statement about a difference."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """What the variance of a mean over seeds and examples is made of."""

    mean: float
    seeds: int
    between_seeds: float
    """variance of the mean from the seeds; 0 for one seed, whose network is taken as given"""
    between_digits: float
    """variance of the mean from the digits"""

    def half(self, share: float, share_of_digits: float | None = None) -> float:
        """Half the width of the interval with this coverage.

        share_of_digits: how often the digits' part alone shall, where the same digits chose before.
        """
        digits = _normal(share if share_of_digits is None else share_of_digits)
        return math.hypot(self.half_of_seeds(share), digits * math.sqrt(self.between_digits))

    def half_of_seeds(self, share: float) -> float:
        """The part of it that the seeds make."""
        if self.seeds < 2:
            return 0.0
        return student(share, self.seeds - 1) * math.sqrt(self.between_seeds)


def student(share: float, degrees: int) -> float:
    """The t that |T| exceeds with probability 1 - share."""
    from scipy.special import stdtrit  # type: ignore[import-untyped]  # SciPy ships no types; half a second

    return float(stdtrit(degrees, 0.5 + share / 2))


def _normal(share: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(0.5 + share / 2))


def right(answers: Answers, head: str | None = None) -> NDArray[np.float64]:
    """(examples,): 1 where the head is right, else 0; None: the share of the heads that are right."""
    bits = _bits(answers)
    found: NDArray[np.float64] = bits.mean(axis=0) if head is None else bits[list(answers.heads).index(head)]
    return found


def all_right(answers: Answers) -> NDArray[np.float64]:
    """(examples,): 1 where every head is right, else 0."""
    found: NDArray[np.float64] = _bits(answers).min(axis=0)
    return found


def _bits(answers: Answers) -> NDArray[np.float64]:
    """(heads, examples) of 0 and 1."""
    rows = [
        np.unpackbits(np.frombuffer(bits, np.uint8), count=answers.examples)
        for bits in answers.heads.values()
    ]
    return np.array(rows, dtype=np.float64)


def parts(scores: Scores, digits: Digits) -> Parts:
    """The mean of (seeds, examples) and the parts of its variance. Raises ValueError where shapes differ."""
    seeds, examples = scores.shape
    if digits.shape[0] != examples or not seeds or not examples:
        raise ValueError(f"{scores.shape} scores need the digits of as many examples, not {digits.shape}")
    by_seed = scores.mean(axis=1)
    return Parts(
        mean=float(by_seed.mean()),
        seeds=seeds,
        between_seeds=float(by_seed.var(ddof=1)) / seeds if seeds > 1 else 0.0,
        between_digits=_of_clusters(scores.mean(axis=0), digits),
    )


def _of_clusters(score: NDArray[np.float64], digits: Digits) -> float:
    """Variance of the mean of (examples,), where examples that share a digit depend on each other.

    The sum of r_i r_j over all pairs of examples that share a digit, each with itself included, over n²; at
    least as if no two shared one.
    """
    n = len(score)
    rest = score - score.mean()
    alone = float(rest @ rest)
    # A digit may be first in one image and second in another: it is one cluster.
    sums = np.zeros(int(digits.max()) + 1)
    seen = np.zeros(n)
    for place in range(digits.shape[1]):
        fresh = np.ones(n)
        for before in range(place):
            fresh[digits[:, before] == digits[:, place]] = 0.0
        sums += np.bincount(digits[:, place], weights=rest * fresh, minlength=len(sums))
        seen += fresh
    together = float(sums @ sums) - float((rest * rest) @ (seen - 1))
    return max(together, alone) / (n * n)


def mean(scores: Scores, digits: Digits, *, chosen_of: int = 1, searched: int = 1) -> Estimate:
    """Mean accuracy over seeds and examples, with its 95 % interval within 0..1.

    The digits' part is Wilson's, for as many independent examples as have this variance: it never shrinks to
    nothing and is longer towards the middle. One seed: the interval of this very network on other digits.

    chosen_of: it has the best mean of this number. searched: they were chosen among this number on the same
    digits, with other seeds. The lower end holds for all of them together (Bonferroni); for none the upper
    end is too low.
    """
    found = parts(scores, digits)
    p, least = found.mean, len(np.unique(digits))
    of_the_best = _normal(1 - 0.05 / max(chosen_of, searched))
    low = wilson_of_variance(p, found.between_digits, least, of_the_best)[0]
    high = wilson_of_variance(p, found.between_digits, least, _normal(0.95))[1]
    return Estimate(
        value=p,
        low=max(0.0, p - math.hypot(p - low, found.half_of_seeds(1 - 0.05 / chosen_of))),
        high=min(1.0, p + math.hypot(high - p, found.half_of_seeds(0.95))),
    )


def intervals(answers: Answers, digits: Digits, *, z: Z = BOTH_95) -> Intervals:
    """Intervals of one network's accuracies on other digits: of "mean", of each head, of "joint".

    Raises ValueError where the digits are those of another set.
    """
    scores = {"mean": right(answers), **{head: right(answers, head) for head in answers.heads}}
    least = len(np.unique(digits))
    found = {}
    for name, score in (*scores.items(), ("joint", all_right(answers))):
        of = parts(score[None], digits)
        low, high = (wilson_of_variance(of.mean, of.between_digits, least, side) for side in z)
        found[name] = low[0], high[1]
    return found


def wilson_of_variance(p: float, variance: float, least: int, z: float) -> tuple[float, float]:
    """Wilson's interval of a share whose estimate has this variance.

    least: observations that it counts as where it has none.
    """
    n = p * (1 - p) / variance if variance > 0 else least
    return wilson(p * n, max(1.0, n), z)


def difference(
    one: Scores,
    other: Scores,
    digits: Digits,
    *,
    share: float = 0.95,
    chosen_of: int = 1,
    step: float = 1.0,
) -> Estimate:
    """Mean of `one` less that of `other` on the same seeds and examples, with its interval.

    chosen_of: `one` was chosen among this number on the same digits, with other seeds; the digits' part of
    the interval holds for all of them together. step: by how much one answer changes the score of an
    example, 1 over the number of heads. One answer more on each side is assumed (Agresti & Min 2005), or the
    interval of networks that hardly differ is too short.
    """
    found = parts(one - other, digits)
    found = replace(found, between_digits=found.between_digits + (step / one.shape[1]) ** 2)
    half = found.half(share, 1 - (1 - share) / chosen_of)
    return Estimate(value=found.mean, low=found.mean - half, high=found.mean + half)
