"""The page of benchmarks: scripts that it names exist, and what it shows was written by one of them."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"<!-- begin benchmarks/(\S+) -->\n(.*?)<!-- end benchmarks/(\S+) -->", re.DOTALL)
PROVENANCE = (
    r"^Commit [0-9a-f]{7,}, \d{4}-\d\d-\d\d; .*\d cores?, .*; load .*; `python benchmarks/(\S+?\.py)\b.*`\.$"
)


@pytest.fixture
def write(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("write")


def test_every_script_that_is_named_exists() -> None:
    named = set(re.findall(r"python benchmarks/(\w+\.py)", PAGE))
    assert len(named) >= 15
    assert [name for name in sorted(named) if not (ROOT / "benchmarks" / name).is_file()] == []


def test_every_block_has_an_end_and_says_where_it_is_from() -> None:
    blocks = BLOCK.findall(PAGE)
    assert len(blocks) == PAGE.count("<!-- begin ") == PAGE.count("<!-- end ")
    for begin, body, end in blocks:
        assert begin == end
        assert re.findall(PROVENANCE, body, re.MULTILINE) == [begin], body[:300]
        assert re.search(r"\bn = \d", body), f"{begin} does not say its n"


def test_a_block_is_added_and_replaced_and_others_stay(write: ModuleType) -> None:
    provenance = (
        "Commit 0123abc, 2026-11-29; A processor, 2 cores; load 0.1; `python benchmarks/pages.py -n 3`."
    )
    first = write.replaced("# Page\n", "pages.py", write.block("pages.py", provenance, "n = 3: 4 s\n"))
    both = write.replaced(first, "engine.py", write.block("engine.py", provenance, "n = 15: 7\n"))
    again = write.replaced(both, "pages.py", write.block("pages.py", provenance, "n = 5: 6 s\n"))
    assert [(begin, end) for begin, _, end in BLOCK.findall(again)] == [("pages.py",) * 2, ("engine.py",) * 2]
    assert "n = 3: 4 s" in both
    assert "n = 3: 4 s" not in again
    assert re.match(r"# Page\n.*n = 5: 6 s.*n = 15: 7", again, re.DOTALL)


def test_a_result_without_n_is_not_written(write: ModuleType) -> None:
    with pytest.raises(ValueError, match="does not say its n"):
        write.block("pages.py", "Commit 0123abc", "| page | s |\n|---|--:|\n| report | 4 |")


def test_the_machine_is_named(write: ModuleType) -> None:
    assert re.search(r"^\S.*, \d+ cores?, Python 3\.\d+\S*, torch \S+, Optuna \S+$", write.machine())
