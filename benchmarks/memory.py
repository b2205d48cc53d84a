"""How much memory the workers of a whole search hold, and the process above them. A Markdown table.

Looks once a second from outside (Linux: /proc/PID/smaps_rollup). Resident counts pages that all processes
share in full, proportional its share of them, anonymous none. Load on the machine changes the time, hardly
the memory.

    python benchmarks/memory.py --trials 100 --seeds 0 1
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from apart import TUNE, apart

from data.datasets.mnist import load
from models.device import choose_device, describe

KINDS = ("Rss", "Pss", "Anonymous")
LOOK_S = 1.0
GOAL_MB = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    """One process of a run, as it was seen."""

    worker: bool
    looks: list[dict[str, float]]
    """MB by kind"""

    def most(self, kind: str) -> float:
        """The largest seen, MB."""
        return max(look[kind] for look in self.looks)


def children(pid: int) -> Iterator[int]:
    """A process and all that it has started, and they."""
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*"):
        for child in (task / "children").read_text().split():
            yield from children(int(child))


def memory(pid: int) -> dict[str, float]:
    """What it holds now, MB by kind."""
    lines = (line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines())
    found = {words[0].rstrip(":"): float(words[1]) / 1000 for words in lines if words[-1] == "kB"}
    return {kind: found[kind] for kind in KINDS}


def search(trials: int, seed: int, workers: int, folder: Path) -> tuple[float, list[Process]]:
    """Seconds of `tune run`, and its processes. Raises SystemExit where it fails."""
    command = [*TUNE, "run", "--task", "twodigit", "--trials", str(trials), "--seed", str(seed)]
    command += ["--workers", str(workers), "--storage", f"sqlite:///{folder / 'memory.db'}"]
    found: dict[int, Process] = {}
    with (folder / "output.txt").open("w") as output:
        began = time.monotonic()
        process = subprocess.Popen(command, cwd=folder, env=apart(), stdout=output, stderr=output)
        while process.poll() is None:
            time.sleep(LOOK_S)
            try:
                for pid in children(process.pid):
                    arguments = Path(f"/proc/{pid}/cmdline").read_bytes()
                    if pid != process.pid and b"spawn_main" not in arguments:
                        continue  # multiprocessing's resource tracker
                    one = found.setdefault(pid, Process(worker=pid != process.pid, looks=[]))
                    one.looks.append(memory(pid))
            except (OSError, KeyError):  # it ended between two looks
                continue
        seconds = time.monotonic() - began
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{(folder / 'output.txt').read_text()}")
    return seconds, [one for one in found.values() if one.looks]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    load()  # says what to do where MNIST is not in the cache
    machine = describe(choose_device("cpu"))
    rows = [
        "| seed | trials | seconds | process | looks | resident MB, most | median "
        f"| above {GOAL_MB} | proportional, most | anonymous, most |",
    ]
    rows.append("|" + "--:|" * (rows[0].count("|") - 1))
    for seed in arguments.seeds:
        with tempfile.TemporaryDirectory(prefix="memory-") as folder:
            seconds, processes = search(arguments.trials, seed, arguments.workers, Path(folder))
        for one in processes:
            resident = [look["Rss"] for look in one.looks]
            rows.append(
                f"| {seed} | {arguments.trials} | {seconds:.0f} | {'worker' if one.worker else 'tune run'} "
                f"| {len(resident)} | {one.most('Rss'):.0f} | {statistics.median(resident):.0f} "
                f"| {sum(mb > GOAL_MB for mb in resident)} | {one.most('Pss'):.0f} "
                f"| {one.most('Anonymous'):.0f} |"
            )
        print(f"seed {seed}: done in {seconds:.0f} s", file=sys.stderr)
    print(
        f"{machine['cpu']}, {machine['cores']} cores, {machine['cpu_capability']}, torch {machine['torch']}."
    )
    print("\n" + "\n".join(rows))


if __name__ == "__main__":
    main()
