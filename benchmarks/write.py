"""Runs a benchmark and writes what it prints into docs/benchmarks.md, with commit, machine and command.

    python benchmarks/write.py overhead.py --storage sqlite --tables storages

The block of a script lies between two markers; a script that has none yet gets one at the end of the page,
and all other blocks stay as they are. The commit must be what was measured, so nothing is measured while
files other than the page differ from it. A result that does not say its n is refused.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import re
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"


def git(*arguments: str) -> str:
    """What git answers about this repository."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def machine() -> str:
    """The processor's name, the cores that this process may use, and what the results depend on."""
    names = re.findall(r"^model name\s*: (.+)$", _read("/proc/cpuinfo"), re.MULTILINE)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    name = names[0] if names else platform.processor() or platform.machine()
    return (
        f"{name}, {cores} {'core' if cores == 1 else 'cores'}, Python {platform.python_version()}, "
        f"torch {version('torch')}, Optuna {version('optuna')}"
    )


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""


def block(script: str, provenance: str, printed: str) -> str:
    """What stands on the page for a script, markers included. Raises ValueError where n is not told."""
    if not re.search(r"\bn = \d", printed):
        raise ValueError(f"{script} does not say its n (as in 'n = 5'): its result is not written.")
    begin, end = markers(script)
    return f"{begin}\n\n### {script}\n\n{provenance}\n\n{printed.strip()}\n\n{end}"


def markers(script: str) -> tuple[str, str]:
    """The lines before and after the block of a script."""
    return f"<!-- begin benchmarks/{script} -->", f"<!-- end benchmarks/{script} -->"


def replaced(page: str, script: str, new: str) -> str:
    """The page with the block of that script replaced, or added at the end."""
    begin, end = markers(script)
    if begin not in page:
        return f"{page.rstrip()}\n\n{new}\n"
    before, rest = page.split(begin, 1)
    return before + new + rest.split(end, 1)[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("script", help="file name of a benchmark, such as overhead.py")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="passed to it")
    chosen = parser.parse_args()
    if not (ROOT / "benchmarks" / chosen.script).is_file():
        parser.error(f"there is no benchmarks/{chosen.script}")
    changed = [line for line in git("status", "--porcelain").splitlines() if not line.endswith(PAGE.name)]
    if changed:
        parser.error("commit first; what would be measured is in no commit:\n" + "\n".join(changed))
    command = ["python", f"benchmarks/{chosen.script}", *chosen.arguments]
    load = os.getloadavg()[0]
    done = subprocess.run(
        [sys.executable, *command[1:]], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    )
    print(done.stdout)
    provenance = (
        f"Commit {git('rev-parse', '--short', 'HEAD')}, {datetime.date.today()}; {machine()}; "
        f"load {load:.1f} before it began; `{shlex.join(command)}`."
    )
    page = PAGE.read_text(encoding="utf-8")
    new = block(chosen.script, provenance, done.stdout)
    PAGE.write_text(replaced(page, chosen.script, new), encoding="utf-8")


if __name__ == "__main__":
    main()
