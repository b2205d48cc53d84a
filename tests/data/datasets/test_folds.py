"""Folds divide the 60,000 training digits in ten ways, and never show a test digit."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from data.datasets.base import Split
from data.datasets.mnist import MNIST, Mnist
from data.tasks.base import Augmentation, Task
from data.tasks.digits import digits_of
from data.tasks.registry import TASKS

FOLDS = range(MNIST.folds)
PART = 6_000


@pytest.fixture(scope="module")
def numbered(mnist: Mnist) -> Mnist:
    """A digit's label is its place in the file."""
    return replace(mnist, train_labels=torch.arange(60_000))


@pytest.mark.parametrize("number", FOLDS)
def test_validation_and_training_are_all_digits_without_overlap(number: int, numbered: Mnist) -> None:
    fold = numbered.fold(number)
    train, validation = fold.split(Split.TRAIN), fold.split(Split.VALIDATION)
    held_out = list(range(PART * number, PART * (number + 1)))
    assert validation.labels.tolist() == held_out
    assert train.labels.tolist() == [place for place in range(60_000) if place // PART != number]
    for part in (train, validation):
        assert torch.equal(part.images, numbered.train_images[part.labels])
    assert {Split.TRAIN: len(train.images), Split.VALIDATION: len(validation.images)} == {
        split: MNIST.sizes[split] for split in (Split.TRAIN, Split.VALIDATION)
    }


def test_every_digit_validates_in_exactly_one_fold(numbered: Mnist) -> None:
    validated = torch.cat([numbered.fold(number).split(Split.VALIDATION).labels for number in FOLDS])
    assert torch.equal(validated.sort().values, torch.arange(60_000))


@pytest.mark.parametrize("split", [Split.TRAIN, Split.VALIDATION])
def test_the_last_fold_is_the_usual_division_without_a_copy(split: Split, mnist: Mnist) -> None:
    fold, usual = mnist.fold(9).split(split), mnist.split(split)
    for mine, theirs in zip(fold, usual, strict=True):
        assert torch.equal(mine, theirs)
        assert mine.data_ptr() == theirs.data_ptr()


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_the_last_fold_gives_the_usual_batches(task: Task, mnist: Mnist) -> None:
    augmentation = Augmentation(affine=1.0)
    streams = [task.training(data, augmentation=augmentation, seed=3) for data in (mnist, mnist.fold(9))]
    sets = [task.validation(data) for data in (mnist, mnist.fold(9))]
    for one, other in ((next(s.batches(500)) for s in streams), (next(s.batches(500)) for s in sets)):
        assert torch.equal(one.image, other.image)
        assert torch.equal(one.targets, other.targets)


@pytest.mark.parametrize("number", [0, 4, 9])
def test_the_test_split_is_refused(number: int, mnist: Mnist) -> None:
    with pytest.raises(ValueError, match="no test split"):
        mnist.fold(number).split(Split.TEST)
    for task in TASKS.values():
        with pytest.raises(ValueError, match="no test split"):
            task.test(mnist.fold(number))


@pytest.mark.parametrize("number", [-1, 10])
def test_a_fold_that_does_not_exist_is_refused(number: int, mnist: Mnist) -> None:
    with pytest.raises(ValueError, match=f"fold must be 0 to 9, not {number}"):
        mnist.fold(number)


def test_parts_that_do_not_come_out_even_are_refused(mnist: Mnist) -> None:
    few = replace(mnist, train_images=mnist.train_images[:58_000], train_labels=mnist.train_labels[:58_000])
    with pytest.raises(
        ValueError, match="54000 training examples are not a multiple of 4000 validation examples"
    ):
        few.fold(0)


def test_a_fold_of_a_fold_is_one_of_the_dataset(mnist: Mnist) -> None:
    assert mnist.fold(2).fold(5) == mnist.fold(5) != mnist.fold(2)
    assert mnist.fold(2).checksums == mnist.checksums


def test_trials_of_one_fold_share_its_copy(mnist: Mnist) -> None:
    first, second = (digits_of(mnist.fold(3), Split.TRAIN).images for _ in range(2))
    assert first.data_ptr() == second.data_ptr()
    held_out = digits_of(mnist.fold(3), Split.VALIDATION).images
    assert held_out.data_ptr() == mnist.train_images.data_ptr() + 3 * PART * 28 * 28, "a view"


@pytest.fixture
def _few_objects_to_look_at() -> Iterator[None]:
    """What other tests left behind is not looked at by the garbage collector, which takes a second for it."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("_few_objects_to_look_at")
@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_a_worker_that_goes_through_folds_keeps_two_copies_at_most(task: Task, mnist: Mnist) -> None:
    seen: list[weakref.ref[torch.Tensor]] = []
    for number in (0, 1, 2, 3, 0):
        fold = mnist.fold(number)
        task.training(fold, augmentation=Augmentation(), seed=1)
        task.validation(fold)
        task.training_sample(fold)
        seen.append(weakref.ref(digits_of(fold, Split.TRAIN).images))
        gc.collect()
        assert sum(images() is not None for images in seen) <= 2


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
@pytest.mark.parametrize("number", [0, 6])
def test_nothing_that_a_fold_trains_on_is_held_out(task: Task, number: int, mnist: Mnist) -> None:
    """The digits that it holds out become white squares: none may show but in validation."""
    images = mnist.train_images.clone()
    images[PART * number : PART * (number + 1)] = 255
    fold = replace(mnist, train_images=images).fold(number)
    stream = task.training(fold, augmentation=Augmentation(), seed=1)
    whole_epoch = next(stream.batches(task.epoch_examples)).image
    sample = torch.cat([batch.image for batch in task.training_sample(fold).batches(1000)])
    for shown in (whole_epoch, sample):
        assert shown[:, 0, 0, 0].max() < 255  # no digit has full ink in its corner, a square has
        assert shown[:, 0, -1, -1].max() < 255
    validation = next(task.validation(fold).batches(1000)).image
    assert (validation == 255).all()
