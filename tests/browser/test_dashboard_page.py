"""optuna-dashboard as `tune dashboard` serves it, in a real Chromium: its pages work, and no other page may
frame them."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from data.datasets.mnist import Mnist
from search.optuna_db.storage import open_storage
from search.serve.server import Server
from search.service.create import RunRequest, create_or_resume
from search.worker.context import prepare
from search.worker.worker_loop import work

if TYPE_CHECKING:
    from wsgiref.types import StartResponse

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory, mnist: Mnist) -> Path:
    """A folder with a finished study."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("studies")
    url = f"sqlite:///{folder / 'studies.db'}"
    with open_storage(url) as storage:
        request = RunRequest(task="twodigit", trials=3, epochs=0.02, model="mlp", pruner="none")
        create_or_resume(storage, request, mnist)
        context = prepare(storage, "twodigit", mnist, folder / "studies.artifacts", device="cpu", threads=1)
        work(context, stop=lambda: False)
    return folder


@pytest.fixture
def address(studies: Path, start: Callable[..., subprocess.Popen[str]]) -> str:
    """Of the dashboard of that study."""
    process = start("dashboard", "--port", "0", cwd=studies)
    assert process.stderr is not None
    found = re.search(r"http://\S+/dashboard/", process.stderr.readline())
    assert found is not None
    return found[0]


@pytest.fixture
def other_page(address: str) -> Iterator[str]:
    """Another server's page, with the dashboard in a frame."""

    def app(_environment: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/html")])
        return [f'<p id="here">here</p><iframe src="{address}"></iframe>'.encode()]

    end = threading.Event()
    with Server(app, host="127.0.0.1", port=0, max_body=0) as server:
        thread = threading.Thread(target=server.run, args=(end.is_set,))
        thread.start()
        yield server.address
        end.set()
        thread.join()


def shows(browser: Any, words: str) -> bool:
    """Whether the page shows these words within twenty seconds."""
    deadline = time.monotonic() + 20
    while words not in browser.text("body"):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def test_its_pages_work(address: str, chromium: Callable[..., Any]) -> None:
    with chromium(width=1200, height=860) as browser:
        browser.open(address)
        assert shows(browser, "twodigit")
        browser.open(f"{address}studies/1/note")
        assert shows(browser, "Winner: trial")
        assert browser.errors() == []


def test_no_other_page_may_frame_it(address: str, other_page: str, chromium: Callable[..., Any]) -> None:
    with chromium(width=1200, height=860) as browser:
        browser.open(other_page)
        assert browser.text("#here") == "here"
        deadline = time.monotonic() + 20
        refusals: list[str] = []
        while not refusals and time.monotonic() < deadline:
            refusals = [words for words in browser.errors() if "frame" in words.lower()]
            time.sleep(0.2)
        assert any(address.split("/dashboard")[0] in words for words in refusals)
