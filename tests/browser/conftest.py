"""A real Chromium, driven through chromedriver's plain HTTP (W3C WebDriver): enough to open, draw and read.
And exports of networks that have really learned, so that what is drawn can be recognized.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from data.datasets.mnist import Mnist
from search.optuna_db.storage import open_storage
from search.serve.demo import make_server
from search.serve.folder import open_export
from search.serve.model import Model
from search.serve.server import Server
from search.service.create import RunRequest, create_or_resume
from search.service.export import export
from search.worker.context import prepare
from search.worker.worker_loop import work

Pointer = Literal["mouse", "touch"]
Points = Sequence[tuple[float, float]]

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""The key under which the protocol names an element."""


class Browser:
    """One window."""

    def __init__(self, session: str) -> None:
        self._session = session

    def open(self, url: str) -> None:
        self._call("POST", "/url", {"url": url})

    def run(self, script: str, *arguments: object) -> Any:
        """What `script`, the body of a function, returns."""
        return self._call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def text(self, selector: str) -> str:
        return str(self.run("return document.querySelector(arguments[0]).textContent", selector))

    def click(self, selector: str) -> None:
        found = self._call("POST", "/element", {"using": "css selector", "value": selector})
        self._call("POST", f"/element/{found[_ELEMENT]}/click", {})

    def choose(self, selector: str, file: Path) -> None:
        """Chooses a file in an input of that kind."""
        found = self._call("POST", "/element", {"using": "css selector", "value": selector})
        self._call("POST", f"/element/{found[_ELEMENT]}/value", {"text": str(file)})

    def draw(self, selector: str, strokes: Sequence[Points], *, pointer: Pointer = "mouse") -> None:
        """Draws strokes, in fractions of the element's width and height, as a hand does."""
        box = self.run(
            "const node = document.querySelector(arguments[0]); node.scrollIntoView({block: 'center'});"
            "const box = node.getBoundingClientRect(); return [box.left, box.top, box.width, box.height]",
            selector,
        )
        steps: list[dict[str, object]] = []
        for stroke in strokes:
            for index, (x, y) in enumerate(stroke):
                steps.append(
                    {
                        "type": "pointerMove",
                        "duration": 0 if index == 0 else 30,
                        "x": round(box[0] + x * box[2]),
                        "y": round(box[1] + y * box[3]),
                    }
                )
                if index == 0:
                    steps.append({"type": "pointerDown", "button": 0})
            steps.append({"type": "pointerUp", "button": 0})
        action = {"type": "pointer", "id": pointer, "parameters": {"pointerType": pointer}, "actions": steps}
        self._call("POST", "/actions", {"actions": [action]})

    def errors(self) -> list[str]:
        """Errors in the console since the last call; a breach of the page's policy is one."""
        entries = self._call("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._call("GET", "/screenshot")))

    def _call(self, method: str, path: str, body: object = None) -> Any:
        return _request(method, self._session + path, body)


@dataclass(frozen=True)
class Demo:
    """A demo that answers."""

    model: Model
    address: str


Open = Callable[..., AbstractContextManager[Browser]]
"""Of the fixture `chromium`: opens a window."""


@pytest.fixture(scope="session")
def chromium() -> Open:
    """chromium(width=…, height=…, mobile=…): a window. Without Chromium, the test fails: it
    was asked for."""
    programs = ("chromium", "chromium-browser", "google-chrome")
    binary = next(filter(None, map(shutil.which, programs)), None)
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.fail("browser tests take chromium and chromedriver; one of them is not on the PATH")
    return lambda **window: _window(driver, binary, **window)


@contextmanager
def _window(driver: str, binary: str, *, width: int, height: int, mobile: bool = False) -> Iterator[Browser]:
    """A page of width × height pixels; `mobile`: with touch, as on a telephone."""
    process, address = _start(driver)
    try:
        options: dict[str, object] = {
            "binary": binary,
            "args": [
                "--headless",
                "--no-sandbox",
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
                f"--window-size={width},{height}",
            ],
        }
        if mobile:
            metrics = {"width": width, "height": height, "pixelRatio": 2.0, "touch": True}
            options["mobileEmulation"] = {"deviceMetrics": metrics}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        made = _request("POST", f"{address}/session", {"capabilities": {"alwaysMatch": wanted}})
        session = f"{address}/session/{made['sessionId']}"
        try:
            yield Browser(session)
        finally:
            _request("DELETE", session)
    finally:
        process.terminate()
        process.communicate()


def _start(driver: str, attempts: int = 5) -> tuple[subprocess.Popen[str], str]:
    """A process of chromedriver, and its address.

    chromedriver takes a port that the system says is free and listens on it for IPv4 and for IPv6; where
    another program has that port on one of the two, it ends, and is started again.
    """
    for _ in range(attempts):
        process = subprocess.Popen([driver, "--port=0"], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            if "started successfully on port" in line:
                return process, f"http://127.0.0.1:{line.rsplit(' ', 1)[1].strip().rstrip('.')}"
        process.communicate()
    raise RuntimeError(f"chromedriver ended {attempts} times before it listened")


def _request(method: str, url: str, body: object = None) -> Any:
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        url, data=content, method=method, headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)["value"]
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{method} {url}: {error.read().decode()[:2000]}") from error


@pytest.fixture(scope="session")
def demos(tmp_path_factory: pytest.TempPathFactory, mnist: Mnist) -> Iterator[dict[str, Demo]]:
    """The demos of both tasks, each with a reference network after one epoch: it reads a plain digit."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("demos")
    url = f"sqlite:///{folder / 'studies.db'}"
    running, end, threads = {}, threading.Event(), ExitStack()
    for task, references in (("twodigit", 2), ("sum", 1)):
        with open_storage(url) as storage:
            request = RunRequest(task=task, trials=references, epochs=1, model="mlp")
            create_or_resume(storage, request, mnist)
            context = prepare(storage, task, mnist, folder / "studies.artifacts", device="cpu", threads=1)
            work(context, stop=lambda: False)
        last = references - 1
        export(url, task, trial=last, out=folder / task, force=False, int8=False, tell=lambda words: None)
        model = Model(open_export(folder / task))
        running[task] = Demo(
            model=model,
            address=threads.enter_context(served(make_server(model, host="127.0.0.1", port=0), end)),
        )
    yield running
    end.set()
    threads.close()


@contextmanager
def served(server: Server, end: threading.Event) -> Iterator[str]:
    """The address of a server that answers in a thread until `end` is set."""
    with server:
        thread = threading.Thread(target=server.run, args=(end.is_set,))
        thread.start()
        try:
            yield server.address
        finally:
            end.set()
            thread.join()
