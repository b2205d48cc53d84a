"""The page of `tune report` in a real Chromium: nothing is cut off on a phone, folded figures are drawn, and
printing opens the folds and closes them again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from made_study import made

from search.report.one_study.study_page import study_page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Address of a page on a made-up study."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(study_page(made()), encoding="utf-8")
    return path.as_uri()


def opened(browser: Any, page: str) -> Any:
    """The browser with the page in it, its figures drawn."""
    browser.open(page)
    deadline = time.monotonic() + 60
    while browser.run("return document.documentElement.dataset.drawn || null") is None:
        assert time.monotonic() < deadline, "the figures are not drawn"
        time.sleep(0.1)
    return browser


WIDE = """
return [...document.querySelectorAll("main, .table, .chart, dl, pre")]
  .filter((node) => node.clientWidth && node.getBoundingClientRect().right > innerWidth + 1)
  .map((node) => node.className || node.tagName);
"""


CUT = """
return [...document.querySelectorAll(".table")].filter((a) => a.scrollWidth > a.clientWidth + 1).length;
"""

FOLDS = "return ['details', 'details[open]'].map((which) => document.querySelectorAll(which).length)"


def test_a_phone_shows_tables_and_figures_whole(page: str, chromium: Callable[..., Any]) -> None:
    with chromium(width=390, height=844, mobile=True) as window:
        browser = opened(window, page)
        browser.run("for (const fold of document.querySelectorAll('details')) fold.open = true")
        assert browser.run("return document.documentElement.scrollWidth") == 390
        assert browser.run(WIDE) == []
        assert browser.run(CUT) == 0
        assert browser.errors() == []


def test_the_answer_fits_the_first_screen_and_details_are_folded(
    page: str, chromium: Callable[..., Any]
) -> None:
    with chromium(width=1200, height=900) as window:
        browser = opened(window, page)
        assert browser.run("return document.querySelector('.answers').getBoundingClientRect().bottom") < 900
        assert browser.run("return document.querySelectorAll('details[open]').length") == 0
        height = "return document.documentElement.scrollHeight"
        assert browser.run(height) < 5_000
        drawn = "return [...document.querySelectorAll('.chart')].every((place) => place.querySelector('svg'))"
        assert browser.run(drawn), "those in folds, too"


def test_printing_opens_the_folds_and_closes_them_again(page: str, chromium: Callable[..., Any]) -> None:
    with chromium(width=1200, height=900) as window:
        browser = opened(window, page)
        browser.run("document.querySelector('details').open = true")
        browser.run("dispatchEvent(new Event('beforeprint'))")
        every, open_ = browser.run(FOLDS)
        assert open_ == every > 5
        browser.run("dispatchEvent(new Event('afterprint'))")
        assert browser.run(FOLDS) == [every, 1]
