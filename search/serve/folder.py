"""The folder of an export: its manifest, and the one way to open it, which checks every file.
Knows nothing of how the files were made, nor of what computes with them.

The sums tell damage and mixed-up files. They do not tell malice: who can change a file can change its sum.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from search.errors import ConfigError, UsageError

MANIFEST, CONFIG, ONNX, CARD = "manifest.json", "config.json", "model.onnx", "README.md"
FORMAT = "tune-export-1"
CONFIG_FORMAT = "tune-model-1"


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
    height: int
    width: int
    """of a picture, in pixels"""
    numbers: int
    """the second input is 0 .. numbers - 1; 0: there is none"""
    heads: tuple[tuple[str, int], ...]
    """(name, classes) of each output, in order"""
    digit_rows: tuple[int, ...]
    """row of the picture at which each of its digits begins"""
    onnx: bytes
    """the ONNX file, as it was checked"""


def write_manifest(folder: Path, facts: Mapping[str, Any], differences: Mapping[str, float]) -> str:
    """Writes the manifest of all files in the folder and returns the manifest's own SHA-256.

    facts: `study`, `trial`, and whatever else is to be said. differences: by file, the largest difference of
    a logit from the network's.
    """
    files = {
        path.name: {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "bytes": path.stat().st_size,
            **({"largest_difference": differences[path.name]} if path.name in differences else {}),
        }
        for path in sorted(folder.iterdir())
    }
    text = json.dumps({"format": FORMAT, **facts, "files": files}, indent=2, ensure_ascii=False) + "\n"
    content = text.encode()
    (folder / MANIFEST).write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def is_export(folder: Path) -> bool:
    """Whether a folder is an export, sound or not, and may be replaced by another."""
    try:
        entry = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(entry, dict) and str(entry.get("format", "")).startswith("tune-export-")


def foreign(folder: Path) -> list[str]:
    """Names in the folder of an export that are none of its files: they would be lost with it."""
    try:
        listed = set(json.loads((folder / MANIFEST).read_bytes())["files"])
    except (OSError, ValueError, KeyError, TypeError):
        listed = set()
    own = {MANIFEST, CARD, *listed}
    return sorted(path.name for path in folder.iterdir() if path.name not in own or path.is_dir())


def open_export(folder: Path) -> Export:
    """Reads an export, after every file has been held against the manifest.

    Raises UsageError where there is no export, ConfigError where one is damaged or of another tune.
    """
    manifest = _manifest(folder)
    try:
        sums = {name: entry["sha256"] for name, entry in manifest["files"].items()}
        study, trial = str(manifest["study"]), int(manifest["trial"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(folder, [f"{MANIFEST} is incomplete ({error!r})"]) from error
    contents: dict[str, bytes] = {}
    wrong = [f"{name} is not listed in {MANIFEST}" for name in (CONFIG, ONNX) if name not in sums]
    for name, expected in sums.items():
        if Path(name).name != name:
            wrong.append(f"{name} lies elsewhere")
            continue
        try:
            contents[name] = (folder / name).read_bytes()
        except OSError as error:
            wrong.append(f"{name} cannot be read ({error.strerror})")
            continue
        found = hashlib.sha256(contents[name]).hexdigest()
        if found != expected:
            wrong.append(f"{name} has SHA-256 {found[:12]}…, the manifest says {str(expected)[:12]}…")
    if wrong:
        raise _damaged(folder, wrong)
    return _export(folder, study, trial, contents)


def _manifest(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise UsageError(
            f"There is no folder {folder}; `tune export STUDY --out {quote(str(folder))}` makes one."
        )
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except FileNotFoundError as error:
        raise UsageError(
            f"{folder} is not an export: it has no {MANIFEST}; `tune export STUDY --out DIR` makes one."
        ) from error
    except (OSError, ValueError) as error:
        raise _damaged(folder, [f"{MANIFEST} cannot be read ({error})"]) from error
    if not isinstance(manifest, dict):
        raise _damaged(folder, [f"{MANIFEST} is no JSON object"])
    if manifest.get("format") != FORMAT:
        raise ConfigError(
            f"{folder} has the format {manifest.get('format')!r}, and this tune knows {FORMAT}; "
            "use the tune that made it."
        )
    return manifest


def _damaged(folder: Path, wrong: list[str]) -> ConfigError:
    return ConfigError(
        f"The export {folder} is not as it was made and is not used: {'; '.join(wrong)}. "
        f"Copy it again, or make it anew: `tune export STUDY --out {quote(str(folder))} --force`."
    )


def _export(folder: Path, study: str, trial: int, contents: Mapping[str, bytes]) -> Export:
    try:
        config = json.loads(contents[CONFIG])
        if config["format"] != CONFIG_FORMAT:
            raise ValueError(f"its format is {config['format']!r}, not {CONFIG_FORMAT}")
        signature = config["signature"]
        channels, height, width = map(int, signature["image"])
        return Export(
            folder=folder,
            task=str(config["task"]),
            title=str(config["title"]),
            study=study,
            trial=trial,
            channels=channels,
            height=height,
            width=width,
            numbers=int(signature["numbers"]),
            heads=tuple((str(name), int(classes)) for name, classes in signature["heads"]),
            digit_rows=tuple(map(int, config["digit_rows"])),
            onnx=contents[ONNX],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(folder, [f"{CONFIG} cannot be understood ({error})"]) from error
