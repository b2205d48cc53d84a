"""What is wrong with a user's data is told at once, with file, row, rule and remedy; nothing is stored."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from image_files import noise, png, write_folders, write_idx

from data.datasets.base import DatasetError, DatasetUnusable
from data.datasets.image_set import IMAGES, sets_folder
from data.ingest import add
from data.ingest.add import add_set
from data.ingest.pixels import Options
from data.registry import SetAbsent
from data.sources.base import SetInvalid
from data.tasks.registry import get_task
from search.tasks import TaskAbsent, task_named


def good(folder: Path) -> Path:
    """A folder of two classes."""
    return write_folders(folder, noise(20, 8, 8), ["a", "b"] * 10)


def with_file(name: str | bytes, content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        good(folder)
        file = os.path.join(os.fsencode(folder), os.fsencode(name))  # noqa: PTH118  # bytes
        os.makedirs(os.path.dirname(file), exist_ok=True)  # noqa: PTH103, PTH120
        with open(file, "wb") as opened:  # noqa: PTH123
            opened.write(content)
        return folder

    return make


def table(text: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        folder.mkdir()
        for place, pixels in enumerate(noise(4, 8, 8)):
            (folder / f"{place}.png").write_bytes(png(pixels))
        (folder / "labels.csv").write_text(text)
        return folder

    return make


def npz(**arrays: object) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        np.savez(path.with_suffix(".npz"), **arrays)  # type: ignore[arg-type]
        return path.with_suffix(".npz")

    return make


def loose(folder: Path) -> Path:
    """Images that are in no folder of a class."""
    folder.mkdir(parents=True)
    for place, pixels in enumerate(noise(20, 8, 8)):
        (folder / f"{place}.png").write_bytes(png(pixels))
    return folder


def cut_idx(folder: Path) -> Path:
    write_idx(folder, {"train": (noise(10, 8, 8), [0, 1] * 5)})
    file = folder / "train-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:200])
    return folder


def bomb() -> bytes:
    """A PNG that declares 60,000 × 60,000 pixels."""
    content = bytearray(png(noise(1, 8, 8)[0]))
    content[16:24] = (60_000).to_bytes(4, "big") * 2
    import zlib

    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


PIXELS, LABELS = noise(10, 8, 8), np.arange(10) % 2

CASES: dict[str, tuple[Callable[[Path], Path], tuple[str, ...]]] = {
    "nothing": (lambda path: path, ("There is nothing at this path",)),
    "an empty folder": (lambda path: (path.mkdir(), path)[1], ("There are no images", "labels.csv")),
    "one class": (lambda path: write_folders(path, PIXELS, ["a"] * 10), ("one class, a",)),
    "a class of one": (
        lambda path: write_folders(path, noise(21, 8, 8), ["a", "b"] * 10 + ["c"]),
        ("The class c has too few images (1) to draw one for validation",),
    ),
    "an empty class": (
        lambda path: ((path / "c").mkdir(parents=True), good(path))[1],
        ("The folder of the class c holds no image",),
    ),
    "names that differ by case": (
        lambda path: write_folders(path, noise(40, 8, 8), ["a", "b", "A", "B"] * 10),
        ("The classes A and a of label differ by case alone", "The classes B and b"),
    ),
    "a line break in a name": (
        lambda path: write_folders(path, noise(40, 8, 8), ["a", "new\nline"] * 20),
        ("The class 'new\\nline' of label", "rename it"),
    ),
    "no label": (with_file("x.png", png(PIXELS[0])), ("x.png has no label",)),
    "zero bytes": (with_file("a/x.png", b""), ("a/x.png cannot be read (it is empty)", "--skip-damaged")),
    "no image": (with_file("a/x.png", b"GIF?"), ("a/x.png cannot be read",)),
    "cut off": (with_file("b/x.png", png(noise(1, 60, 60)[0])[:900]), ("b/x.png cannot be read",)),
    "a bomb": (with_file("b/x.png", bomb()), ("b/x.png cannot be read (it", "pixels")),
    "another encoding": (with_file(b"a/\xff.png", b""), ("a/\\udcff.png is not UTF-8",)),
    "a class of another encoding": (with_file(b"\xff/x.png", b""), ("is not UTF-8",)),
    "values of 12 bits": (
        lambda path: write_folders(path, PIXELS.astype(np.uint16) * 16, ["a", "b"] * 5),
        ("10 images with 16 bits for each pixel, such as a/0.png", "is 4,080 of 65,535: scale"),
    ),
    "values of 8 bits beside those of 16": (
        lambda path: (
            with_file("a/x.png", png(np.full((8, 8), 60_000, np.uint16)))(path)
            and with_file("a/y.png", png(np.full((8, 8), 200, np.uint16)))(path)
        ),
        ("1 image with 16 bits for each pixel, such as a/y.png", "others have values up to 60,000"),
    ),
    "a folder beside those of splits": (
        lambda path: good(good(good(path / "train").parent / "test").parent / "unlabeled").parent,
        ("test and train are splits, and unlabeled is none: move it",),
    ),
    "two mistakes": (
        lambda path: with_file("a/x.png", b"")(path) and with_file("y.png", b"")(path),
        ("2 mistakes", "a/x.png", "y.png"),
    ),
    "a label without a file": (
        table("file,label\n0.png,a\n1.png,b\n2.png,a\n9.png,b\n"),
        ("Row 5 labels 9.png, which is not there", "3.png has no label: add a row"),
    ),
    "rows": (
        table("file,label,split\n0.png,,train\n1.png,a,holdout\n1.png,b,val\n2.png,a\n3.png,a,test\n"),
        (
            "Row 2 has no label",
            "Row 3 has the split 'holdout'",
            "Row 4 names 1.png, as row 3",
            "Row 5 has 2 cells",
        ),
    ),
    "no column of files": (table("name,label\n0.png,a\n"), ("one of which is `file`",)),
    "no labels": (table("file\n0.png\n"), ("no column of labels",)),
    "a reserved name": (table("file,joint,a b\n0.png,a,b\n"), ("'joint'", "'a b'")),
    "65 columns of labels": (
        npz(train_images=PIXELS, train_labels=np.tile(LABELS[:, None], 65)),
        ("There are 65 columns of labels; the most are 64: leave some out",),
    ),
    "10,001 classes": (
        npz(train_images=noise(10_001, 8, 8), train_labels=np.arange(10_001)),
        ("label has 10,001 classes; the most are 10,000: merge some",),
    ),
    "objects": (
        npz(train_images=np.array([{}, []], dtype=object), train_labels=LABELS),
        ("train_images holds Python objects, which are never unpacked",),
    ),
    "counts": (npz(train_images=PIXELS, train_labels=LABELS[:9]), ("10 images, and train_labels 9 labels",)),
    "shapes": (
        npz(train_images=PIXELS, train_labels=LABELS, val_images=noise(4, 9, 8), val_labels=LABELS[:4]),
        ("val_images has images of (9, 8)",),
    ),
    "no array of images": (
        npz(images=PIXELS, labels=LABELS),
        ("It has images, labels: name them train_images",),
    ),
    "NaN": (
        npz(train_images=np.where(np.arange(10)[:, None, None] == 7, np.nan, PIXELS), train_labels=LABELS),
        ("train_images[7] has pixels that are NaN",),
    ),
    "values": (
        npz(train_images=PIXELS.astype(int) * 3 - 9, train_labels=LABELS),
        ("pixels go from 0 to 255",),
    ),
    "fractions": (npz(train_images=PIXELS / 7, train_labels=LABELS), ("all in [0, 1], or whole",)),
    "whole labels of floats": (
        npz(train_images=PIXELS, train_labels=LABELS / 1),
        ("labels of the type float64", ".astype('int64')"),
    ),
    "labels of fractions": (
        npz(train_images=PIXELS, train_labels=LABELS / 2),
        ("train_labels[1] is 0.5: classes are whole numbers or text; correct the label",),
    ),
    "labels that are NaN": (
        npz(train_images=PIXELS, train_labels=np.where(np.arange(10) == 4, np.nan, LABELS)[:, None]),
        ("train_labels[4, 0] is nan",),
    ),
    "labels beyond 64 bits": (
        npz(train_images=PIXELS, train_labels=np.where(np.arange(10) == 4, 1e30, LABELS)),
        ("train_labels[4] is 1e+30",),
    ),
    "labels of bytes": (
        npz(train_images=PIXELS, train_labels=np.array([b"a", b"b"] * 5)),
        ("labels of the type |S1", "write them as int64 or str"),
    ),
    "one-hot labels": (
        npz(train_images=PIXELS, train_labels=np.eye(4)[np.arange(10) % 4]),
        ("train_labels: the labels are one-hot", "each row of 4 columns", "write .argmax(1)"),
    ),
    "one-hot labels in a table": (
        table("file,x,y,z\n0.png,1,0,0\n1.png,0,1,0\n2.png,0,1,0\n3.png,1,0,0\n"),
        ("Its 3 columns of labels are one-hot", "write one column with the name of the class"),
    ),
    "channels before height": (
        npz(train_images=noise(10, 3, 8, 8), train_labels=LABELS),
        ("has the shape (10, 3, 8, 8)", "write .transpose(0, 2, 3, 1)"),
    ),
    "no folder of a class": (loose, ("own: No image is in the folder of a class (20 images in all)",)),
    "no folder of a class in a split": (
        lambda path: loose(path / "train").parent,
        ("own: No image is in the folder of a class (20 images in all)", "or write labels.csv"),
    ),
    "IDX cut off": (cut_idx, ("train-images-idx3-ubyte.gz is damaged (damaged gzip: it is cut off)",)),
}


@pytest.mark.parametrize(("make", "phrases"), CASES.values(), ids=CASES)
def test_a_mistake_is_told_and_nothing_is_stored(
    make: Callable[[Path], Path], phrases: tuple[str, ...], cache: Path, tmp_path: Path
) -> None:
    path = make(tmp_path / "own")
    with pytest.raises(SetInvalid) as caught:
        add_set(path)
    for phrase in phrases:
        assert phrase in str(caught.value)
    assert [each for each in cache.rglob("*") if each.name not in ("sets", "seen")] == []


def test_of_many_mistakes_ten_are_written_out(cache: Path, tmp_path: Path) -> None:
    folder = good(tmp_path / "own")
    for number in range(13):
        (folder / "a" / f"empty{number:02}.png").touch()
    with pytest.raises(SetInvalid) as caught:
        add_set(folder)
    lines = str(caught.value).splitlines()
    assert "13 mistakes" in lines[0]
    assert len(lines) == 12
    assert lines[-1] == "  and 3 more."
    image_set = add_set(folder, options=Options(skip_damaged=True)).image_set
    assert sum(image_set.sizes.values()) == 20
    assert len(image_set.facts.skipped) == 13
    assert "a/empty00.png cannot be read (it is empty)" in image_set.facts.skipped


def test_identical_images_in_two_splits_are_told(cache: Path, tmp_path: Path) -> None:
    images = noise(30, 8, 8)
    write_folders(tmp_path / "own" / "train", images, ["a", "b"] * 15)
    write_folders(tmp_path / "own" / "test", images[[4, 5, 6]], ["a", "b", "b"])
    notes = add_set(tmp_path / "own").image_set.facts.notes
    assert any(note.startswith("In two splits: 3 images, such as ") for note in notes)
    assert any(note.startswith("With copies that have other labels: 1 image, such as ") for note in notes)


def test_links_lead_anywhere_but_in_circles(cache: Path, tmp_path: Path) -> None:
    good(tmp_path / "elsewhere")
    folder = tmp_path / "own"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / name).symlink_to(tmp_path / "elsewhere" / name)
    (tmp_path / "elsewhere" / "a" / "up").symlink_to(folder)
    image_set = add_set(folder).image_set
    assert sum(image_set.sizes.values()) == 20
    assert any("a/up leads to a folder that was read already" in note for note in image_set.facts.notes)


def test_a_folder_that_changes_while_it_is_read_is_refused(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, genuine = good(tmp_path / "own"), add.read_pixels

    def reading(*arguments: object) -> object:
        (folder / "a" / "new.png").write_bytes(png(PIXELS[0]))
        return genuine(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(add, "read_pixels", reading)
    with pytest.raises(DatasetUnusable, match=r"changed while it was read \(a/new\.png\)"):
        add_set(folder)


def test_files_of_studies_are_no_images_and_may_change(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, genuine = good(tmp_path / "own"), add.read_pixels
    (folder / "studies.artifacts" / "1").mkdir(parents=True)
    (folder / "studies.artifacts" / "1" / "digit.png").write_bytes(png(PIXELS[0]))
    (folder / "studies.db").touch()

    def reading(*arguments: object) -> object:
        for name in ("studies.db", "studies.db-wal", "studies.artifacts/1/trial.safetensors"):
            (folder / name).write_text("a study continues")
        return genuine(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(add, "read_pixels", reading)
    image_set = add_set(folder).image_set
    assert image_set.classes == ("a", "b")
    assert sum(image_set.sizes.values()) == 20
    left_out = "No images by their names, and left out: studies.artifacts, studies.db (2 in all)."
    assert left_out in image_set.facts.notes
    monkeypatch.setattr(add, "read_pixels", None)  # the images did not change, and are not read again
    (folder / "studies.db").write_text("another study")
    assert not add_set(folder).new


def test_a_disk_that_refuses_leaves_nothing(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(add, "sync", full)
    with pytest.raises(DatasetError, match="No space left on device"):
        add_set(good(tmp_path / "own"))
    assert [each.name for each in sets_folder().iterdir()] == ["seen"]


def test_a_damaged_set_is_refused_and_added_anew(cache: Path, tmp_path: Path) -> None:
    folder = good(tmp_path / "own")
    image_set = add_set(folder).image_set
    file = image_set.folder / IMAGES
    content = bytearray(file.read_bytes())
    content[5] ^= 1
    file.write_bytes(content)
    with pytest.raises(DatasetUnusable, match="has SHA-256"):
        image_set.load()
    file.write_bytes(content[:-1])
    with pytest.raises(DatasetUnusable, match="has 1,279 bytes of images, where 1,280 belong"):
        image_set.load()
    assert add_set(folder).new
    image_set.load()


def test_a_set_that_is_not_stored_here_is_absent(cache: Path, tmp_path: Path) -> None:
    name = "pets@0123456789ab"
    with pytest.raises(SetAbsent):
        get_task(name)
    with pytest.raises(
        TaskAbsent, match=r"The set of images pets@0123456789ab is not stored in .*data add PATH"
    ):
        task_named(name)
    image_set = add_set(good(tmp_path / "own")).image_set
    (image_set.folder / "set.json").write_text("{}")
    with pytest.raises(TaskAbsent, match="cannot be read from"):
        task_named(image_set.name)
