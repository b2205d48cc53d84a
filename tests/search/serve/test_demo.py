"""The server of `tune demo`: it answers drawings, and nobody but the page that it serves itself."""

from __future__ import annotations

import base64
import http.client
import json
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data.datasets.mnist import Mnist
from search.serve.demo import LAYER, MAX_BODY, make_server
from search.serve.folder import open_export
from search.serve.model import Model
from search.serve.sender import names_us
from search.serve.strokes import compose
from search.service import predict as service

JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Running:
    """A demo that answers in a thread of this process."""

    model: Model
    port: int


@pytest.fixture(scope="module", params=["twodigit", "sum"])
def server(exported: Path, request: pytest.FixtureRequest) -> Iterator[Running]:
    model, end = Model(open_export(exported / request.param)), threading.Event()
    with make_server(model, host="127.0.0.1", port=0) as made:
        thread = threading.Thread(target=made.run, args=(end.is_set,))
        thread.start()
        yield Running(model=model, port=made.port)
        end.set()
        thread.join()


def ask(
    server: Running, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, Mapping[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        if value:
            connection.putheader(name.replace("_", "-"), value)
    if body is not None and "Content_Length" not in headers:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    response = connection.getresponse()
    answer = response.status, dict(response.getheaders()), response.read()
    connection.close()
    return answer


def drawing(layers: list[np.ndarray], number: object) -> bytes:
    texts = [base64.b64encode(layer.tobytes()).decode() for layer in layers]
    return json.dumps({"layers": texts, "number": number}).encode()


@pytest.fixture
def layers(server: Running, mnist: Mnist) -> list[np.ndarray]:
    """As many drawn digits as the task has."""
    return [
        np.asarray(Image.fromarray(mnist.train_images[54_000 + n].numpy()).resize((LAYER, LAYER)))
        for n in range(len(server.model.export.digit_rows))
    ]


def number_for(server: Running) -> int | None:
    return 4 if server.model.export.numbers else None


def test_a_drawing_is_answered_as_the_model_answers_its_image(
    server: Running, layers: list[np.ndarray]
) -> None:
    export = server.model.export
    status, _, body = ask(
        server, "POST", "/predict", drawing(layers, number_for(server)), Content_Type="application/json"
    )
    assert status == 200
    told = json.loads(body)
    pixels = compose(layers, export.digit_rows, height=export.height, width=export.width)
    assert base64.b64decode(told["picture"]) == pixels.tobytes()
    expected = server.model.answer(pixels, number_for(server))
    assert list(told["heads"]) == [name for name, _ in export.heads]
    for name, answer in expected.items():
        assert told["heads"][name] == {
            "answer": answer.choice,
            "probabilities": list(answer.probabilities),
        }


def test_a_blank_layer_is_no_mistake(server: Running, layers: list[np.ndarray]) -> None:
    layers[-1] = np.zeros_like(layers[-1])
    status, _, body = ask(
        server, "POST", "/predict", drawing(layers, number_for(server)), Content_Type="application/json"
    )
    assert (status, json.loads(body)) == (200, {"blank": len(layers) - 1})


def test_the_demo_page_loads_nothing_from_other_hosts(server: Running) -> None:
    status, headers, body = ask(server, "GET", "/")
    page = body.decode()
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Cache-Control"] == "no-store"
    elsewhere = [url for url in re.findall(r"""["'(](?:https?:)?//[^"')]+""", page) if "w3.org" not in url]
    assert elsewhere == []
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "unsafe" not in policy
    assert len(re.findall(r"'sha256-[\w+/]{43}='", policy)) == 2, "one script, one style"


def test_about_says_what_there_is_to_draw(server: Running) -> None:
    status, _, body = ask(server, "GET", "/about")
    told, export = json.loads(body), server.model.export
    assert status == 200
    assert [tuple(head) for head in told["heads"]] == list(export.heads)
    assert (told["numbers"], told["layer"], len(told["digit_rows"])) == (
        export.numbers,
        LAYER,
        len(export.digit_rows),
    )


class TestRefusals:
    @pytest.mark.parametrize(
        ("host", "status"),
        [
            ("127.0.0.1", 200),
            ("127.0.0.1:1", 200),  # a tunnel may lead here under another port
            ("localhost:8081", 200),
            ("[::1]:8081", 200),
            ("LOCALHOST", 200),
            ("evil.example", 403),
            ("127.0.0.1.evil.example", 403),
            ("localhost.evil.example:8081", 403),
            ("evil@localhost.example", 403),
            ("192.168.0.7", 403),
            ("[::1", 403),
            ("", 403),
        ],
    )
    def test_another_name_for_this_machine(self, server: Running, host: str, status: int) -> None:
        for path in ("/", "/about"):
            assert ask(server, "GET", path, Host=host)[0] == status

    @pytest.mark.parametrize(
        "origin", ["http://evil.example", "null", "https://127.0.0.1:1", "http://localhost", "http://[::1"]
    )
    def test_another_page(self, server: Running, layers: list[np.ndarray], origin: str) -> None:
        body = drawing(layers, number_for(server))
        status, _, answer = ask(
            server, "POST", "/predict", body, Origin=origin, Content_Type="application/json"
        )
        assert (status, answer) == (403, b"tune: another page sent this.\n")
        own = f"http://127.0.0.1:{server.port}"
        assert ask(server, "POST", "/predict", body, Origin=own, Content_Type="application/json")[0] == 200

    @pytest.mark.parametrize(
        ("body", "headers", "status", "words"),
        [
            (b"{}", {"Content_Type": "text/plain"}, 415, "application/json"),
            (b"{}", {}, 415, "application/json"),
            (None, {}, 400, "layers in base64"),
            (b" " * MAX_BODY, {}, 400, "layers in base64"),
            (b"{}", {}, 400, "layers in base64"),
            (b"[]", {}, 400, "layers in base64"),
            (b'"' + b"x" * 50, {}, 400, "layers in base64"),
            (b"[" * 50_000, {}, 400, "layers in base64"),
            (b'{"layers": 3}', {}, 400, "layers in base64"),
            (b'{"layers": ["\xff"]}', {}, 400, "layers in base64"),
            (b'{"layers": ["****"]}', {}, 400, "layers in base64"),
            (b'{"layers": ["AAAA"]}', {}, 400, f"layers of {LAYER}×{LAYER} bytes"),
            (b'{"layers": []}', {}, 400, f"layers of {LAYER}×{LAYER} bytes"),
        ],
    )
    def test_what_is_no_drawing(
        self, server: Running, body: bytes | None, headers: dict[str, str], status: int, words: str
    ) -> None:
        given = headers
        if status not in (415,):
            given = {"Content_Type": "application/json", **headers}
        found, _, answer = ask(server, "POST", "/predict", body, **given)
        assert found == status
        assert words in json.loads(answer)["error"]

    @pytest.mark.parametrize("number", [10, -1, 3.5, True, "4", [4], {}])
    def test_what_is_no_number(self, server: Running, layers: list[np.ndarray], number: object) -> None:
        status, _, answer = ask(
            server, "POST", "/predict", drawing(layers, number), Content_Type="application/json"
        )
        assert status == 400
        assert "umber" in json.loads(answer)["error"]

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/predict", 404),
            ("POST", "/", 404),
            ("GET", "/../manifest.json", 404),
            ("GET", "/manifest.json", 404),
            ("PUT", "/predict", 404),
            ("HEAD", "/", 404),
        ],
    )
    def test_unknown_paths_and_methods_are_refused(
        self, server: Running, method: str, path: str, status: int
    ) -> None:
        assert ask(server, method, path)[0] == status

    def test_a_body_that_is_too_large(self, server: Running) -> None:
        assert ask(server, "POST", "/predict", Content_Length=str(MAX_BODY + 1))[0] == 413

    def test_a_body_that_ends_early(self, server: Running) -> None:
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as raw:
            head = "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            raw.sendall(f"{head}Content-Length: 500\r\n\r\n{{".encode())
            raw.shutdown(socket.SHUT_WR)
            assert raw.recv(12) == b""


def test_a_demo_that_other_machines_can_reach_is_warned_of(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str | None] = []
    monkeypatch.setattr(service, "until_stopped", lambda server: None)
    for host in ("0.0.0.0", "127.0.0.1", "localhost"):
        service.serve_demo(exported / "sum", host=host, port=0, ready=lambda *given: told.append(given[-1]))
    assert told[0] is not None
    assert "everybody who reaches 0.0.0.0" in told[0]
    assert told[1:] == [None, None]


@pytest.mark.parametrize(
    ("host", "asked", "ours"),
    [
        ("0.0.0.0", "192.168.0.7:8081", True),
        ("0.0.0.0", socket.gethostname(), True),
        ("0.0.0.0", "evil.example", False),
        ("127.0.0.1", "192.168.0.7", False),
        ("tune.example", "TUNE.example:8081", True),
    ],
)
def test_the_names_of_this_machine(host: str, asked: str, ours: bool) -> None:
    assert names_us(asked, host=host) is ours


def test_a_port_that_is_taken_is_a_sentence(
    exported: Path, here: Callable[..., Any], server: Running
) -> None:
    done = here("demo", "sum", "--port", str(server.port), cwd=exported)
    assert done.returncode == 2
    assert f"--port {server.port} cannot be used: Address already in use" in done.stderr


def test_ctrl_c_ends_the_demo_without_a_traceback(
    exported: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    process = start("demo", "sum", "--port", "0", cwd=exported)
    assert process.stderr is not None
    line = process.stderr.readline()
    port = int(re.fullmatch(r"Draw at http://127\.0\.0\.1:(\d+)/ \(Ctrl-C ends it\)\n", line)[1])  # type: ignore[index]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/about")
    assert json.load(connection.getresponse())["task"] == "sum"
    process.send_signal(signal.SIGINT)  # while a browser holds a connection
    out, rest = process.communicate(timeout=20)
    assert (process.returncode, out, rest) == (130, "", "")
    connection.close()
