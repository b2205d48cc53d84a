"""The benchmark of claims: its stand-ins are of the code's own shape, and go out of date with it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from data.datasets.mnist import Mnist

CLAIMS = Path(__file__).resolve().parents[2] / "benchmarks" / "claims.py"


def test_a_study_comes_to_its_end_with_claims_and_without(mnist: Mnist, tmp_path: Path) -> None:
    """And trains the same trials: the program ends with an error where it does not."""
    assert mnist.checksums, "in the cache, for the program too"
    small = ("--pairs", "1", "--trials", "3", "--epochs", "0.01", "--model", "mlp")
    done = subprocess.run(
        [sys.executable, str(CLAIMS), *small], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\| 0 \| [\d.]+ \| [\d.]+ \| [\d.]+ \| [\d.]+ \|$", done.stdout, re.MULTILINE)
