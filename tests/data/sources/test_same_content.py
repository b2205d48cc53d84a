"""The way in which data came does not matter: MNIST as IDX, as folders of PNG and as .npz is one set and one
task."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from image_files import noise, write_folders, write_idx

from data.datasets.base import Split
from data.datasets.image_set import ImageSet, OpenSet, stored_sets
from data.datasets.mnist import Mnist
from data.datasets.registry import get_dataset
from data.ingest.add import add_set
from data.ingest.pixels import Options
from data.tasks.base import Augmentation
from data.tasks.registry import get_task


def test_mnist_as_idx_as_folders_and_as_npz_is_one_set(
    mnist: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = mnist.train_images[:500].numpy(), mnist.train_labels[:500].numpy()
    other = mnist.test_images[:100].numpy(), mnist.test_labels[:100].numpy()
    write_idx(tmp_path / "idx", {"train": train, "t10k": other})
    order = np.random.default_rng(1).permutation(500)
    write_folders(tmp_path / "png" / "train", train[0][order], train[1][order])
    write_folders(tmp_path / "png" / "test", *other)
    np.savez(
        tmp_path / "mnist.npz",
        train_images=train[0][::-1],
        train_labels=train[1][::-1, None],
        test_images=other[0],
        test_labels=other[1][:, None],
    )
    sets: list[OpenSet] = []
    for number, path in enumerate(("idx", "png", "mnist.npz")):
        monkeypatch.setenv("TUNE_DATA_DIR", str(tmp_path / f"cache{number}"))
        added = add_set(tmp_path / path)
        assert added.new
        sets.append(added.image_set.load())
    assert [each.description.name.split("@")[0] for each in sets] == ["idx", "png", "mnist"]
    assert len({each.checksums["content"] for each in sets}) == 1
    for split in Split:
        images, labels = sets[0].split(split)
        assert images.dtype == torch.uint8
        assert labels.dtype == torch.int64
        for each in sets[1:]:
            assert torch.equal(each.split(split).images, images)
            assert torch.equal(each.split(split).labels, labels)
    # The pixels are MNIST's own, with the labels that belong to them.
    shown = {
        (image.numpy().tobytes(), int(label))
        for split in (Split.TRAIN, Split.VALIDATION)
        for image, label in zip(*sets[0].split(split), strict=True)
    }
    assert shown == {(image.tobytes(), int(label)) for image, label in zip(*train, strict=True)}
    description = sets[0].description
    assert description.classes == tuple("0123456789")
    pixels = sets[0].split(Split.TRAIN).images.double() / 255
    assert description.mean == (pytest.approx(float(pixels.mean()), abs=1e-6),)
    assert description.deviation == (pytest.approx(float(pixels.std(correction=0)), abs=1e-6),)


def test_a_set_is_a_dataset_and_a_task_by_its_name(cache: Path, tmp_path: Path) -> None:
    images = noise(40, 9, 12, 3)
    labels = ["cat", "dog"] * 20
    added = add_set(write_folders(tmp_path / "My Pets!", images, labels))
    name = added.image_set.name
    assert name == f"my-pets@{added.image_set.checksum[:12]}"
    assert [each.name for each in stored_sets()] == [name]
    assert isinstance(get_dataset(name), ImageSet)
    task = get_task(name)
    assert task.image_shape == (3, 9, 12)
    assert [(head.name, head.labels) for head in task.heads] == [("label", ("cat", "dog"))]
    data = task.source.load()
    assert dict(data.checksums) == {"content": added.image_set.checksum}
    batch = next(task.training(data, augmentation=Augmentation(), seed=0).batches(8))
    by_pixels = {
        image.transpose(2, 0, 1).tobytes(): label for image, label in zip(images, labels, strict=True)
    }
    for image, target in zip(batch.image, batch.targets, strict=True):
        assert task.caption(target.tolist(), None) == by_pixels[image.contiguous().numpy().tobytes()]


def test_a_stored_set_is_found_by_its_content_and_keeps_its_name(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_folders(tmp_path / "first", noise(20, 8, 8), [0, 1] * 10)
    copy = write_folders(tmp_path / "second", noise(20, 8, 8), [0, 1] * 10)
    first = add_set(folder)
    assert not add_set(copy, name="other").new
    assert add_set(copy).image_set.name == first.image_set.name
    elsewhere = get_dataset(first.image_set.name.replace("first@", "other@"))
    assert elsewhere.name.startswith("other@")
    assert elsewhere.load().checksums == first.image_set.load().checksums

    def refuse(*_: object) -> None:
        raise AssertionError("files that did not change were read")

    monkeypatch.setattr("data.ingest.add.read_pixels", refuse)
    assert add_set(folder).image_set.name == first.image_set.name
    (folder / "0" / "0.png").write_bytes((folder / "0" / "2.png").read_bytes() + b"\0")
    with pytest.raises(AssertionError):
        add_set(folder)


def test_what_is_said_of_the_reading_is_of_this_path(cache: Path, tmp_path: Path) -> None:
    images, labels = noise(20, 8, 8), np.arange(20) % 2
    np.savez(tmp_path / "scaled.npz", train_images=images / 255, train_labels=labels)
    folder = write_folders(tmp_path / "folders", images, labels.tolist())
    (folder / "0" / "damaged.png").touch()
    scaled = add_set(tmp_path / "scaled.npz").image_set
    assert scaled.facts.notes == ("The pixels were in [0, 1], and were multiplied by 255.",)
    for _ in range(2):  # the second time the files are not read
        added = add_set(folder, options=Options(skip_damaged=True))
        assert (added.new, added.image_set.name) == (False, scaled.name)
        assert added.image_set.facts.notes == ()
        assert added.image_set.facts.skipped == ("0/damaged.png cannot be read (it is empty)",)
        assert added.image_set.facts.layout == "a folder for each class"
    assert add_set(tmp_path / "scaled.npz").image_set.facts == scaled.facts
    assert get_dataset(scaled.name).load().checksums == scaled.load().checksums
