"""What is special about EMNIST as it is published: transposed images, and a mapping that names the classes.

The readme (https://www.westernsydney.edu.au/__data/assets/text_file/0019/1204408/EMNIST_Readme.txt) says that
the images are stored by column, and the mapping has a line for each label: the label, then ASCII codes.
torchvision shows them as they are stored (https://github.com/pytorch/vision/issues/8783).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from data.sources.base import Found, SetInvalid
from search.files import read_regular

PREFIX = "emnist-"
"""Begins the names of EMNIST's files."""

TRANSPOSED = "EMNIST is published with rows and columns exchanged: the images were turned upright."

MAPPING_BYTES = 1 << 16
"""A mapping may have; that of the largest set has 62 lines."""

REMEDY = "fetch it anew, or remove it, and the classes are called by their numbers."


def named(found: Found, mapping: Path) -> Found:
    """With the names of the classes that the mapping gives, if it lies there, and a note that the images were
    transposed. Several codes, such as those of a letter in both cases, are one name: `Aa`.

    Raises SetInvalid where the mapping cannot be read, or does not fit the labels.
    """
    found = replace(found, notes=(*found.notes, TRANSPOSED))
    try:
        text = read_regular(mapping, limit=MAPPING_BYTES).decode("ascii")
    except FileNotFoundError:
        return found
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not ASCII text"
        raise SetInvalid(mapping, [f"It cannot be read ({reason}): {REMEDY}"]) from error
    names = _names(mapping, text)
    column = found.label_columns[0]
    absent = [each for each in column.classes if each not in names]
    if absent:
        which = f"the label{'s' * (len(absent) > 1)} {', '.join(absent[:5])}{' …' * (len(absent) > 5)}"
        raise SetInvalid(mapping, [f"It does not fit the labels, and lacks {which}: {REMEDY}"])
    classes = tuple(names[each] for each in column.classes)
    return replace(found, label_columns=(replace(column, classes=classes),))


def _names(mapping: Path, text: str) -> dict[str, str]:
    """Label → name of its class. Raises SetInvalid."""
    names: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        label, *codes = line.split()
        printable = [code.isdigit() and 32 < int(code) < 127 for code in codes]
        if not label.isdigit() or not codes or not all(printable):
            raise SetInvalid(mapping, [f"Line {number} is not a label with its ASCII codes: {REMEDY}"])
        name = "".join(chr(int(code)) for code in codes)
        if str(int(label)) in names or name in names.values():
            raise SetInvalid(mapping, [f"Line {number} has a label or a name that was given: {REMEDY}"])
        names[str(int(label))] = name
    return names
