"""The disk is full while a trial is saved, and while the database is written: nothing is lost, a sentence
says so, and the study continues once there is room."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from search.cli.app import run_command

TRIALS = 6


@contextmanager
def small_disk(size_kb: int) -> Iterator[tuple[Path, Callable[[], None]]]:
    """A folder on a disk of its own, and what gives it room. Raises CalledProcessError where one may not."""
    with tempfile.TemporaryDirectory(prefix="tune-disk-") as name:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_kb}k", "none", name], check=True)
        try:
            yield Path(name), lambda: _resize(name)
        finally:
            subprocess.run(["umount", "--lazy", name], check=True)


def _resize(name: str) -> None:
    subprocess.run(["mount", "-o", "remount,size=50m", name], check=True)


def _may_mount() -> bool:
    if os.geteuid() != 0:
        return False
    try:
        with small_disk(64):
            return True
    except (OSError, subprocess.CalledProcessError):  # a container, say
        return False


def test_the_database_cannot_grow(arena: Callable[..., Any], tmp_path: Path) -> None:
    """A limit on the size of files: SQLite is refused its writes as by a full disk, with another number."""
    file = tmp_path / "studies.db"
    study = arena(f"sqlite:///{file}", trials=TRIALS)
    study.wait(study.start(pause_s=0.0, largest_file_bytes=file.stat().st_size + 8192))
    [words] = given_up(study)
    assert "Nothing that was saved is lost; check the disk" in words
    study.bury()
    study.wait(study.start(pause_s=0.0))
    study.check(refused=[words])


if _may_mount():  # not a skip: without the right to, the test above is all that can be done

    def test_the_disk_of_the_database(arena: Callable[..., Any]) -> None:
        with small_disk(288) as (folder, give_room):  # an empty study takes 216, and 280 while it is made
            study = arena(f"sqlite:///{folder / 'studies.db'}", trials=40)
            study.wait(study.start(pause_s=0.0))
            [words] = given_up(study)
            assert "is full: nothing was lost; make room" in words
            before = confirmed(study)
            give_room()
            study.bury()
            study.wait(study.start(pause_s=0.0))
            study.check(refused=[words])
            assert before < confirmed(study)

    @pytest.mark.parametrize("size_kb", [60, 264])
    def test_the_first_start(
        start: Callable[..., Any],
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        size_kb: int,
    ) -> None:
        """An empty study takes 216 KB, and 280 while it is made: the disk is full before the tables are
        there, or before the study."""
        run = ("run", "--task", "twodigit", "--trials", "2", "--detach")
        with small_disk(size_kb) as (folder, give_room):
            full = start(*run, cwd=folder)
            _, words = full.communicate(timeout=100)
            assert (full.returncode, "is full: nothing was lost; make room" in words) == (1, True), words
            give_room()
            monkeypatch.chdir(folder)
            code = run_command(list(run), debug=False)
            out, words = capsys.readouterr()
            monkeypatch.undo()  # a disk that is in use cannot be unmounted
            assert code == 0, words
            assert "the study is open for 2 trials" in out
            assert [path.name for path in folder.iterdir()] == ["studies.db"]

    def test_the_disk_of_the_resume_checkpoints(arena: Callable[..., Any], tmp_path: Path) -> None:
        with small_disk(12) as (folder, give_room):
            study = arena(f"sqlite:///{tmp_path / 'studies.db'}", trials=TRIALS)
            study.wait(study.start(pause_s=0.0, artifacts=str(folder)))
            [words] = given_up(study)
            assert f"The disk is full (no room in {folder})" in words
            assert list(folder.rglob("*.tmp")) == [], "what could not be written whole is gone"
            give_room()
            study.wait(study.start(pause_s=0.0, artifacts=str(folder)))
            study.check(artifacts=folder, refused=[words])


def confirmed(study: Any) -> set[int]:
    """Trials whose results workers know to be in the database."""
    return {line["trial"] for line in study.history if line["event"] == "confirmed"}


def given_up(study: Any) -> list[str]:
    """Last words of workers."""
    return [line["why"] for line in study.history if line["event"] == "gave up"]
