"""A file that a user names is regular, of bounded size, and never waited for."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import pytest

from search.files import open_regular, read_regular


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
