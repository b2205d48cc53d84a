"""Does the score at the first rung rank networks as later scores do, and is it fair to large batches?

    python benchmarks/first_rung.py --networks 40 --whole 20 --rows first_rung.jsonl

Draws networks at random from the default space of `twodigit`, trains each to the first rung with every batch
size, from the same first weights and on the same images (the first `--whole` networks with the batch sizes of
the space to a whole epoch), and evaluates it with batch-norm statistics that were

- averaged: the running average of the statistics, as the weights are averaged,
- augmented: computed from the last images that were trained on, as they were augmented,
- plain: computed from training images of the same kind that were not augmented.

All scores are of validation. The rows are kept as JSON lines: the same command continues where it stopped,
and with rows for every network it only prints the tables.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from itertools import islice
from pathlib import Path
from statistics import fmean, median
from typing import Any

from scipy.stats import bootstrap, spearmanr  # type: ignore[import-untyped]  # SciPy ships no types

from data.datasets.mnist import Mnist, load
from data.tasks.base import Augmentation
from data.tasks.registry import get_task
from models.device import bfloat16_pays, choose_device, describe, prepare_process
from models.network import Network, build
from models.normalization import with_statistics_of
from models.training import NORM_BATCH, Diverged, Training, evaluate, precision_context
from search.objectives.network.decoding import decode, signature_of
from search.records import Value
from search.seeds import derive
from search.space.defaults import default_space
from tune.space import Choice, Domain, Fixed, Float

TASK = get_task("twodigit")
BATCHES = (64, 128, 256)
SEARCHED = (64, 128)
"""Of the default space: what a search compares."""
COUNTS = (256, 512, 2048)
"""Images that augmented statistics are computed from."""
PLAIN = 512
DECENT = 80
"""Validation accuracy at the first rung, %: what has less is pruned with any statistics."""
CHOSEN = "augmented 512"
FIRST = TASK.epoch_examples >> TASK.early_evaluations
SECOND = 2 * FIRST
RUNGS = (FIRST, SECOND, 4 * FIRST, 8 * FIRST)


def drawn(rng: random.Random) -> dict[str, Value]:
    """The settings of a convolutional network of the default space: MLPs have no statistics."""
    return {name: one_of(domain, rng) for name, domain in default_space(("conv",)).domains.items()}


def one_of(domain: Domain, rng: random.Random) -> Value:
    """A value of the domain, each as probable as the sampler's first trials draw it."""
    if isinstance(domain, Fixed):
        return domain.value
    if isinstance(domain, Choice):
        return rng.choice(domain.options)
    low, high = (math.log(domain.low), math.log(domain.high)) if domain.log else (domain.low, domain.high)
    if isinstance(domain, Float):
        value = rng.uniform(low, high)
        return math.exp(value) if domain.log else value
    if domain.log:
        return round(math.exp(rng.uniform(low, high)))
    return rng.randrange(domain.low, domain.high + 1, domain.step)


def measured(settings: dict[str, Value], seed: int, mnist: Mnist, rungs: tuple[int, ...]) -> dict[str, Any]:
    """One training of the default budget up to the last rung: scores by rung, statistics, CPU seconds."""
    device = choose_device("cpu")
    precision = "bfloat16" if bfloat16_pays(device, "conv") else "float32"
    images = round(TASK.epoch_examples * TASK.epochs)
    spec = decode(settings, images=images, seed=seed, precision=precision)  # type: ignore[arg-type]
    examples, validation = derive(seed, "examples"), TASK.validation(mnist)
    streams = {
        "augmented": TASK.training(mnist, augmentation=spec.augmentation, seed=examples),
        "plain": TASK.training(
            mnist, augmentation=Augmentation(pairing=spec.augmentation.pairing), seed=examples
        ),
    }
    training = Training(
        build(spec.model, signature_of(TASK), seed=derive(seed, "weights")),
        streams["augmented"],
        validation,
        spec.training,
        seed=derive(seed, "dropout"),
    )

    def score(network: Network) -> float:
        metrics = evaluate(network, validation, precision=spec.training.precision)
        return 100 * fmean(head.accuracy for head in metrics.heads.values())

    def recomputed(kind: str, count: int) -> Network:
        start = max(0, training.images - count)
        batches = islice(streams[kind].batches(NORM_BATCH, start=start), count // NORM_BATCH)
        with precision_context(spec.training.precision, device):
            return with_statistics_of((batch.image for batch in batches), training.eval_model)

    scores: dict[str, float] = {}
    seconds: dict[str, float] = {}
    began = time.process_time()
    for rung, report in zip(rungs, training.reports(rungs), strict=True):
        if rung == FIRST:
            seconds["first rung"] = time.process_time() - began
        scores[f"{rung} averaged"] = 100 * fmean(head.accuracy for head in report.validation.heads.values())
        counts = COUNTS if rung == FIRST else COUNTS[1:2] if rung == SECOND else ()
        for kind, count in [*(("augmented", n) for n in counts), ("plain", PLAIN)] if counts else []:
            name, before = f"{kind} {count}", time.process_time()
            network = recomputed(kind, count)
            if rung == FIRST:
                seconds[name] = time.process_time() - before
            scores[f"{rung} {name}"] = score(network)
    return {"scores": scores, "seconds": seconds}


def rows_of(path: Path, networks: int, whole: int, seed: int, mnist: Mnist) -> list[dict[str, Any]]:
    """Every network with every batch size; trains what the file lacks and adds it there."""
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    there = {(row["network"], row["batch"]) for row in rows}
    for network in range(networks):
        settings = drawn(random.Random(derive(seed, "network", network)))
        for batch in BATCHES:
            if (network, batch) in there:
                continue
            row: dict[str, Any] = {"network": network, "batch": batch}
            rungs = RUNGS if network < whole and batch in SEARCHED else RUNGS[:1]
            try:
                row |= measured({**settings, "batch_size": batch}, derive(seed, "run", network), mnist, rungs)
            except Diverged:
                row["diverged"] = True
            rows.append(row)
            with path.open("a") as file:
                file.write(json.dumps(row) + "\n")
    return [row for row in rows if row["network"] < networks]


def interval(values: list[float]) -> str:
    """The mean with its 95 % bootstrap interval over networks."""
    found = bootstrap((values,), fmean_of, n_resamples=2000, rng=0).confidence_interval
    return f"{fmean(values):+.2f} ({found.low:+.2f} to {found.high:+.2f})"


def fmean_of(values: Any, axis: int = -1) -> Any:
    """numpy's mean, for bootstrap."""
    return values.mean(axis=axis)


def correlation(rows: list[dict[str, Any]], first: str, last: str) -> float:
    """Spearman's, of two scores."""
    return float(spearmanr([r["scores"][first] for r in rows], [r["scores"][last] for r in rows]).statistic)


def print_tables(rows: list[dict[str, Any]]) -> None:
    """Gains, costs, rank correlations, and who is among the best third at the first rung."""
    good = [row for row in rows if "diverged" not in row]
    networks = len({row["network"] for row in rows})
    print(f"{networks} networks, {len(rows) - len(good)} of {len(rows)} runs diverged")
    print_gains(good)
    last = f"{RUNGS[-1]} averaged"
    whole = [row for row in good if last in row["scores"]]
    print_second(whole)
    names = [f"{FIRST} averaged", f"{FIRST} {CHOSEN}", f"{FIRST} plain {PLAIN}"]
    names += [f"{rung} averaged" for rung in RUNGS[1:-1]]
    print_correlations(whole, names, last)
    print_batches(whole, [*names, last])
    print_thirds(whole, names[:3], last)


def print_gains(rows: list[dict[str, Any]]) -> None:
    """What other statistics gain at the first rung, and their share of the work up to there."""
    kinds = [*(f"augmented {count}" for count in COUNTS), f"plain {PLAIN}"]

    def gains(some: list[dict[str, Any]], kind: str, base: str) -> list[float]:
        return [row["scores"][f"{FIRST} {kind}"] - row["scores"][f"{FIRST} {base}"] for row in some]

    print(f"\nGain at {FIRST:,} images over averaged statistics, points: mean (95 %), largest; share of work")
    print(f"| batch | n | {' | '.join(kinds)} | plain less augmented |")
    print("|---|--:|" + "---|" * (len(kinds) + 1))
    for least in (0, DECENT):
        for batch in BATCHES:
            some = [row for row in rows if row["batch"] == batch and middling(row) >= least]
            cells = []
            for kind in kinds:
                won, all_s = gains(some, kind, "averaged"), sum(row["seconds"]["first rung"] for row in some)
                share = 100 * sum(row["seconds"][kind] for row in some) / all_s
                cells.append(f"{interval(won)}, {max(won):+.1f}; {share:.1f} %")
            cells.append(interval(gains(some, f"plain {PLAIN}", CHOSEN)))
            group = f"{batch}, {least} % or more" if least else f"{batch}"
            print(f"| {group} | {len(some)} | {' | '.join(cells)} |")


def middling(row: dict[str, Any]) -> float:
    """A score at the first rung that prefers none of the statistics."""
    return fmean(row["scores"][f"{FIRST} {kind}"] for kind in ("averaged", CHOSEN, f"plain {PLAIN}"))


def print_second(rows: list[dict[str, Any]]) -> None:
    """The gain at the second rung, where averaged statistics are used."""
    print(f"\nGain of the same at {SECOND:,} images")
    print(f"| batch | n | {CHOSEN} | plain {PLAIN} |")
    print("|---|--:|---|---|")
    for batch in SEARCHED:
        some = [row for row in rows if row["batch"] == batch]
        cells = [
            interval([r["scores"][f"{SECOND} {kind}"] - r["scores"][f"{SECOND} averaged"] for r in some])
            for kind in (CHOSEN, f"plain {PLAIN}")
        ]
        print(f"| {batch} | {len(some)} | {' | '.join(cells)} |")


def print_correlations(rows: list[dict[str, Any]], names: list[str], last: str) -> None:
    """Spearman's, of early scores with the last one."""
    print(f"\nSpearman correlation with the score after {RUNGS[-1]:,} images")
    print(f"| batch | n | {' | '.join(names)} |")
    print("|---|--:|" + "--:|" * len(names))
    half = sorted(rows, key=lambda row: -row["scores"][last])[: len(rows) // 2]
    groups = {str(batch): [row for row in rows if row["batch"] == batch] for batch in SEARCHED}
    for group, some in {**groups, "both": rows, "the better half of both": half}.items():
        cells = [f"{correlation(some, name, last):.2f}" for name in names]
        print(f"| {group} | {len(some)} | {' | '.join(cells)} |")


def print_batches(rows: list[dict[str, Any]], names: list[str]) -> None:
    """Of each network, what the larger batch scores less what the smaller does."""
    small, large = SEARCHED
    print(f"\nOf one network: with batch {large} less with {small}, points, mean (95 %)")
    print(f"| networks | n | {' | '.join(names)} |")
    print("|---|--:|" + "---|" * len(names))
    base = {row["network"]: row for row in rows if row["batch"] == small}
    pairs = [(row, base[row["network"]]) for row in rows if row["batch"] == large and row["network"] in base]
    middle = median(max(one["scores"][names[-1]], other["scores"][names[-1]]) for one, other in pairs)
    better = [pair for pair in pairs if max(row["scores"][names[-1]] for row in pair) >= middle]
    for group, some in (("all", pairs), ("the better half", better)):
        cells = [interval([one["scores"][n] - other["scores"][n] for one, other in some]) for n in names]
        print(f"| {group} | {len(some)} | {' | '.join(cells)} |")


def print_thirds(rows: list[dict[str, Any]], names: list[str], last: str) -> None:
    """Whom ASHA would let continue."""
    ranked = sorted(rows, key=lambda row: -row["scores"][last])
    best, after = ranked[: len(rows) // 5], sum(r["batch"] == SEARCHED[1] for r in ranked[: len(rows) // 3])
    print(
        f"\nThe best third at the first rung ({after} with batch {SEARCHED[1]} in that after {RUNGS[-1]:,})"
    )
    print(f"| statistics | with batch {SEARCHED[1]} | has, of the best fifth after {RUNGS[-1]:,} |")
    print("|---|--:|--:|")
    for name in names:
        third = sorted(rows, key=lambda row: -row["scores"][name])[: len(rows) // 3]
        large = sum(row["batch"] == SEARCHED[1] for row in third)
        kept = sum(row in third for row in best)
        print(f"| {name} | {large} of {len(third)} | {kept} of {len(best)} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", type=int, default=40)
    parser.add_argument("--whole", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=Path, required=True)
    arguments = parser.parse_args()
    prepare_process(threads=1)
    print(describe(choose_device("cpu")), flush=True)
    print_tables(rows_of(arguments.rows, arguments.networks, arguments.whole, arguments.seed, load()))


if __name__ == "__main__":
    main()
