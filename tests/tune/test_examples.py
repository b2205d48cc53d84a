"""Each of examples/ runs as tune runs it, and as a script."""

from __future__ import annotations

import ast
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

Start = Callable[..., Any]


@pytest.fixture
def twodigit(tmp_path: Path) -> Path:
    """Arrays as `tune data export --task twodigit` writes them, of 96 and 40 images that say their digits."""
    random = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 96), ("val", 40)):
        labels = random.integers(10, size=(count, 2))
        images = np.zeros((count, 42, 28), dtype=np.uint8)
        for head in (0, 1):
            images[np.arange(count), 20 * head + labels[:, head]] = 255
        arrays |= {f"{split}_images": images, f"{split}_labels": labels}
    np.savez(tmp_path / "twodigit.npz", **arrays)
    return tmp_path / "twodigit.npz"


@pytest.fixture
def digitsum(tmp_path: Path) -> Path:
    """Arrays as `tune data export --task sum` writes them, of 96 and 40 images that say their digit."""
    random = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 96), ("val", 40)):
        digits, numbers = random.integers(10, size=count), random.integers(10, size=count)
        images = np.zeros((count, 28, 28), dtype=np.uint8)
        for image, digit in zip(images, digits, strict=True):
            image[4 + 2 * digit : 7 + 2 * digit] = 255
        arrays |= {f"{split}_images": images, f"{split}_numbers": numbers}
        arrays[f"{split}_labels"] = np.stack([digits, digits + numbers], 1)
    np.savez(tmp_path / "sum.npz", heads=["digit", "sum"], **arrays)
    return tmp_path / "sum.npz"


def check_resume(parent: Any, full: list[Any], **content: Any) -> None:
    """A trial that was stopped after its first step continues to the same numbers."""
    parent.trial(stop_after=1, **content)
    parent._trials -= 1  # in the same directory
    continued = parent.trial(resumed=True, **content)
    assert continued == full[2:]


def test_a_numpy_function(start: Start) -> None:
    parent = start(None, f"{EXAMPLES / 'numpy_function.py'}:hartmann")
    told = parent.hello()
    assert [*told["space"], told["direction"], told["budget"]] == ["x", "y", "z", "minimize", 1]
    asked = {"params": {"x": 0.115, "y": 0.556, "z": 0.853}, "budget": 1}
    [(_, report), ended] = parent.trial(**asked)
    assert report["metrics"]["value"] == pytest.approx(-3.86, abs=0.1)
    assert ended == ("ended", {})
    assert parent.trial(**asked, seed=1) != [("report", report), ended], "the seed matters"
    assert parent.trial(**asked) == [("report", report), ended]
    assert parent.quit() == 0


def test_the_digits_of_scikit_learn(start: Start) -> None:
    parent = start(None, f"{EXAMPLES / 'sklearn_digits.py'}:train")
    assert parent.hello()["test"] is True
    asked = {"params": {"lr": 0.01, "width": 16, "alpha": 1e-4, "solver": "adam"}, "budget": 3}
    full = parent.trial(**asked)
    assert [key for key, _ in full] == ["checkpoint", "report"] * 3 + ["ended"]
    assert full[-2][1]["metrics"]["accuracy"] > 0.5
    assert len(full[-2][1]["correct"]) == 360
    parent._trials -= 1  # in the same directory
    [(_, tested)] = parent.trial("test", **asked)
    assert tested["metrics"]["accuracy"] > 0.5
    check_resume(parent, full, **asked)
    assert parent.quit() == 0


def test_the_mlp_of_the_course(start: Start, twodigit: Path) -> None:
    """Its file is an argument; in the environment: below, as a script."""
    parent = start(None, f"{EXAMPLES / 'twodigit_mlp.py'}:train", str(twodigit))
    assert parent.hello()["checkpoints"] is True
    asked = {"params": {"lr": 0.3, "momentum": 0.9, "width": 32, "batch_size": 32}, "budget": 5}
    full = parent.trial(**asked)
    assert [key for key, _ in full] == ["checkpoint", "report"] * 5 + ["ended"]
    first, last = full[1][1], full[-2][1]
    assert last["metrics"]["loss"] < first["metrics"]["loss"]
    assert last["correct"].count("1") / 40 == pytest.approx(last["metrics"]["accuracy"])
    check_resume(parent, full, **asked)
    assert parent.quit() == 0


def test_the_cnn_of_the_course(start: Start, twodigit: Path) -> None:
    parent = start(None, f"{EXAMPLES / 'twodigit_cnn.py'}:train", environment={"TWODIGIT": str(twodigit)})
    assert parent.hello()["checkpoints"] is True
    asked = {"params": {"lr": 0.003, "channels": 8, "dropout": 0.1}, "budget": 4}
    full = parent.trial(**asked)
    assert [key for key, _ in full] == ["checkpoint", "report"] * 4 + ["ended"]
    first, last = full[1][1]["metrics"], full[-2][1]["metrics"]
    assert last["loss"] < first["loss"]
    check_resume(parent, full, **asked)
    assert parent.quit() == 0


def test_a_network_of_two_inputs(start: Start, digitsum: Path) -> None:
    parent = start(None, f"{EXAMPLES / 'sum_two_inputs.py'}:train", environment={"SUM": str(digitsum)})
    assert parent.hello()["checkpoints"] is False
    *reports, ended = parent.trial(params={"lr": 0.01, "width": 8}, budget=20)
    metrics = [report["metrics"] for _, report in reports]
    assert [set(each) for each in metrics] == [{"accuracy", "digit", "sum"}] * 20
    assert metrics[-1]["accuracy"] == pytest.approx((metrics[-1]["digit"] + metrics[-1]["sum"]) / 2)
    assert metrics[-1]["digit"] > 0.9, "the image says it"
    assert ended == ("ended", {})
    assert parent.quit() == 0


def test_as_a_script() -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "numpy_function.py")], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert ": value -3.8" in done.stdout


def test_a_network_as_a_script(
    twodigit: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process, which has torch already; its file is in the environment."""
    path = str(EXAMPLES / "twodigit_mlp.py")
    monkeypatch.setenv("TWODIGIT", str(twodigit))
    monkeypatch.setattr(sys, "argv", [path])
    state = torch.get_rng_state()
    runpy.run_path(path, run_name="__main__")
    torch.set_rng_state(state)
    assert ": accuracy" in capsys.readouterr().out


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_it_fits_one_screen(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 60


GUIDE = EXAMPLES.parent / "docs" / "guide" / "your-own-code.md"
CODE = {path.name: path.read_text(encoding="utf-8") for path in sorted(EXAMPLES.glob("*.py"))}
CODE[GUIDE.name] = GUIDE.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]


def lines_for_tune(code: str) -> list[str]:
    """What training code has for the sake of tune: the import, decorators and calls of the trial.
    Lines that declare one setting are left out."""
    lines: list[str] = []
    for node in ast.walk(ast.parse(code)):
        spans: list[ast.expr | ast.stmt] = []
        if isinstance(node, ast.FunctionDef):
            spans = [*node.decorator_list]
        elif ast.unparse(node) == "import tune":
            spans = [node]  # type: ignore[list-item]  # a statement
        elif isinstance(node, ast.Expr) and ast.unparse(node.value).startswith("trial."):
            spans = [node]
        for span in spans:
            lines += code.splitlines()[span.lineno - 1 : span.end_lineno]
    return [line for line in lines if not re.fullmatch(r"\s+\w+=tune\.(Float|Int|Choice)\(.*\),", line)]


@pytest.mark.parametrize("name", CODE)
def test_it_adds_at_most_twelve_lines_to_a_loop(name: str) -> None:
    """As docs/guide/your-own-code.md says."""
    lines = lines_for_tune(CODE[name])
    assert lines[0] == "import tune"
    assert any("trial.report(" in line for line in lines)
    assert len(lines) == 10 if name == GUIDE.name else len(lines) <= 12
