"""`tune run --data` on scikit-learn's digits, beside a support vector machine tuned on the same split.

For each seed another tenth of the 1,797 images, stratified, is for validation; of the others `tune` puts a
tenth aside, which neither of the two sees. Both train on the rest and choose their best on validation, so
that both accuracies are too high by their choice; the differences are paired by split. The time of `tune
run` counts from the start of its process to its end, with reading and storing the images. AutoML libraries
have that time on the same two cores, and the same images. A Markdown table.

    python benchmarks/own_images.py            # five splits of 50 trials
    python benchmarks/own_images.py --flaml PYTHON --autogluon PYTHON   # interpreters that have them
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from apart import TUNE, apart
from sklearn.datasets import load_digits  # type: ignore[import-untyped]  # it ships no types
from sklearn.model_selection import train_test_split  # type: ignore[import-untyped]
from sklearn.svm import SVC  # type: ignore[import-untyped]

from data.datasets.base import Split
from data.datasets.image_set import stored_sets

GRID = tuple(itertools.product((0.3, 1, 3, 10, 30, 100), (0.2, 0.5, 1, 2, 5)))
"""C, and gamma in units of scikit-learn's default, 1 / (pixels × variance)."""


PEERS = ("flaml", "autogluon")
"""AutoML libraries, each with a script in `peers`."""


def divided(images: np.ndarray, labels: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """The arrays of an .npz file as `tune` reads it, uint8 (N, 8, 8) and int64 (N,)."""
    train, val = train_test_split(np.arange(len(labels)), test_size=0.1, stratify=labels, random_state=seed)
    return {
        f"{name}_{what}": array[index]
        for name, index in (("train", train), ("val", val))
        for what, array in (("images", images), ("labels", labels))
    }


def tune(data: dict[str, np.ndarray], folder: Path, trials: int) -> tuple[float, float]:
    """(best validation accuracy, seconds) of `tune run` in this empty folder, which is its cache too."""
    np.savez(folder / "digits.npz", allow_pickle=False, **data)
    began = time.perf_counter()
    done = subprocess.run(
        [*TUNE, "run", "--data", "digits.npz", "--trials", str(trials), "--json"],
        cwd=folder,
        env={**apart(), "TUNE_DATA_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)["best_value"], time.perf_counter() - began


def stored(folder: Path) -> dict[str, np.ndarray]:
    """What `tune` has stored in the folder to learn from and to validate on: pixels in [0, 1], float (N, 64),
    and labels."""
    os.environ["TUNE_DATA_DIR"] = str(folder)
    [images] = stored_sets()
    arrays: dict[str, np.ndarray] = {}
    for name, part in (("train", Split.TRAIN), ("val", Split.VALIDATION)):
        split = images.load().split(part)
        arrays[f"{name}_images"] = split.images.flatten(1).numpy() / 255
        arrays[f"{name}_labels"] = split.labels[:, 0].numpy()
    return arrays


def svm(arrays: dict[str, np.ndarray]) -> float:
    """The best validation accuracy over the grid."""
    pixels, labels = arrays["train_images"], arrays["train_labels"]
    usual = 1 / (pixels.shape[1] * pixels.var())
    fitted = (SVC(C=cost, gamma=usual * factor).fit(pixels, labels) for cost, factor in GRID)
    return max(float(each.score(arrays["val_images"], arrays["val_labels"])) for each in fitted)


def peer(name: str, python: str, arrays: dict[str, np.ndarray], folder: Path, seconds: float) -> float:
    """The best validation accuracy of that library, in its own interpreter, in so much time."""
    path = folder / "stored.npz"
    np.savez(path, allow_pickle=False, **arrays)
    script = Path(__file__).with_name("peers") / f"digits_by_{name}.py"
    done = subprocess.run(
        [python, str(script), str(path), f"{seconds:.0f}"], capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--trials", type=int, default=50)
    for name in PEERS:
        parser.add_argument(f"--{name}", metavar="PYTHON", help=f"an interpreter that has {name}")
    asked = parser.parse_args()
    peers = {name: vars(asked)[name] for name in PEERS if vars(asked)[name]}
    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)
    heads = ["split", "tune", "seconds", "SVM, tuned", *peers, "tune less SVM, points"]
    print(f"| {' | '.join(heads)} |")
    print(f"|{'--:|' * len(heads)}")
    differences, seconds = [], []
    for seed in range(asked.splits):
        with tempfile.TemporaryDirectory() as folder:
            ours, took = tune(divided(images, digits.target, seed), Path(folder), asked.trials)
            arrays = stored(Path(folder))
            other = svm(arrays)
            theirs = [peer(name, python, arrays, Path(folder), took) for name, python in peers.items()]
        differences.append(100 * (ours - other))
        seconds.append(took)
        accuracies = "".join(f"{each:.2%} | " for each in (other, *theirs))
        print(f"| {seed} | {ours:.2%} | {took:.0f} | {accuracies}{differences[-1]:+.2f} |", flush=True)
    print(
        f"\nMean difference {statistics.fmean(differences):+.2f} points ({min(differences):+.2f} to "
        f"{max(differences):+.2f}), median time {statistics.median(seconds):.0f} s, n = {len(seconds)}."
    )


if __name__ == "__main__":
    main()
