"""Tables and sentences in terminals of any width: every line fits, no word is broken, nothing is lost."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from snapshots import Snapshots

from search.cli.printing import table, wrapped

TABLES = Snapshots(__file__, "tables")
HEADER = ("trial", "state", "accuracy", "settings")
ROWS = [
    ("0", "complete", "98.53 %", "[course-conv]"),
    ("17", "failed (out_of_memory)", "–", "adamw, lr 0.0021, weight_decay 1.4e-05, label_smoothing 0.0604"),
]


class TestTable:
    def test_a_line_for_each_row_where_there_is_room(self) -> None:
        TABLES.check("a line for each row", table(HEADER, ROWS, words=(1, 3), width=None))

    def test_a_wrapped_cell_continues_in_its_column(self) -> None:
        TABLES.check("a wrapped cell", table(HEADER, ROWS, words=(1, 3), width=74))

    def test_a_block_for_each_row_where_it_is_narrow(self) -> None:
        TABLES.check("a block for each row", table(HEADER, ROWS, words=(1, 3), width=48))

    def test_a_figure_and_its_interval_stay_whole(self) -> None:
        cells = ("best mean", "98.53 % [98.10, 98.86]", "97.00 % [96.40, 97.51]")
        assert table(("of", "95 % interval"), [("a", "98.10 to 98.86")], words=(0,), width=18) == [
            "of   95 % interval",
            "a   98.10 to 98.86",
        ]
        assert table(("", "first", "second"), [cells], words=(0,), width=48) == [
            "                    first          second",
            "best mean         98.53 %         97.00 %",
            "           [98.10, 98.86]  [96.40, 97.51]",
        ]

    @given(
        st.lists(
            st.tuples(*[st.lists(st.text("abc", min_size=1, max_size=9), max_size=9).map(" ".join)] * 3),
            max_size=5,
        ),
        st.integers(40, 130),
    )
    def test_every_line_fits_and_every_word_is_there(
        self, rows: list[tuple[str, str, str]], width: int
    ) -> None:
        lines = table(("one", "two", "three"), rows, words=(0, 2), width=width)
        assert max(map(len, lines), default=0) <= width
        said = sorted(word for line in lines for word in line.split())
        wanted = sorted(word for row in rows for cell in row for word in cell.split())
        for word in set(wanted):
            assert said.count(word) >= wanted.count(word)


class TestSentences:
    @given(st.lists(st.text("abc", min_size=1, max_size=12)), st.integers(12, 90))
    def test_lines_break_between_words(self, words: list[str], width: int) -> None:
        text = " ".join(words)
        lines = wrapped(text, width)
        assert " ".join(lines).split() == words
        assert all(len(line) <= width for line in lines)

    def test_a_command_stays_on_one_line(self) -> None:
        text = "The study is not finished yet; (`tune worker 'my study'` continues), at 98.53 %, say."
        assert wrapped(text, 32) == [
            "The study is not finished yet;",
            "(`tune worker 'my study'`",
            "continues), at 98.53 %, say.",
        ]

    def test_a_pipe_is_given_whole_lines(self) -> None:
        assert wrapped("word " * 100, None) == ["word " * 100]


COMMANDS = (
    ["studies"],
    ["trials", "sum"],
    ["best", "sum"],
    ["compare", "twodigit", "again"],
    ["best", "nosuch"],
    ["--help"],
)
WIDTHS = (1000, 60, 80)
BEGINS = "=== begins"

IN_TURN = """
import fcntl, json, struct, sys, termios
from search.cli.app import run_command
widths, commands = json.loads(sys.argv[1])
for columns in widths:
    fcntl.ioctl(sys.stdout, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    for command in commands:
        print(sys.argv[2], flush=True)
        run_command(command, debug=False)
"""
"""All commands in one process, each in a terminal of each width: a process of its own takes half a second."""


@pytest.fixture(scope="module")
def shown(
    finished: Path, in_a_terminal: Callable[..., tuple[int, str]]
) -> dict[tuple[int, tuple[str, ...]], str]:
    """(columns, command) -> what a terminal of that width is sent."""
    given = json.dumps([WIDTHS, COMMANDS])
    code, sent = in_a_terminal([sys.executable, "-P", "-c", IN_TURN, given, BEGINS], columns=80, cwd=finished)
    assert code == 0, sent
    before, *parts = sent.split(f"{BEGINS}\n")
    assert before == ""
    keys = [(columns, tuple(command)) for columns in WIDTHS for command in COMMANDS]
    return dict(zip(keys, parts, strict=True))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_fits_the_terminal(
    shown: dict[tuple[int, tuple[str, ...]], str], command: list[str]
) -> None:
    wide, *narrow = ((columns, shown[columns, tuple(command)]) for columns in WIDTHS)
    known = set(wide[1].split())
    figures = re.findall(r"\d+\.\d\d %", wide[1])
    for columns, text in narrow:
        assert max(map(len, text.splitlines())) <= columns
        broken = [word for word in text.split() if word not in known]
        if command == ["--help"] and columns < 80:
            broken = [word for word in broken if not word.endswith("...")]  # Click cuts summaries there
        assert broken == []
        assert [figure for figure in figures if figure not in text] == []
