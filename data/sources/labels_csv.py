"""Images that a table labels: labels.csv with the columns `file`, one for each question, perhaps `split`."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from data.datasets.base import Split
from data.sources.base import SPLIT_NAMES, SPLITS, Found, ImageFiles, SetInvalid, is_one_hot, labeled, shown
from data.sources.files import listing
from search.files import read_regular

TABLE = "labels.csv"

MAX_BYTES = 1 << 30

RESERVED = {"image", "number", "joint"}
"""Names of a network's inputs, and of the answer that all are right."""


@dataclass(kw_only=True, slots=True)
class _Rows:
    """What the table says, row by row, and its mistakes."""

    names: list[str] = field(default_factory=list)
    answers: list[tuple[str, ...]] = field(default_factory=list)
    splits: list[int] = field(default_factory=list)
    listed: dict[str, int] = field(default_factory=dict)
    """File → its row."""
    mistakes: list[str] = field(default_factory=list)


def read(folder: Path) -> Found:
    """The images of the table, which lie in its folder or below. An image that it does not name is a mistake.

    Raises SetInvalid where the table cannot be read at all.
    """
    table = csv.reader(io.StringIO(_text(folder), newline=""), strict=True)
    header = [name.strip() for name in next(table, [])]
    columns = [name for name in header if name not in ("file", "split")]
    if wrong := _header_mistakes(header, columns):
        raise SetInvalid(folder / TABLE, wrong)
    found = listing(folder)
    rows = _Rows(mistakes=list(found.mistakes))
    try:
        for row in table:
            if any(cell.strip() for cell in row):
                _take(folder, header, columns, table.line_num, [cell.strip() for cell in row], rows)
    except csv.Error as error:
        reason = f"Row {table.line_num} cannot be read ({error}): write the table as CSV."
        raise SetInvalid(folder / TABLE, [reason]) from error
    if not rows.names:
        raise SetInvalid(folder / TABLE, rows.mistakes or ["It labels no image: add a row for each."])
    rows.mistakes += [
        f"{shown(name)} has no label: add a row to {TABLE}, or remove the file."
        for name in found.images
        if name not in rows.listed
    ]
    if is_one_hot(np.array(rows.answers).reshape(-1, len(columns))):
        rows.mistakes.append(
            f"Its {len(columns)} columns of labels are one-hot, with exactly one 1 in each row, which would "
            "be that many questions: write one column with the name of the class."
        )
    numbered = labeled(columns, list(zip(*rows.answers, strict=True)))
    others = [name for name in found.others if name != TABLE and name not in rows.listed]
    found.others[:] = others
    return Found(
        layout=f"{TABLE} with {len(columns)} column{'s' * (len(columns) > 1)} of labels",
        images=ImageFiles(folder=folder, names=tuple(rows.names)),
        label_columns=numbered.columns,
        labels=numbered.labels,
        splits=np.array(rows.splits, dtype=np.int64),
        mistakes=(*rows.mistakes, *numbered.mistakes),
        notes=found.all_notes(),
    )


def _text(folder: Path) -> str:
    """The table. Raises SetInvalid."""
    file = folder / TABLE
    try:
        return read_regular(file, limit=MAX_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise SetInvalid(file, [f"It cannot be read: {error.strerror}."]) from error
    except UnicodeDecodeError as error:
        row = error.object[: error.start].count(b"\n") + 1
        raise SetInvalid(file, [f"Row {row} is not UTF-8: save the table as CSV in UTF-8."]) from error


def _header_mistakes(header: list[str], columns: list[str]) -> list[str]:
    """What is wrong with the first row."""
    if "file" not in header:
        names = ", ".join(map(shown, header[:5])) or "nothing"
        return [f"Row 1 has {names}: it names the columns, one of which is `file`."]
    wrong = [] if columns else ["Row 1 has no column of labels: add one, named after what it says."]
    for name in sorted(set(header)):
        if header.count(name) > 1:
            wrong.append(f"Row 1 has {header.count(name)} columns named {shown(name)!r}: rename one.")
    for name in columns:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or name.lower() in RESERVED:
            wrong.append(
                f"Row 1 has the column {shown(name)!r}: a name begins with a letter, has letters, digits "
                f"and _, and is none of {', '.join(sorted(RESERVED))}."
            )
    return wrong


def _take(
    folder: Path, header: list[str], columns: list[str], number: int, row: list[str], rows: _Rows
) -> None:
    """Adds row `number` of the table, or its mistakes."""
    where = f"Row {number}"
    if len(row) != len(header):
        rows.mistakes.append(f"{where} has {len(row)} cells, where row 1 has {len(header)}: correct the row.")
        return
    cells = dict(zip(header, row, strict=True))
    name, wrong = PurePosixPath(cells["file"]).as_posix(), []
    if not cells["file"]:
        wrong.append(f"{where} names no file: write it into the column `file`.")
    elif name in rows.listed:
        wrong.append(f"{where} names {shown(name)}, as row {rows.listed[name]} does: remove one of them.")
    elif "\0" in name or not (folder / name).is_file():
        wrong.append(f"{where} labels {shown(name)}, which is not there: add the file, or remove the row.")
    wrong += [
        f"{where} has no {column} for {shown(name)}: write it." for column in columns if not cells[column]
    ]
    split = SPLIT_NAMES.get(cells.get("split", Split.TRAIN.value).lower())
    if split is None:
        wrong.append(f"{where} has the split {shown(cells['split'])!r}: write train, val or test.")
    rows.mistakes += wrong
    rows.listed.setdefault(name, number)
    if not wrong and split is not None:
        rows.names.append(name)
        rows.answers.append(tuple(cells[column] for column in columns))
        rows.splits.append(SPLITS.index(split))
