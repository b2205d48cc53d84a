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
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from search.files import open_regular, whole_file
from search.objectives.base import CheckpointUnreadable, Product
from search.objectives.external.archive import Archive, Damaged
from search.records import Answers

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


ANSWERED = "correct"
"""In the place of a head's name, in the answers of training code."""

DIRECTORY = b"tune: directory\n"
"""The end of a kept file that has the trial's directory: before it are the tar's size in 8 bytes and, before
that, the tar."""


class KeptFiles(Product):
    """Files that training code keeps, as of a report, and which examples it answered right then."""

    def __init__(
        self, archive: Archive | None, *, correct: str | None = None, directory: Archive | None = None
    ) -> None:
        """archive: None: it keeps no files. correct: for each validation example 1 or 0; None: not said.
        directory: everything in the trial's directory at its end, for the test function; None: there is
        none."""
        self.archive, self.correct, self.directory = archive, correct, directory
        if correct:
            whole = -(-len(correct) // 8)
            bits = int(correct.ljust(8 * whole, "0"), 2).to_bytes(whole, "big")
            self.answers = Answers(split="validation", examples=len(correct), heads={ANSWERED: bits})

    def content(self, about: Mapping[str, str]) -> bytes:
        """A tar of the files, with `about` as JSON in its global header, under `comment`; then the directory,
        if there is one, as another tar."""
        header = tarfile.TarInfo.create_pax_global_header({"comment": json.dumps(dict(about))})
        empty = bytes(tarfile.RECORDSIZE)
        files = header + (empty if self.archive is None else b"".join(self.archive.pieces()))
        if self.directory is None:
            return files
        return files + b"".join(self.directory.pieces()) + self.directory.size.to_bytes(8, "big") + DIRECTORY


def extract_directory(content: bytes, folder: Path) -> bool:
    """Makes the folder the trial's directory as of its end; whether the kept file has that.

    content: as `KeptFiles.content` made it. Raises Damaged where it did not, and OSError without room.
    """
    if not content.endswith(DIRECTORY):
        return False
    end = len(content) - len(DIRECTORY) - 8
    size = int.from_bytes(content[end : end + 8], "big")
    if size > end:
        raise Damaged("its directory is cut short")
    with tempfile.TemporaryFile() as file:
        file.write(content[end - size : end])
        file.flush()
        Archive(os.dup(file.fileno()), 0, size, "").extract(folder)
    return True


def extract_kept(file: BinaryIO, folder: Path) -> None:
    """Makes the folder the files that the trial kept, by their paths below its directory.

    file: a kept file, as `KeptFiles.content` made it. Raises Damaged where it did not, and OSError without
    room.
    """
    size, start = file.seek(0, os.SEEK_END), _after_header(file)
    Archive(os.dup(file.fileno()), start, size - start, "").extract(folder)


def _after_header(file: BinaryIO) -> int:
    """Where the tar begins that follows the global header. Python refuses to read a header that no file
    follows."""
    file.seek(0)
    try:
        header = tarfile.TarInfo.frombuf(file.read(tarfile.BLOCKSIZE), "utf-8", "strict")
    except (tarfile.TarError, ValueError) as error:
        raise Damaged(f"it is not a tar of tune's: {error}") from error
    if header.type != tarfile.XGLTYPE:
        raise Damaged("it does not begin with the header that tune writes")
    return tarfile.BLOCKSIZE * (1 + -(-header.size // tarfile.BLOCKSIZE))


def write(path: Path, state: CodeState, kept: KeptFiles | None, about: Mapping[str, str]) -> None:
    """Writes a resume checkpoint, whole or not at all. Raises OSError where there is no room."""
    parts = {"directory": state.directory, "kept_files": None if kept is None else kept.archive}
    known = {
        "format": FORMAT,
        "about": dict(about),
        "reported": state.reported,
        "names": list(state.names),
        "kept": list(state.kept),
        "correct": None if kept is None else kept.correct,
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
    correct = known.get("correct")
    nothing = kept is None and correct is None
    return state, None if nothing else KeptFiles(kept, correct=correct), known["about"]
