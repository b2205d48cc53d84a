"""An exported model at work: asks it about an image file, or serves the page on which one draws digits.
Needs onnxruntime, numpy and pillow; never torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from search.serve.folder import Export, open_export
from search.serve.image_file import read_image
from search.serve.model import Answer, Model
from search.service.signals import until_stopped


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """What a model says of an image."""

    export: Export
    notes: tuple[str, ...]
    """what was done to the image before it was asked about, a sentence each"""
    heads: Mapping[str, Answer]
    """by head, in the model's order"""


def predict(folder: Path, image: Path, *, number: int | None) -> Prediction:
    """Reads the image and asks the model in the folder.

    Raises UsageError for a folder, an image or a number that is invalid, ConfigError for an export that
    is damaged or a missing library.
    """
    model = Model(open_export(folder))
    model.check(number)
    export = model.export
    seen = read_image(image, height=export.height, width=export.width)
    return Prediction(export=export, notes=seen.notes, heads=model.answer(seen.pixels, number))


def serve_demo(folder: Path, *, host: str, port: int, ready: Callable[[str, str | None], None]) -> None:
    """Serves until a signal comes, which it raises as `until_stopped` does. `ready` is given the address, and
    a warning where others can reach it.

    Raises UsageError for a folder that is no export, a port that is taken, an address that is not this
    machine's; ConfigError for an export that cannot be used.
    """
    from search.serve.demo import make_server  # and with it a web server, which a prediction does not need
    from search.serve.sender import only_here

    model = Model(open_export(folder))
    with make_server(model, host=host, port=port) as server:
        warning = f"Warning: everybody who reaches {host} can use this page; nothing is encrypted."
        ready(server.address, None if only_here(host) else warning)
        until_stopped(server)
