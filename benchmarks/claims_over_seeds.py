"""How often `tune confirm` is wrong about a user's training code.

    python benchmarks/claims_over_seeds.py            # prints the table; exit code 1 where a claim fails
    python benchmarks/claims_over_seeds.py --n 100    # a first look

Where code does not say which examples it has right, intervals are over seeds only. Candidates that are all
equally good are made up, their runs differ by the noise of the seeds alone, and the command's own race,
intervals and sentences say what they find. Every verdict is then false. Where code says it, the candidates
are the leaders of a search on the same examples: examples are of unequal difficulty, each candidate finds
other ones difficult, and each run varies at random. Allowed are 5 % of the pages; a row passes when the lower
bound of the rate's 95 % interval (Clopper and Pearson) is at most that.
"""

from __future__ import annotations

import argparse
import datetime
import math
import sys
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import binomtest, norm  # type: ignore[import-untyped]  # SciPy ships no types

from search.analysis import racing
from search.analysis.confirmation import Confirmation
from search.analysis.standing import Stand, confirmation
from search.records import (
    Answers,
    Confirming,
    DeclaredSpec,
    Direction,
    Metric,
    Report,
    State,
    StudyRecord,
    TrialRecord,
)
from search.report.confirmation_sentences import sentences

ALLOWED, ENOUGH = 0.05, 1_000

LOSS = Metric(name="loss", direction=Direction.MINIMIZE)
TRUTH = 5.0
"""The loss of every candidate, but for the noise of its seed."""

SPEC = DeclaredSpec(
    objective="made-up",
    metric=LOSS,
    unit="step",
    budget=1,
    space={},
    seed=0,
    sampler="random",
    pruner="none",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One kind of confirmation."""

    leaders: int
    seeds: int
    references: int = 0
    shared: float = 0.0
    """noise of a seed that all candidates share, in the candidates' standard deviations"""
    heavy: bool = False
    """noise from Student's t with 3 degrees of freedom, in place of the normal distribution"""
    grid: float = 0.0
    """values are rounded to multiples of this many standard deviations"""
    examples: int = 0
    """validation examples, of which it is known which ones a run has right; 0: only values are known"""
    searched: int = 30
    """trials among which the leaders were chosen on these examples"""

    def __str__(self) -> str:
        words = [f"{self.leaders} leaders, {self.seeds} seeds"]
        words += [f"{self.references} references"] * (self.references > 0)
        words += ["noise shared"] * (self.shared > 0)
        words += ["heavy tails"] * self.heavy
        words += ["coarse values"] * (self.grid > 0)
        words += [f"{self.examples:,} examples"] * (self.examples > 0)
        return ", ".join(words)


CELLS = (
    Cell(leaders=2, seeds=3),
    Cell(leaders=2, seeds=5),
    Cell(leaders=3, seeds=3),
    Cell(leaders=3, seeds=5),
    Cell(leaders=5, seeds=5),
    Cell(leaders=3, seeds=5, references=2),
    Cell(leaders=3, seeds=5, shared=2.0),
    Cell(leaders=3, seeds=3, heavy=True),
    Cell(leaders=3, seeds=5, heavy=True),
    Cell(leaders=3, seeds=5, grid=1.0),
    Cell(leaders=2, seeds=3, examples=200),
    Cell(leaders=3, seeds=3, examples=200),
    Cell(leaders=3, seeds=5, examples=200),
    Cell(leaders=3, seeds=3, examples=2_000),
    Cell(leaders=3, seeds=5, examples=2_000),
    Cell(leaders=5, seeds=5, examples=2_000),
    Cell(leaders=3, seeds=5, references=2, examples=2_000),
)

ACCURACY = Metric(name="accuracy", is_fraction=True)

EASE, OF_EXAMPLES, OF_CANDIDATES, OF_SEEDS = 2.2, 1.0, 0.5, 0.1
"""An answer is right where a normal variable with this mean is positive: the sum of what an example, a
candidate on an example and a seed contribute, normal with these deviations, and of a standard normal one."""


class MadeUpAnswers:
    """Which examples each candidate has right on each seed. All are equally good in the long run."""

    def __init__(self, cell: Cell, generator: np.random.Generator) -> None:
        self._generator = generator
        trials = cell.references + cell.searched
        self._ease = (
            EASE
            + OF_EXAMPLES * generator.normal(size=cell.examples)
            + OF_CANDIDATES * generator.normal(size=(trials, cell.examples))
        )

    def draw(self, candidate: int) -> np.ndarray:
        """bool (examples,): of a new run."""
        ease = self._ease[candidate] + OF_SEEDS * self._generator.normal()
        right: np.ndarray = ease + self._generator.normal(size=ease.shape) > 0
        return right

    @staticmethod
    def truth() -> float:
        """The accuracy of every candidate on examples without end."""
        spread = math.sqrt(1 + OF_EXAMPLES**2 + OF_CANDIDATES**2 + OF_SEEDS**2)
        return float(norm.cdf(EASE / spread))


def chosen(cell: Cell, answers: MadeUpAnswers) -> list[tuple[int, float]]:
    """(candidate, score in the search): the references, then the leaders of the trials that were searched."""
    scores = [(each, float(answers.draw(each).mean())) for each in range(cell.references + cell.searched)]
    found = sorted(scores[cell.references :], key=lambda each: -each[1])
    return scores[: cell.references] + found[: cell.leaders]


def made_up(cell: Cell, generator: np.random.Generator) -> Confirmation:
    """A confirmation of candidates that are equally good, raced as a worker races them."""
    answers = MadeUpAnswers(cell, generator) if cell.examples else None
    if answers is None:
        metric = LOSS
        leaders = [(each, -(TRUTH + generator.normal())) for each in range(cell.references + cell.leaders)]
    else:
        metric = ACCURACY
        leaders = chosen(cell, answers)
    trials = [
        TrialRecord(
            trial_id=number,
            number=number,
            state=State.COMPLETE,
            score=score,
            params={},
            reference=f"reference-{number}" if number < cell.references else None,
        )
        for number, score in leaders
    ]
    others = [] if answers is None else [replace(trials[-1], number=900 + n) for n in range(cell.searched)]
    runs: list[TrialRecord] = []
    curves: dict[int, list[Report]] = {}
    known: dict[int, Answers] = {}
    for seed in range(cell.seeds):
        shared = cell.shared * generator.normal()
        for trial in trials:
            trial_id, state, score = 1000 + len(runs), State.PRUNED, None
            if trial.number not in racing.in_vain(runs):
                if answers is None:
                    value = _loss(cell, shared, generator)
                else:
                    right = answers.draw(trial.number)
                    value = float(right.mean())
                    known[trial_id] = _recorded(right)
                curves[trial_id] = [Report(step=1, seconds=1.0, metrics={metric.name: value}, metric=metric)]
                state, score = State.COMPLETE, metric.score_of(value)
            run = TrialRecord(
                trial_id=trial_id,
                number=len(runs),
                state=state,
                score=score,
                params={},
                reference=trial.reference,
                confirming=Confirming(candidate=trial.number, seed=seed),
            )
            runs.append(run)
    stand = Stand(
        searched=study(1, "made-up", len(trials), metric),
        trials=[*trials, *others[: max(0, len(others) - cell.leaders)]],
        confirming=study(2, "made-up.confirm", len(runs), metric, confirms="made-up"),
        runs=runs,
        curves=curves,
        test_evaluations=(),
        yardstick=frozenset(),
        answers=known,
    )
    return confirmation(stand)


def _loss(cell: Cell, shared: float, generator: np.random.Generator) -> float:
    noise = generator.standard_t(3) if cell.heavy else generator.normal()
    value = float(TRUTH + shared + noise)
    return round(value / cell.grid) * cell.grid if cell.grid else value


def _recorded(right: np.ndarray) -> Answers:
    return Answers(split="validation", examples=len(right), heads={"": np.packbits(right).tobytes()})


def study(study_id: int, name: str, trials: int, metric: Metric, confirms: str | None = None) -> StudyRecord:
    """Of the made-up objective."""
    return StudyRecord(
        study_id=study_id,
        name=name,
        spec=replace(SPEC, metric=metric, confirms=confirms),
        target_trials=trials,
        created=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    )


def has_verdict(found: Confirmation) -> bool:
    """Whether a sentence calls one candidate better than another."""
    return any(
        "cannot be told" not in each
        and any(words in each for words in ("is behind it by", "Next comes", "better than"))
        for each in sentences(found)
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--n", type=int, default=ENOUGH, help="confirmations in each row")
    n, failed = parser.parse_args().n, False
    print("| claim | confirmations | n | false (95 %) | holds |\n|---|---|--:|--:|---|")
    for place, cell in enumerate(CELLS):
        verdicts = missed = 0
        for each in range(n):
            found = made_up(cell, np.random.default_rng((place, each)))
            verdicts += has_verdict(found)
            best = found.choice
            truth = MadeUpAnswers.truth() if cell.examples else -TRUTH
            missed += best is not None and best.has_interval and not best.low <= truth <= best.high
        for claim, false in (("a candidate is better", verdicts), ("interval of the chosen mean", missed)):
            low, high = binomtest(false, n).proportion_ci(method="exact")
            holds = "not judged" if n < ENOUGH else "yes" if low <= ALLOWED else "NO"
            failed |= holds == "NO"
            print(
                f"| {claim} | {cell} | {n:,} | {false / n:.1%} ({low:.1%} to {high:.1%}) | {holds} |",
                flush=True,
            )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
