"""A file that a user names is regular, of bounded size, and never waited for."""

from __future__ import annotations

import errno
import os
import re
import socket
from pathlib import Path

import pytest

from search.files import open_regular, read_regular, unfinished, write_whole


def test_a_regular_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"hello")
    (tmp_path / "link").symlink_to("a")
    assert read_regular(tmp_path / "a", limit=5) == read_regular(tmp_path / "link", limit=5) == b"hello"
    with open_regular(tmp_path / "a", limit=5, follow=False) as file:
        assert file.read() == b"hello"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fifo", "it is not a regular file"),
        ("/dev/zero", "it is not a regular file"),
        ("/dev/null", "it is not a regular file"),
        ("zero", "it is not a regular file"),
        ("folder", "Is a directory"),
        ("socket", "No such device or address"),
        ("none", "No such file or directory"),
        ("loop", "Too many levels of symbolic links"),
        ("large", "it has more than 100 bytes"),
        ("sparse", "it has more than 100 bytes"),
        ("/proc/cpuinfo", "it has more than 100 bytes"),
        ("x" * 300, "File name too long"),
        ("zero\0byte", "no file can have this name"),
        ("\ud800", "no file can have this name"),
    ],
    ids=ascii,
)
def test_anything_else_is_refused_with_a_reason(tmp_path: Path, name: str, words: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "large").write_bytes(b"x" * 101)
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(10**11)
    with socket.socket(socket.AF_UNIX) as listening:
        here = Path.cwd()
        os.chdir(tmp_path)  # such an address may have 107 letters
        listening.bind("socket")
        os.chdir(here)
        with pytest.raises(OSError, match=re.escape(words)) as refusal:
            read_regular(tmp_path / name, limit=100)
    assert refusal.value.strerror == words


def test_a_link_may_be_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"hello")
    (tmp_path / "link").symlink_to("a")
    with pytest.raises(OSError, match="it is a symbolic link"):
        read_regular(tmp_path / "link", limit=5, follow=False)


def test_a_file_is_written_whole_and_is_as_readable_as_any_other(tmp_path: Path) -> None:
    for content in (b"first", b"second"):
        write_whole(tmp_path / "a", content)
        assert (tmp_path / "a").read_bytes() == content
    (tmp_path / "b").write_bytes(b"")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_write_that_the_disk_refuses_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write_whole(tmp_path / "a", b"old")
    monkeypatch.setattr("search.files.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_a_killed_writer_left_is_found(tmp_path: Path) -> None:
    for name in (".a[1].0f.tmp", ".a[1].tmp", ".b.0f.tmp", "a[1]"):
        (tmp_path / name).touch()
    (tmp_path / ".a[1].link.tmp").symlink_to("a[1]")
    assert unfinished(tmp_path / "a[1]") == [tmp_path / ".a[1].0f.tmp"]
