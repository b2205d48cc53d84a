"""`tune data add`, `list` and `show NAME`: what was found is printed, and what is wrong is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from image_files import noise, write_folders
from PIL import Image
from snapshots import Snapshots, lines_with

from search.cli.app import run_command

SENTENCES = Snapshots(__file__, "image_sets")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNE_DATA_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def test_reading_that_is_stopped_says_that_it_continues(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    Path("pets").mkdir()
    monkeypatch.setattr("search.service.data.add_images", stopped)
    assert run_command(["data", "add", "pets"], debug=False) == 130
    SENTENCES.check("reading that is stopped", capsys.readouterr().err.splitlines())


def test_a_set_is_added_listed_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = noise(60, 12, 12, 3)
    labels = ["cat", "cat", "cat", "cat", "dog"] * 12
    write_folders(Path("pets"), images, labels)
    assert run_command(["data", "add", "pets"], debug=False) == 0
    told = capsys.readouterr()
    name = told.out.partition(":")[0]
    assert name.startswith("pets@")
    lines = told.out.splitlines()
    assert lines[0] == f"{name}: 60 images of 12×12, RGB, from a folder for each class."
    assert [line.split() for line in lines[1:]] == [
        ["label", "train", "validation", "test"],
        ["cat", "39", "4", "5"],
        ["dog", "10", "1", "1"],
        ["all", "49", "5", "6"],
    ]
    SENTENCES.check("an unbalanced set is added", lines_with(told.err, "Drawn", "unbalanced"))

    assert run_command(["data", "add", "pets", "--json"], debug=False) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["new"], found["name"], found["image_shape"]) == (False, name, [3, 12, 12])
    assert found["labels"]["label"]["dog"] == {"train": 10, "validation": 1, "test": 1}
    assert run_command(["data", "list"], debug=False) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:2] == [name, "60"]

    shown = ["data", "show", name, "--rows", "1", "--columns", "2", "--split", "validation"]
    assert run_command([*shown, "--out", "pets.png"], debug=False) == 0
    with Image.open("pets.png") as sheet:
        colors = {color for _, color in sheet.getcolors(1 << 20) or ()}
    whole = {image.tobytes(): {tuple(pixel) for row in image.tolist() for pixel in row} for image in images}
    assert sum(pixels <= colors for pixels in whole.values()) == 2, "two images, in their own colors"


@pytest.mark.parametrize(
    ("flags", "code", "told"),
    [
        ([""], 2, "The path of the images is empty: name a folder or a file, or . for this folder."),
        (["nowhere"], 78, "nowhere: There is nothing at this path: check its spelling."),
        (["pets", "--name", "My Pets"], 2, "--name My Pets: a set's name has small letters"),
        (["pets", "--size", "4x4"], 2, "--size 4x4: write HEIGHTxWIDTH in pixels, each 8 to 128"),
        (["pets", "--channels", "2"], 2, "--channels 2: images have 1 channel (gray) or 3 (RGB)."),
    ],
)
def test_what_is_wrong_is_refused(
    flags: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folders(Path("pets"), noise(20, 8, 8), ["cat", "dog"] * 10)
    assert run_command(["data", "add", *flags], debug=False) == code
    assert told in capsys.readouterr().err


def test_flags_decide_size_channels_and_name(capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("x.npz", train_images=noise(20, 8, 8, 3), train_labels=[0, 1] * 10)
    flags = ["--size", "10x9", "--channels", "1", "--fit", "stretch", "--name", "tiny", "--json"]
    assert run_command(["data", "add", "x.npz", *flags], debug=False) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["name"].startswith("tiny@")
    assert (found["image_shape"], found["fit"]) == ([1, 10, 9], "stretch")


def test_what_is_not_stored_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["data", "show", "pets@0123456789ab"], debug=False) == 78
    assert "run `tune data add PATH`" in capsys.readouterr().err
    assert run_command(["data", "show", "pets@0123456789ab", "--task", "sum"], debug=False) == 2
    assert run_command(["data", "list"], debug=False) == 0
    assert "No set of images is stored here" in capsys.readouterr().err
