"""Resume checkpoints of training code as files: what is known of the trial, its directory and what it keeps.

The first line has the SHA-256 of what follows in it, and then, as JSON, everything that is known, with size
and SHA-256 of the two tars that follow: the directory of the trial, if it had one to continue from, and the
kept files, if there are any. Nothing follows them.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from search.files import open_regular, whole_file
from search.objectives.base import CheckpointUnreadable, Product
from search.objectives.external.archive import Archive, Damaged

FORMAT = 1
"""Of these files; another one cannot be read."""

LONGEST_LINE = 4_000_000
"""Bytes of the first line; what the longest names of metrics need."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeState:
    """What a trial of training code continues from."""

    reported: int
    """step of its last report: reports up to there are not wanted once more"""
    names: tuple[str, ...] = ()
    """of the metrics in each of its reports"""
    kept: tuple[str, ...] = ()
    """files that it keeps, below its directory"""
    step: int = 0
    """of the report before which the directory was copied; 0: it begins again from the start"""
    directory: Archive | None = None
    """as of that report"""
    code: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 by file, of the code that made it"""


class KeptFiles(Product):
    """Files that training code keeps, as of a report."""

    # The right and wrong answers of `trial.examples` become `answers` here, once statistics use them.

    def __init__(self, archive: Archive) -> None:
        self.archive = archive

    def content(self, about: Mapping[str, str]) -> bytes:
        """A tar of the files, with `about` as JSON in its global header, under `comment`."""
        header = tarfile.TarInfo.create_pax_global_header({"comment": json.dumps(dict(about))})
        return header + b"".join(self.archive.pieces())


def write(path: Path, state: CodeState, kept: KeptFiles | None, about: Mapping[str, str]) -> None:
    """Writes a resume checkpoint, whole or not at all. Raises OSError where there is no room."""
    parts = {"directory": state.directory, "kept_files": None if kept is None else kept.archive}
    known = {
        "format": FORMAT,
        "about": dict(about),
        "reported": state.reported,
        "names": list(state.names),
        "kept": list(state.kept),
        "step": state.step,
        "code": dict(state.code),
        "parts": {
            name: None if part is None else {"size": part.size, "sha256": part.sha256}
            for name, part in parts.items()
        },
    }
    line = json.dumps(known).encode()
    with whole_file(path) as file:
        file.write(hashlib.sha256(line).hexdigest().encode() + b" " + line + b"\n")
        for part in parts.values():
            for piece in () if part is None else part.pieces():
                file.write(piece)


def read(path: Path) -> tuple[CodeState, KeptFiles | None, Mapping[str, str]]:
    """(state, kept files, about) of a resume checkpoint. Raises CheckpointUnreadable."""
    try:
        return _read(path)
    except (OSError, Damaged, KeyError, TypeError, ValueError) as error:
        raise CheckpointUnreadable(f"{path}: {error}") from error


def _read(path: Path) -> tuple[CodeState, KeptFiles | None, Mapping[str, str]]:
    with open_regular(path) as file:
        line = file.readline(LONGEST_LINE)
        sha256, _, text = line.removesuffix(b"\n").partition(b" ")
        if hashlib.sha256(text).hexdigest().encode() != sha256:
            raise Damaged("its first line has another SHA-256 than was written")
        known: dict[str, Any] = json.loads(text)
        if known["format"] != FORMAT:
            raise Damaged(f"its format is {known['format']}; this tune reads {FORMAT}")
        at, parts = len(line), {}
        for name, part in known["parts"].items():
            if part is not None:
                parts[name] = Archive(os.dup(file.fileno()), at, part["size"], part["sha256"])
                parts[name].verify()
                at += part["size"]
        if os.fstat(file.fileno()).st_size != at:
            raise Damaged("it is longer than what was written")
    state = CodeState(
        reported=known["reported"],
        names=tuple(known["names"]),
        kept=tuple(known["kept"]),
        step=known["step"],
        directory=parts.get("directory"),
        code=known["code"],
    )
    kept = parts.get("kept_files")
    return state, None if kept is None else KeptFiles(kept), known["about"]
