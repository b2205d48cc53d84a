"""What a GPU gains: steps recorded as CUDA graphs against direct ones, and 100 trials by several workers.

Three Markdown tables, in this order:

1. whether recorded steps learn what direct ones do: loss on validation after each half epoch, both ways;
2. images per second of the reference configurations and of a larger network, direct and recorded, in short
   turns after one another;
3. seconds until `tune run --task twodigit --trials 100 --device cuda` has ended, start of the command
   included, its best trial, and the most memory that the GPU held meanwhile (of all processes), by workers.

Without a GPU it says so and ends with 1. docs/decisions/008 has the tables.

    python benchmarks/gpu.py --workers 1 2 4 8
    python benchmarks/gpu.py --only searches --workers 4 --seeds 1 2
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping

import torch
from apart import TUNE, apart

from data.datasets.mnist import Mnist, load
from data.tasks.registry import get_task
from models.device import describe, prepare_process
from models.network import build
from models.training import Training
from search.objectives.network.decoding import decode, signature_of
from search.records import Value

TASK = get_task("twodigit")
GPU = torch.device("cuda")
LARGER: Mapping[str, Value] = {
    **TASK.references["course-conv"],
    **{"blocks": 3, "channels": 24, "padding": "same", "batch_norm": True, "batch_size": 128},
    **{"optimizer": "adamw", "lr": 0.004, "averaging": 0.1},
}
NETWORKS = dict(TASK.references) | {"24-48-96": LARGER}


class Direct:
    """A recorder that never records."""

    def record(self, work: object) -> torch.Tensor:
        raise RuntimeError("left out for the comparison")

    def replay(self) -> None:
        raise AssertionError("nothing was recorded")


def training(mnist: Mnist, settings: Mapping[str, Value], *, recorded: bool) -> Training:
    """A training of those settings on the GPU."""
    spec = decode(settings, images=8 * TASK.epoch_examples, seed=0, precision="bfloat16")
    return Training(
        build(spec.model, signature_of(TASK), seed=0),
        TASK.training(mnist, augmentation=spec.augmentation, seed=0, device=GPU),
        TASK.validation(mnist, device=GPU),
        spec.training,
        seed=0,
        device=GPU,
        graph=None if recorded else Direct,
    )


def curves(mnist: Mnist) -> None:
    """Table 1."""
    half = TASK.epoch_examples // 2
    print("\n| network | steps | " + " | ".join(f"{i / 2:g} epochs" for i in range(1, 5)) + " |")
    print("|---|---|" + 4 * "---|")
    for name, settings in NETWORKS.items():
        for recorded in (False, True):
            reports = training(mnist, settings, recorded=recorded).reports([half * i for i in range(1, 5)])
            losses = " | ".join(f"{report.validation.loss:.4f}" for report in reports)
            print(f"| {name} | {'recorded' if recorded else 'direct'} | {losses} |", flush=True)


def speeds(mnist: Mnist, turns: int) -> None:
    """Table 2."""
    print(f"\n| network | direct, images/s | recorded, images/s | ratio (n = {turns}) |\n|---|---|---|---|")
    for name, settings in NETWORKS.items():
        sides = [training(mnist, settings, recorded=recorded) for recorded in (False, True)]
        stretch = 100 * sides[0].config.batch_size
        rates: list[list[float]] = [[], []]
        runs = [side.reports(range(stretch, (turns + 2) * stretch, stretch)) for side in sides]
        for turn in range(turns + 1):
            for rate, run, side in zip(rates, runs, sides, strict=True):
                before = side.training_seconds
                next(run)
                if turn:  # the first one records
                    rate.append(stretch / (side.training_seconds - before))
        ratios = [recorded / direct for direct, recorded in zip(*rates, strict=True)]
        direct, recorded = (f"{statistics.median(rate):,.0f}" for rate in rates)
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"
        print(f"| {name} | {direct} | {recorded} | {spread} |", flush=True)


def searches(workers: list[int], seeds: list[int]) -> None:
    """Table 3."""
    print("\n| workers | seed | 100 trials, s | best on validation | memory, GB |\n|---|---|---|---|---|")
    for count, seed in [(count, seed) for seed in seeds for count in workers]:
        with tempfile.TemporaryDirectory() as folder, MostMemory() as most:
            command = [*TUNE, "run", "--task", "twodigit", "--trials", "100", "--device", "cuda", "--json"]
            command += ["--workers", str(count), "--seed", str(seed)]
            began = time.monotonic()
            done = subprocess.run(
                command, cwd=folder, env=apart(), stdout=subprocess.PIPE, text=True, check=True
            )
            seconds = time.monotonic() - began
        found = json.loads(done.stdout)
        if found["reason"] != "finished":
            raise SystemExit(f"{' '.join(command)} ended for another reason: {found['reason']}")
        best = found["best_value"]
        print(f"| {count} | {seed} | {seconds:.0f} | {best:.2%} | {most.bytes / 1e9:.1f} |", flush=True)


class MostMemory:
    """The most memory that the GPU held while the block was at work, looked at four times a second."""

    def __init__(self) -> None:
        self.bytes = 0
        self._over = threading.Event()
        self._looking = threading.Thread(target=self._look)

    def __enter__(self) -> "MostMemory":
        self._looking.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._looking.join()

    def _look(self) -> None:
        while not self._over.wait(0.25):
            free, total = torch.cuda.mem_get_info(GPU)
            self.bytes = max(self.bytes, total - free)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=["steps", "searches"])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--turns", type=int, default=10)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("There is no CUDA device here, and nothing to measure.")
    prepare_process(threads=1)
    print(json.dumps(describe(GPU)))
    if arguments.only != "searches":
        mnist = load()
        curves(mnist)
        speeds(mnist, arguments.turns)
    if arguments.only != "steps":
        searches(arguments.workers, arguments.seeds)


if __name__ == "__main__":
    main()
