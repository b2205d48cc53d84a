"""The files of sentences that tests compare with: what is in them is tested, a difference fails, and no
sentence stands in an assertion instead."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from snapshots import WRITE, Snapshots

TESTS = Path(__file__).resolve().parents[1]
FILES = sorted(TESTS.glob("**/snapshots/*.txt"))

LENGTH, SPACES = 60, 5
"""Characters and spaces from which on a string is a sentence, which a change of wording would break."""


def strings(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and text of the strings below a node, of an f-string all that is not computed."""
    for each in ast.walk(node):
        parts = each.values if isinstance(each, ast.JoinedStr) else [each]
        texts = [
            part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)
        ]
        if texts and isinstance(each, ast.JoinedStr | ast.Constant):
            yield each.lineno, "".join(texts)


def sentences_in_assertions(source: str) -> list[int]:
    """Lines of the sentences in what is asserted; the message of a failure may be one."""
    asserted = [node.test for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Assert)]
    long = {
        line
        for test in asserted
        for line, text in strings(test)
        if len(text) >= LENGTH and text.count(" ") >= SPACES
    }
    return sorted(long)


def test_sentences_stand_in_the_files() -> None:
    found = {
        str(path.relative_to(TESTS)): lines
        for path in sorted(TESTS.rglob("*.py"))
        if (lines := sentences_in_assertions(path.read_text(encoding="utf-8")))
    }
    assert found == {}


def test_a_sentence_in_an_assertion_is_found() -> None:
    words = "one two three four five six " * 3
    source = f"x = 2\nassert x, {words!r}\nassert {words!r} in x\nassert f{words + '{x}'!r} in x\n"
    assert sentences_in_assertions(source) == [3, 4]
    assert sentences_in_assertions(source.replace("one two three", "123")) == []


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
