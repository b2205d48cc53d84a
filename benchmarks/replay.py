"""Which search would have been quickest: replays recorded learning curves under many schedules.

A trial's next stretch costs the seconds that were recorded and yields the score that was recorded. The clock
is simulated, so hours of search replay in seconds, and every schedule meets the same trials: each round deals
the table's configurations in a fixed order, the same for all schedules. What is dealt, and how a
sampler has its say in it, is in benchmarks/recorded.py.

    python benchmarks/replay.py --rounds 20
    python benchmarks/replay.py --largest-batch 256 --trials 100   # also what is not searched any more
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
import statistics
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import optuna
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
)
from optuna.samplers import BaseSampler, QMCSampler, TPESampler
from optuna.trial import TrialState
from recorded import Curve, Recorded, Table, read_table, suggest

from search.study.promotion import Asha, Candidate, geometric_rungs

TABLE = Path(__file__).with_name("curves.json")
GOAL = 0.98
"""Accuracy that both heads of validation have to exceed."""
SAMPLING_S = 0.03
"""Storage, sampling and bookkeeping of a new trial (benchmarks/overhead.py)."""


@dataclass(kw_only=True, slots=True)
class Running:
    """A trial held by a worker."""

    trial: optuna.Trial
    curve: Curve
    index: int = -1
    """of its latest point"""


@dataclass(kw_only=True, slots=True)
class Outcome:
    """One replayed search."""

    crossed: float = math.inf
    """seconds until the first model above GOAL on both heads"""
    bests: list[tuple[float, float]] = field(default_factory=list)
    """(seconds, best score of any trial until then), rising"""
    ended: float = 0.0
    """seconds until every trial was finished"""
    images: int = 0
    """trained on in all"""

    def best_at(self, seconds: float) -> float:
        """Best score known at that moment."""
        return max((score for when, score in self.bests if when <= seconds), default=0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """A row of the table: a pruner of Optuna's, or ASHA that promotes."""

    pruner: Callable[[], BasePruner] | None = None
    asha: Asha | None = None
    sampler: Callable[[int], BaseSampler] | None = None
    """None: the order of the round, at random"""
    waiting_shown: bool = True
    """whether the sampler learns from trials that wait, too"""
    cost: float = 0.0
    """see `_merit`"""


def _merit(curve: Curve, score: float, weight: float) -> float:
    """The score as schedules compare it: error times cost^weight, as the logarithm with the sign turned.

    If error falls as images^-weight, this compares errors at equal seconds. weight 0: the score alone.
    """
    return -math.log(1.0005 - score) - weight * math.log(curve.image_s)


def replay(schedule: Schedule, table: Table, *, seed: int, workers: int, trials: int) -> Outcome:
    """One search under that schedule."""
    order = list(range(len(table.curves)))
    random.Random(seed).shuffle(order)
    base = None if schedule.sampler is None else schedule.sampler(seed)
    sampler = Recorded(table, order, base, schedule.waiting_shown)
    pruner = NopPruner() if schedule.pruner is None else schedule.pruner()
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
    images = table.images
    stops = list(range(len(images)))
    if schedule.asha is not None:
        stops = sorted(map(images.index, schedule.asha.rungs))
    outcome = Outcome()
    standing: dict[int, list[tuple[int, float]]] = {}
    pools: list[list[Running]] = [[] for _ in range(workers)]
    begun = 0
    turn = count()
    queue: list[tuple[float, int, int, Running | None]] = [(0.0, next(turn), w, None) for w in range(workers)]
    while queue:
        now, _, worker, done = heapq.heappop(queue)
        pool = pools[worker]
        if done is not None:
            _arrive(done, now, outcome)
            _report(done, schedule, standing, study, pool)
        drained = begun >= trials
        go = _to_continue(schedule, standing, study, pool, drained=drained)
        spent = 0.0
        if go is None:
            if drained:
                continue
            begun += 1
            trial = study.ask()
            curve = sampler.curve(trial.number)
            suggest(trial, curve.params, table.space)
            go = Running(trial=trial, curve=curve)
            pool.append(go)
            spent = SAMPLING_S
        start, go.index = go.index, min(stop for stop in stops if stop > go.index)
        spent += go.curve.seconds(start, go.index)
        seen = go.curve.images[start] if start >= 0 else 0
        outcome.images += go.curve.images[go.index] - seen
        heapq.heappush(queue, (now + spent, next(turn), worker, go))
        outcome.ended = max(outcome.ended, now + spent)
    return outcome


def _report(
    done: Running,
    schedule: Schedule,
    standing: dict[int, list[tuple[int, float]]],
    study: optuna.Study,
    pool: list[Running],
) -> None:
    """Tells the study of the latest point; a trial that is complete or pruned leaves the pool."""
    best, images = done.curve.best(done.index), done.curve.images
    score = _merit(done.curve, best, schedule.cost)
    standing.setdefault(images[done.index], []).append((done.trial.number, score))
    done.trial.report(score if schedule.cost else best, images[done.index])
    if done.index == len(images) - 1:
        pool.remove(done)
        study.tell(done.trial, best)
    elif schedule.asha is None and done.trial.should_prune():
        pool.remove(done)
        study.tell(done.trial, state=TrialState.PRUNED)


def _to_continue(
    schedule: Schedule,
    standing: Mapping[int, list[tuple[int, float]]],
    study: optuna.Study,
    pool: list[Running],
    *,
    drained: bool,
) -> Running | None:
    """The trial of a worker's pool to continue; None: a new one should begin. ASHA ends some of them."""
    if schedule.asha is None or not pool:
        return pool[0] if pool else None
    by_number = {running.trial.number: running for running in pool}
    decision = schedule.asha.decide(
        [
            Candidate(
                number=running.trial.number,
                rung=running.curve.images[running.index],
                score=_merit(running.curve, running.curve.best(running.index), schedule.cost),
            )
            for running in pool
        ],
        lambda rung: standing.get(rung, []),
        drained=drained,
    )
    for number in decision.end:
        pool.remove(by_number[number])
        study.tell(by_number[number].trial, state=TrialState.PRUNED)
    return None if decision.go is None else by_number[decision.go]


def _arrive(running: Running, now: float, outcome: Outcome) -> None:
    """Notes what the latest point shows. A stretch with several points shows the last one only."""
    heads = running.curve.heads[running.index]
    if min(heads) > GOAL:
        outcome.crossed = min(outcome.crossed, now)
    score = running.curve.best(running.index)
    if score > (outcome.bests[-1][1] if outcome.bests else 0.0):
        outcome.bests.append((now, score))


def schedules(images: Sequence[int]) -> Iterator[tuple[str, Schedule]]:
    """The rows of the table, by name."""
    first, last, look = images[0], images[-1], 4_500

    def stop_only(resource: int, factor: int) -> Schedule:
        return Schedule(
            pruner=lambda: SuccessiveHalvingPruner(min_resource=resource, reduction_factor=factor)
        )

    yield "no pruning", Schedule(pruner=NopPruner)
    yield "median, 5 first", Schedule(pruner=lambda: MedianPruner(n_startup_trials=5))
    yield "percentile 25, 5 first", Schedule(pruner=lambda: PercentilePruner(25.0, n_startup_trials=5))
    yield "percentile 75, 5 first", Schedule(pruner=lambda: PercentilePruner(75.0, n_startup_trials=5))
    yield "halving that stops, 2", stop_only(first, 2)
    yield "halving that stops, 4", stop_only(first, 4)
    yield "halving that stops, 4, from ¼ epoch", stop_only(first * 4, 4)
    yield (
        "hyperband",
        Schedule(pruner=lambda: HyperbandPruner(min_resource=first, max_resource=last, reduction_factor=4)),
    )
    for rung in (2_250, 4_500, 9_000):
        for factor, eta in ((2, 2), (2, 3), (4, 2), (4, 4)):
            name = f"ASHA from {rung:,}, ×{factor}, 1 in {eta}"
            yield name, Schedule(asha=_asha(images, rung, factor=factor, eta=eta))
    for finalists in (1, 4, 8):
        yield f"ASHA, {finalists} finalists", Schedule(asha=_asha(images, look, finalists=finalists))
    for patience in (1, 3):
        yield f"ASHA, patience {patience}", Schedule(asha=_asha(images, look, patience=patience))
    for waiting in (2, 16, 64):
        yield f"ASHA, {waiting} waiting", Schedule(asha=_asha(images, look, waiting=waiting))
    for cost in (0.15, 0.3, 0.5):
        yield f"ASHA, cost^{cost}", Schedule(asha=_asha(images, look), cost=cost)
    samplers: dict[str, Callable[[int], BaseSampler]] = {
        "TPE": lambda seed: TPESampler(seed=seed),
        "TPE, group": lambda seed: TPESampler(seed=seed, group=True),
        "TPE, group, 5 first": lambda seed: TPESampler(seed=seed, group=True, n_startup_trials=5),
        "QMC": lambda seed: QMCSampler(seed=seed, scramble=True, warn_independent_sampling=False),
    }
    for name, sampler in samplers.items():
        yield f"ASHA, {name}", Schedule(asha=_asha(images, look), sampler=sampler)
    yield (
        "ASHA, TPE, group, blind to waiting",
        Schedule(asha=_asha(images, look), sampler=samplers["TPE, group"], waiting_shown=False),
    )


def _asha(images: Sequence[int], first: int, *, factor: int = 2, **settings: int) -> Asha:
    """The rule with its rungs at the recorded points nearest to the geometric ones."""
    wanted = geometric_rungs(first, images[-1], factor)
    rungs = sorted({min(images, key=lambda point: abs(point - rung)) for rung in wanted})
    return Asha(rungs=tuple(rungs), **settings)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--rounds", type=int, default=20, help="orders in which the table is dealt")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--trials", type=int, default=80)
    parser.add_argument("--largest-batch", type=int, default=128, help="trials with larger ones are left out")
    parser.add_argument("schedules", nargs="*", help="rows whose names begin so; all if none")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    table = read_table(arguments.table, largest_batch=arguments.largest_batch)
    trials = min(arguments.trials, len(table.curves))
    top = max(curve.best(len(curve.images) - 1) for curve in table.curves)
    print(f"{len(table.curves)} recorded trials, the best {top:.2%}; {trials} dealt in each of n = ", end="")
    print(f"{arguments.rounds} rounds, {arguments.workers} workers. Medians (lowest–highest).\n")
    print("| schedule | s to 98 % | best after 60 s | after 120 s | after all | all, s | epochs trained |")
    print("|---|---|---|---|---|---|---|")
    for name, schedule in schedules(table.images):
        if arguments.schedules and not any(map(name.startswith, arguments.schedules)):
            continue
        rounds = arguments.rounds if schedule.sampler is None else max(3, arguments.rounds // 4)
        outcomes = [
            replay(schedule, table, seed=seed, workers=arguments.workers, trials=trials)
            for seed in range(rounds)
        ]
        crossed = [outcome.crossed for outcome in outcomes]
        cells = [
            f"{statistics.median(crossed):.0f} ({min(crossed):.0f}–{max(crossed):.0f})",
            *(_percent([outcome.best_at(seconds) for outcome in outcomes]) for seconds in (60, 120)),
            _percent([outcome.best_at(math.inf) for outcome in outcomes], spread=True),
            f"{statistics.median(outcome.ended for outcome in outcomes):.0f}",
            f"{statistics.median(outcome.images for outcome in outcomes) / 36_000:.0f}",
        ]
        print(
            f"| {name}{'' if rounds == arguments.rounds else f' (n = {rounds})'} | {' | '.join(cells)} |",
            flush=True,
        )


def _percent(scores: Sequence[float], *, spread: bool = False) -> str:
    text = f"{statistics.median(scores):.2%}"
    return text + (f" ({min(scores):.2%}–{max(scores):.2%})" if spread else "")


if __name__ == "__main__":
    main()
