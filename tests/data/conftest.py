"""Real MNIST, a folder that lacks some of it, and a mirror on this machine that can misbehave."""

import gzip
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from data.datasets.fetch import fetch
from data.datasets.mnist import FILES, Mnist, cache_folder, load


@pytest.fixture(scope="session")
def genuine() -> Path:
    """A folder with the four genuine files: the user's own cache, filled on the first run."""
    fetch()
    return cache_folder()


@pytest.fixture(scope="session")
def mnist(genuine: Path) -> Mnist:
    return load(genuine)


@pytest.fixture(scope="session")
def packed(genuine: Path) -> dict[str, bytes]:
    """File name → gzip of the genuine content."""
    return {name: gzip.compress((genuine / name).read_bytes(), compresslevel=1) for name in FILES}


@pytest.fixture
def lacking(genuine: Path, tmp_path: Path) -> Callable[..., Path]:
    """lacking("t10k-labels-idx1-ubyte") → a folder with all the genuine files but that one."""

    def make(*names: str, within: str = "cache") -> Path:
        folder = tmp_path / within
        folder.mkdir()
        for name in FILES:
            if name not in names:
                (folder / name).symlink_to(genuine / name)
        return folder

    return make


@dataclass
class Mirror:
    """What the local mirror serves, how it fails, and what it was asked."""

    url: str
    files: dict[str, bytes]
    cuts: list[int] = field(default_factory=list)
    """Each entry makes one answer end after this number of bytes, although more were promised."""
    answers: list[bytes | None] = field(default_factory=list)
    """Each entry is the content of one answer, instead of the file's; None: 404."""
    ranges: bool = True
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    """(file name, Range header) in order."""


@pytest.fixture
def mirror(packed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    monkeypatch.setenv("no_proxy", "*")  # a proxy of the machine must not see requests to ourselves

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name, asked = self.path.rsplit("/", 1)[-1], self.headers["Range"]
            state.requests.append((name, asked))
            content = state.answers.pop(0) if state.answers else state.files.get(name)
            if content is None:
                self.send_error(404)
                return
            begin = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and state.ranges else 0
            if begin and begin >= len(content):
                self.send_error(416)
                return
            self.send_response(206 if begin else 200)
            if begin:
                self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - begin))
            self.end_headers()
            self.wfile.write(content[begin : begin + state.cuts.pop(0)] if state.cuts else content[begin:])

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state = Mirror(
        url=f"http://127.0.0.1:{server.server_port}/mnist",
        files={f"{name}.gz": content for name, content in packed.items()},
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield state
    server.shutdown()
    thread.join()
    server.server_close()
