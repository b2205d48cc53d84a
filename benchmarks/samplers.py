"""Whether a sampler finds better networks than chance does, under each pruner. Prints a table.

Nothing is trained: a trial's learning curve is a smooth function of its settings, with noise. All else is
that of a study: trials are asked, drawn, reported, promoted or pruned, and ended through search.study, by the
rules of one worker. Each seed has another objective, with its optimum elsewhere in the default space of the
MLPs; all samplers meet the same ones. The highest learning rates diverge, four of five times.

Regret: the error that the study's winner has at its whole budget without noise, less that of the optimum, in
percentage points. "better": seeds whose regret is lower than random's, and p of Wilcoxon's signed-rank test.

    python benchmarks/samplers.py
    python benchmarks/samplers.py --samplers random gp --pruners hyperband --rounds 4 --jobs 4
"""

import argparse
import math
import multiprocessing
import os
import random
import statistics
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import optuna
from made_up import spec
from scipy.stats import spearmanr, wilcoxon  # type: ignore[import-untyped]  # SciPy ships no types

from search.analysis.ranking import winner
from search.optuna_db.storage import open_storage
from search.records import Failure, State, Value
from search.space.defaults import default_space
from search.study.active_trial import ActiveTrial
from search.study.evaluation_schedule import EvaluationSchedule
from search.study.exploration import STARTUP_TRIALS
from search.study.promotion import Candidate
from search.study.pruners import PRUNERS
from search.study.samplers import SAMPLERS
from search.study.study import Study
from tune.space import Choice, Domain, Float, Int

SPACE = default_space(("mlp",))
EVALUATIONS = EvaluationSchedule.doubling(epoch_images=36_000, epochs=8, early_evaluations=3)
BEST_ERROR = 0.012
CURVATURES = {
    "lr": 6.0,
    "width": 1.5,
    "momentum": 1.0,
    "dropout": 1.0,
    "depth": 0.8,
    "label_smoothing": 0.5,
    "weight_decay": 0.3,
    "taper": 0.2,
}
"""Growth of the logarithm of the error with the squared distance from the optimum, the range being 1."""
PENALTIES = {"optimizer": 0.5, "activation": 0.3, "batch_size": 0.1}
"""The same growth at the worst option."""
DIVERGES_ABOVE, DIVERGES = 0.8, 0.8
"""Place in the range of learning rates, and the share of trials above it that diverge."""


def place(domain: Domain, value: Value) -> float:
    """Of a value in its range, 0 to 1."""
    assert isinstance(domain, Float | Int)
    assert isinstance(value, float | int)
    at = math.log if domain.log else float
    return (at(value) - at(domain.low)) / (at(domain.high) - at(domain.low))


@dataclass(frozen=True, kw_only=True, slots=True)
class Objective:
    """Learning curves by settings."""

    optimum: Mapping[str, float]
    ranks: Mapping[str, tuple[Value, ...]]
    """the options of each choice, the best first"""

    @classmethod
    def of(cls, seed: int) -> "Objective":
        draw = random.Random(seed)
        ranks = {}
        for name in PENALTIES:
            domain = SPACE.domains[name]
            assert isinstance(domain, Choice)
            ranks[name] = tuple(draw.sample(domain.options, len(domain.options)))
        return cls(optimum={name: draw.uniform(0.15, 0.75) for name in CURVATURES}, ranks=ranks)

    def error(self, settings: Mapping[str, Value]) -> float:
        """At the end of the budget, without noise."""
        at = {name: place(SPACE.domains[name], settings[name]) for name in CURVATURES if name in settings}
        rate = at.pop("lr") + 0.4 * (at["momentum"] - self.optimum["momentum"])  # they act together
        log = CURVATURES["lr"] * (rate - self.optimum["lr"]) ** 2
        log += sum(CURVATURES[name] * (each - self.optimum[name]) ** 2 for name, each in at.items())
        for name, options in self.ranks.items():
            log += PENALTIES[name] * options.index(settings[name]) / (len(options) - 1)
        return min(0.9, BEST_ERROR * math.exp(log))

    def scores(self, settings: Mapping[str, Value], draw: random.Random) -> dict[int, float]:
        """Best validation accuracy so far at each rung of one trial; empty where it diverges."""
        rate = place(SPACE.domains["lr"], settings["lr"])
        if rate > DIVERGES_ABOVE and draw.random() < DIVERGES:
            return {}
        final = self.error(settings) * math.exp(draw.gauss(0, 0.05))
        # High rates and little dropout learn fast: what leads at the first rung is not what wins.
        scale = 1_500 * math.exp(place(SPACE.domains["dropout"], settings["dropout"]) - rate)
        best, scores = 0.0, {}
        for images in EVALUATIONS.rungs:
            error = min(0.9, final + (0.9 - final) * (1 + images / scale) ** -1.5)
            error += draw.gauss(0, math.sqrt(error * (1 - error) / 8_000))
            scores[images] = best = max(best, min(1.0, max(0.0, 1 - error)))
        return scores


def search(study: Study, objective: Objective, seed: int, pruner: str, sampler: str, trials: int) -> None:
    """One worker's search, with nothing trained."""
    pruning = study.prepare(sampler=sampler, pruner=pruner, seed=seed, evaluations=EVALUATIONS)
    held: dict[int, tuple[ActiveTrial, dict[int, float], int]] = {}
    """by number: the trial, its curve, training images seen"""
    finished = 0

    def end(number: int, score: float | None = None) -> None:
        nonlocal finished
        asked, _, _ = held.pop(number)
        if score is None:
            asked.prune()
        else:
            asked.complete(score)
        finished += 1

    while finished < trials:
        drained = finished + len(held) >= trials
        candidates = [
            Candidate(number=number, rung=images, score=scores[images])
            for number, (_, scores, images) in held.items()
        ]
        decision = pruning.promotion.decide(candidates, study.scores_at, drained=drained)
        for number in decision.end:
            end(number)
        go = decision.go
        if go is None:
            if drained:
                continue
            asked = study.ask()
            scores = objective.scores(asked.suggest(), random.Random(f"{seed}/{asked.number}"))
            if not scores:
                study.fail(asked.trial_id, Failure.DIVERGED, "")
                continue
            held[asked.number] = (asked, scores, 0)
            go = asked.number
        asked, scores, images = held[go]
        until = next(rung for rung in pruning.rungs if rung > images)
        for images in (rung for rung in scores if images < rung <= until):
            held[go] = (asked, scores, images)
            hopeless = asked.report(images, scores[images])
            if images == EVALUATIONS.total:
                end(go, scores[images])
                break
            if hopeless:
                end(go)
                break


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """How one search ended."""

    regret: float
    diverged: float
    """share of the trials proposed after the start"""
    early: float
    """rank correlation of the score at the first rung with the error in the end"""


def one(case: tuple[str, str, int, int]) -> Found:
    """The search of that (pruner, sampler, seed, number of trials)."""
    pruner, sampler, seed, trials = case
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    objective = Objective.of(seed)
    memory = Path("/dev/shm")
    with (
        tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder,
        open_storage(f"sqlite:///{folder}/studies.db") as storage,
    ):
        study = Study.create(storage, "s", spec(sampler, pruner, SPACE), trials)
        assert study is not None
        search(study, objective, seed, pruner, sampler, trials)
        records = study.trials()
    best = winner(records).searched
    later = [each for each in records if each.number >= STARTUP_TRIALS]
    first = [each for each in records if each.steps]
    return Found(
        regret=objective.error(best.settings) - BEST_ERROR if best else math.inf,
        diverged=sum(each.state is State.FAILED for each in later) / len(later),
        early=spearmanr(
            [each.steps[min(each.steps)] for each in first],
            [-objective.error(each.settings) for each in first],
        ).statistic,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--samplers", nargs="+", default=["random", "qmc", "tpe", "gp"], choices=SAMPLERS)
    parser.add_argument("--pruners", nargs="+", default=["asha", "none"], choices=PRUNERS)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=20, help="seeds")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    arguments = parser.parse_args()
    cases = [
        (pruner, sampler, seed, arguments.trials)
        for pruner in arguments.pruners
        for sampler in arguments.samplers
        for seed in range(arguments.rounds)
    ]
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # as in a worker process
    with multiprocessing.get_context("spawn").Pool(arguments.jobs) as pool:
        found = dict(zip(cases, pool.imap(one, cases), strict=True))
    print(f"Regret in points after {arguments.trials} trials, n = {arguments.rounds} seeds, one worker.\n")
    print("| pruner | sampler | median | middle half | better than random | diverged after the start |")
    print("|---|---|--:|--:|--:|--:|")
    for pruner in arguments.pruners:
        regrets = {}
        for sampler in arguments.samplers:
            mine = [found[pruner, sampler, seed, arguments.trials] for seed in range(arguments.rounds)]
            regrets[sampler] = [100 * each.regret for each in mine]
            low, middle, high = statistics.quantiles(regrets[sampler], n=4)
            beside = "–"
            if sampler != "random" and "random" in regrets:
                pairs = list(zip(regrets[sampler], regrets["random"], strict=True))
                p = wilcoxon(*zip(*pairs, strict=True)).pvalue
                beside = f"{sum(a < b for a, b in pairs)} of {len(pairs)}, p = {p:.2g}"
            diverged = statistics.mean(each.diverged for each in mine)
            cells = (f"{middle:.2f}", f"{low:.2f} to {high:.2f}", beside, f"{diverged:.0%}")
            print(f"| {pruner} | {sampler} | {' | '.join(cells)} |")
    explored = [each.early for (_, sampler, _, _), each in found.items() if sampler == "random"]
    if explored:
        correlation = statistics.median(explored)
        print(f"\nScore at the first rung and error in the end: rank correlation {correlation:.2f}.")


if __name__ == "__main__":
    main()
