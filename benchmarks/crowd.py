"""How many trivial trials a second a crowd of workers finishes on one study, and that the total is exact.

Workers are forked by tests/faults/zygote.py, which replaces training by a formula: one report a trial, random
sampling, no pruning. What is left is claims, leases, sampling and the database's own work, all on the same
cores. Seconds are from the first trial's start to the last one's end, by the database. Prints a Markdown
table.

    python benchmarks/crowd.py --workers 1 4 16 --trials 400
    python benchmarks/crowd.py --storage postgresql://postgres@127.0.0.1:5432/empty
"""

import argparse
import json
import os
import select
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from data.datasets.mnist import load
from search.optuna_db.storage import open_storage
from search.service.create import RunRequest, create_or_resume
from search.study.study import Study

ZYGOTE = Path(__file__).resolve().parents[1] / "tests" / "faults" / "zygote.py"


def crowd(url: str, name: str, workers: int, trials: int, folder: Path) -> float:
    """Trials a second. Raises SystemExit where the total is not exact."""
    with open_storage(url) as storage:
        request = RunRequest(
            task="twodigit", trials=trials, study=name, epochs=0.05, sampler="random", pruner="none"
        )
        create_or_resume(storage, request, load())
    order = {
        "url": url,
        "study": name,
        "history": os.devnull,
        "artifacts": str(folder / name),
        "lease_s": 30.0,
        "pause_s": 0.0,
        "save_every_s": 3.0,
    }
    with subprocess.Popen(
        [sys.executable, str(ZYGOTE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as zygote:
        assert zygote.stdin is not None
        assert zygote.stdout is not None
        zygote.stdout.readline()
        pids = []
        for _ in range(workers):
            zygote.stdin.write(json.dumps(order) + "\n")
            zygote.stdin.flush()
            pids.append(int(zygote.stdout.readline()))
        zygote.stdin.close()
        zygote.wait()
        for pid in pids:
            wait_for(pid)
    with open_storage(url, create=False) as storage:
        study = Study.find(storage, name)
        assert study is not None
        found = study.trials()
    done = [trial for trial in found if trial.state.is_finished]
    if len(done) != trials or len(found) != trials:
        raise SystemExit(f"{len(done)} of {len(found)} trials are finished, not {trials}")
    begun = min(trial.started for trial in done if trial.started)
    ended = max(trial.finished for trial in done if trial.finished)
    return trials / (ended - begun).total_seconds()


def wait_for(pid: int) -> None:
    """Until that process, which is not our child, is gone."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    select.select([descriptor], [], [])
    os.close(descriptor)


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--storage", help="an empty database; default: a new SQLite file")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    print(
        f"| workers | trials a second, median of {arguments.runs} (lowest–highest) | total |\n|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        url = arguments.storage or f"sqlite:///{folder / 'crowd.db'}"
        for workers in arguments.workers:
            rates = [
                crowd(url, f"crowd-{workers}-{run}", workers, arguments.trials, folder)
                for run in range(arguments.runs)
            ]
            spread = f"{statistics.median(rates):.0f} ({min(rates):.0f}–{max(rates):.0f})"
            print(f"| {workers} | {spread} | exact |", flush=True)


if __name__ == "__main__":
    main()
