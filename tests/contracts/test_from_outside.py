"""A dataset and a task of another package: one module and one line of its metadata for each.

Nothing of this repository is touched: the package lies in a separate folder, and whatever process looks for
the names (the command, its workers) finds them there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from data.registry import UnknownName, UnusableEntry
from data.tasks.registry import get_task, task_names
from search.errors import ConfigError
from search.tasks import known_task, task_named

DATASET = '''
"""Garments, 12×12, drawn by a formula instead of a camera."""

import hashlib
import os
import struct
from pathlib import Path

from data.datasets.base import (
    Dataset, DatasetUnusable, Fetched, FileCheck, FileState, LabeledImages, Split
)

SIDE, NAME = 12, "garments.bin"
SIZES = {Split.TRAIN: 300, Split.VALIDATION: 90, Split.TEST: 90}


def content():
    """label, then 144 pixels, of each garment: a bar whose place and slope tell the class."""
    rows = []
    for number in range(sum(SIZES.values())):
        label, shade = number % 3, 120 + number * 37 % 136
        image = bytearray(SIDE * SIDE)
        for step in range(SIDE):
            row, column = ((3 + number % 5, step), (step, 3 + number % 5), (step, step))[label]
            image[row * SIDE + column] = shade
        rows.append(bytes([label]) + bytes(image))
    return b"".join(rows)


EXPECTED = hashlib.sha256(content()).hexdigest()


class Open:
    checksums = {NAME: EXPECTED}

    def __init__(self, file):
        import torch

        table = torch.frombuffer(bytearray(file.read_bytes()), dtype=torch.uint8).view(-1, 1 + SIDE * SIDE)
        self.parts = dict(zip(SIZES, table.split(list(SIZES.values()))))

    def split(self, split):
        part = self.parts[split]
        return LabeledImages(part[:, 1:].reshape(-1, SIDE, SIDE), part[:, 0].long())


class Garments(Dataset):
    name = "garments"
    title = "Garments"
    scope = "It knows bars on black, drawn by a formula, and nothing else."
    image_shape = (1, SIDE, SIDE)
    classes = ("belt", "scarf", "sash")
    sizes = SIZES
    mean = (0.06,)
    deviation = (0.2,)

    @property
    def file(self):
        return Path(os.environ["GARMENTS"]) / NAME

    def fetch(self, *, source=None, progress=None):
        if not self.file.exists():
            self.file.write_bytes(content())
        if self.verify()[NAME].state is not FileState.OK:
            raise DatasetUnusable(f"{self.file} is damaged: remove it.")
        return Fetched(folder=self.file.parent, origins={NAME: "a formula"}, checksums={NAME: EXPECTED})

    def verify(self):
        found = hashlib.sha256(self.file.read_bytes()).hexdigest() if self.file.exists() else None
        state = FileState.OK if found == EXPECTED else FileState.CORRUPT if found else FileState.MISSING
        return {NAME: FileCheck(file=self.file, state=state, found=found, expected=EXPECTED)}

    def load(self):
        return Open(self.file)


GARMENTS = Garments()
'''

TASK = '''
"""Three garments that overlap in one image."""

from data.datasets.base import Split
from data.tasks.base import Head, plain_training
from data.tasks.overlapping import OverlappingDigits


class Pile(OverlappingDigits):
    name = "pile"
    title = "Three overlapping garments"
    dataset = "garments"
    digit_rows = (0, 4, 8)
    heads = tuple(Head(name=f"garment_{place}", classes=3) for place in ("top", "middle", "bottom"))
    examples = {Split.TRAIN: 256, Split.VALIDATION: 80, Split.TEST: 80}
    epochs = 2
    early_evaluations = 1
    references = {
        "small-mlp": {
            "model": "mlp",
            **plain_training(optimizer="adam", lr=0.001, momentum=0.9, batch_size=64),
            "depth": 1,
            "width": 16,
            "taper": 1.0,
            "activation": "relu",
            "dropout": 0.0,
        }
    }


PILE = Pile()
'''

METADATA = "Metadata-Version: 2.1\nName: wardrobe\nVersion: 1.0\n"

ENTRIES = """
[tune.datasets]
garments = wardrobe_data:GARMENTS

[tune.tasks]
pile = wardrobe_task:PILE
"""


def package(folder: Path, entries: str, **modules: str) -> Path:
    """A folder as pip makes one of an installed package."""
    told = folder / "wardrobe-1.0.dist-info"
    told.mkdir(parents=True)
    (told / "METADATA").write_text(METADATA)
    (told / "entry_points.txt").write_text(dedent(entries))
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    return folder


@pytest.fixture
def tune(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """tune("studies"): the command as a separate process, with or without the package installed."""
    folder = package(tmp_path / "site", ENTRIES, wardrobe_data=DATASET, wardrobe_task=TASK)

    def run(*arguments: str, installed: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "search", *arguments],
            cwd=tmp_path,
            env={**os.environ, "GARMENTS": str(tmp_path), "PYTHONPATH": str(folder) if installed else ""},
            capture_output=True,
            text=True,
            timeout=550,
            check=False,
        )

    return run


@pytest.mark.timeout(1200)
def test_a_search_from_the_first_byte_to_the_exported_model(
    tune: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = tune("run", "--task", "pile", "--trials", "3", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert "3 of 3 trials finished" in done.stdout + done.stderr

    best: dict[str, Any] = json.loads(tune("best", "pile", "--json").stdout)
    assert set(best["validation"]) == {"garment_top", "garment_middle", "garment_bottom", "joint"}
    trials = json.loads(tune("trials", "pile", "--json").stdout)
    assert [trial["trial"] for trial in trials] == [0, 1, 2]

    done = tune("report", "pile", "--out", "pile.html")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "pile.html").read_text(encoding="utf-8")
    assert "small-mlp" in page
    assert "garment middle" in page
    assert "garments.bin" in page, "where the examples came from"

    done = tune("export", "pile", "--out", "model")
    assert done.returncode == 0, done.stderr
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["signature"]["image"] == [1, 20, 12]
    assert config["signature"]["mean"] == [0.06]
    assert config["signature"]["deviation"] == [0.2]
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert "Garments" in card
    assert "bars on black" in card
    assert "MNIST" not in card

    # Elsewhere, where the package is not installed, the study can be looked at but not worked on.
    assert json.loads(tune("best", "pile", "--json", installed=False).stdout) == best
    refused = tune("worker", "pile", installed=False)
    assert refused.returncode == 78
    assert "there is no task 'pile'" in refused.stderr
    assert "is known where that package is installed" in refused.stderr
    refused = tune("run", "--task", "pile", "--study", "other", installed=False)
    assert refused.returncode == 2
    assert "--task pile: no such task" in refused.stderr


class TestNames:
    def test_are_found_and_none_of_ours_can_be_replaced(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ours = get_task("sum")
        entries = "[tune.tasks]\nheap = heap_task:PILE\nsum = heap_task:PILE"
        text = TASK.replace('"pile"', '"heap"').replace('"garments"', '"mnist"')
        monkeypatch.syspath_prepend(package(tmp_path / "site", entries, heap_task=text))
        assert task_names() == ("twodigit", "sum", "heap")
        assert get_task("heap").title == "Three overlapping garments"
        assert get_task("heap").image_shape == (1, 36, 28)
        assert get_task("sum") is ours
        with pytest.raises(UnknownName, match="there is no task 'heep': did you mean heap"):
            get_task("heep")

    @pytest.mark.parametrize(
        ("name", "text", "words"),
        [
            ("broken", "import nothing_of_the_kind", "cannot be imported .ModuleNotFoundError"),
            ("number", "PILE = 7", "is no Task named 'number' but 7"),
            ("misnamed", TASK, "is no Task named 'misnamed'"),
        ],
    )
    def test_what_cannot_be_used_is_refused_in_a_sentence(
        self, name: str, text: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        entries = f"[tune.tasks]\n{name} = {name}_task:PILE"
        monkeypatch.syspath_prepend(package(tmp_path / "site", entries, **{f"{name}_task": text}))
        with pytest.raises(
            UnusableEntry, match=f"the task {name} is declared as {name}_task:PILE, .*{words}"
        ):
            get_task(name)
        with pytest.raises(ConfigError, match="Repair or reinstall the package that declares it"):
            task_named(name)

    def test_a_task_of_a_package_that_is_not_installed(self) -> None:
        with pytest.raises(ConfigError, match="is known where that package is installed"):
            task_named("absent")
        assert known_task("absent") is None, "nothing is hidden of a study that can only be looked at"
