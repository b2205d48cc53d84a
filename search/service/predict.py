"""Asks an exported model about a picture file. Needs onnxruntime, numpy and pillow; never torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from search.serve.folder import Export, open_export
from search.serve.model import Answer, Model
from search.serve.picture import read_picture


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """What a model says of a picture."""

    export: Export
    notes: tuple[str, ...]
    """what was done to the picture before it was asked about, a sentence each"""
    heads: Mapping[str, Answer]
    """by head, in the model's order"""


def predict(folder: Path, picture: Path, *, number: int | None) -> Prediction:
    """Reads the picture and asks the model in the folder.

    Raises UsageError for a folder, a picture or a number that is invalid, ConfigError for an export that
    is damaged or a missing library.
    """
    model = Model(open_export(folder))
    model.check(number)
    export = model.export
    seen = read_picture(picture, height=export.height, width=export.width)
    return Prediction(export=export, notes=seen.notes, heads=model.answer(seen.pixels, number))
