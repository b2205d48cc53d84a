"""The folder of an export: its manifest, and the one way to open it, which checks every file.

Checksums find damaged and mixed-up files. They do not find malice: who can change a
file can change its checksum.
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from reprlib import repr as short
from shlex import quote
from typing import Any

from data.images import MAX_CLASSES, MAX_COLUMNS, Fit
from search.errors import ConfigError, UsageError
from search.files import open_regular, read_regular
from search.serve import fields
from search.serve.image_file import MAX_SIDE
from search.serve.strokes import SIDE

MANIFEST, CONFIG, ONNX, CARD = "manifest.json", "config.json", "model.onnx", "README.md"
FORMAT = "tune-export-1"
FILES, FILES_FORMAT = "files", "tune-export-files-1"
"""Of an export of what training code kept: the folder that has its files, and the format."""

CONFIG_FORMAT, NAMED_FORMAT = "tune-model-1", "tune-model-2"
"""Of the configuration; the second one says how images are made to fit, or what classes are called. A tune
that does not know it would treat an image as one of digits."""

MAX_MANIFEST = 1_000_000
"""Bytes of the manifest; it takes some thousand."""

MAX_CONFIG = 100 * MAX_COLUMNS * MAX_CLASSES
"""Bytes of the configuration, which has the names of classes; most take some thousand."""

MAX_FILE = 2 * 1024**3
"""Bytes of a file; an ONNX file cannot have more."""

MAX_BYTES = 4 * MAX_FILE
"""Bytes of all files."""

MAX_FILES, MAX_NUMBERS, MAX_DIGITS = 32, 1000, 16
"""Of an export: more than any task needs, and little enough to be shown."""

_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Export:
    """What a folder says of its model, and the model."""

    folder: Path
    task: str
    title: str
    """of the task, for people"""
    study: str
    trial: int
    channels: int
    """of an image: 1, or 3 for red, green and blue"""
    height: int
    width: int
    """of an image, in pixels"""
    fit: Fit | None
    """how an image of another size is made to fit; None: it shows digits, read as light ink on black"""
    numbers: int
    """the second input is 0 .. numbers - 1; 0: there is none"""
    heads: tuple[tuple[str, int], ...]
    """(name, classes) of each output, in order"""
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """names of the classes by head; a head that is not in it has numbers from 0"""
    digit_rows: tuple[int, ...]
    """row of the image at which each of its digits begins"""
    onnx: bytes
    """the ONNX file, as it was checked"""

    def label(self, head: str, answer: int) -> str:
        """What a class of a head is called."""
        return self.labels[head][answer] if head in self.labels else str(answer)


def described(
    *, fit: Fit | None, labels: Mapping[str, tuple[str, ...]], **facts: object
) -> dict[str, object]:
    """What the configuration says beside the network's own settings: the format, `facts`, and where they are
    given, how images are made to fit and the names of classes by head."""
    if fit is None and not labels:
        return {"format": CONFIG_FORMAT, **facts}
    given = {"labels": labels} if fit is None else {"fit": fit.value, "labels": labels}
    return {"format": NAMED_FORMAT, **facts, **given}


def write_manifest(
    folder: Path,
    facts: Mapping[str, Any],
    differences: Mapping[str, float] | None = None,
    *,
    format: str = FORMAT,
) -> str:
    """Writes the manifest of all files in the folder and returns the manifest's own SHA-256.

    facts: `study`, `trial`, and whatever else is to be said. differences: by file, the largest difference of
    a logit from the network's.
    """
    files: dict[str, dict[str, object]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            files[name] = {"sha256": sha256, "bytes": path.stat().st_size}
            if differences and name in differences:
                files[name]["largest_difference"] = differences[name]
    text = json.dumps({"format": format, **facts, "files": files}, indent=2, ensure_ascii=False) + "\n"
    content = text.encode()
    (folder / MANIFEST).write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def is_export(folder: Path) -> bool:
    """Whether a folder is an export, sound or not, and may be replaced by another."""
    try:
        entry = _read_json(folder)
    except (OSError, ValueError):
        return False
    return isinstance(entry, dict) and str(entry.get("format", "")).startswith("tune-export-")


def foreign(folder: Path) -> list[str]:
    """Names in the folder of an export that are none of its files: they would be lost with it."""
    try:
        manifest = fields.mapping(_read_json(folder), MANIFEST)
        listed = set(fields.mapping(fields.field(manifest, "files"), "files"))
    except (OSError, ValueError):
        listed = set()
    own = {MANIFEST, CARD, *listed}
    folders = {str(parent) for name in listed for parent in PurePosixPath(name).parents}
    found = []
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        is_folder = path.is_dir()
        if (is_folder and path.is_symlink()) or name not in (folders if is_folder else own):
            found.append(name)
    return sorted(name for name in found if str(PurePosixPath(name).parent) in (".", *folders))


def open_export(folder: Path) -> Export:
    """Reads an export, after every file has been held against the manifest.

    Raises UsageError where there is no export, ConfigError where one is damaged or of another tune.
    """
    manifest = _manifest(folder)
    try:
        study = fields.text(fields.field(manifest, "study"), "study")
        trial = fields.whole(fields.field(manifest, "trial"), "trial", low=0, high=2**31)
        files = fields.mapping(fields.field(manifest, "files"), "files")
        if len(files) > MAX_FILES:
            raise ValueError(f"it lists {len(files):,} files, more than {MAX_FILES}")
        checksums = {
            name: fields.field(fields.mapping(entry, short(name)), "sha256") for name, entry in files.items()
        }
    except ValueError as error:
        raise _damaged(folder, [f"{MANIFEST} is incomplete ({error})"]) from error
    wrong = [f"{name} is not listed in {MANIFEST}" for name in (CONFIG, ONNX) if name not in checksums]
    total = 0
    for name, expected in checksums.items():
        if not _FILE_NAME.fullmatch(name):
            wrong.append(f"{name if name.isprintable() else short(name):.100} lies elsewhere")
            continue
        try:
            found, size = _checksum(folder / name, limit=MAX_BYTES - total)
        except OSError as error:
            wrong.append(f"{name} cannot be read ({error.strerror})")
            continue
        total += size
        if found != expected:
            wrong.append(f"{name} has SHA-256 {found[:12]}…, the manifest says {str(expected)[:12]!r}…")
    if wrong:
        raise _damaged(folder, wrong)
    return _export(
        folder,
        study,
        trial,
        config=_kept(folder, CONFIG, checksums[CONFIG], MAX_CONFIG),
        onnx=_kept(folder, ONNX, checksums[ONNX], MAX_FILE),
    )


def _checksum(path: Path, *, limit: int) -> tuple[str, int]:
    """SHA-256 and bytes. Raises OSError."""
    with open_regular(path, limit=min(limit, MAX_FILE), follow=False) as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), file.tell()


def _kept(folder: Path, name: str, sha256: str, limit: int) -> bytes:
    """The content of a file whose checksum was right a moment ago."""
    try:
        content = read_regular(folder / name, limit=limit, follow=False)
    except OSError as error:
        raise _damaged(folder, [f"{name} cannot be read ({error.strerror})"]) from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise _damaged(folder, [f"{name} changed while it was read"])
    return content


def _read_json(folder: Path) -> object:
    """The manifest. Raises OSError, or ValueError where it is not JSON."""
    return fields.parse(read_regular(folder / MANIFEST, limit=MAX_MANIFEST, follow=False))


def _manifest(folder: Path) -> Mapping[str, Any]:
    try:
        if not folder.is_dir():
            raise UsageError(
                f"There is no folder {folder}; `tune export STUDY --out {quote(str(folder))}` makes one."
            )
        manifest = _read_json(folder)
    except FileNotFoundError as error:
        raise UsageError(
            f"{folder} is not an export: it has no {MANIFEST}; `tune export STUDY --out DIR` makes one."
        ) from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UsageError(f"There is no folder {folder}: {error.strerror}.") from error
        raise _damaged(folder, [f"{MANIFEST} cannot be read ({error.strerror})"]) from error
    except ValueError as error:
        raise _damaged(folder, [f"{MANIFEST} cannot be read ({error})"]) from error
    if not isinstance(manifest, dict):
        raise _damaged(folder, [f"{MANIFEST} is not a JSON object"])
    if manifest.get("format") == FILES_FORMAT:
        raise UsageError(
            f"{folder} has files that training code kept, and no network of tune's: only your own code knows "
            f"how to load what is in {folder / FILES}."
        )
    if manifest.get("format") != FORMAT:
        raise ConfigError(
            f"{folder} has the format {short(manifest.get('format'))}, and this tune knows {FORMAT}; "
            "use the tune that made it."
        )
    return manifest


def _damaged(folder: Path, wrong: list[str]) -> ConfigError:
    return ConfigError(
        f"The export {folder} is not as it was made and is not used: {'; '.join(wrong)}. "
        f"Copy it again, or make it anew: `tune export STUDY --out {quote(str(folder))} --force`."
    )


def _export(folder: Path, study: str, trial: int, *, config: bytes, onnx: bytes) -> Export:
    try:
        told = fields.mapping(fields.parse(config), CONFIG)
        if fields.field(told, "format") not in (CONFIG_FORMAT, NAMED_FORMAT):
            raise ValueError(f"its format is {short(told['format'])}, not {CONFIG_FORMAT} or {NAMED_FORMAT}")
        signature = fields.mapping(fields.field(told, "signature"), "signature")
        sides = fields.sequence(fields.field(signature, "image"), "image", low=3, high=3)
        fit = _fit(told)
        channels = fields.whole(sides[0], "channels", low=1, high=1 if fit is None else 3)
        if channels == 2:
            raise ValueError("an image has 1 or 3 channels, not 2")
        low = SIDE if fit is None else 1
        height = fields.whole(sides[1], "height", low=low, high=MAX_SIDE)
        heads = _heads(fields.field(signature, "heads"))
        return Export(
            folder=folder,
            task=fields.word(fields.field(told, "task"), "task"),
            title=fields.word(fields.field(told, "title"), "title"),
            study=study,
            trial=trial,
            channels=channels,
            height=height,
            width=fields.whole(sides[2], "width", low=low, high=MAX_SIDE),
            fit=fit,
            numbers=fields.whole(fields.field(signature, "numbers"), "numbers", low=0, high=MAX_NUMBERS),
            heads=heads,
            labels=_labels(told.get("labels", {}), dict(heads)),
            digit_rows=tuple(
                fields.whole(row, "a row of digit_rows", low=0, high=height - low)
                for row in fields.sequence(
                    fields.field(told, "digit_rows"), "digit_rows", low=1, high=MAX_DIGITS
                )
            ),
            onnx=onnx,
        )
    except ValueError as error:
        raise _damaged(folder, [f"{CONFIG} cannot be understood ({error})"]) from error


def _fit(told: Mapping[str, Any]) -> Fit | None:
    """Raises ValueError."""
    if "fit" not in told:
        return None
    if told["fit"] not in [*Fit]:
        raise ValueError(f"fit must be {', '.join(Fit)}, not {short(told['fit'])}")
    return Fit(told["fit"])


def _labels(value: object, heads: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    """Names of classes by head. Raises ValueError."""
    labels = {}
    for head, names in fields.mapping(value, "labels").items():
        if head not in heads:
            raise ValueError(f"labels are given for {short(head)}, which is not one of the heads")
        found = fields.sequence(names, f"labels of {head}", low=heads[head], high=heads[head])
        labels[head] = tuple(fields.word(name, f"a label of {head}") for name in found)
    return labels


def _heads(value: object) -> tuple[tuple[str, int], ...]:
    """Raises ValueError."""
    pairs = [
        fields.sequence(pair, "a head", low=2, high=2)
        for pair in fields.sequence(value, "heads", low=1, high=MAX_COLUMNS)
    ]
    heads = tuple(
        (
            fields.word(name, "the name of a head"),
            fields.whole(classes, "its classes", low=1, high=MAX_CLASSES),
        )
        for name, classes in pairs
    )
    if len(dict(heads)) < len(heads):
        raise ValueError("two heads have one name")
    return heads
