"""Images in a folder for each class, in the layout of torchvision's ImageFolder, perhaps below train, val and
test."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from data.datasets.base import Split
from data.sources.base import SPLIT_NAMES, SPLITS, Found, ImageFiles, SetInvalid, images, labeled, shown
from data.sources.files import Listing, listing


def read(folder: Path) -> Found:
    """The images, labeled by the folder they lie in, at any depth below it.

    Raises SetInvalid where there are no images in folders, or folders of splits beside others.
    """
    found = listing(folder)
    splits = _split_folders(folder, found)
    depth = 1 if splits else 0
    names, classes, places, mistakes = [], [], [], list(found.mistakes)
    for name in found.images:
        parts = name.split("/")
        if len(parts) < depth + 2:
            mistakes.append(f"{shown(name)} has no label: move it into the folder of its class.")
            continue
        names.append(name)
        classes.append(parts[depth])
        places.append(SPLITS.index(splits[parts[0]] if splits else Split.TRAIN))
    if not names:
        raise SetInvalid(folder, [*found.mistakes, _no_labels(found)])
    for each in sorted({name.split("/")[depth] for name in found.folders if name.count("/") >= depth}):
        if each not in classes:
            mistakes.append(f"The folder of the class {shown(each)} holds no image: add some, or remove it.")
    columns = labeled(["label"], [classes])
    return Found(
        layout="a folder for each class" + (" below those of the splits" if splits else ""),
        images=ImageFiles(folder=folder, names=tuple(names)),
        label_columns=columns.columns,
        labels=columns.labels,
        splits=np.array(places, dtype=np.int64),
        mistakes=(*mistakes, *columns.mistakes),
        notes=found.all_notes(),
    )


def _split_folders(folder: Path, found: Listing) -> dict[str, Split]:
    """Folder → split, where all folders at the top are named after splits and one of them is for training;
    else none: they are classes.

    Raises SetInvalid where two or more are so named, one of them for training, and another is not: were they
    classes, test images would be trained on.
    """
    top = [name for name in found.folders if "/" not in name]
    splits = {name: SPLIT_NAMES[name.lower()] for name in top if name.lower() in SPLIT_NAMES}
    if Split.TRAIN not in splits.values():
        return {}
    others = [name for name in top if name not in splits]
    if others and len(splits) > 1:
        raise SetInvalid(folder, [*found.mistakes, _beside_splits([*splits], others)])
    return {} if others else splits


def _beside_splits(splits: list[str], others: list[str]) -> str:
    """The mistake where other folders lie beside those of splits."""
    *first, last = map(shown, splits)
    named = f"{', '.join(first)} and {last} are splits, and {', '.join(map(shown, others))}"
    return f"{named} {'is none: move it' if len(others) == 1 else 'are none: move them'} elsewhere."


def _no_labels(found: Listing) -> str:
    """The mistake where no image is in the folder of a class."""
    if found.images:
        return (
            f"No image is in the folder of a class ({images(len(found.images))} in all): move each into a "
            "folder with the name of its class, or write labels.csv."
        )
    others = f" among {len(found.others):,} other files" if found.others else ""
    return (
        f"There are no images{others}: PATH is a folder with a folder of images for each class (perhaps "
        "below train, val and test), a folder with labels.csv, an .npz file, or a folder of IDX files."
    )
