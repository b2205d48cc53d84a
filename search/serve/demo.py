"""The application behind `tune demo`: one page, and an answer for each drawing or image."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from search.errors import ConfigError, TuneError, UsageError
from search.serve.image_file import prepared
from search.serve.model import Model
from search.serve.server import Server
from search.serve.strokes import Blank, compose

if TYPE_CHECKING:
    from wsgiref.types import StartResponse

    import numpy as np

PAGE = Path(__file__).with_name("demo.html")

LAYER = 112
"""Pixels of a side of a drawn layer as the page sends it: four for each of MNIST's."""

MAX_BODY = 100_000
"""Bytes of a request; two layers take 34,000."""

MAX_IMAGE = 64_000_000
"""Bytes of an image file that is sent; a photo of 50 megapixels takes 10 to 30 million as JPEG."""


class Refused(Exception):
    """A request that gets no answer but a status and a sentence."""

    def __init__(self, status: HTTPStatus, words: str) -> None:
        super().__init__(words)
        self.status = status


@dataclass(frozen=True, kw_only=True, slots=True)
class _Request:
    content_type: str
    body: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class _Response:
    content: bytes
    content_type: str
    status: HTTPStatus = HTTPStatus.OK


def make_server(model: Model, *, host: str, port: int) -> Server:
    """A server that listens. Raises UsageError for a port that is taken or an address that is not this
    machine's."""
    max_body = MAX_BODY if model.export.fit is None else MAX_IMAGE
    return Server(Demo(model), host=host, port=port, max_body=max_body)


class Demo:
    """A WSGI application on one model. Threads may share it."""

    def __init__(self, model: Model) -> None:
        self.model = model
        page = PAGE.read_text(encoding="utf-8")
        self._content = page.encode()
        self._policy = _policy(page)
        self._routes: dict[tuple[str, str], Callable[[_Request], _Response]] = {
            ("GET", "/"): self._page,
            ("GET", "/about"): self._about,
            ("POST", "/predict"): self._predict if model.export.fit is None else self._predict_image,
        }
        self._decoding = Lock()  # one large photo at a time: each may take some hundred megabytes

    def __call__(self, environment: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        response = self._answer(environment)
        start_response(
            f"{response.status.value} {response.status.phrase}",
            [
                ("Content-Type", response.content_type),
                ("Content-Length", str(len(response.content))),
                ("Cache-Control", "no-store"),
                ("Content-Security-Policy", self._policy),
            ],
        )
        return [response.content]

    def _answer(self, environment: dict[str, Any]) -> _Response:
        method, path = environment["REQUEST_METHOD"], environment["PATH_INFO"]
        route = self._routes.get((method, path))
        try:
            if route is None:
                raise Refused(HTTPStatus.NOT_FOUND, f"there is no {method} {path[:80]} here")
            return route(
                _Request(
                    content_type=environment.get("CONTENT_TYPE", "").split(";")[0].strip().lower(),
                    body=environment["wsgi.input"].read(),
                )
            )
        except Refused as refused:
            return _json({"error": str(refused)}, status=refused.status)
        except TuneError as error:
            return _json({"error": str(error)}, status=HTTPStatus.INTERNAL_SERVER_ERROR)

    def _page(self, _request: _Request) -> _Response:
        return _Response(content=self._content, content_type="text/html; charset=utf-8")

    def _about(self, _request: _Request) -> _Response:
        export = self.model.export
        return _json(
            {
                "task": export.task,
                "title": export.title,
                "study": export.study,
                "trial": export.trial,
                "height": export.height,
                "width": export.width,
                "channels": export.channels,
                "fit": export.fit,
                "labels": export.labels,
                "digit_rows": export.digit_rows,
                "numbers": export.numbers,
                "heads": export.heads,
                "layer": LAYER,
            }
        )

    def _predict(self, request: _Request) -> _Response:
        export = self.model.export
        layers, number = self._drawing(request)
        try:
            pixels = compose(layers, export.digit_rows, height=export.height, width=export.width)
        except Blank as blank:
            return _json({"blank": blank.layer})
        return self._answered(pixels, number, ())

    def _predict_image(self, request: _Request) -> _Response:
        """The answer to the content of an image file."""
        export = self.model.export
        if request.content_type != "application/octet-stream":
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "an image is sent as application/octet-stream")
        try:
            with self._decoding:
                seen = prepared(
                    request.body,
                    "It",
                    height=export.height,
                    width=export.width,
                    channels=export.channels,
                    fit=export.fit,
                )
        except (UsageError, ConfigError) as error:
            raise Refused(HTTPStatus.BAD_REQUEST, str(error)) from error
        return self._answered(seen.pixels, None, seen.notes)

    def _answered(self, pixels: np.ndarray, number: int | None, notes: Sequence[str]) -> _Response:
        """What the model says of an image: uint8 (H, W) or (H, W, C)."""
        try:
            answers = self.model.answer(pixels, number)
        except UsageError as error:
            raise Refused(HTTPStatus.BAD_REQUEST, str(error)) from error
        return _json(
            {
                "picture": base64.b64encode(pixels.tobytes()).decode(),
                "notes": notes,
                "heads": {
                    name: {"answer": answer.choice, "probabilities": answer.probabilities}
                    for name, answer in answers.items()
                },
            }
        )

    def _drawing(self, request: _Request) -> tuple[list[np.ndarray], int | None]:
        """The layers uint8 (LAYER, LAYER) and the number of a request. Raises Refused."""
        import numpy as np

        if request.content_type != "application/json":
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a drawing is sent as application/json")

        expected = len(self.model.export.digit_rows)
        try:
            asked = json.loads(request.body)
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


def _json(value: object, *, status: HTTPStatus = HTTPStatus.OK) -> _Response:
    return _Response(content=json.dumps(value).encode(), content_type="application/json", status=status)


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
