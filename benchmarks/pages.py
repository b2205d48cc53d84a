"""How long a page takes and how large it is, and `tune compare` with and without. Prints a Markdown table.

Studies are filled with made-up trials (made_up.py) and the first has its winner's weights, those of the
largest network that is searched by default, so that its page shows what they get wrong. The command is a
whole process, as a person starts it: importing, reading, working out, writing. CPU seconds are those of that
process.

    python benchmarks/pages.py
    python benchmarks/pages.py --trials 100 1000 10000 --rounds 5 --compared 5
"""

import argparse
import os
import resource
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from apart import TUNE, apart
from made_up import make

from data.tasks.registry import get_task
from models.conv import ConvConfig
from models.network import build
from search.analysis.ranking import best_report, winner
from search.objectives.network.decoding import signature_of
from search.objectives.network.open_network import Weights
from search.optuna_db.storage import Storage, open_storage
from search.records import ACCURACY, NetworkSpec
from search.service.look import find
from search.space.defaults import BY_NAME
from search.worker.best_weights import BestWeights
from tune.space import Fixed, Float, Int


def timed(url: str, *words: str) -> tuple[float, float]:
    """Seconds and CPU seconds that the command took. Raises CalledProcessError where it failed."""
    began, before = time.perf_counter(), cpu_of_children()
    subprocess.run([*TUNE, *words], env=apart(url), check=True, capture_output=True)
    return time.perf_counter() - began, cpu_of_children() - before


def give_weights(storage: Storage, name: str) -> None:
    """Untrained ones, for the best trial of a study."""
    study, record = find(storage, name)
    assert isinstance(record.spec, NetworkSpec)
    trial, task = winner(study.trials()).searched, get_task(record.spec.task)
    assert trial is not None
    report = best_report(storage.store.curve(trial.trial_id, ACCURACY))
    channels, growth, hidden = (BY_NAME[each].default for each in ("channels", "growth", "hidden"))
    divisor = BY_NAME["divisor"].default
    assert report is not None
    assert isinstance(channels, Int)
    assert isinstance(growth, Float)
    assert isinstance(hidden, Int)
    assert isinstance(divisor, Fixed)
    largest = ConvConfig(
        blocks=3,
        convolutions=2,
        channels=channels.high,
        growth=growth.high,
        divisor=int(divisor.value),
        hidden=hidden.high,
        padding="same",
        batch_norm=True,
        activation="silu",
    )
    BestWeights.of(storage.location, record, storage.store).keep(
        Weights.of(build(largest, signature_of(task), seed=0)),
        {"task": task.name, "precision": "float32"},
        number=trial.number,
        trial_id=trial.trial_id,
        report=report,
    )


def cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trials", nargs="+", type=int, default=[100, 1_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compared", type=int, default=5, help="studies in each comparison")
    arguments = parser.parse_args()
    os.environ.pop("TUNE_ARTIFACTS", None)  # the weights below lie where the commands look for them
    print(f"| page | trials | s, median of n = {arguments.rounds} | CPU s | MB |\n|---|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder:
        url, page = f"sqlite:///{folder}/studies.db", Path(folder) / "page.html"
        for n in arguments.trials:
            names = [f"filled-{n}-{place}" for place in range(arguments.compared)]
            with open_storage(url) as storage:
                for name in names:
                    make(storage, name, n)
                give_weights(storage, names[0])
            report = ("report", names[0], "--out", str(page), "--force")
            row("tune report", n, [timed(url, *report) for _ in range(arguments.rounds)], page)
            compare = ("compare", *names)
            label = f"tune compare, {len(names)} studies"
            row(label, n, [timed(url, *compare) for _ in range(arguments.rounds)], None)
            compare = (*compare, "--out", str(page), "--force")
            row(f"{label} --out", n, [timed(url, *compare) for _ in range(arguments.rounds)], page)


def row(label: str, trials: int, runs: list[tuple[float, float]], page: Path | None) -> None:
    """Prints one row of the table; runs: (seconds, CPU seconds)."""
    wall, cpu = (statistics.median(each) for each in zip(*runs, strict=True))
    size = "" if page is None else f"{page.stat().st_size / 1e6:.2f}"
    print(f"| {label} | {trials:,} | {wall:.2f} | {cpu:.2f} | {size} |", flush=True)


if __name__ == "__main__":
    main()
