"""Does the score at the first rung rank networks as later scores do, and is it fair to large batches?

    python benchmarks/first_rung.py --networks 30 --rows first_rung.jsonl

Draws networks at random from the default space of `twodigit`, trains each with every batch size, from the
same first weights and on the same images, and evaluates it with batch-norm statistics that were

- averaged: the running average of the statistics, as the weights are averaged,
- augmented: computed from the last images that were trained on, as they were augmented,
- plain: computed from training images of the same kind that were not augmented.

All scores are of validation. The rows are kept as JSON lines: the same command goes on where it was stopped,
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
from statistics import fmean
from typing import Any

from scipy.stats import bootstrap, spearmanr  # type: ignore[import-untyped]  # SciPy ships no types

from data.mnist import Mnist, load
from data.task import Augmentation
from data.tasks import get_task
from models.device import bfloat16_pays, choose_device, describe, prepare_process
from models.network import Network, build
from models.normalization import with_statistics_of
from models.training import NORM_BATCH, Diverged, Training, evaluate, precision_context
from search.records import Value
from search.seeds import derive
from search.space.defaults import DEFAULT_EPOCHS, EARLY_LOOKS, default_space
from search.space.domain import Choice, Domain, Fixed, Float
from search.work.spec import decode, signature_of

TASK = get_task("twodigit")
BATCHES = (64, 128, 256)
SEARCHED = (64, 128)
"""Of the default space: what a search compares."""
COUNTS = (128, 512, 2048)
"""Images that augmented statistics are computed from."""
PLAIN = 512
CHOSEN = "augmented 512"
FIRST = TASK.epoch_examples >> EARLY_LOOKS[TASK.name]
RUNGS = (FIRST, 2 * FIRST, 4 * FIRST, 8 * FIRST)


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


def measured(settings: dict[str, Value], seed: int, mnist: Mnist) -> dict[str, Any]:
    """One training to one epoch of DEFAULT_EPOCHS: scores by rung and statistics, CPU seconds."""
    device = choose_device("cpu")
    precision = "bfloat16" if bfloat16_pays(device, "conv") else "float32"
    images = round(TASK.epoch_examples * DEFAULT_EPOCHS[TASK.name])
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
            return with_statistics_of((batch.image for batch in batches), training.judged)

    scores: dict[str, float] = {}
    seconds: dict[str, float] = {}
    began = time.process_time()
    for rung, report in zip(RUNGS, training.reports(RUNGS), strict=True):
        if rung == FIRST:
            seconds["first rung"] = time.process_time() - began
        scores[f"{rung} averaged"] = 100 * fmean(head.accuracy for head in report.validation.heads.values())
        kinds = [("augmented", count) for count in COUNTS] if rung == FIRST else [("augmented", 512)]
        for kind, count in [*kinds, ("plain", PLAIN)]:
            name, before = f"{kind} {count}", time.process_time()
            network = recomputed(kind, count)
            if rung == FIRST:
                seconds[name] = time.process_time() - before
            scores[f"{rung} {name}"] = score(network)
    return {"scores": scores, "seconds": seconds}


def rows_of(path: Path, networks: int, seed: int, mnist: Mnist) -> list[dict[str, Any]]:
    """Every network with every batch size; trains what the file lacks and adds it there."""
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    there = {(row["network"], row["batch"]) for row in rows}
    for network in range(networks):
        settings = drawn(random.Random(derive(seed, "network", network)))
        for batch in BATCHES:
            if (network, batch) in there:
                continue
            row: dict[str, Any] = {"network": network, "batch": batch}
            try:
                row |= measured({**settings, "batch_size": batch}, derive(seed, "run", network), mnist)
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
    diverged = [row for row in rows if "diverged" in row]
    good = [row for row in rows if "diverged" not in row]
    by_batch = {batch: [row for row in good if row["batch"] == batch] for batch in BATCHES}
    print(f"{len({row['network'] for row in rows})} networks, {len(diverged)} of {len(rows)} runs diverged\n")
    kinds = [*(f"augmented {count}" for count in COUNTS), f"plain {PLAIN}"]

    print(
        f"Gain at {FIRST:,} images over averaged statistics, points: mean (95 %), largest; cost of all work"
    )
    print(f"| batch | n | {' | '.join(kinds)} |")
    print("|--:|--:|" + "---|" * len(kinds))
    for batch, some in by_batch.items():
        cells = []
        for kind in kinds:
            gains = [r["scores"][f"{FIRST} {kind}"] - r["scores"][f"{FIRST} averaged"] for r in some]
            share = sum(r["seconds"][kind] for r in some) / sum(r["seconds"]["first rung"] for r in some)
            cells.append(f"{interval(gains)}, {max(gains):+.1f}; {100 * share:.1f} %")
        print(f"| {batch} | {len(some)} | {' | '.join(cells)} |")

    print("\nGain of the same at later rungs, points: mean (95 %)")
    print("| batch | images | augmented 512 | plain 512 |")
    print("|--:|--:|---|---|")
    for batch, some in by_batch.items():
        for rung in RUNGS[1:]:
            cells = [
                interval([r["scores"][f"{rung} {kind}"] - r["scores"][f"{rung} averaged"] for r in some])
                for kind in (CHOSEN, f"plain {PLAIN}")
            ]
            print(f"| {batch} | {rung:,} | {' | '.join(cells)} |")

    last = f"{RUNGS[-1]} averaged"
    print(f"\nSpearman correlation of an early score with the score after {RUNGS[-1]:,} images")
    columns = ["averaged", CHOSEN, f"plain {PLAIN}"]
    heads = [f"{FIRST:,} {c}" for c in columns] + [f"{rung:,} averaged" for rung in RUNGS[1:-1]]
    print(f"| batch | n | {' | '.join(heads)} |")
    print("|---|--:|" + "--:|" * len(heads))
    names = [f"{FIRST} {c}" for c in columns] + [f"{rung} averaged" for rung in RUNGS[1:-1]]
    searched = [row for row in good if row["batch"] in SEARCHED]
    half = sorted(searched, key=lambda row: -row["scores"][last])[: len(searched) // 2]
    groups = {**{str(b): some for b, some in by_batch.items()}, "64 and 128": searched}
    groups |= {"their better half": half, "64, 128, 256": good}
    for group, some in groups.items():
        cells = [f"{correlation(some, name, last):.2f}" for name in names]
        print(f"| {group} | {len(some)} | {' | '.join(cells)} |")

    print("\nOf one network: the score with batch 128 (256) less that with 64, points, mean (95 %)")
    print(f"| batch | {' | '.join(heads)} | {RUNGS[-1]:,} averaged |")
    print("|---|" + "---|" * (len(heads) + 1))
    base = {row["network"]: row for row in by_batch[64]}
    for batch in BATCHES[1:]:
        pairs = [(row, base[row["network"]]) for row in by_batch[batch] if row["network"] in base]
        cells = [
            interval([mine["scores"][name] - other["scores"][name] for mine, other in pairs])
            for name in [*names, last]
        ]
        print(f"| {batch} | {' | '.join(cells)} |")

    print("\nThe best third at the first rung, of the runs with 64 and 128")
    print("| statistics | with 128 | of the best tenth after an epoch |")
    print("|---|--:|--:|")
    best = {id(row) for row in sorted(searched, key=lambda r: -r["scores"][last])[: len(searched) // 10]}
    for kind in columns:
        third = sorted(searched, key=lambda r: -r["scores"][f"{FIRST} {kind}"])[: len(searched) // 3]
        with_128 = sum(row["batch"] == 128 for row in third)
        kept = sum(id(row) in best for row in third)
        print(f"| {kind} | {with_128} of {len(third)} | {kept} of {len(best)} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=Path, required=True)
    arguments = parser.parse_args()
    prepare_process(threads=1)
    print(describe(choose_device("cpu")), flush=True)
    print_tables(rows_of(arguments.rows, arguments.networks, arguments.seed, load()))


if __name__ == "__main__":
    main()
