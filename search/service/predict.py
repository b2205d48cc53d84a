"""An exported model at work: asks it about image files, or serves the page on which one draws or drops them.
Needs onnxruntime, numpy and pillow; never torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from search.errors import ConfigError, TuneError, UsageError
from search.serve.folder import Export, open_export
from search.serve.image_file import read_image
from search.serve.model import Answer, Model
from search.service.signals import until_stopped

SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff")
"""Of the files that are taken from a folder, in any case."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """What a model says of an image."""

    image: Path
    notes: tuple[str, ...] = ()
    """what was done to the image before it was asked about, a sentence each"""
    heads: Mapping[str, Answer] = field(default_factory=dict)
    """by head, in the model's order; empty where the image was refused"""
    refusal: TuneError | None = None
    """why the image cannot be read, or made to fit"""


def predict(
    folder: Path, images: Sequence[Path], *, number: int | None
) -> tuple[Export, Iterator[Prediction]]:
    """The export, and what its model says of each image, one after the other.

    images: files, and folders, of which all image files are taken, also those of folders inside.

    Raises UsageError for a folder or a number that is invalid, or a folder without images, ConfigError for an
    export that is damaged or a missing library; both before the first image.
    """
    model = Model(open_export(folder))
    model.check(number)
    files = [file for image in images for file in (_inside(image) if is_folder(image) else [image])]
    return model.export, (_predicted(model, file, number) for file in files)


def is_folder(path: Path) -> bool:
    """Whether images are to be looked for inside. A name that no file can have is refused with the images."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _predicted(model: Model, image: Path, number: int | None) -> Prediction:
    export = model.export
    try:
        seen = read_image(
            image, height=export.height, width=export.width, channels=export.channels, fit=export.fit
        )
    except (UsageError, ConfigError) as error:
        return Prediction(image=image, refusal=error)
    return Prediction(image=image, notes=seen.notes, heads=model.answer(seen.pixels, number))


def _inside(folder: Path) -> list[Path]:
    """The image files of a folder and of those inside it, by name. Raises UsageError where there is none."""
    try:
        found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    except OSError as error:
        raise UsageError(f"The folder {folder} cannot be read ({error.strerror}).") from error
    if not found:
        raise UsageError(f"The folder {folder} has no image files ({', '.join(SUFFIXES)}).")
    return found


def serve_demo(
    folder: Path, *, host: str, port: int, ready: Callable[[Export, str, str | None], None]
) -> None:
    """Serves until a signal comes, which it raises as `until_stopped` does. `ready` is given the export, the
    address, and a warning where others can reach it.

    Raises UsageError for a folder that is no export, a port that is taken, an address that is not this
    machine's; ConfigError for an export that cannot be used.
    """
    from search.serve.demo import make_server  # and with it a web server, which a prediction does not need
    from search.serve.sender import only_here

    model = Model(open_export(folder))
    with make_server(model, host=host, port=port) as server:
        warning = f"Warning: everybody who reaches {host} can use this page; nothing is encrypted."
        ready(model.export, server.address, None if only_here(host) else warning)
        until_stopped(server)
