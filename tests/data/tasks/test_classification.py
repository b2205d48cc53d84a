"""The task of a labeled dataset: each image as it is, in color or gray, with one answer or several."""

from __future__ import annotations

from itertools import islice

import pytest
import torch
from made_images import SHADES, SIDES, SIZES, MadeImages

from data.datasets.base import Split
from data.datasets.mnist import MNIST, Mnist
from data.tasks.base import Augmentation, Head
from data.tasks.classification import Classification
from data.tasks.classification_batches import CHUNK_BYTES
from search.objectives.network.decoding import signature_of

MADE = MadeImages()
TASK = Classification(MADE)
DATA = MADE.load()

AUGMENTATIONS = [
    Augmentation(),
    Augmentation(shift=2),
    Augmentation(flip=True),
    Augmentation(shift=1, flip=True),
    Augmentation(affine=1.0),
    Augmentation(affine=0.5, shift=1, flip=True),
]


def as_rows(images: torch.Tensor) -> list[bytes]:
    return [image.tobytes() for image in images.numpy()]


def test_it_asks_what_the_dataset_is_labeled_with() -> None:
    assert (TASK.name, TASK.title) == ("made@0123456789ab", "Made images")
    assert TASK.heads == (
        Head(name="shade", classes=3, labels=("dark", "gray", "bright")),
        Head(name="side", classes=2, labels=("left", "right")),
    )
    assert (TASK.image_shape, TASK.numbers, TASK.composes) == ((3, 12, 10), 0, False)
    signature = signature_of(TASK)
    assert (signature.image, signature.heads) == ((3, 12, 10), (("shade", 3), ("side", 2)))
    assert signature.mean == (0.4, 0.4, 0.4)
    assert TASK.caption([2, 0], None) == "bright · left"
    assert Classification(MNIST).heads == (Head(name="label", classes=10, labels=tuple("0123456789")),)


@pytest.mark.parametrize("split", ["validation", "test"])
def test_an_evaluation_has_every_image_once_as_it_is(split: str) -> None:
    evaluation = getattr(TASK, split)(DATA)
    images, labels = DATA.split(Split(split))
    for size in (7, 1000):
        batches = list(evaluation.batches(size))
        assert torch.equal(torch.cat([batch.image for batch in batches]), images)
        assert torch.equal(torch.cat([batch.targets for batch in batches]), labels)
    places = {"validation": TASK.validation_digits, "test": TASK.test_digits}[split]()
    assert places.tolist() == [[number] for number in range(SIZES[Split(split)])]
    assert TASK.validation_images() == SIZES[Split.VALIDATION]


def test_an_epoch_has_every_training_image_once_in_another_order_each_time() -> None:
    stream = TASK.training(DATA, augmentation=Augmentation(), seed=1)
    epochs = list(islice(stream.batches(TASK.epoch_examples), 2))
    images = as_rows(DATA.split(Split.TRAIN).images)
    for epoch in epochs:
        assert sorted(as_rows(epoch.image)) == sorted(images)
        of_image = dict(zip(images, DATA.split(Split.TRAIN).labels.tolist(), strict=True))
        assert [of_image[image] for image in as_rows(epoch.image)] == epoch.targets.tolist()
    assert not torch.equal(epochs[0].image, epochs[1].image)


@pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=lambda a: f"{a}{' flip' * a.flip}")
@pytest.mark.parametrize("shape", [(1, 9, 9), (3, 12, 10), (1, 8, 16)], ids=str)
def test_augmentation_keeps_order_labels_and_form(
    augmentation: Augmentation, shape: tuple[int, int, int]
) -> None:
    made = MadeImages(shape)
    task, data = Classification(made), made.load()
    plain, moved = (
        next(task.training(data, augmentation=each, seed=3).batches(250))
        for each in (Augmentation(), augmentation)
    )
    assert torch.equal(plain.targets, moved.targets)
    assert moved.image.shape == (250, *shape)
    assert moved.image.dtype == torch.uint8
    assert torch.equal(plain.image, moved.image) == (augmentation == Augmentation())
    again = torch.cat(
        [b.image for b in islice(task.training(data, augmentation=augmentation, seed=3).batches(50), 5)]
    )
    assert torch.equal(again, moved.image), "an example depends on its place alone"


def test_a_flip_mirrors_half_of_the_images_left_to_right() -> None:
    plain, moved = (
        next(TASK.training(DATA, augmentation=each, seed=0).batches(300)).image
        for each in (Augmentation(), Augmentation(flip=True))
    )
    mirrored = (moved == plain.flip(-1)).flatten(1).all(1)
    kept = (moved == plain).flatten(1).all(1)
    assert (mirrored | kept).all()
    assert 120 < mirrored.sum() < 180


def test_the_order_is_of_the_content_and_not_of_the_name_that_people_gave() -> None:
    one, same, other = (
        next(
            Classification(MadeImages(name=name))
            .training(DATA, augmentation=Augmentation(shift=1), seed=0)
            .batches(100)
        ).image
        for name in ("made@0123456789ab", "renamed@0123456789ab", "made@ba9876543210")
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_mnist_is_read_as_any_gray_images(mnist: Mnist) -> None:
    task = Classification(MNIST)
    batch = next(task.training(mnist, augmentation=Augmentation(affine=1.0), seed=0).batches(64))
    assert batch.image.shape == (64, 1, 28, 28)
    assert batch.targets.shape == (64, 1)
    validation = task.validation(mnist)
    assert validation.examples == task.validation_images() == 6_000
    assert torch.equal(next(validation.batches(6_000)).targets[:, 0], mnist.split(Split.VALIDATION).labels)


def test_the_training_sample_is_as_large_as_validation_and_of_training_images() -> None:
    sample = next(TASK.training_sample(DATA).batches(1000))
    assert len(sample.image) == SIZES[Split.VALIDATION]
    assert set(as_rows(sample.image)) <= set(as_rows(DATA.split(Split.TRAIN).images))


def test_large_images_are_composed_few_at_a_time() -> None:
    large = MadeImages((3, 128, 128), sizes={Split.TRAIN: 40, Split.VALIDATION: 30, Split.TEST: 1})
    stream = Classification(large).training(large.load(), augmentation=Augmentation(), seed=0)
    assert stream.chunk * 3 * 128 * 128 <= CHUNK_BYTES
    assert len(next(stream.batches(64)).image) == 64


def test_the_majority_is_the_share_of_the_most_frequent_class() -> None:
    counted = MadeImages(counts=((3, 10, 7), (15, 5)))
    shade, left = SHADES.classes[1], SIDES.classes[0]
    assert Classification(counted).majority() == {"shade": (shade, 0.5), "side": (left, 0.75)}
    balanced = MadeImages(counts=((6, 8, 6), (15, 5)))
    assert Classification(balanced).majority() == {"side": (left, 0.75)}, "nothing is to be said of shade"
    assert Classification(MadeImages()).majority() == {}, "not known without opening it"
