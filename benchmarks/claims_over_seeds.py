"""How often `tune confirm` is wrong about an objective whose single answers are not known.

    python benchmarks/claims_over_seeds.py            # prints the table; exit code 1 where a claim fails
    python benchmarks/claims_over_seeds.py --n 100    # a first look

Such a confirmation has intervals over seeds only. Candidates that are all equally good are made up, their
runs differ by the noise of the seeds alone, and the command's own race, intervals and sentences say what they
find. Every verdict is then false. Allowed are 5 % of the pages; a row passes when the lower bound of the
rate's 95 % interval (Clopper and Pearson) is at most that.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import binomtest  # type: ignore[import-untyped]  # SciPy ships no types

from search.analysis import racing
from search.analysis.confirmation import Confirmation
from search.analysis.standing import Stand, confirmation
from search.records import (
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

    def __str__(self) -> str:
        words = [f"{self.leaders} leaders, {self.seeds} seeds"]
        words += [f"{self.references} references"] * (self.references > 0)
        words += ["noise shared"] * (self.shared > 0)
        words += ["heavy tails"] * self.heavy
        words += ["coarse values"] * (self.grid > 0)
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
)


def made_up(cell: Cell, generator: np.random.Generator) -> Confirmation:
    """A confirmation of candidates that are equally good, raced as a worker races them."""
    trials = [
        TrialRecord(
            trial_id=number,
            number=number,
            state=State.COMPLETE,
            score=-(TRUTH + generator.normal()),
            params={},
            reference=f"reference-{number}" if number < cell.references else None,
        )
        for number in range(cell.references + cell.leaders)
    ]
    runs: list[TrialRecord] = []
    curves: dict[int, list[Report]] = {}
    for seed in range(cell.seeds):
        shared = cell.shared * generator.normal()
        for trial in trials:
            trial_id, state, score = 1000 + len(runs), State.PRUNED, None
            if trial.number not in racing.in_vain(runs):
                noise = generator.standard_t(3) if cell.heavy else generator.normal()
                value = float(TRUTH + shared + noise)
                value = round(value / cell.grid) * cell.grid if cell.grid else value
                curves[trial_id] = [Report(step=1, seconds=1.0, metrics={"loss": value}, metric=LOSS)]
                state, score = State.COMPLETE, -value
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
        searched=study(1, "made-up", len(trials)),
        trials=trials,
        confirming=study(2, "made-up.confirm", len(runs), confirms="made-up"),
        runs=runs,
        curves=curves,
        test_evaluations=(),
        yardstick=frozenset(),
    )
    return confirmation(stand)


def study(study_id: int, name: str, trials: int, confirms: str | None = None) -> StudyRecord:
    """Of the made-up objective."""
    return StudyRecord(
        study_id=study_id,
        name=name,
        spec=replace(SPEC, confirms=confirms),
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
            missed += best is not None and best.has_interval and not best.low <= -TRUTH <= best.high
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
