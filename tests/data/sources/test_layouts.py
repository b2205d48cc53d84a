"""What is read from each layout, and the rules for sizes, channels and splits."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from image_files import noise, png, write_folders, write_idx
from PIL import Image

from data.datasets.base import Split
from data.images import Fit
from data.ingest.add import add_set
from data.ingest.pixels import Options, shape_for
from data.ingest.splits import draw_missing
from data.sources.base import labeled


def test_a_table_has_several_columns_of_labels_and_the_splits(cache: Path, tmp_path: Path) -> None:
    images = noise(24, 8, 8)
    folder = tmp_path / "table"
    (folder / "deep").mkdir(parents=True)
    rows = []
    for place, pixels in enumerate(images):
        name = f"deep/{place}.png" if place % 2 else f"{place}.png"
        (folder / name).write_bytes(png(pixels))
        split = ["train", "Train", "val", "test"][place // 2 % 4]
        rows.append([name, ["round", "flat"][place % 2], str(place % 3 + 9), split])
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([["file", "form", "size", "split"], *rows])
    image_set = add_set(folder / "labels.csv").image_set
    assert image_set.title == "table"
    assert [(each.name, each.classes) for each in image_set.label_columns] == [
        ("form", ("flat", "round")),
        ("size", ("9", "10", "11")),
    ]
    assert [*image_set.sizes.values()] == [12, 6, 6]
    assert image_set.facts.drawn == ()
    known = {images[place].tobytes(): row for place, row in enumerate(rows)}
    for split in Split:
        for image, label in zip(*image_set.load().split(split), strict=True):
            row = known[image.numpy().tobytes()]
            assert [
                c.classes[n] for c, n in zip(image_set.label_columns, label.tolist(), strict=True)
            ] == row[1:3]
            assert row[3].lower() == {"validation": "val"}.get(split.value, split.value)


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (np.arange(0, 640).reshape(10, 8, 8) % 17.0, "as they are"),
        (np.arange(0, 640).reshape(10, 8, 8) / 639, "times 255"),
        ((np.arange(0, 640).reshape(10, 8, 8) // np.arange(1, 9)) % 3 == 0, "times 255"),
        ((np.arange(0, 640).reshape(10, 8, 8) // 3 % 200).astype(np.int32), "as they are"),
    ],
    ids=["whole floats", "unit interval", "truth values", "integers"],
)
def test_pixels_of_arrays(images: np.ndarray, expected: str, cache: Path, tmp_path: Path) -> None:  # type: ignore[type-arg]
    """Whole numbers stay as they are, [0, 1] is multiplied by 255."""
    np.savez(tmp_path / "x.npz", train_images=images, train_labels=np.arange(10) % 2)
    data = add_set(tmp_path / "x.npz").image_set.load()
    found = sorted(
        data.split(split).images[i].numpy().tobytes()
        for split in Split
        for i in range(len(data.split(split).images))
    )
    factor = 255 if expected == "times 255" else 1
    assert found == sorted(np.rint(each * factor).astype(np.uint8).tobytes() for each in images.astype(float))


@pytest.mark.parametrize(
    ("sizes", "shape"),
    [
        ([(28, 28)] * 3, (28, 28)),
        ([(8, 128)] * 2, (8, 128)),
        ([(10, 20), (30, 20), (20, 24)], (20, 20)),
        ([(480, 640)] * 2, (96, 128)),
        ([(4, 6)], (8, 12)),
        ([(2000, 10)], (128, 8)),
    ],
)
def test_the_size_of_a_set(sizes: list[tuple[int, int]], shape: tuple[int, int]) -> None:
    assert shape_for(sizes) == shape


def test_images_of_many_kinds_become_one_shape(cache: Path, tmp_path: Path) -> None:
    """Gray beside RGB is RGB, and other sizes are fitted; a camera's EXIF turns an image."""
    folder = write_folders(tmp_path / "mixed", noise(12, 16, 16), ["a", "b"] * 6)
    (folder / "a" / "color.png").write_bytes(png(noise(1, 16, 16, 3)[0]))
    (folder / "a" / "notes.txt").write_text("by hand")
    Image.fromarray(noise(1, 30, 10)[0]).save(folder / "b" / "tall.jpg", exif=_turned())
    image_set = add_set(folder, options=Options(fit=Fit.CROP)).image_set
    assert image_set.image_shape == (3, 16, 16)
    assert image_set.facts.fit == "crop"
    assert any(
        each.startswith("Fitted to 16×16 pixels (crop") and "1 image of" in each
        for each in image_set.facts.notes
    )
    assert any("left out: a/notes.txt (1 in all)" in each for each in image_set.facts.notes)
    assert any("1 image: It was turned upright" in each for each in image_set.facts.notes)
    gray = add_set(folder, options=Options(channels=1, size=(20, 24))).image_set
    assert gray.image_shape == (1, 20, 24)
    assert gray.checksum != image_set.checksum


@pytest.mark.parametrize("name", ["turned.png", "turned.jpg"])
def test_the_shape_of_a_set_is_that_of_upright_images(name: str, cache: Path, tmp_path: Path) -> None:
    for place, pixels in enumerate(noise(20, 10, 30)):
        file = tmp_path / "own" / f"class{place % 2}" / f"{place}{name}"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file, exif=_turned())
    image_set = add_set(tmp_path / "own").image_set
    assert image_set.image_shape == (1, 30, 10)
    assert image_set.facts.fit is None


@pytest.mark.parametrize(
    ("fit", "told"),
    [
        (Fit.PAD, ["Borders take at least half: 2 images, such as a/0.png, which is 400×3."]),
        (Fit.CROP, ["At least half was cut off: 2 images, such as a/0.png, which is 400×3."]),
        (
            Fit.STRETCH,
            ["Distorted to twice their proportions or more: 2 images, such as a/0.png, which is 400×3."],
        ),
    ],
)
def test_images_of_other_proportions_are_told(fit: Fit, told: list[str], cache: Path, tmp_path: Path) -> None:
    folder = write_folders(tmp_path / "own", noise(18, 16, 16), ["a", "b"] * 9)
    for name in ("a/0.png", "b/1.png"):
        (folder / name).write_bytes(png(noise(1, 400, 3, seed=int(name[2]))[0]))
    (folder / "b" / "3.png").write_bytes(png(noise(1, 8, 8)[0]))
    notes = add_set(folder, options=Options(fit=fit)).image_set.facts.notes
    enlarged = "Enlarged twice or more: 1 image, such as b/3.png, which is 8×8."
    if fit is not Fit.PAD:  # the narrow ones fill the width
        enlarged = "Enlarged twice or more: 3 images, such as a/0.png, which is 400×3."
    assert [*notes[1:]] == [*told, enlarged]
    assert notes[0].startswith("Fitted to 16×16 pixels")


@pytest.mark.parametrize(
    ("brightest", "told"),
    [
        (16, "The brightest pixel is 16 of 255. If 16 is white, multiply the images by 255 / 16"),
        (1, "The brightest pixel is 1 of 255."),
        (128, ""),
    ],
)
def test_arrays_whose_white_is_another_number_are_told(
    brightest: int, told: str, cache: Path, tmp_path: Path
) -> None:
    images = noise(20, 8, 8) % (brightest + 1)
    images[:, 0, 0] = brightest
    np.savez(tmp_path / "x.npz", train_images=images, train_labels=np.arange(20) % 2)
    notes = add_set(tmp_path / "x.npz").image_set.facts.notes
    assert [note[: len(told)] for note in notes] == ([told] if told else [])


def test_several_questions_that_are_answered_with_0_and_1_are_not_one_hot(
    cache: Path, tmp_path: Path
) -> None:
    labels = np.eye(3, dtype=int)[np.arange(20) % 3]
    labels[0] = 1, 1, 0
    np.savez(tmp_path / "x.npz", train_images=noise(20, 8, 8), train_labels=labels)
    assert len(add_set(tmp_path / "x.npz").image_set.label_columns) == 3


def test_colors_that_are_gray_are_gray(cache: Path, tmp_path: Path) -> None:
    gray = noise(20, 8, 8)
    plain = add_set(write_folders(tmp_path / "plain", gray, [0, 1] * 10)).image_set
    rgb = add_set(write_folders(tmp_path / "rgb", gray[..., None].repeat(3, -1), [0, 1] * 10))
    assert rgb.image_set.checksum == plain.checksum


def test_splits_that_lack_are_drawn_by_class_and_copies_stay_together() -> None:
    labels = np.array([[0]] * 100 + [[1]] * 30 + [[2]] * 3)
    pixels = [bytes([place // 2]) * 32 for place in range(133)]  # each image twice
    splits, drawn = draw_missing(labels, np.zeros(133, dtype=np.int64), pixels)
    assert drawn == (Split.TEST, Split.VALIDATION)
    for label, size in ((0, 100), (1, 30)):
        for place in (1, 2):
            assert abs(int((splits[labels[:, 0] == label] == place).sum()) - size / 10) <= 2
    assert all(splits[place] == splits[place + 1] for place in range(0, 132, 2))
    backwards, _ = draw_missing(labels[::-1], np.zeros(133, dtype=np.int64), pixels[::-1])
    assert (backwards[::-1] == splits).all(), "the order in which examples come does not matter"


def test_every_class_of_every_column_is_drawn() -> None:
    rng = np.random.default_rng(0)
    labels = np.stack([rng.integers(0, 3, 300), (np.arange(300) < 4).astype(int)], axis=1)
    splits, _ = draw_missing(
        labels, np.zeros(300, dtype=np.int64), [bytes([n % 256, n // 256]) for n in range(300)]
    )
    for column in range(2):
        for label in np.unique(labels[:, column]):
            of_label = splits[labels[:, column] == label]
            assert [(of_label == place).any() for place in range(3)] == [True] * 3
    assert 25 <= (splits == 1).sum() <= 35


def test_a_set_with_splits_keeps_them_and_only_the_lacking_one_is_drawn(cache: Path, tmp_path: Path) -> None:
    images = noise(60, 8, 8)
    arrays = {"train": (images[:40], [1, 12] * 20), "t10k": (images[40:], [1, 12] * 10)}
    image_set = add_set(write_idx(tmp_path / "idx", arrays)).image_set
    assert [*image_set.sizes.values()] == [36, 4, 20]
    assert image_set.facts.drawn == ("validation",)
    assert image_set.classes == ("1", "12")


@pytest.mark.parametrize("others", [["test_set", "Validation"], ["bus"]], ids=["splits", "classes"])
def test_folders_are_splits_where_all_are_so_named(others: list[str], cache: Path, tmp_path: Path) -> None:
    for place, name in enumerate(["training_set", *others]):
        write_folders(tmp_path / "own" / name, noise(20, 8, 8, seed=place), ["a", "b"] * 10)
    image_set = add_set(tmp_path / "own").image_set
    if "bus" in others:  # no other one is named after a split
        assert image_set.classes == ("bus", "training_set")
    else:
        assert image_set.classes == ("a", "b")
        assert [*image_set.sizes.values()] == [20, 20, 20]


def test_classes_that_are_numbers_are_in_their_order() -> None:
    assert labeled(["x"], [["10", "9", "-1"]]).columns[0].classes == ("-1", "9", "10")
    assert labeled(["x"], [["10", "9", "a"]]).columns[0].classes == ("10", "9", "a")


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif
