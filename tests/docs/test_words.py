"""The project's words: those of PyTorch, Optuna and Ray in place of private ones, in American spelling.

Searched are the names, comments, docstrings and messages of the Python files, the README and the pages of
docs/, without the lab notes of experiments: they quote previous versions.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SAY = {
    # parts of the program
    "ladders?": "evaluation schedule",
    "leftovers": "orphans",
    "patiently": "retry",
    "heeds?": "retry, deadline",
    "crew|foreman": "worker pool, launcher",
    "handovers?": "trial migration",
    "add_look|look_once|looks? at the test set": "test evaluation",
    "(on )?a card": "GPU",
    "in hand": "held",
    "(worker'?s?|that|this) grounds?": "context, environment",
    r"(?<![\"./])pictures?(?![\"=:])": "image, backbone; the names of stored facts keep it",
    # statistics
    "drawn at random": "exploration trial",
    "by heart": "overfitting",
    "luck|lucky": "selection bias, sampling error",
    "room for (the|its) choice": "adjusted for choosing",
    "judged (network|model)s?": "evaluated network",
    # sentences without a subject
    "somebody says otherwise": "the default",
    "in the hands of": "held by",
    "whoever": "the worker, the process, the user",
    "go(es)? on|going on|went on|gone on": "continue",
    r"train(s|ed|ing)?( \S+){0,3} again": "retrain",
    "so many": "this many, as many",
    "hand(s|ed|ing)? over": "export",
    "(is|are) said to": "the subject that says it",
    "what becomes of": "the state of",
    "without a word": "exited with code N",
    "cannot be meant": "invalid, unknown",
    # American spelling
    r"\w*(colour|favour|behaviour)\w*": "color, favor, behavior",
    "gr[e]y": "gray",
    r"(initial|normal|maxim|minim|quant|recogn)is(e|ed|es|ing|ation)": "-ize, -ization",
    "centred?": "center",
    "labelled": "labeled",
    "learnt|spoilt|burnt": "learned, damaged, burned",
}
"""Pattern of whole words, in any case → what to say instead."""

SAY_IN_SEARCH = {
    "nobody|somebody|anybody": "no worker, another program, the user",
    "of (its|his|their) own": "separate, another",
    "(dark|black|light) ground": "background",
    "(for|after) so long|so often|(again|time) and again": "for this time, this many times, repeatedly",
    r"(?<!there )is no (JSON|PNG|number|folder|image|plain|finite|accuracy|moment|domain|list|regular)": (
        "is not a"
    ),
    "no possible": "invalid",
    "mend(s|ed|ing)?": "fix, repair",
}
"""The same, for the folder search alone."""

ALLOWED = {
    ("tests/docs/test_words.py", ""): "this table",
    ("docs/decisions/029-confirmation-intervals.md", "luck|lucky"): "quotes a message of a previous version",
    **dict.fromkeys(
        [
            ("tests/faults/test_memory.py", "go(es)? on|going on|went on|gone on"),
            ("tests/faults/servers/test_restart.py", "go(es)? on|going on|went on|gone on"),
        ],
        "is yet to be changed",
    ),
}
"""(file, pattern) → why the words may stay there; the pattern "" allows all of them."""


DEFINED = re.compile(r"\b(?:def|class) (\w+)")


def spelled(line: str) -> str:
    """A line, and the name that it defines as words: `def test_it_ends(` has "test it ends"."""
    return " ".join([line, *(name.replace("_", " ") for name in DEFINED.findall(line))])


@cache
def pages() -> dict[str, list[str]]:
    """The lines of each page, by its path in the repository."""
    paths = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    for folder in ("benchmarks", "data", "models", "search", "tests", "tune"):
        paths += sorted((ROOT / folder).rglob("*.py"))
    paths += [page for page in sorted((ROOT / "docs").rglob("*.md")) if "experiments" not in page.parts]
    return {
        path.relative_to(ROOT).as_posix(): [*map(spelled, path.read_text(encoding="utf-8").splitlines())]
        for path in paths
    }


def found(pattern: str, folder: str = "") -> list[str]:
    """Places of the words as file:line below a folder of the repository, without those that are allowed."""
    words = re.compile(rf"\b({pattern})\b", re.IGNORECASE)
    return [
        f"{name}:{number}"
        for name, lines in pages().items()
        if name.startswith(folder) and (name, pattern) not in ALLOWED and (name, "") not in ALLOWED
        for number, line in enumerate(lines, 1)
        if words.search(line)
    ]


@pytest.mark.parametrize(("pattern", "say"), SAY.items(), ids=list(SAY))
def test_a_private_word_is_gone(pattern: str, say: str) -> None:
    assert found(pattern) == [], f"say: {say}"


@pytest.mark.parametrize(("pattern", "say"), SAY_IN_SEARCH.items(), ids=list(SAY_IN_SEARCH))
def test_a_private_word_is_gone_from_search(pattern: str, say: str) -> None:
    assert found(pattern, "search/") == [], f"say: {say}"


def test_the_search_finds_words_and_what_is_allowed_is_there() -> None:
    assert found("evaluation schedule") != []
    for (name, pattern), reason in ALLOWED.items():
        text = "\n".join(pages()[name])
        assert reason
        assert re.search(rf"\b({pattern or 'whoever'})\b", text, re.IGNORECASE), f"{name} no longer needs it"
