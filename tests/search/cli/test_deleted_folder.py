"""A command whose current folder is deleted ends with a sentence; torch's libraries would end the process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from search.cli.app import app, run_command
from search.service import look

WORDS = "tune: The current folder was deleted: change to one that exists (cd ~) and give the command again.\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, for a test to delete."""
    path = tmp_path / "here"
    path.mkdir()
    before = Path.cwd()
    monkeypatch.chdir(path)
    yield path
    monkeypatch.chdir(before)


@pytest.mark.parametrize("command", sorted(typer.main.get_command(app).commands))  # type: ignore[attr-defined]
def test_every_command_says_so(command: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder.rmdir()
    assert run_command([command], debug=False) == 78
    assert capfd.readouterr() == ("", WORDS)


@pytest.mark.parametrize("command", ["doctor", "run --task twodigit --trials 1", "predict model image.png"])
def test_as_a_process(command: str, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    script = f'rmdir "{folder}"; exec "{Path(sys.executable).parent / "tune"}" {command}'
    ended = subprocess.run(["sh", "-c", script], cwd=folder, capture_output=True, text=True, timeout=100)
    assert (ended.returncode, ended.stdout, ended.stderr) == (78, "", WORDS)


def test_one_that_is_deleted_meanwhile(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def deleted(_: str) -> None:
        folder.rmdir()
        Path.cwd()

    monkeypatch.setattr(look, "all_studies", deleted)
    assert run_command(["studies"], debug=False) == 78
    assert capfd.readouterr() == ("", WORDS)
