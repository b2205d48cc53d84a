"""The files of sentences that tests compare with: what is in them is tested, and a difference fails."""

from __future__ import annotations

from pathlib import Path

import pytest
from snapshots import WRITE, Snapshots

TESTS = Path(__file__).resolve().parents[1]
FILES = sorted(TESTS.glob("**/snapshots/*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_case_belongs_to_a_test(path: Path) -> None:
    """A case is written as a string of some test file beside it, or up to a parameter: "pairs: none"."""
    sources = "".join(each.read_text(encoding="utf-8") for each in path.parents[1].glob("test_*.py"))
    cases = Snapshots(str(path.parents[1] / "test_x.py"), path.stem).read()
    assert f'Snapshots(__file__, "{path.stem}")' in sources
    assert cases
    for case in cases:
        assert f'"{case}"' in sources or f'"{case.split(":")[0]}: {{' in sources, f"no test has {case!r}"


def test_a_difference_fails_and_is_written_on_demand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Snapshots(str(tmp_path / "test_page.py"), "page")
    monkeypatch.delenv(WRITE, raising=False)
    with pytest.raises(AssertionError, match="has no case 'a'"):
        page.check("a", ["One.", "Two."])
    monkeypatch.setenv(WRITE, "1")
    page.check("b", [])
    page.check("a", ["One.", "Two."])
    assert page.path.read_text(encoding="utf-8") == "## a\nOne.\nTwo.\n\n## b\n"
    monkeypatch.delenv(WRITE)
    page.check("a", ["One.", "Two."])
    page.check("b", [])
    with pytest.raises(AssertionError, match=r"-Two\.\n\+Three\."):
        page.check("a", ["One.", "Three."])
