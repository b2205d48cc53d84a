"""Downloads one MNIST file over HTTP(S), and continues where an interrupted download stopped.
Half a download is kept beside the place of the file.
"""

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import cast
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, getproxies, proxy_bypass, urlopen

from data.datasets.mnist import FILES, idx_bytes, sha256
from data.datasets.source import Progress, SourceFailed, unpack

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist",
    "https://storage.googleapis.com/cvdf-datasets/mnist",
)
"""Base addresses; each serves the four files as NAME.gz."""

CONNECT_TIMEOUT_S = 4.0
"""For all mirrors together: in a closed network this is all that the mirrors cost."""

READ_TIMEOUT_S = 20.0
"""Longest silence within a download."""

BLOCK = 1 << 16


class _Cut(Exception):
    """The connection broke; what arrived so far is kept."""


def unreachable(mirrors: Sequence[str], timeout_s: float = CONNECT_TIMEOUT_S) -> dict[str, str]:
    """Which of the mirrors accept no connection, with the reason; all are tried at once.

    Looking up a name knows no timeout and a host may have many addresses, hence a deadline in threads.
    """
    reasons = dict.fromkeys(mirrors, f"no route within {timeout_s:g} s")

    def probe(mirror: str) -> None:
        address = urlsplit(mirror)
        host, port = address.hostname or "", address.port or (443 if address.scheme == "https" else 80)
        if address.scheme in getproxies() and not proxy_bypass(host):
            reasons.pop(mirror, None)  # the proxy knows the route, we do not
            return
        try:
            socket.create_connection((host, port), timeout=timeout_s).close()
            reasons.pop(mirror, None)
        except OSError as error:
            reasons[mirror] = f"no route ({error.strerror or error})"

    deadline = time.monotonic() + timeout_s
    threads = [threading.Thread(target=probe, args=(mirror,), daemon=True) for mirror in mirrors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return dict(reasons)


def download(name: str, *, mirror: str, folder: Path, progress: Progress) -> bytes:
    """The genuine uncompressed bytes of MNIST file `name`; leaves NAME.gz.part in `folder`.

    A part that is there already, from an earlier run or another mirror, is continued. Should the whole
    then prove wrong, it is fetched once more from the first byte: the fault may lie in the old part.

    Raises:
        SourceFailed: this mirror cannot give the file, or gives other bytes.
        OSError: the local disk refused.
    """
    part = part_of(name, folder)
    if part.is_symlink() or (part.exists() and not part.is_file()):
        part.unlink()  # no part of ours: to open a FIFO would wait, and behind a link is another file
    inherited = part.exists()
    while True:
        before = _size(part)
        try:
            _receive(f"{mirror}/{name}.gz", part, limit=idx_bytes(name), progress=progress)
        except _Cut as cut:
            if _size(part) > before:
                continue  # as long as each attempt brings bytes, the next one is worth it
            raise SourceFailed(f"connection lost ({cut})") from cut
        try:
            content = unpack(part.read_bytes(), idx_bytes(name))
            reason = f"{name} has wrong bytes (SHA-256 found {sha256(content)}, expected {FILES[name]})"
        except ValueError as error:
            content, reason = b"", f"{name} has wrong bytes ({error}, expected SHA-256 {FILES[name]})"
        if sha256(content) == FILES[name]:
            return content
        part.unlink()
        if not inherited:
            raise SourceFailed(reason)
        inherited = False


def part_of(name: str, folder: Path) -> Path:
    """Where the half download of `name` waits to be continued."""
    return folder / f"{name}.gz.part"


def _receive(url: str, part: Path, *, limit: int, progress: Progress) -> None:
    """Append to `part` what it lacks of the file at `url`, at most `limit` bytes in all."""
    done = _size(part)
    request = Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    with _connection_faults():
        try:
            # The scheme is that of MIRRORS or of the caller's own list, never of downloaded text.
            response = cast(HTTPResponse, urlopen(request, timeout=READ_TIMEOUT_S))
        except HTTPError as error:
            with error:
                if done and error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                    return  # nothing is left to send: the part is complete already
                raise SourceFailed(f"HTTP {error.code} {error.reason}") from error
    with response:
        if done and not _continues(response, done):
            done = 0  # the server does not know ranges and sends the file from its first byte
        length = response.length
        total = None if length is None else done + length
        with part.open("ab") as file:
            file.truncate(done)
            while block := _read(response):
                done += len(block)
                if done > limit:
                    raise SourceFailed(f"sends more than the {limit} bytes that the file can have")
                file.write(block)
                progress(urlsplit(url).netloc, done, total)
    if total is not None and done < total:  # http.client ends quietly when a connection is cut
        raise _Cut(f"after {done} of {total} bytes")


def _continues(response: HTTPResponse, done: int) -> bool:
    span = response.headers.get("Content-Range", "")
    return response.status == HTTPStatus.PARTIAL_CONTENT and span.startswith(f"bytes {done}-")


def _read(response: HTTPResponse) -> bytes:
    with _connection_faults():
        return response.read(BLOCK)


@contextmanager
def _connection_faults() -> Iterator[None]:
    """Tells the network's OSErrors from those of the disk."""
    try:
        yield
    except (OSError, HTTPException) as error:
        raise _Cut(str(getattr(error, "reason", None) or error) or type(error).__name__) from error


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
