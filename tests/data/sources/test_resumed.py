"""Adding a set that was interrupted continues: the same set, and what is whole is not decoded anew."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from image_files import noise, png, write_folders

from data.datasets.base import DatasetError
from data.datasets.image_set import DESCRIPTION, IMAGES, LABELS, ImageSet, sets_folder, stored_sets
from data.images import Decoded
from data.ingest import add, pixels
from data.ingest.add import add_set
from data.ingest.partial import ABANDONED_S, partial_folder
from data.ingest.pixels import BLOCK, UNSORTED, Options

COUNT = 3 * BLOCK + 40

KILLED = """
import os, signal, sys
from pathlib import Path

from data.ingest import add, partial, pixels

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def kill_in_block(number):
    genuine, calls = pixels.decode, []
    def decode(*arguments, **more):
        calls.append(0)
        if len(calls) == number * pixels.BLOCK + 100:
            kill()
        return genuine(*arguments, **more)
    pixels.decode = decode

def kill_before(module, name):
    setattr(module, name, kill)

MOMENTS = {
    "in the first block": lambda: kill_in_block(0),
    "in the third block": lambda: kill_in_block(2),
    "before the first record": lambda: kill_before(pixels, "keep_block"),
    "while the examples are sorted": lambda: kill_before(add, "_examples"),
    "while the files are written": lambda: kill_before(add, "sync"),
    "before it has its name": lambda: kill_before(add, "_put"),
    "before its path is recorded": lambda: kill_before(add, "write_whole"),
    "before the rest is removed": lambda: kill_before(partial, "_remove"),
}
MOMENTS[sys.argv[2]]()
add.add_set(Path(sys.argv[1]), options=pixels.Options(skip_damaged=True))
"""

MOMENTS = {
    "in the first block": COUNT,
    "in the third block": COUNT - 2 * BLOCK,
    "before the first record": COUNT,
    "while the examples are sorted": 0,
    "while the files are written": 0,
    "before it has its name": 0,
    "before its path is recorded": 0,
    "before the rest is removed": 0,
}
"""When the process is killed → images that the next one decodes."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of two classes, one of them damaged."""
    folder = tmp_path_factory.mktemp("resumed") / "own"
    write_folders(folder, noise(COUNT - 1, 8, 8, 3), [place % 2 for place in range(COUNT - 1)])
    (folder / "0" / "damaged.png").touch()
    return folder


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What is decoded from now on."""
    found, genuine = [], pixels.decode

    def decode(content: bytes, *, channels: int | None, at_least: tuple[int, int] | None) -> Decoded:
        found.append(content)
        return genuine(content, channels=channels, at_least=at_least)

    monkeypatch.setattr(pixels, "decode", decode)
    return found


@pytest.fixture(scope="module")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, bytes]]:
    """The files of the set that was made without interruption."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNE_DATA_DIR", str(tmp_path_factory.mktemp("whole")))
        yield files_of(add_set(folder, options=Options(skip_damaged=True)).image_set)


def files_of(image_set: ImageSet) -> dict[str, bytes]:
    return {name: (image_set.folder / name).read_bytes() for name in (DESCRIPTION, IMAGES, LABELS)}


def partial_ones() -> list[Path]:
    return sorted(sets_folder().glob(".*.partial"))


def killed(folder: Path, moment: str) -> None:
    """Adds the set in a process that is killed."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder), moment], check=False)
    assert done.returncode == -signal.SIGKILL


@pytest.mark.parametrize(("moment", "left"), MOMENTS.items(), ids=MOMENTS)
def test_a_process_that_was_killed_is_continued(
    moment: str, left: int, folder: Path, cache: Path, whole: dict[str, bytes], decoded: list[bytes]
) -> None:
    killed(folder, moment)
    assert len(partial_ones()) == 1
    added = add_set(folder, options=Options(skip_damaged=True))
    assert files_of(added.image_set) == whole
    assert len(decoded) == left
    assert partial_ones() == []
    assert [each.name for each in stored_sets()] == [added.image_set.name]
    kept = {added.image_set.checksum, "seen"}
    assert {each.name for each in sets_folder().iterdir()} == kept


def test_ctrl_c_keeps_what_was_decoded(
    folder: Path,
    cache: Path,
    whole: dict[str, bytes],
    decoded: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def progress(_: str, done: int, __: int | None) -> None:
        if done == 2 * BLOCK:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        add_set(folder, options=Options(skip_damaged=True), progress=progress)
    decoded.clear()
    assert stored_sets() == []
    assert files_of(add_set(folder, options=Options(skip_damaged=True)).image_set) == whole
    assert len(decoded) == COUNT - 2 * BLOCK


@pytest.fixture(scope="module")
def unsorted(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a process left that was killed while the examples were sorted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNE_DATA_DIR", str(tmp_path_factory.mktemp("unsorted")))
        killed(folder, "while the examples are sorted")
        return sets_folder()


@pytest.mark.parametrize("damage", ["pixels", "record", "cut off", "no array"])
def test_a_damaged_block_is_decoded_anew(
    damage: str, folder: Path, cache: Path, whole: dict[str, bytes], decoded: list[bytes], unsorted: Path
) -> None:
    shutil.copytree(unsorted, sets_folder())
    (partial,) = partial_ones()
    array, record = partial / UNSORTED, partial / "block-000001"
    content = bytearray(array.read_bytes())
    if damage == "pixels":
        content[BLOCK * 8 * 8 * 3 + 5] ^= 1
        array.write_bytes(content)
    elif damage == "cut off":
        record.write_bytes(record.read_bytes()[:100])
    elif damage == "record":
        record.write_bytes(record.read_bytes().replace(b"8", b"9"))
    else:
        array.write_bytes(content[:-1])
    assert files_of(add_set(folder, options=Options(skip_damaged=True)).image_set) == whole
    assert len(decoded) == (COUNT if damage == "no array" else BLOCK)


def test_files_that_changed_are_all_read(
    folder: Path, cache: Path, tmp_path: Path, decoded: list[bytes]
) -> None:
    own = write_folders(tmp_path / "own", noise(COUNT, 8, 8), [place % 2 for place in range(COUNT)])
    killed(own, "while the examples are sorted")
    (own / "0" / "0.png").write_bytes(png(noise(1, 8, 8, seed=9)[0]))
    add_set(own, options=Options(skip_damaged=True))
    assert len(decoded) == COUNT


def test_two_processes_make_one_set(
    folder: Path, cache: Path, whole: dict[str, bytes], decoded: list[bytes]
) -> None:
    waiting, told = threading.Event(), list[str]()
    results = list[dict[str, bytes]]()

    def second() -> None:
        def progress(source: str, _: int, __: int | None) -> None:
            told.append(source)
            waiting.set()

        added = add_set(folder, options=Options(skip_damaged=True), progress=progress)
        results.append(files_of(added.image_set))

    thread = threading.Thread(target=second)

    def first(_: str, done: int, __: int | None) -> None:
        if done == BLOCK:  # the first has the folder: the second shall wait
            thread.start()
            assert waiting.wait(60)

    added = add_set(folder, options=Options(skip_damaged=True), progress=first)
    thread.join(60)
    assert results == [whole]
    assert files_of(added.image_set) == whole
    assert told == ["another `tune`, which is reading them already"]
    assert len(decoded) == COUNT


def test_a_folder_that_was_abandoned_is_removed(folder: Path, cache: Path, tmp_path: Path) -> None:
    killed(folder, "in the third block")
    (partial,) = partial_ones()
    other = write_folders(tmp_path / "other", noise(20, 8, 8), [0, 1] * 10)
    add_set(other)
    assert partial_ones() == [partial], "it may be continued"
    before = time.time() - ABANDONED_S - 1
    os.utime(partial, (before, before))
    signature = partial.name[1:].removesuffix(".partial")
    with partial_folder(sets_folder(), signature, lambda *_: None):
        os.utime(partial, (before, before))
        add_set(other)
        assert partial_ones() == [partial], "a process has it"
    killed(folder, "in the third block")
    os.utime(partial, (before, before))
    add_set(other)
    assert partial_ones() == []


def test_a_disk_that_is_full_is_told_before_anything_is_decoded(
    folder: Path, cache: Path, decoded: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DatasetError, match=r"\(No space left on device\): make room there"):
        add_set(folder)
    assert (decoded, [each.name for each in sets_folder().iterdir()]) == ([], ["seen"])


def test_a_disk_that_fills_up_meanwhile_is_told(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for module, name in ((pixels, "keep_block"), (add, "write_whole")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, full)
            with pytest.raises(DatasetError, match=r"\(No space left on device\): make room there"):
                add_set(folder, options=Options(skip_damaged=True))
        assert partial_ones() == []
