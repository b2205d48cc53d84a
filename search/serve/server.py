"""Serves a WSGI application to its own pages: on threads, with limits of connections, sizes and time.

waitress receives requests and sends answers in one loop and computes answers in threads, so that neither a
connection without a request nor a slow one keeps a thread from others. Its timeout counts silence only; what
ends a client that sends a byte now and then is here.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import waitress
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError, TransferEncodingNotImplemented
from waitress.task import ErrorTask, WSGITask

from search.errors import UsageError
from search.serve.sender import for_its_own_page

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

THREADS = 4
"""Requests that are answered at the same time."""

MAX_CONNECTIONS = 200
"""Above it the connections that have been idle longest are closed. Well below the usual 1,024 open files."""

MAX_HEADER = 32 * 1024
"""Bytes of a request's header."""

IDLE_S = 60
"""Seconds without a byte from either side after which a connection is closed."""

REQUEST_S = 10.0
"""Seconds within which a request must have arrived, and one more for each SLOWEST bytes of it."""

SLOWEST = 50_000
"""Bytes a second."""

POLL_S = 0.5
"""Seconds between two checks of the loop whether it shall end."""

END_S = 5
"""How long requests that are being answered may take when the server ends."""

HEADERS = {
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Sent with every response whose application does not say otherwise."""

NO_FRAMES = "frame-ancestors 'none'"
"""Content-Security-Policy's word for X-Frame-Options: part of every response's policy."""


class Server:
    """A server that listens. A context manager; `run` answers requests until it is told to stop."""

    def __init__(self, app: WSGIApplication, *, host: str, port: int, max_body: int, page: str = "/") -> None:
        """max_body: bytes of a request. page: path of the page that a browser opens.

        Raises UsageError for a port that is taken or an address that is not this machine's.
        """
        listening = _listen(host, port)
        self.host = host
        self.port: int = listening.getsockname()[1]
        self.address = f"http://{f'[{host}]' if ':' in host else host}:{self.port}{page}"
        logging.getLogger("waitress").setLevel(logging.ERROR)  # a full queue or a client that left is no news
        self._sockets: dict[int, Any] = {}
        self._server = waitress.create_server(
            for_its_own_page(app, host=host, address=self.address),
            map=self._sockets,
            sockets=[listening],
            threads=THREADS,
            connection_limit=2 * MAX_CONNECTIONS,
            channel_timeout=IDLE_S,
            cleanup_interval=1,
            max_request_header_size=MAX_HEADER,
            max_request_body_size=max_body + 1,  # waitress refuses what is as large as that
            log_socket_errors=False,
            ident="tune",
        )
        self._server.channel_class = _Connection

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.task_dispatcher.shutdown(timeout=END_S)
        wasyncore.close_all(self._sockets)

    def run(self, stop: Callable[[], bool]) -> None:
        """Answers requests until `stop` says so; it is asked every half second."""
        while not stop():
            wasyncore.loop(timeout=POLL_S, use_poll=True, map=self._sockets, count=1)
            self._close_some(time.monotonic())

    def _close_some(self, now: float) -> None:
        """Closes what takes too long, and the longest idle connections where there are too many."""
        connections: list[_Connection] = list(self._server.active_channels.values())
        for connection in connections:
            if connection.late(now):
                connection.handle_close()
        if (surplus := len(self._server.active_channels) - MAX_CONNECTIONS) > 0:
            closable = sorted(
                (each for each in connections if each.connected and not each.requests), key=_worth
            )
            for connection in closable[:surplus]:
                connection.handle_close()


def _worth(connection: _Connection) -> tuple[bool, float]:
    """The lowest is closed first: the one idle longest, then the one that has sent or received longest."""
    return (False, connection.last_activity) if connection.idle else (True, connection.creation_time)


def _listen(host: str, port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen()
    except (OSError, UnicodeError, TypeError) as error:  # not an OSError: a name that no host can have
        listening.close()
        raise UsageError(
            f"--host {host} --port {port} cannot be used: {getattr(error, 'strerror', None) or error}; "
            "choose another --port."
        ) from error
    return listening


class _Parser(HTTPRequestParser):
    """Refuses what waitress stumbles over."""

    def parse_header(self, header_plus: bytes) -> None:
        try:
            super().parse_header(header_plus)
        except ValueError as error:  # a Content-Length of 5,000 digits, an address with half a bracket
            raise ParsingError("The header cannot be read.") from error
        if self.chunked:  # browsers send none, and a chunk's size of megabytes takes waitress minutes to read
            raise TransferEncodingNotImplemented("A request states its Content-Length.")


class _WithHeaders:
    """Adds HEADERS and NO_FRAMES to a response: the application's or the server's own."""

    response_headers: list[tuple[str, str]]

    def build_response_header(self) -> bytes:
        self.response_headers = _completed(self.response_headers)
        built: bytes = super().build_response_header()  # type: ignore[misc]  # of waitress's Task
        return built


def _completed(given: list[tuple[str, str]]) -> list[tuple[str, str]]:
    names = {name.lower() for name, _ in given}
    added = [(name, value) for name, value in HEADERS.items() if name.lower() not in names]
    if "content-security-policy" not in names:
        return [*given, *added, ("Content-Security-Policy", NO_FRAMES)]
    return [
        (name, f"{value.rstrip('; ')}; {NO_FRAMES}")
        if name.lower() == "content-security-policy" and "frame-ancestors" not in value
        else (name, value)
        for name, value in (*given, *added)
    ]


class _Answer(_WithHeaders, WSGITask):
    pass


class _Refusal(_WithHeaders, ErrorTask):
    pass


class _Connection(HTTPChannel):
    parser_class = _Parser
    task_class = _Answer
    error_task_class = _Refusal
    began: float | None = None
    """when the first byte of the request came that is still arriving"""

    @property
    def idle(self) -> bool:
        """Whether nothing is being received, answered or sent."""
        return not (self.requests or self.total_outbufs_len or self.request is not None)

    def received(self, data: bytes) -> bool:
        before = self.request
        done: bool = super().received(data)
        if self.request is not before:
            self.began = time.monotonic()
        return done

    def late(self, now: float) -> bool:
        """Whether the request has taken too long to arrive, or the client does not read the response."""
        if self.requests and self.total_outbufs_len:
            return bool(time.time() - self.last_activity > IDLE_S)
        if self.request is None or self.began is None:
            return False
        arrived = self.request.header_bytes_received + self.request.body_bytes_received
        return bool(now - self.began > REQUEST_S + arrived / SLOWEST)
