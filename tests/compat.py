"""Runs the contract suites with the oldest and the newest Optuna, each in a throw-away environment.

    python tests/compat.py             # the oldest that pyproject.toml allows and the newest of the index
    python tests/compat.py 4.9.0 5.0.0 # these

Everything but Optuna is taken from the environment that runs this. Prints what it found; exits with 1 where a
suite failed.
"""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import tempfile
import time
import tomllib
import venv
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
SUITES = (
    "tests/contracts/test_optuna_contract.py",
    "tests/contracts/test_optuna_tables.py",
    "tests/contracts/test_statements.py",
    "tests/contracts/test_creation.py",
    "tests/contracts/test_orphans.py",
    "tests/contracts/test_retry.py",
    "tests/contracts/test_store.py",
    "tests/search/study/test_history.py",
    "tests/search/service/test_dashboard.py",
)
"""Storage, samplers, store, and what knows Optuna's private names or its dashboard."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the suites say of one version."""

    optuna: str
    passed: bool
    summary: str
    """pytest's last line"""
    failures: tuple[str, ...]
    seconds: float


def allowed() -> Requirement:
    """What pyproject.toml asks of Optuna."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    [found] = [each for each in map(Requirement, project["dependencies"]) if each.name == "optuna"]
    return found


def offered() -> list[Version]:
    """The final releases that the index offers, the oldest first."""
    command = [sys.executable, "-m", "pip", "index", "versions", "optuna"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    line = re.search(r"Available versions: (.*)", said)
    if line is None:
        raise SystemExit(f"pip names no version of Optuna:\n{said}")
    return sorted(each for each in map(Version, line[1].split(", ")) if not each.is_prerelease)


def oldest_and_newest() -> list[str]:
    """The oldest version that is allowed and the newest that there is; once, where they are the same."""
    versions = offered()
    oldest = next(each for each in versions if each in allowed().specifier)
    return list(dict.fromkeys([str(oldest), str(versions[-1])]))


def environment(folder: Path, version: str) -> Path:
    """Makes an environment with this Optuna over the packages of the running one; its interpreter."""
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    paths = {"base": str(folder), "platbase": str(folder)}
    packages = Path(sysconfig.get_path("purelib", "venv", vars=paths))
    beneath = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    (packages / "beneath.pth").write_text(beneath, encoding="utf-8")
    command = [python, "-m", "pip", "install", "-q", "--no-warn-conflicts", f"optuna=={version}"]
    subprocess.run(command, check=True)
    return python


def run(version: str, folder: Path) -> Found:
    """Runs the suites with this version."""
    python = environment(folder, version)
    check = "import optuna; print(optuna.__version__)"
    imported = subprocess.run(
        [python, "-c", check], capture_output=True, text=True, check=True
    ).stdout.strip()
    if imported != version:
        raise SystemExit(f"The environment has Optuna {imported}, not {version}.")
    began = time.monotonic()
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", "--dist", "loadfile"]
    result = subprocess.run([*command, *SUITES], cwd=ROOT, capture_output=True, text=True)
    lines = result.stdout.strip().splitlines() or [result.stderr.strip()]
    failures = tuple(line for line in lines if line.startswith(("FAILED", "ERROR")))
    return Found(
        optuna=version,
        passed=result.returncode == 0,
        summary=lines[-1],
        failures=failures,
        seconds=time.monotonic() - began,
    )


def main(versions: list[str]) -> int:
    """Prints a line for each version, and each failure beneath; 1 where there is one."""
    requirement = allowed()
    asked = versions or oldest_and_newest()
    print(f"pyproject.toml allows {requirement}; running with Optuna {', '.join(asked)}.", flush=True)
    if not versions and len(asked) == 1:
        print("The oldest version that is allowed is the newest that the index offers.", flush=True)
    all_passed = True
    for version in asked:
        with tempfile.TemporaryDirectory(prefix=f"optuna-{version}-") as folder:
            found = run(version, Path(folder))
        inside = "allowed" if Version(version) in requirement.specifier else "not allowed"
        print(f"Optuna {version} ({inside}): {found.summary}, {found.seconds:.0f} s", flush=True)
        for failure in found.failures:
            print(f"  {failure}", flush=True)
        all_passed = all_passed and found.passed
    return 0 if all_passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
