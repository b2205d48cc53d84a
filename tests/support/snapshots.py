"""Sentences of a page or a command, kept in one text file beside its tests.

A test asserts findings as values, and compares the sentences that report them with the file: a change of
wording is a change of one file. `TUNE_WRITE_SNAPSHOTS=1 pytest PATHS` writes the files; read their diff
before it is committed.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable
from pathlib import Path

WRITE = "TUNE_WRITE_SNAPSHOTS"
_HEADING = "## "


def lines_with(output: str, *words: str) -> list[str]:
    """The lines of a command's output with any of these words, in their order."""
    return [line for line in output.splitlines() if any(word in line for word in words)]


class Snapshots:
    """One file: a heading with the name of each case, and below it a line for each sentence."""

    def __init__(self, test_file: str, page: str) -> None:
        """test_file: the `__file__` of the tests. page: name of a file in snapshots/ beside them."""
        self.path = Path(test_file).parent / "snapshots" / f"{page}.txt"

    def check(self, case: str, sentences: Iterable[str]) -> None:
        """Fails with a diff where the sentences are not those of the file."""
        told, cases = list(sentences), self.read()
        if os.environ.get(WRITE) and cases.get(case) != told:
            self._write({**cases, case: told})
            return
        assert case in cases, f"{self.path} has no case {case!r}; {WRITE}=1 writes it:\n" + "\n".join(told)
        diff = difflib.unified_diff(cases[case], told, f"{self.path.name}: {case}", "told", lineterm="")
        assert cases[case] == told, "\n".join(diff)

    def read(self) -> dict[str, list[str]]:
        """The sentences of each case by its name."""
        if not self.path.exists():
            return {}
        parts = re.split(rf"^{_HEADING}(.+)\n", self.path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
        return {
            name: text.strip("\n").split("\n") if text.strip("\n") else []
            for name, text in zip(parts[::2], parts[1::2], strict=True)
        }

    def _write(self, cases: dict[str, list[str]]) -> None:
        self.path.parent.mkdir(exist_ok=True)
        text = "\n".join("\n".join([f"{_HEADING}{name}", *told, ""]) for name, told in sorted(cases.items()))
        self.path.write_text(text, encoding="utf-8")
