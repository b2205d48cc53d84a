"""The server behind `tune demo`: one page, and an answer for each drawing, on this machine only.
Knows nothing of drawing (demo.html) and of studies.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import socket
import socketserver
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.errors import UsageError
from search.serve.model import Model
from search.serve.sender import LOCAL, refusal
from search.serve.strokes import Blank, compose

if TYPE_CHECKING:
    import numpy as np

PAGE = Path(__file__).with_name("demo.html")

LAYER = 112
"""Pixels of a side of a drawn layer as the page sends it: four for each of MNIST's."""

MAX_BODY = 100_000
"""Bytes of a request; two layers take 34,000."""

IDLE_S = 60.0
"""A connection over which so long nothing comes is closed."""


class Refused(Exception):
    """A request that gets no answer but a status and a sentence."""

    def __init__(self, status: HTTPStatus, words: str) -> None:
        super().__init__(words)
        self.status = status


class DemoServer(ThreadingHTTPServer):
    """Serves one model. A context manager; `serve_forever` until somebody interrupts it."""

    daemon_threads = True

    def __init__(self, model: Model, *, host: str, port: int) -> None:
        if ":" in host:
            self.address_family = socket.AF_INET6
        self.model = model
        self.host = host
        page = PAGE.read_text(encoding="utf-8")
        self.page = page.encode()
        self.policy = _policy(page)
        super().__init__((host, port), Handler)

    def server_bind(self) -> None:
        """Without the look-up of this machine's full name, which can take seconds and is not used."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.host, self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away before it was answered is nobody's mistake; anything else is told."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    @property
    def address(self) -> str:
        """Where a browser finds the page."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{name}:{self.server_port}/"

    @property
    def warning(self) -> str | None:
        """A sentence where others than this machine's users can reach the page."""
        if self.host in LOCAL:
            return None
        return f"Warning: everybody who reaches {self.host} can use this page; nothing is encrypted."


def make_server(model: Model, *, host: str, port: int) -> DemoServer:
    """A server that listens. Raises UsageError for a port that is taken or an address that is not ours."""
    try:
        return DemoServer(model, host=host, port=port)
    except OSError as error:
        raise UsageError(
            f"--host {host} --port {port} cannot be used: {error.strerror or error}; choose another --port."
        ) from error


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: DemoServer
    protocol_version = "HTTP/1.1"
    timeout = IDLE_S

    def do_GET(self) -> None:
        self._answer({"/": self._page, "/about": self._about})

    def do_POST(self) -> None:
        self._answer({"/predict": self._predict})

    def _answer(self, routes: dict[str, Any]) -> None:
        try:
            self._check_sender()
            route = routes.get(self.path)
            if route is None:
                raise Refused(HTTPStatus.NOT_FOUND, f"there is no {self.command} {self.path[:80]} here")
            route()
        except Refused as refused:
            self.close_connection = True  # what may still come of the request is not read
            self._send_json({"error": str(refused)}, status=refused.status)

    def _check_sender(self) -> None:
        words = refusal(
            self.headers.get("Host"),
            self.headers.get("Origin"),
            host=self.server.host,
            address=self.server.address,
        )
        if words is not None:
            raise Refused(HTTPStatus.FORBIDDEN, words)

    def _page(self) -> None:
        self._send(self.server.page, "text/html; charset=utf-8")

    def _about(self) -> None:
        export = self.server.model.export
        self._send_json(
            {
                "task": export.task,
                "title": export.title,
                "study": export.study,
                "trial": export.trial,
                "height": export.height,
                "width": export.width,
                "digit_rows": export.digit_rows,
                "numbers": export.numbers,
                "heads": export.heads,
                "layer": LAYER,
            }
        )

    def _predict(self) -> None:
        export = self.server.model.export
        layers, number = self._drawing()
        try:
            pixels = compose(layers, export.digit_rows, height=export.height, width=export.width)
        except Blank as blank:
            self._send_json({"blank": blank.layer})
            return
        try:
            answers = self.server.model.answer(pixels, number)
        except UsageError as error:
            raise Refused(HTTPStatus.BAD_REQUEST, str(error)) from error
        self._send_json(
            {
                "picture": base64.b64encode(pixels.tobytes()).decode(),
                "heads": {
                    name: {"answer": answer.choice, "probabilities": answer.probabilities}
                    for name, answer in answers.items()
                },
            }
        )

    def _drawing(self) -> tuple[list[np.ndarray], int | None]:
        """The layers uint8 (LAYER, LAYER) and the number of a request. Raises Refused."""
        import numpy as np

        expected = len(self.server.model.export.digit_rows)
        try:
            asked = json.loads(self._body())
            texts, number = asked["layers"], asked.get("number")
            layers = [base64.b64decode(text, validate=True) for text in texts]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error) as error:
            raise Refused(HTTPStatus.BAD_REQUEST, "a drawing is JSON with layers in base64") from error
        if len(layers) != expected or any(len(layer) != LAYER * LAYER for layer in layers):
            raise Refused(
                HTTPStatus.BAD_REQUEST, f"a drawing has {expected} layers of {LAYER}×{LAYER} bytes each"
            )
        if number is not None and (isinstance(number, bool) or not isinstance(number, int)):
            raise Refused(HTTPStatus.BAD_REQUEST, "a number is whole")
        return [np.frombuffer(layer, np.uint8).reshape(LAYER, LAYER) for layer in layers], number

    def _body(self) -> bytes:
        if self.headers.get_content_type() != "application/json":
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a drawing is sent as application/json")
        stated = self.headers.get("Content-Length")
        if stated is None or "Transfer-Encoding" in self.headers:
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "a request states its Content-Length")
        if not re.fullmatch(r"[0-9]{1,9}", stated):
            raise Refused(HTTPStatus.BAD_REQUEST, "a Content-Length is a number")
        if int(stated) > MAX_BODY:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a drawing has at most {MAX_BODY:,} bytes")
        body = self.rfile.read(int(stated))
        if len(body) < int(stated):
            raise Refused(HTTPStatus.BAD_REQUEST, "the request ended before its Content-Length")
        return body

    def _send_json(self, value: object, *, status: HTTPStatus = HTTPStatus.OK) -> None:
        self._send(json.dumps(value).encode(), "application/json", status=status)

    def _send(self, content: bytes, kind: str, *, status: HTTPStatus = HTTPStatus.OK) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", self.server.policy)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def version_string(self) -> str:
        """What the Server header says: nothing about versions."""
        return "tune"

    def log_message(self, format: str, *args: object) -> None:
        """A line for every stroke helps nobody."""


def _policy(page: str) -> str:
    """Content-Security-Policy: the page's own script and style, its own server, nothing else."""

    def sums(tag: str) -> str:
        found = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        return " ".join(
            f"'sha256-{base64.b64encode(hashlib.sha256(each.encode()).digest()).decode()}'" for each in found
        )

    return (
        f"default-src 'none'; script-src {sums('script')}; style-src {sums('style')}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
