"""The server under both pages: what is idle, slow, huge or malformed keeps nobody else waiting."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search.errors import UsageError
from search.serve import server as module
from search.serve.server import HEADERS, MAX_HEADER, NO_FRAMES, Server

if TYPE_CHECKING:
    from wsgiref.types import StartResponse

MAX_BODY = 1000
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


class App:
    """Answers with the length of what it was sent. `/wait` waits until `go` is set."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.waiting = threading.Semaphore(0)

    def __call__(self, environment: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        match environment["PATH_INFO"]:
            case "/wait":
                self.waiting.release()
                assert self.go.wait(20)
            case "/fails":
                raise RuntimeError("on purpose")
            case "/large":
                start_response("200 OK", [("Content-Length", str(40 * 1024**2))])
                return [b"x" * 1024**2] * 40
        headers = [("Content-Type", "text/plain"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]
        if environment["PATH_INFO"] == "/policy":
            headers += [
                ("Content-Security-Policy", "default-src 'self';"),
                ("Referrer-Policy", "no-referrer"),
            ]
        start_response("200 OK", headers)
        return [str(len(environment["wsgi.input"].read())).encode()]


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
def port(app: App) -> Iterator[int]:
    end = threading.Event()
    with Server(app, host="127.0.0.1", port=0, max_body=MAX_BODY) as server:
        thread = threading.Thread(target=server.run, args=(end.is_set,))
        thread.start()
        yield server.port
        app.go.set()
        end.set()
        thread.join()


def ask(
    port: int, method: str = "GET", path: str = "/", **more: Any
) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(connection):
        connection.request(method, path, **more)
        response = connection.getresponse()
        return response.status, response.headers, response.read()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def sent(port: int, request: bytes) -> bytes:
    """What comes for these bytes until the server closes, or until it waits for more of them."""
    answer = b""
    with connect(port) as raw, contextlib.suppress(OSError):  # it may have closed already
        raw.sendall(request)
        raw.shutdown(socket.SHUT_WR)
        while block := raw.recv(65_536):
            answer += block
    return answer


class TestRetry:
    def test_fifty_idle_connections_block_no_request(self, port: int) -> None:
        with contextlib.ExitStack() as idle:
            for _ in range(50):
                idle.enter_context(connect(port))
            began = time.monotonic()
            for _ in range(20):
                assert ask(port)[0] == 200
            assert time.monotonic() - began < 10

    def test_above_the_limit_the_longest_idle_go(self, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "MAX_CONNECTIONS", 20)
        with contextlib.ExitStack() as idle:
            all_of_them = [idle.enter_context(connect(port)) for _ in range(60)]
            for _ in range(3):
                assert ask(port)[0] == 200
            for gone in all_of_them[:40]:
                assert gone.recv(1) == b""
            all_of_them[-1].sendall(GET)
            assert all_of_them[-1].recv(12) == b"HTTP/1.1 200"

    @pytest.mark.parametrize(
        "begin",
        [GET[:-2], b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n\r\n"],
        ids=["header", "body"],
    )
    def test_a_request_that_comes_slowly_is_cut_off(
        self, port: int, monkeypatch: pytest.MonkeyPatch, begin: bytes
    ) -> None:
        monkeypatch.setattr(module, "REQUEST_S", 1.0)
        with connect(port) as slow, contextlib.suppress(ConnectionError):
            slow.sendall(begin)
            slow.settimeout(0.05)
            began = time.monotonic()
            while time.monotonic() - began < 15:
                slow.sendall(b"x")
                with contextlib.suppress(TimeoutError):
                    if slow.recv(1) == b"":
                        break
            assert time.monotonic() - began < 10
        assert time.monotonic() - began >= 1

    def test_a_large_request_has_longer(self, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "REQUEST_S", 0.0)
        monkeypatch.setattr(module, "SLOWEST", 100)
        with connect(port) as steady:
            steady.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 600\r\n\r\n" + b"x" * 500)
            time.sleep(2)
            steady.sendall(b"x" * 100)
            assert steady.recv(12) == b"HTTP/1.1 200"

    def test_a_slow_answer_blocks_no_other_request(self, port: int, app: App) -> None:
        with ThreadPoolExecutor() as pool:
            slow = [pool.submit(ask, port, path="/wait") for _ in range(module.THREADS - 1)]
            for _ in slow:
                assert app.waiting.acquire(timeout=20)
            assert ask(port)[0] == 200
            app.go.set()
            assert [each.result()[0] for each in slow] == [200] * len(slow)

    def test_an_answer_that_is_not_read_frees_its_thread(
        self, port: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "IDLE_S", 1)
        with contextlib.ExitStack() as lazy:
            for _ in range(module.THREADS):
                raw = lazy.enter_context(socket.socket())
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                raw.connect(("127.0.0.1", port))
                raw.sendall(GET.replace(b"/ ", b"/large ", 1))
            assert ask(port)[0] == 200

    def test_it_ends_when_it_is_told_to(self, app: App) -> None:
        with Server(app, host="127.0.0.1", port=0, max_body=MAX_BODY) as server, connect(server.port):
            server.run(lambda: True)
        with pytest.raises(ConnectionRefusedError):
            connect(server.port)


class TestHeaders:
    @pytest.mark.parametrize(
        ("request_", "status"),
        [
            (GET, b"200"),
            (GET.replace(b"/ ", b"/fails ", 1), b"500"),
            (GET.replace(b"localhost", b"evil.example"), b"403"),
            (b"GET / HTTP/1.1\r\n\r\n", b"403"),
            (b"nonsense\r\n\r\n", b"400"),
            (b"GET http://[::1 HTTP/1.1\r\nHost: localhost\r\n\r\n", b"400"),
            (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400"),
            (b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", b"400"),
            (b"POST / HTTP/1.1\r\nContent-Length: 1001\r\n\r\n", b"413"),
            # No more than is read before the refusal: unread bytes would reset the connection.
            (b"GET /".ljust(MAX_HEADER, b"x"), b"431"),
            (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", b"501"),
        ],
    )
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_no_response_may_be_framed(self, port: int, request_: bytes, status: bytes) -> None:
        answer = sent(port, request_)
        lines = answer.split(b"\r\n\r\n")[0].split(b"\r\n")
        assert lines[0].split()[1] == status
        for name, value in {**HEADERS, "Content-Security-Policy": NO_FRAMES}.items():
            assert [line for line in lines if line.startswith(f"{name}:".encode())] == [
                f"{name}: {value}".encode()
            ]
        assert b"Traceback" not in answer

    def test_what_the_application_says_stays(self, port: int) -> None:
        _, headers, _ = ask(port, path="/policy")
        assert headers.get_all("Content-Security-Policy") == [f"default-src 'self'; {NO_FRAMES}"]
        assert headers.get_all("Referrer-Policy") == ["no-referrer"]
        assert headers.get_all("Set-Cookie") == ["a=1", "b=2"]
        assert headers["Server"] == "tune"

    def test_a_body_of_the_limit_is_let_in(self, port: int) -> None:
        assert ask(port, "POST", body=b"x" * MAX_BODY)[::2] == (200, str(MAX_BODY).encode())


TOKENS = (
    *(
        b"GET ",
        b"POST ",
        b"get ",
        b"/ ",
        b"* ",
        b"http://[::1 ",
        b"//x ",
        b"/%ff%00 ",
        b"HTTP/1.1",
        b"HTTP/9.9",
    ),
    *(b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"Host: localhost\r\n", b"Host:\r\n", b":\r\n", b" folded\r\n"),
    *(b"Content-Length: 5\r\n", b"Content-Length: +5\r\n", b"Content-Length: " + b"9" * 5000, b"hello"),
    *(b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip\r\n", b"Expect: 100-continue\r\n"),
    *(b"Connection: keep-alive\r\n", b"A_B: c\r\n"),
)
PIECES = st.lists(st.one_of(st.binary(max_size=40), st.sampled_from(TOKENS)), max_size=12).map(b"".join)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PIECES)
def test_no_bytes_stop_it(port: int, capfd: pytest.CaptureFixture[str], data: bytes) -> None:
    answer = sent(port, data)
    assert answer == b"" or answer.startswith(b"HTTP/1.")
    assert b"Traceback" not in answer
    assert ask(port)[0] == 200
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("host", ["203.0.113.1", "no such name", "é" * 100, "a" * 300], ids=ascii)
def test_an_address_that_cannot_be_had_is_a_sentence(app: App, host: str) -> None:
    with pytest.raises(UsageError, match=r"--port 0 cannot be used: .+; choose another --port\."):
        Server(app, host=host, port=0, max_body=1)
