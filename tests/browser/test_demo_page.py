"""The page of `tune demo` in a real Chromium: one draws with mouse or finger, and it reads what was
drawn; for other images, one drops, pastes or chooses a file."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from search.serve.demo import make_server
from search.serve.folder import open_export
from search.serve.model import Answer, Model
from tests.browser.conftest import served
from tests.support.image_export import HEIGHT, WIDTH, image_export

pytestmark = pytest.mark.browser

Strokes = list[list[tuple[float, float]]]

ONE: Strokes = [[(0.5, 0.15), (0.49, 0.4), (0.48, 0.65), (0.47, 0.87)]]
SEVEN: Strokes = [[(0.28, 0.2), (0.45, 0.2), (0.72, 0.2), (0.62, 0.4), (0.5, 0.62), (0.42, 0.82)]]
FOUR: Strokes = [
    [(0.35, 0.15), (0.3, 0.35), (0.27, 0.52), (0.45, 0.52), (0.72, 0.5)],
    [(0.62, 0.18), (0.6, 0.5), (0.57, 0.85)],
]
THREE: Strokes = [
    [
        *((0.3, 0.2), (0.45, 0.13), (0.62, 0.18), (0.66, 0.3), (0.58, 0.42), (0.45, 0.47)),
        *((0.6, 0.52), (0.69, 0.65), (0.63, 0.8), (0.45, 0.86), (0.28, 0.8)),
    ]
]

WINDOWS = [
    pytest.param({"width": 1200, "height": 860}, "mouse", id="desktop"),
    pytest.param({"width": 390, "height": 844, "mobile": True}, "touch", id="telephone"),
]

WAITING = "Waiting for your ink."
FIRST, SECOND = 'canvas[data-pad="0"]', 'canvas[data-pad="1"]'


def text(browser: Any, selector: str, wanted: str) -> str:
    """An element's text, as soon as it is what is wanted, else after twenty seconds."""
    deadline = time.monotonic() + 20
    while (words := browser.text(selector)) != wanted and time.monotonic() < deadline:
        time.sleep(0.05)
    return str(words)


def settled(browser: Any) -> str:
    """What the page says once it has an answer to all that was drawn."""
    before = None
    while (words := (browser.text("#says"), *bars(browser, 0), *bars(browser, 1))) != before:
        before = words
        time.sleep(0.3)
    return str(browser.text("#says"))


def bars(browser: Any, chart: int) -> list[float]:
    """The heights of a chart's bars in percent."""
    script = (
        "return [...document.querySelectorAll('.chart')[arguments[0]].querySelectorAll('.fill')]"
        ".map(bar => parseFloat(bar.style.height) || 0)"
    )
    return list(browser.run(script, chart))


def expected(browser: Any, server: Any, number: int | None) -> list[Answer]:
    """What the model says of the image that the page shows as the network's."""
    export = server.model.export
    script = (
        "const seen = document.getElementById('seen');"
        "const all = seen.getContext('2d').getImageData(0, 0, seen.width, seen.height).data;"
        "return [...all].filter((_, place) => place % 4 == 0)"
    )
    pixels = np.array(browser.run(script), dtype=np.uint8).reshape(export.height, export.width)
    return list(server.model.answer(pixels, number).values())


@pytest.mark.parametrize(("window", "pointer"), WINDOWS)
def test_two_digits(
    demos: dict[str, Any], chromium: Callable[..., Any], window: dict[str, Any], pointer: str
) -> None:
    server = demos["twodigit"]
    with chromium(**window) as browser:
        browser.open(server.address)
        assert text(browser, "#says", WAITING) == WAITING
        browser.draw(FIRST, SEVEN, pointer=pointer)
        assert text(browser, "#says", "Now the second digit.") == "Now the second digit."
        assert bars(browser, 0) == [0.0] * 10
        browser.draw(SECOND, FOUR, pointer=pointer)
        assert text(browser, "#says", "I read 7 and 4.") == "I read 7 and 4."
        settled(browser)
        heads = ("first_digit", "second_digit")
        for chart, (head, answer) in enumerate(zip(heads, expected(browser, server, None), strict=True)):
            assert bars(browser, chart) == pytest.approx([100 * p for p in answer.probabilities], abs=1e-3)
            assert browser.text(f'.answer[data-head="{head}"] .digit') == str((7, 4)[chart])

        browser.click("#undo")
        browser.click("#undo")  # both strokes of the 4
        assert text(browser, "#says", "Now the second digit.") == "Now the second digit."
        browser.draw(SECOND, ONE, pointer=pointer)
        first, second = settled(browser)[:-1].split()[2::2]
        assert [int(first), int(second)] == [each.choice for each in expected(browser, server, None)]
        browser.click("#clear")
        if text(browser, "#says", WAITING) != WAITING:
            browser.click("#clear")  # emulated touch now and then loses a tap on a busy machine
        assert text(browser, "#says", WAITING) == WAITING
        assert bars(browser, 1) == [0.0] * 10
        wide = browser.run("return document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, "nothing sticks out to the right"
        assert browser.errors() == []


@pytest.mark.parametrize(("window", "pointer"), WINDOWS)
def test_a_digit_and_a_number(
    demos: dict[str, Any], chromium: Callable[..., Any], window: dict[str, Any], pointer: str
) -> None:
    server = demos["sum"]
    with chromium(**window) as browser:
        browser.open(server.address)
        assert text(browser, "#says", WAITING) == WAITING
        browser.draw(FIRST, THREE, pointer=pointer)
        for number in (7, 0, 9):  # it begins with 7
            if number != 7:
                browser.click(f"#numbers button:nth-child({number + 1})")
            assert settled(browser).startswith(f"I read 3 + {number} = ")
            digit, total = expected(browser, server, number)
            assert browser.text("#says") == f"I read {digit.choice} + {number} = {total.choice}."
            assert bars(browser, 1) == pytest.approx([100 * p for p in total.probabilities], abs=1e-3)
        assert browser.errors() == []


def test_a_demo_that_has_ended_is_told(demos: dict[str, Any], chromium: Callable[..., Any]) -> None:
    words = "The demo has ended. Start it again with tune demo, then reload this page."
    with chromium(width=1000, height=700) as browser:
        browser.open(demos["sum"].address)
        assert text(browser, "#says", WAITING) == WAITING
        assert browser.run("return document.getElementById('trouble').hidden") is True
        browser.run("window.fetch = () => Promise.reject(new TypeError('Failed to fetch'))")
        browser.draw(FIRST, ONE)
        assert text(browser, "#trouble", words) == words
        assert browser.run("return document.getElementById('trouble').hidden") is False


@pytest.fixture(scope="module")
def colors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a demo of color images."""
    folder, end = image_export(tmp_path_factory.mktemp("colors") / "export"), threading.Event()
    with served(make_server(Model(open_export(folder)), host="127.0.0.1", port=0), end) as address:
        yield address


ARRIVES = """
const canvas = document.createElement('canvas');
[canvas.width, canvas.height] = [40, 30];
const context = canvas.getContext('2d');
context.fillStyle = arguments[1];
context.fillRect(0, 0, 40, 30);
canvas.toBlob((blob) => {
  const files = new DataTransfer();
  files.items.add(new File([blob], 'painted.' + arguments[2], { type: blob.type }));
  const event = arguments[0] === 'paste'
    ? new ClipboardEvent('paste', { clipboardData: files, bubbles: true })
    : new DragEvent('drop', { dataTransfer: files, bubbles: true, cancelable: true });
  document.getElementById('drop').dispatchEvent(event);
}, 'image/' + arguments[2]);
"""
"""Pastes or drops an image of one color."""


@pytest.mark.parametrize("window", [window for window, _ in (each.values for each in WINDOWS)])
def test_an_image_is_dropped_pasted_or_chosen(
    colors: str, chromium: Callable[..., Any], tmp_path: Path, window: dict[str, Any]
) -> None:
    Image.new("RGB", (70, 20), (250, 0, 0)).save(tmp_path / "chosen.tif")
    with chromium(**window) as browser:
        browser.open(colors)
        assert text(browser, "#says", "Waiting for an image.") == "Waiting for an image."
        assert browser.run("return document.getElementById('drawing').hidden") is True
        color = '.answer[data-head="color"] .digit'
        for way, paint, kind, name in (
            ("drop", "rgb(0, 0, 255)", "webp", "blue <b>"),
            ("paste", "rgb(0, 255, 0)", "png", "green"),
        ):
            browser.run(ARRIVES, way, paint, kind)
            assert text(browser, "#says", f"painted.{kind}") == f"painted.{kind}"
            assert browser.text(color) == name
        browser.choose("#file", tmp_path / "chosen.tif")
        assert text(browser, "#says", "chosen.tif") == "chosen.tif"
        assert browser.text(color) == "röd"
        assert browser.text('.answer[data-head="light"] .digit') == "dark"
        seen = browser.run(
            "const seen = document.getElementById('seen');"
            "return [...seen.getContext('2d').getImageData(8, 6, 1, 1).data, seen.width, seen.height]"
        )
        assert seen == [250, 0, 0, 255, WIDTH, HEIGHT]
        assert "Borders were added above and below" in browser.text("#done")
        shares = browser.run(
            "return [...document.querySelectorAll('.names .fill')].map((bar) => parseFloat(bar.style.width))"
        )
        drop = "const drop = document.getElementById('drop'); return drop.scrollWidth - drop.clientWidth"
        assert browser.run(drop) <= 0, "its words are inside"
        assert len(shares) == 5
        assert sum(shares) == pytest.approx(200, abs=0.01)
        wide = browser.run("return document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, "nothing sticks out to the right"
        assert browser.errors() == []

        (tmp_path / "damaged.png").write_bytes(b"seven")
        browser.choose("#file", tmp_path / "damaged.png")
        reason = "it is not a PNG, JPEG, GIF, WebP, BMP or TIFF file."
        words = f"The demo refused: It cannot be read as an image: {reason}"
        assert text(browser, "#trouble", words) == words
        browser.choose("#file", tmp_path / "chosen.tif")
        assert text(browser, "#says", "chosen.tif") == "chosen.tif"
        assert browser.run("return document.getElementById('trouble').hidden") is True
