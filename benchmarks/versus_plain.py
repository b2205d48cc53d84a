"""How soon `tune run` has a model above 98 %, against the script that one writes by hand. A Markdown table.

They take turns on one machine: for each seed a fresh process, a
fresh folder and a fresh SQLite file for each. MNIST must be in the cache, so that neither fetches it.

- plain: benchmarks/plain_optuna.py, whose docstring says what it is. Its moments are in the events it writes.
- tune: `tune run --task twodigit` as it comes, ended by --timeout or at --tune-trials. Its moments are read
  from its database four times a second: they are up to 0.25 s late, in plain's favor.

Time counts from the start of the process, imports and set-up included. A model is above 98 % where both heads
are, on the whole of validation; models of trials that were pruned later count. The script looks after each
epoch, tune three times within the first one too: that makes it sooner, and adds selection bias,
which other pairs of the validation digits show. A run without such a model counts as longer than its limit,
and a median that falls on such a run is a bound, as is the ratio.

The accuracies on other pairs (24,000 compositions of the validation digits, which choose nothing; the test
split is not touched): plain's are of the very epoch that crossed. tune keeps the best weights of its ten best
trials: those of the first trial that crossed and had its weights kept are set aside at once and evaluated;
--json tells which. With --stop-at-crossing a run ends as soon as such a model is there. Else the best of each
run's end, chosen on validation, is evaluated so too.

Neighbours on the machine falsify this more than anything else: where they want a core, two threads of torch
in one process wait for each other, and steps were seen to take thirty times as long; tune's processes of one
thread only share. The last column tells how many cores other programs kept busy meanwhile, the hypervisor's
included. Much above 0.05, and the table is worth nothing.

    python benchmarks/versus_plain.py --json versus.json
    python benchmarks/versus_plain.py --json quick.json --stop-at-crossing --seeds 0
    python benchmarks/versus_plain.py --only tune --tune-trials 100 --tune-seconds 1200
"""

import argparse
import contextlib
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from apart import TUNE, apart
from sqlalchemy import NullPool, create_engine, inspect, select

from data.datasets.mnist import Mnist, load
from data.tasks.registry import get_task
from models.checkpoint import load_checkpoint
from models.device import choose_device, describe
from models.training import evaluate
from search.records import ACCURACY
from search.store.metrics import read_metrics, report_of
from search.store.tables import checkpoints, reports

ABOVE = 0.98
POLL_S = 0.25
QUIET = 0.1
"""Cores that neighbours may keep busy."""
TASK = get_task("twodigit")
HEADS = [head.name for head in TASK.heads]
STUDY = "versus"
BENCHMARKS = Path(__file__).resolve().parent
SIDES = ("plain", "tune")
REPORT = {"trial_id", "step", "seconds", "metrics"}
"""The columns of a report as long as every report is measured on the whole of validation."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What a side reached in one run."""

    crossed_s: float | None
    """when both heads were first above ABOVE; None: never"""
    other_pairs: list[float] | None
    """accuracy of each head on other pairs of the validation digits; None where nothing crossed"""
    evaluated: str | None
    """which weights were evaluated on them"""
    best: list[list[float]]
    """[seconds, mean of the heads on validation], whenever there was a better one"""
    best_other_pairs: float | None
    """mean of the heads on those pairs, of the model that was best on validation at the end; None: there is
    none"""
    trials: int
    """complete and pruned ones"""
    counted_s: float
    """in which those were finished"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One side with one seed."""

    side: str
    seed: int
    commit: str
    neighbours: float
    """cores that other programs kept busy meanwhile, on average"""
    found: Found

    def best_after(self, seconds: float) -> float:
        """The best mean known by then, NaN where there was none."""
        return max((mean for moment, mean in self.found.best if moment <= seconds), default=math.nan)


def watch(command: Sequence[str], folder: Path, look: Callable[[float], bool]) -> tuple[float, float]:
    """Runs the command in the folder; returns its seconds and how many cores were the neighbours'.

    look: told the seconds so far, four times a second; whether the run may end.
    """
    output, busy_s, own_s = folder / "output.txt", _busy_s(), sum(os.times()[:4])
    with output.open("w") as file:
        began = time.monotonic()
        process = subprocess.Popen(
            command, cwd=folder, env=apart(), stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )
        enough = False
        try:
            while process.poll() is None:
                time.sleep(POLL_S)
                if not enough and look(time.monotonic() - began):
                    enough = True
                    process.terminate()
        finally:
            process.terminate()
            process.wait()
        seconds = time.monotonic() - began
    if process.returncode and not enough:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{output.read_text()}")
    return seconds, (_busy_s() - busy_s - sum(os.times()[:4]) + own_s) / seconds


def _busy_s() -> float:
    """Seconds for which cores were busy or stolen since the machine started, added up over all cores."""
    _cpu, *ticks = Path("/proc/stat").read_text().partition("\n")[0].split()
    user, nice, system, _idle, _waiting, *interrupts_and_stolen = map(int, ticks[:8])
    return float(user + nice + system + sum(interrupts_and_stolen)) / os.sysconf("SC_CLK_TCK")


def run_plain(seed: int, limit_s: float, stop: bool, folder: Path) -> tuple[Found, float]:
    """The script's turn, and how many cores were the neighbours'."""
    events = folder / "events.jsonl"

    def lines() -> list[dict[str, Any]]:
        whole = events.read_text().split("\n")[:-1] if events.exists() else []
        return [json.loads(line) for line in whole]

    def crossed() -> dict[str, Any] | None:
        epochs = (line for line in lines() if "epoch" in line)
        return next((line for line in epochs if min(line[head] for head in HEADS) > ABOVE), None)

    command = [sys.executable, str(BENCHMARKS / "plain_optuna.py"), "--seed", str(seed)]
    command += ["--seconds", str(limit_s), "--storage", "sqlite:///plain.db", "--events", str(events)]
    _, neighbours = watch(command, folder, lambda _: stop and crossed() is not None)
    best: list[list[float]] = []
    best_others = None
    for line in lines():
        mean = statistics.fmean(line.get(head, 0.0) for head in HEADS)
        if mean > (best[-1][1] if best else 0):
            best.append([line["t"], mean])
            best_others = statistics.fmean(line[f"other_pairs_{head}"] for head in HEADS)
    first = crossed()
    found = Found(
        crossed_s=first["t"] if first else None,
        other_pairs=[first[f"other_pairs_{head}"] for head in HEADS] if first else None,
        evaluated=f"trial {first['trial']} after epoch {first['epoch']}" if first else None,
        best=best,
        best_other_pairs=best_others,
        trials=sum(line.get("state") in ("complete", "pruned") for line in lines()),
        counted_s=lines()[-1]["t"] if lines() else limit_s,
    )
    return found, neighbours


class Database:
    """tune's database while the run continues, opened for reading only."""

    def __init__(self, path: Path) -> None:
        if new := set(reports.columns.keys()) - REPORT:
            raise SystemExit(f"tune_reports has {', '.join(new)}: is each one still of all of validation?")
        self.path = path
        self.engine = create_engine(
            f"sqlite:///file:{path}?mode=ro&uri=true", poolclass=NullPool, connect_args={"timeout": 60}
        )
        self.best: list[list[float]] = []
        self.crossed_s: float | None = None
        self.crossing: Path | None = None
        """the weights of the first trial above ABOVE on both heads that had any, set aside: of a trial that
        the end of the run interrupts none are left"""

    def look(self, seconds: float) -> bool:
        """Notes what is new; whether a trial that crossed has left its weights."""
        if not self.path.exists():
            return False
        with self.engine.connect() as connection:
            if not inspect(connection).has_table(checkpoints.name):
                return False
            columns = (reports.c.trial_id, reports.c.step, reports.c.seconds, reports.c.metrics)
            found = [
                (trial_id, report)
                for trial_id, step, seconds, text in connection.execute(select(*columns))
                if (report := report_of(step, seconds, read_metrics(text), ACCURACY))
            ]
            mean = max((report.score for _, report in found), default=0.0)
            crossed = {trial_id for trial_id, report in found if report.worst > ABOVE}
            saved = connection.execute(select(checkpoints.c.trial_id, checkpoints.c.path))
            kept = {row.trial_id: row.path for row in saved}
        if mean > (self.best[-1][1] if self.best else 0):
            self.best.append([seconds, mean])
        if crossed and self.crossed_s is None:
            self.crossed_s = seconds
        if self.crossing is None and (there := crossed & kept.keys()):
            source = self.path.with_suffix(".artifacts") / kept[min(there)]
            with contextlib.suppress(FileNotFoundError):  # replaced by better ones at this very moment
                self.crossing = Path(shutil.copy(source, self.path.with_name("crossing")))
        return self.crossing is not None

    def best_weights(self) -> Path | None:
        """Those with the best score, chosen on validation."""
        best = select(checkpoints.c.path).order_by(checkpoints.c.score.desc()).limit(1)
        with self.engine.connect() as connection:
            path = connection.scalar(best)
        return None if path is None else self.path.with_suffix(".artifacts") / path


def on_other_pairs(weights: Path | None, mnist: Mnist) -> tuple[list[float], str] | tuple[None, None]:
    """Accuracy of each head on other pairs of the validation digits, and whose weights they are."""
    if weights is None:
        return None, None
    checkpoint = load_checkpoint(weights)
    others = TASK.validation(mnist, compositions=TASK.compositions)
    heads = evaluate(checkpoint.network(), others).heads
    metadata = checkpoint.metadata
    return [heads[name].accuracy for name in HEADS], (
        f"trial {metadata['trial']} after {metadata['images']} images"
    )


def run_tune(seed: int, limit_s: float, stop: bool, folder: Path, *, trials: int) -> tuple[Found, float]:
    """tune's turn, and how many cores were the neighbours'."""
    storage = f"sqlite:///{folder / 'tune.db'}"
    database = Database(folder / "tune.db")
    command = [*TUNE, "run", "--task", TASK.name, "--study", STUDY, "--trials", str(trials)]
    command += ["--seed", str(seed), "--timeout", str(limit_s), "--storage", storage]
    counted_s, neighbours = watch(command, folder, lambda seconds: database.look(seconds) and stop)
    listing = [*TUNE, "studies", "--storage", storage, "--json"]
    (study,) = json.loads(subprocess.run(listing, check=True, capture_output=True).stdout)
    mnist = load()
    other_pairs, which = on_other_pairs(database.crossing, mnist)
    best_others, _ = on_other_pairs(database.best_weights(), mnist)
    found = Found(
        crossed_s=database.crossed_s,
        other_pairs=other_pairs,
        evaluated=which,
        best=database.best,
        best_other_pairs=None if best_others is None else statistics.fmean(best_others),
        trials=study["complete"] + study["pruned"],
        counted_s=counted_s,
    )
    return found, neighbours


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """The runs so far, all under the same conditions."""

    machine: dict[str, str | int]
    limits_s: dict[str, float]
    """by side"""
    stop_at_crossing: bool
    tune_trials: int
    """where a run of tune ends by itself"""
    runs: list[Run]

    def restore(self, file: Path) -> None:
        """Takes the runs of the file in. Refuses those of other conditions."""
        kept = json.loads(file.read_text())
        runs = kept.pop("runs")
        kept.setdefault("tune_trials", 10_000)  # it was no condition once
        now = {name: value for name, value in asdict(self).items() if name != "runs"}
        if kept != now:
            raise SystemExit(
                f"{file} was measured otherwise:\n  then {kept}\n  now  {now}\nName another file."
            )
        self.runs.extend(Run(**{**run, "found": Found(**run["found"])}) for run in runs)

    def save(self, file: Path) -> None:
        """Replaces the file in one step."""
        aside = file.with_name(f".{file.name}")
        aside.write_text(json.dumps(asdict(self), indent=1))
        aside.replace(file)

    def crossings(self, side: str) -> list[float]:
        """Seconds to the first model above, infinite where there was none."""
        return [run.found.crossed_s or math.inf for run in self.runs if run.side == side]

    def table(self) -> str:
        """The table, one row a side, and the ratio of the medians."""
        known = (
            ""
            if self.stop_at_crossing
            else " best on validation, mean of heads, after 5 min | after 10 min "
            "| best at the end, on other pairs |"
        )
        lines = [
            f"| side | runs | first model above {ABOVE:.0%}, s | on other pairs: first digit "
            f"| second digit | trials an hour |{known} neighbours, cores |"
        ]
        lines.append("|" + "---|" * (lines[0].count("|") - 1))
        lines += [self.row(side) for side in SIDES if self.crossings(side)]
        return "\n".join([*lines, "", self.ratio()])

    def row(self, side: str) -> str:
        """The table's line for a side; each figure as median (lowest–highest)."""
        runs, limit = [run for run in self.runs if run.side == side], self.limits_s[side]
        others = [run.found.other_pairs for run in runs if run.found.other_pairs]
        ended = min([limit, *(run.found.counted_s for run in runs if run.found.crossed_s is None)])
        cells = [side, str(len(runs)), spread(self.crossings(side), "{:.1f}", beyond=f"> {ended:.0f}")]
        cells += [spread([pair[head] for pair in others], "{:.2%}") for head in range(len(HEADS))]
        cells.append(spread([run.found.trials / run.found.counted_s * 3600 for run in runs], "{:.0f}"))
        for seconds in () if self.stop_at_crossing else (300, 600):
            known = [run.best_after(seconds) for run in runs] if limit >= seconds else []
            cells.append(spread(known, "{:.2%}"))
        if not self.stop_at_crossing:
            ends = [run.found.best_other_pairs for run in runs]
            cells.append(spread([math.nan if end is None else end for end in ends], "{:.2%}"))
        cells.append(spread([run.neighbours for run in runs], "{:.2f}"))
        return "| " + " | ".join(cells) + " |"

    def ratio(self) -> str:
        """How many times as long the script takes, in words."""
        if not all(map(self.crossings, SIDES)):
            return "No ratio: one side has not run."
        plain, tune = (statistics.median(self.crossings(side)) for side in SIDES)
        if math.isinf(tune):
            return "No ratio: tune's median run has no model above."
        bound = "> " if math.isinf(plain) else ""
        ratio = f"Ratio of the medians, plain to tune: {bound}{min(plain, self.limits_s['plain']) / tune:.1f}"
        disturbed = sum(run.neighbours > QUIET for run in self.runs)
        return ratio + (f"; void, because {disturbed} runs had neighbours" if disturbed else "")


def spread(values: list[float], form: str, *, beyond: str = "") -> str:
    """Median (lowest–highest) of n values; `beyond` stands for infinity, – for what nobody knows."""
    if not values or any(map(math.isnan, values)):
        return "–"
    middle, low, high = (
        beyond if math.isinf(value) else form.format(value)
        for value in (statistics.median(values), min(values), max(values))
    )
    return middle if low == high else f"{middle} ({low}–{high})"


def measure(side: str, seed: int, record: Record) -> Run:
    """One run in a folder that is gone afterwards."""
    describing = ["git", "-C", str(BENCHMARKS), "describe", "--always", "--dirty"]
    commit = subprocess.run(describing, check=False, capture_output=True, text=True).stdout.strip()
    with tempfile.TemporaryDirectory(prefix="versus-") as folder:
        run = run_plain if side == "plain" else partial(run_tune, trials=record.tune_trials)
        found, neighbours = run(seed, record.limits_s[side], record.stop_at_crossing, Path(folder))
    return Run(side=side, seed=seed, commit=commit or "unknown", neighbours=neighbours, found=found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--plain-seconds", type=float, default=3600, help="limit of each run of the script")
    parser.add_argument("--tune-seconds", type=float, default=600, help="limit of each run of tune")
    parser.add_argument("--tune-trials", type=int, default=10_000, help="target of each run of tune")
    parser.add_argument("--only", choices=SIDES, help="run this side only")
    parser.add_argument("--stop-at-crossing", action="store_true", help="do not continue to the limit")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keeps each run; continues where it ended")
    arguments = parser.parse_args()
    load()  # says what to do where MNIST is not in the cache
    record = Record(
        machine=describe(choose_device("cpu")),
        limits_s={"plain": arguments.plain_seconds, "tune": arguments.tune_seconds},
        stop_at_crossing=arguments.stop_at_crossing,
        tune_trials=arguments.tune_trials,
        runs=[],
    )
    if arguments.json and arguments.json.exists():
        record.restore(arguments.json)
    done = {(run.side, run.seed) for run in record.runs}
    for seed in arguments.seeds:
        for side in [arguments.only] if arguments.only else SIDES:
            if (side, seed) in done:
                continue
            run = measure(side, seed, record)
            record.runs.append(run)
            print(
                f"{side}, seed {seed}: crossed {run.found.crossed_s}, {run.found.evaluated}", file=sys.stderr
            )
            if arguments.json:
                record.save(arguments.json)
    print("{cpu}, {cores} cores, {cpu_capability}, torch {torch};".format(**record.machine))
    print(f"commits {', '.join(sorted({run.commit for run in record.runs}))}. Median (lowest–highest):\n")
    print(record.table())


if __name__ == "__main__":
    main()
