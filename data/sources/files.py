"""Lists the images in a folder and the folders below it, through links too, and never in circles."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from data.sources.base import SetInvalid, is_text, shown

EXTENSIONS = (".png", ".jpg", ".jpeg", ".jpe", ".gif", ".webp", ".bmp", ".tif", ".tiff")
"""Of files that are taken for images, in any case."""

SYSTEM_FILES = {"__MACOSX", "Thumbs.db", "desktop.ini"}
"""Written by systems for themselves; hidden files are passed over as well."""


OF_STUDIES = re.compile(r".*(\.artifacts|\.(db|sqlite3?)(-journal|-wal|-shm)?)", re.DOTALL)
"""Folders with the weights of studies, and their databases: they may lie beside the images, and change while
studies run."""


@dataclass(kw_only=True, slots=True)
class Listing:
    """What lies below a folder; all names are relative to it, with `/`, in order."""

    images: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    """Files that are no images by their names, and folders of studies."""
    folders: list[str] = field(default_factory=list)
    """Also those without files."""
    mistakes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def all_notes(self) -> tuple[str, ...]:
        """With one about the other files."""
        if not self.others:
            return tuple(self.notes)
        first = ", ".join(self.others[:3]) + (" …" if len(self.others) > 3 else "")
        return (
            *self.notes,
            f"No images by their names, and left out: {first} ({len(self.others):,} in all).",
        )


def listing(folder: Path) -> Listing:
    """All below the folder. Each real folder is read once, whatever links lead to it.

    Raises SetInvalid where a folder cannot be read.
    """
    found, visited = Listing(), set[tuple[int, int]]()
    waiting = [("", folder)]
    while waiting:
        within, place = waiting.pop()
        try:
            status = place.stat()
            if (status.st_dev, status.st_ino) in visited:
                found.notes.append(
                    f"{shown(within[:-1])} leads to a folder that was read already, and was left out."
                )
                continue
            visited.add((status.st_dev, status.st_ino))
            with os.scandir(place) as entries:
                known = [(each.name, each.is_dir()) for each in entries]
        except OSError as error:
            reason = f"{shown(within or '.')} cannot be read ({error.strerror}): change its permissions."
            raise SetInvalid(folder, [reason]) from error
        for name, is_folder in sorted(known, reverse=True):
            if name.startswith(".") or name in SYSTEM_FILES:
                continue
            if not is_text(name):
                found.mistakes.append(f"The name of {shown(within + name)} is not UTF-8: rename it.")
            elif is_folder and not name.endswith(".artifacts"):
                found.folders.append(within + name)
                waiting.append((f"{within}{name}/", place / name))
            else:
                (found.images if name.lower().endswith(EXTENSIONS) else found.others).append(within + name)
    for names in (found.images, found.others, found.folders):
        names.sort()
    return found
