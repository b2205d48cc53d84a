"""Each decision is one page, has lab notes under the same number, and stands in the index."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
DECISIONS = sorted((DOCS / "decisions").glob("[0-9]*.md"))
EXPERIMENTS = sorted((DOCS / "experiments").glob("[0-9]*.md"))
INDEX = (DOCS / "decisions" / "README.md").read_text(encoding="utf-8")
LINES, COLUMNS = 40, 120


def test_every_number_has_a_decision_and_lab_notes_of_one_name() -> None:
    names = [page.name for page in DECISIONS]
    assert [page.name for page in EXPERIMENTS] == names
    assert [name[:3] for name in names] == [f"{number:03d}" for number in range(1, len(names) + 1)]


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_is_one_page_of_context_decision_and_consequences(page: Path) -> None:
    lines = page.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= LINES
    assert [line for line in lines if len(line) > COLUMNS] == []
    assert lines[0].startswith(f"# {page.name[:3]}: ")
    assert re.match(r"Status: .*(in force|superseded|answered)", lines[2])
    assert [line for line in lines if line.startswith("#")][1:] == [
        "## Context",
        "## Decision",
        "## Consequences",
    ]


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_and_its_lab_notes_link_to_each_other(page: Path) -> None:
    assert f"](../experiments/{page.name})" in page.read_text(encoding="utf-8")
    notes = DOCS / "experiments" / page.name
    assert f"](../decisions/{page.name})" in notes.read_text(encoding="utf-8")


def test_the_index_lists_every_decision_once() -> None:
    listed = re.findall(r"^\| \[(\d{3})\]\((\d{3}-[\w-]+\.md)\) \| \S.* \| \S.* \|$", INDEX, re.MULTILINE)
    assert listed == [(page.name[:3], page.name) for page in DECISIONS]


def test_sections_of_the_design_that_code_names_are_there() -> None:
    there = re.findall(r"^## (\d+)\.", (DOCS / "design.md").read_text(encoding="utf-8"), re.MULTILINE)
    for room in ("tune", "data", "models", "search"):
        for module in (DOCS.parent / room).rglob("*.py"):
            named = re.findall(r"design\.md, section (\d+)", module.read_text(encoding="utf-8"))
            assert set(named) <= set(there), module


@pytest.mark.parametrize("page", [*DECISIONS, *EXPERIMENTS], ids=lambda page: str(page.relative_to(DOCS)))
def test_prose_has_no_em_dash(page: Path) -> None:
    assert "\N{EM DASH}" not in page.read_text(encoding="utf-8")
