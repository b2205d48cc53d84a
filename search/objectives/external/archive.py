"""Folders as bytes: an uncompressed tar of regular files, folders and symbolic links between them, in a file
that has no name."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import tarfile
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath, PurePosixPath
from typing import IO, BinaryIO

from search.files import open_regular
from search.objectives.base import TrialError

PIECE = 2**20
"""Bytes that are copied at once."""

LARGEST_BYTES = 16 * 2**30
"""Of a checkpoint."""


class Damaged(Exception):
    """An archive is not what was written, or not an archive of ours."""


class Archive:
    """A tar: some bytes of an open file, which are never changed. A file that `pack` made has no name, so
    that nothing is left of it when the process ends, however that happens; one that has been deleted
    meanwhile can still be read."""

    def __init__(self, descriptor: int, offset: int, size: int, sha256: str) -> None:
        """descriptor: of the file, this object's from now on."""
        self.offset, self.size, self.sha256 = offset, size, sha256
        self._descriptor = descriptor
        weakref.finalize(self, os.close, descriptor)

    def pieces(self) -> Iterator[bytes]:
        """Its bytes. Raises Damaged where the file is too short, and OSError."""
        at, end = self.offset, self.offset + self.size
        while at < end:
            piece = os.pread(self._descriptor, min(PIECE, end - at), at)
            if not piece:
                raise Damaged("it is cut short")
            at += len(piece)
            yield piece

    def verify(self) -> None:
        """Raises Damaged where its SHA-256 is another one, and OSError."""
        found = hashlib.sha256()
        for piece in self.pieces():
            found.update(piece)
        if found.hexdigest() != self.sha256:
            raise Damaged(f"its SHA-256 is {found.hexdigest()}, not {self.sha256}")

    def extract(self, folder: Path) -> None:
        """Makes the folder what was packed, in place of what is there.

        Raises Damaged for a path or a link that leads out of the folder, and for everything but regular
        files, folders and symbolic links; OSError where there is no room.
        """
        empty(folder)
        reader = io.BufferedReader(_Reader(self._descriptor, self.offset, self.size))
        try:
            with tarfile.open(fileobj=reader, mode="r:") as tar:
                for member in tar:
                    _extract(tar, member, folder)
        except (tarfile.TarError, EOFError, ValueError) as error:
            raise Damaged(f"it is not a tar of tune's: {error}") from error


def pack(folder: Path, *, scratch: Path, what: str, most: int = LARGEST_BYTES) -> Archive:
    """A copy of everything in a folder, without links that lead out of it. scratch: folder on the disk that
    the copy goes to. what: subject of refusals.

    Raises TrialError for a FIFO and the like, and for more than `most` bytes; OSError without room.
    """
    return _packed(folder, _walk(folder), scratch=scratch, what=what, most=most)


def pack_files(folder: Path, names: Sequence[str], *, scratch: Path, what: str, most: int) -> Archive:
    """A copy of some files below a folder, those that are not there left out. Raises as `pack`, and for a
    link."""
    if link := next((name for name in names if (folder / name).is_symlink()), None):
        raise TrialError(f"{what} has {link}, which is not a regular file")
    there = [name for name in names if os.path.lexists(folder / name)]
    return _packed(folder, there, scratch=scratch, what=what, most=most)


def empty(folder: Path) -> None:
    """Makes a folder, or empties the one that is there. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            Path(entry.path).unlink()


class _Writer:
    """A file that is written from its beginning to its end, and its SHA-256."""

    def __init__(self, file: BinaryIO, what: str, most: int) -> None:
        self._file, self._what, self._most = file, what, most
        self.sha256, self.size = hashlib.sha256(), 0

    def write(self, content: bytes) -> int:
        self.size += len(content)
        if self.size > self._most:
            raise TrialError(f"{self._what} has more than {self._most:,} bytes")
        self.sha256.update(content)
        return self._file.write(content)


class _Reader(io.RawIOBase):
    """Some bytes of an open file, as a file."""

    def __init__(self, descriptor: int, offset: int, size: int) -> None:
        self._descriptor, self._at, self._offset, self._size = descriptor, 0, offset, size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # any buffer is one
        piece = os.pread(
            self._descriptor, max(0, min(len(buffer), self._size - self._at)), self._offset + self._at
        )
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


def _packed(folder: Path, names: Sequence[str], *, scratch: Path, what: str, most: int) -> Archive:
    with tempfile.TemporaryFile(dir=scratch) as file:
        writer = _Writer(file, what, most)
        with tarfile.open(
            fileobj=_as_file(writer), mode="w|", format=tarfile.PAX_FORMAT, bufsize=PIECE
        ) as tar:
            for name in names:
                _add(tar, folder, name, what)
        file.flush()
        return Archive(os.dup(file.fileno()), 0, writer.size, writer.sha256.hexdigest())


def _as_file(writer: _Writer) -> IO[bytes]:
    return writer  # type: ignore[return-value]  # a stream of tarfile is asked to write, and for nothing else


def _walk(folder: Path) -> list[str]:
    """Everything below a folder by its path there, folders before what is in them. Raises OSError."""
    found = []

    def refuse(error: OSError) -> None:
        raise error

    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders.sort()
        found += [os.path.relpath(Path(parent, name), folder) for name in (*folders, *sorted(files))]
    return found


def _add(tar: tarfile.TarFile, folder: Path, name: str, what: str) -> None:
    """Adds a regular file, a folder, or a link that stays below `folder`; owners and times are not kept."""
    path, member = folder / name, tarfile.TarInfo(name)
    try:
        status = path.lstat()
        member.mode = stat.S_IMODE(status.st_mode)
        if stat.S_ISDIR(status.st_mode):
            member.type = tarfile.DIRTYPE
            tar.addfile(member)
        elif stat.S_ISLNK(status.st_mode):
            if (link := _link_within(folder, path)) is not None:
                member.type, member.linkname = tarfile.SYMTYPE, link
                tar.addfile(member)
        elif stat.S_ISREG(status.st_mode):
            with open_regular(path, follow=False) as file:
                member.size = os.fstat(file.fileno()).st_size
                _add_file(tar, member, file, what)
        else:
            raise TrialError(f"{what} has {name}, which is not a regular file, a folder or a link")
    except FileNotFoundError as error:
        raise TrialError(f"{what} changed while it was copied: {name} is gone") from error


def _link_within(folder: Path, path: Path) -> str | None:
    """What a link in a folder says, as a relative path, so that it holds wherever the folder is extracted;
    None: it leads out of the folder."""
    link = path.readlink()
    for root in (folder, folder.resolve()):
        if link.is_absolute() and link.is_relative_to(root):
            link = Path(os.path.relpath(root, root / path.parent.relative_to(folder)), link.relative_to(root))
    return str(link) if _stays_within(path.relative_to(folder), link) else None


def _stays_within(path: PurePath, link: PurePath) -> bool:
    """Whether a link at this path below a folder leads to something there. Steps upward are allowed at its
    beginning alone: after another link they could lead anywhere."""
    upward = next((n for n, part in enumerate(link.parts) if part != ".."), len(link.parts))
    return not link.is_absolute() and upward < len(path.parts) and ".." not in link.parts[upward:]


def _add_file(tar: tarfile.TarFile, member: tarfile.TarInfo, file: BinaryIO, what: str) -> None:
    try:
        tar.addfile(member, file)
    except OSError as error:
        if error.errno is not None:  # of the disk
            raise
        raise TrialError(f"{what} changed while it was copied: {member.name} became shorter") from error


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise Damaged(f"it has {member.name}, a path outside of its folder")
    if any((folder / parent).is_symlink() for parent in path.parents):
        raise Damaged(f"it has {member.name}, a path through a link")
    target = folder / path
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
    elif member.issym():
        if not _stays_within(path, PurePosixPath(member.linkname)):
            raise Damaged(f"it has {member.name}, a link that leads out of its folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(member.linkname)
    elif member.isreg():
        content = tar.extractfile(member)
        assert content is not None, "it is a regular file"
        target.parent.mkdir(parents=True, exist_ok=True)
        with content, target.open("xb") as file:
            shutil.copyfileobj(content, file, PIECE)
        target.chmod(member.mode & 0o777 | stat.S_IWUSR | stat.S_IRUSR)
    else:
        raise Damaged(f"it has {member.name}, which is not a regular file, a folder or a link")
