"""Adds what lies at a path to the stored sets of images: whole, or not at all."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray

from data.datasets.base import DatasetError, DatasetUnusable, Split
from data.datasets.image_set import (
    DESCRIPTION,
    FORMAT,
    IMAGES,
    LABELS,
    ImageSet,
    SetFacts,
    content_checksum,
    example_digests,
    get_set,
    name_of,
    set_name,
    sets_folder,
)
from data.datasets.source import Progress, silent
from data.images import DECODER, MAX_CLASSES, MAX_COLUMNS, MAX_VALUE, Fit
from data.ingest.partial import partial_folder, remove_abandoned
from data.ingest.pixels import CHUNK, ROOM, Options, Pixels, read_pixels
from data.ingest.splits import SEED, counts, draw_missing, lacking
from data.registry import SetAbsent
from data.sources.base import SPLITS, Found, SetInvalid, images, shown
from data.sources.files import OF_STUDIES, listing
from data.sources.labels_csv import TABLE
from data.sources.registry import find
from data.sources.stored_array import ArrayDamaged
from search.files import sync, write_whole

SEEN = "seen"
"""Folder beside the sets: what was found at a path → the checksum of the set that was made of it, and its
description as it was read there."""

FINISHED = "set"
"""Folder in that of an unfinished set: its files, until they are all there."""

MUCH = 2
"""From this factor on it is said that an image was enlarged, or has other proportions than the set."""

HALVED = {
    Fit.PAD: "Borders take at least half",
    Fit.CROP: "At least half was cut off",
    Fit.STRETCH: "Distorted to twice their proportions or more",
}
"""What was done to images whose proportions differ by `MUCH` from those of the set."""

DIM = 2**15
"""Of 65,535: where no value of any image reaches it, the values have another range than that of 16 bits, as
microscopes and sensors of 10 to 14 bits write them."""

DEFAULT = Options()


@dataclass(frozen=True, kw_only=True, slots=True)
class Added:
    """A set that is stored now."""

    image_set: ImageSet
    new: bool
    """False: the same content was stored before, perhaps under another name. What the set says of how it was
    read is of this path."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Examples:
    """All examples of a set in its order."""

    array: NDArray[np.uint8]
    """As they were found."""
    places: NDArray[np.int64]
    """In `array`, in the order of the set."""
    labels: NDArray[np.int64]
    """In the order of the set."""
    digests: tuple[bytes, ...]
    """In the order of the set."""
    sizes: Mapping[Split, int]
    drawn: tuple[Split, ...]
    notes: tuple[str, ...]


def add_set(
    path: Path, *, name: str | None = None, options: Options = DEFAULT, progress: Progress | None = None
) -> Added:
    """Makes a set of the images at `path` and stores it. The same files again are recognized by their names,
    sizes and times, and are not read.

    name: the first part of the set's name; None: that of the file or folder. A stored set keeps its name.

    Raises:
        SetInvalid: what lies there cannot be made a set; it tells all that is wrong.
        DatasetUnusable: it changed while it was read.
        DatasetError: it cannot be stored.
    """
    folder = path.parent if path.name == TABLE else path
    states = file_states(folder)
    signature = _signature(folder, states, options)
    remove_abandoned(sets_folder(), _is_finished)
    if (known := _known(signature)) is not None:
        return Added(image_set=known, new=False)
    found = find(folder)
    with _storing():
        (sets_folder() / SEEN).mkdir(parents=True, exist_ok=True)
        with partial_folder(sets_folder(), _decoding(signature), progress or silent) as made:
            if (known := _known(signature)) is not None:  # another process made it meanwhile
                return Added(image_set=known, new=False)
            pixels = _read(folder, found, options, made, progress or silent)
            if changed := sorted(dict(states.items() ^ file_states(folder).items())):
                raise _changed(path, changed)
            return _store(folder, name or name_of(folder), found, pixels, options, made, signature)


def _read(path: Path, found: Found, options: Options, made: Path, progress: Progress) -> Pixels:
    """Raises OSError, and DatasetUnusable where an array cannot be read that could be a moment ago."""
    try:
        return read_pixels(found.images, options, made, progress)
    except ArrayDamaged as error:
        raise _changed(path, [str(error)]) from error


def _changed(path: Path, what: Sequence[str]) -> DatasetUnusable:
    some = ", ".join(map(shown, what[:3])) + (" …" if len(what) > 3 else "")
    return DatasetUnusable(f"{shown(str(path))} changed while it was read ({some}): run the command again")


def _store(
    folder: Path, name: str, found: Found, pixels: Pixels, options: Options, made: Path, signature: str
) -> Added:
    """Puts what was read beside the other sets, unless it is stored. Raises SetInvalid, OSError."""
    examples = _examples(folder, found, pixels, options)
    checksum = content_checksum(pixels.array.shape[1:], found.label_columns, examples.sizes, examples.digests)
    facts = _facts(name, folder, found, pixels, examples, options)
    stored = _known_content(checksum)
    if stored is None:
        _write(made, examples, facts)
        _put(made / FINISHED, sets_folder() / checksum)
    write_whole(sets_folder() / SEEN / signature, f"{checksum}\n{facts.as_json()}".encode())
    image_set = get_set(set_name(facts.name, checksum)) if stored is None else _as_read(stored, facts)
    return Added(image_set=image_set, new=stored is None)


def file_states(path: Path) -> dict[str, tuple[int, int]]:
    """Bytes and time of the last change (ns) of the file, or of each file below the folder but those of
    studies, by name. Raises SetInvalid where a folder cannot be read."""
    if not path.is_dir():
        names = ["."] if path.exists() else []
    else:
        below = listing(path)
        others = (name for name in below.others if not OF_STUDIES.fullmatch(name))
        names = [*below.images, *others]
    states = {}
    for name in names:
        with suppress(OSError):  # told by the source, which cannot read it either
            status = (path / name if name != "." else path).stat()
            states[name] = (status.st_size, status.st_mtime_ns)
    return states


def _signature(path: Path, states: Mapping[str, tuple[int, int]], options: Options) -> str:
    """SHA-256 of all that the set depends on, without the contents of the files."""
    text = json.dumps([FORMAT, DECODER, str(path.resolve()), repr(options), sorted(states.items())])
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _decoding(signature: str) -> str:
    """The signature of decoded images: that of their files, and the version of the decoder."""
    return f"{signature}-{PIL.__version__}"


def _is_finished(decoding: str) -> bool:
    """Whether the set that was made with this signature is stored."""
    try:
        checksum, _ = _seen(decoding.partition("-")[0])
    except OSError:
        return False
    return (sets_folder() / checksum / DESCRIPTION).is_file()


def _known(signature: str) -> ImageSet | None:
    """The set that was made of the same files before, if it is there."""
    try:
        checksum, description = _seen(signature)
        read = SetFacts.from_json(description)
    except (OSError, ValueError, KeyError, TypeError):  # not there, or written by another version
        return None
    known = _known_content(checksum)
    return None if known is None else _as_read(known, read)


def _seen(signature: str) -> tuple[str, str]:
    """The checksum of the set that was made with this signature, and its description. Raises OSError."""
    text = (sets_folder() / SEEN / signature).read_text(encoding="utf-8")
    checksum, _, description = text.partition("\n")
    return checksum if re.fullmatch("[0-9a-f]{64}", checksum) else "unknown", description


def _known_content(checksum: str) -> ImageSet | None:
    """The set of that checksum, if it is stored; a damaged one is removed."""
    folder = sets_folder() / checksum
    if not re.fullmatch("[0-9a-f]{64}", checksum) or not folder.is_dir():
        return None
    try:
        known = get_set(set_name("images", checksum))
        known.fetch()
    except (SetAbsent, DatasetUnusable):
        shutil.rmtree(folder, ignore_errors=True)
        return None
    return ImageSet(set_name(known.facts.name, checksum), folder, known.facts)


def _as_read(stored: ImageSet, read: SetFacts) -> ImageSet:
    """The stored set, with what was found at the path that was read: it may be another than the first."""
    facts = replace(
        stored.facts,
        origin=read.origin,
        layout=read.layout,
        drawn=read.drawn,
        skipped=read.skipped,
        notes=read.notes,
    )
    return ImageSet(stored.name, stored.folder, facts)


def _examples(path: Path, found: Found, pixels: Pixels, options: Options) -> _Examples:
    """The examples in the order of the set. Raises SetInvalid with all mistakes of what was found."""
    mistakes = [*found.mistakes, *_too_many(found)]
    if not options.skip_damaged:
        remedy = "replace it, or leave out all such images with --skip-damaged"
        mistakes += [f"{each}: {remedy}." for each in pixels.damaged]
    mistakes += _other_ranges(found, pixels)
    kept = np.flatnonzero(pixels.kept) if options.skip_damaged else np.arange(len(found.splits))
    labels, places = found.labels[kept], kept.tolist()
    both = [*example_digests(pixels.array, found.labels)]
    of_pixels, digests = [both[place][0] for place in places], [both[place][1] for place in places]
    splits, drawn = draw_missing(labels, found.splits[kept], of_pixels)
    mistakes += lacking(found.label_columns, labels, splits, drawn)
    if mistakes:
        raise SetInvalid(path, mistakes)
    order = sorted(range(len(kept)), key=lambda place: (splits[place], digests[place]))
    names = [found.images.name(place) for place in places]
    return _Examples(
        array=pixels.array,
        places=kept[order],
        labels=labels[order],
        digests=tuple(digests[place] for place in order),
        sizes={split: int((splits == place).sum()) for place, split in enumerate(SPLITS)},
        drawn=drawn,
        notes=tuple(_duplicates(of_pixels, labels, splits, names)),
    )


def _too_many(found: Found) -> Iterator[str]:
    """Mistakes of labels that an exported model could not be read with."""
    columns = found.label_columns
    if len(columns) > MAX_COLUMNS:
        yield f"There are {len(columns):,} columns of labels; the most are {MAX_COLUMNS}: leave some out."
    for column in columns:
        if len(column.classes) > MAX_CLASSES:
            yield (
                f"{shown(column.name)} has {len(column.classes):,} classes; the most are {MAX_CLASSES:,}: "
                "merge some, or leave them out."
            )


def _other_ranges(found: Found, pixels: Pixels) -> Iterator[str]:
    """Mistakes of images of 16 bits whose values have another range: they would be nearly black."""
    brightest = pixels.brightest
    reduced, most = brightest > 255, int(brightest.max(initial=0))
    as_they_are = (brightest > 0) & ~reduced
    if not reduced.any():
        return
    if most < DIM:
        yield (
            f"The brightest pixel of {images(int(reduced.sum()))} with 16 bits for each pixel, such as "
            f"{shown(found.images.name(int(reduced.argmax())))}, is {most:,} of {MAX_VALUE:,}: scale them to "
            "8 bits, or to 16."
        )
    elif as_they_are.any():
        yield (
            f"No value is above 255 in {images(int(as_they_are.sum()))} with 16 bits for each pixel, such as "
            f"{shown(found.images.name(int(as_they_are.argmax())))}, and others have values up to {most:,}: "
            "scale all to one range."
        )


def _duplicates(
    of_pixels: Sequence[bytes], labels: NDArray[np.int64], splits: NDArray[np.int64], names: Sequence[str]
) -> Iterator[str]:
    """Sentences about identical images."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    for place, digest in enumerate(of_pixels):
        groups[digest].append(place)
    alike = [places for places in groups.values() if len(places) > 1]
    if alike:
        extra = sum(len(places) - 1 for places in alike)
        yield f"Copies of others: {images(extra)}, such as {shown(names[alike[0][1]])}."
    across = [places for places in alike if len(set(splits[places].tolist())) > 1]
    if across:
        first = " and ".join(shown(names[place]) for place in across[0][:2])
        yield (
            f"In two splits: {images(len(across))}, such as {first}; on these a network is evaluated on what "
            "it learned from."
        )
    unlike = [places for places in alike if len(np.unique(labels[places], axis=0)) > 1]
    if unlike:
        first = " and ".join(shown(names[place]) for place in unlike[0][:2])
        yield f"With copies that have other labels: {images(len(unlike))}, such as {first}."


def _facts(
    name: str, path: Path, found: Found, pixels: Pixels, examples: _Examples, options: Options
) -> SetFacts:
    channels, height, width = pixels.array.shape[1:]
    notes = (*found.notes, *pixels.notes, *_fit_notes(found, pixels, options), *examples.notes)
    mean, deviation = _mean_and_deviation(examples)
    ends = np.cumsum([0, *examples.sizes.values()]).tolist()
    of_split = dict(zip(SPLITS, pairwise(ends), strict=True))
    return SetFacts(
        name=name,
        image_shape=(channels, height, width),
        label_columns=found.label_columns,
        sizes=examples.sizes,
        mean=mean,
        deviation=deviation,
        origin=str(path.resolve()),
        layout=found.layout,
        fit=options.fit.value if pixels.fitted.any() else None,
        drawn=tuple(split.value for split in examples.drawn),
        seed=SEED,
        counts={
            split: tuple(map(tuple, counts(found.label_columns, examples.labels[begin:end])))
            for split, (begin, end) in of_split.items()
        },
        skipped=tuple(pixels.damaged),
        notes=notes,
    )


def _fit_notes(found: Found, pixels: Pixels, options: Options) -> Iterator[str]:
    """Sentences about images that had another size than those of the set."""
    height, width = pixels.array.shape[2:]
    if not pixels.fitted.any():
        return
    rule = "" if options.size else "; their median size within 8 to 128, --size chooses another"
    count = images(int(pixels.fitted.sum()))
    yield f"Fitted to {height}×{width} pixels ({options.fit}{rule}): {count} of other sizes."
    scales = np.array([height, width]) / pixels.sizes
    least, most = scales.min(axis=1), scales.max(axis=1)
    enlarged = (least if options.fit is Fit.PAD else most) >= MUCH
    for what, which in ((HALVED[options.fit], most >= MUCH * least), ("Enlarged twice or more", enlarged)):
        if which.any():
            first = int(which.argmax())
            rows, columns = pixels.sizes[first].tolist()
            name = shown(found.images.name(first))
            yield f"{what}: {images(int(which.sum()))}, such as {name}, which is {rows}×{columns}."


def _mean_and_deviation(examples: _Examples) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Of the training pixels in [0, 1], for each channel; computed in whole numbers, so that it is exact."""
    training = examples.places[: examples.sizes[Split.TRAIN]]
    channels, height, width = examples.array.shape[1:]
    total, squares = np.zeros(channels, dtype=np.uint64), np.zeros(channels, dtype=np.uint64)
    for begin in range(0, len(training), CHUNK):
        chunk = examples.array[np.sort(training[begin : begin + CHUNK])].astype(np.uint16)
        total += chunk.sum(axis=(0, 2, 3), dtype=np.uint64)
        squares += (chunk * chunk).sum(axis=(0, 2, 3), dtype=np.uint64)
    count = len(training) * height * width
    mean, deviation = [], []
    for ones, twos in zip(map(int, total), map(int, squares), strict=True):
        mean.append(round(ones / count / 255, 6))
        # A channel that never varies is not stretched.
        deviation.append(round((count * twos - ones * ones) ** 0.5 / count / 255, 6) or 1.0)
    return tuple(mean), tuple(deviation)


def _write(made: Path, examples: _Examples, facts: SetFacts) -> None:
    """The files of a set, in a folder in `made`. Raises OSError."""
    folder = made / FINISHED
    shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed
    folder.mkdir()
    (made / ROOM).rename(folder / IMAGES)
    with (folder / IMAGES).open("r+b") as file:
        for begin in range(0, len(examples.places), CHUNK):
            file.write(examples.array[examples.places[begin : begin + CHUNK]].tobytes())
        file.truncate()
    (folder / LABELS).write_bytes(examples.labels.astype("<i8").tobytes())
    (folder / DESCRIPTION).write_text(facts.as_json(), encoding="utf-8")
    for name in (IMAGES, LABELS, DESCRIPTION):
        sync(folder / name)


def _put(made: Path, folder: Path) -> None:
    """Gives the finished folder its name. Another process may have stored the same content meanwhile."""
    try:
        made.rename(folder)
    except OSError:
        if not (folder / DESCRIPTION).is_file():
            raise
    sync(folder.parent)


@contextmanager
def _storing() -> Iterator[None]:
    """Raises DatasetError where the disk refuses."""
    try:
        yield
    except OSError as error:
        raise DatasetError(
            f"the set cannot be stored in {sets_folder()} ({error.strerror or error}): make room there, or "
            "let TUNE_DATA_DIR name another folder"
        ) from error
