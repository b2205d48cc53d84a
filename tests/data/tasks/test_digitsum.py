"""Every sum is right, training numbers are fixed or fresh as asked, validation asks everything once."""

import hashlib

import pytest
import torch

from data.datasets.base import Split
from data.datasets.mnist import Mnist
from data.tasks.base import Augmentation, Batch, Pairing
from data.tasks.digits import digits_of
from data.tasks.digitsum import DigitSum
from data.tasks.digitsum_batches import compose, fixed_numbers

TASK = DigitSum()


def epoch_of(mnist: Mnist, epoch: int, *, seed: int = 5, **augmentation: object) -> Batch:
    stream = TASK.training(mnist, augmentation=Augmentation(**augmentation), seed=seed)  # type: ignore[arg-type]
    return next(iter(stream.batches(stream.examples, start=epoch * stream.examples)))


def number_of(batch: Batch) -> torch.Tensor:
    assert batch.number is not None
    return batch.number


def fingerprints(images: torch.Tensor) -> list[int]:
    """Sorted random projections of uint8 (N, …): equal sets of images, equal lists."""
    weights = torch.randint(2**40, (images[0].numel(),), generator=torch.Generator().manual_seed(1))
    return sorted((images.flatten(1).long() * weights).sum(1).tolist())


def asked(batch: Batch) -> list[tuple[int, int]]:
    """(image, number) of each example, sorted: what an epoch holds, whatever its order."""
    images = (hash(bytes(image)) for image in batch.image.flatten(1).numpy())
    return sorted(zip(images, number_of(batch).tolist(), strict=True))


def test_examples_equal_the_definition(mnist: Mnist) -> None:
    index, number = torch.arange(53_800, 54_000), fixed_numbers(TASK, 54_000)[53_800:]
    batch = compose(digits_of(mnist, Split.TRAIN), index, number)
    for n, i in enumerate(index.tolist()):
        label = int(mnist.train_labels[i])
        assert torch.equal(batch.image[n, 0], mnist.train_images[i])
        assert batch.targets[n].tolist() == [label, label + int(number[n])]


def test_every_sum_of_an_epoch_is_right_and_every_digit_appears_once(mnist: Mnist) -> None:
    batch = epoch_of(mnist, 3, pairing=Pairing.FRESH)
    assert torch.equal(batch.targets[:, 1], batch.targets[:, 0] + number_of(batch))
    assert torch.equal(batch.targets[:, 0].bincount(), mnist.train_labels[:54_000].bincount())
    assert number_of(batch).bincount().tolist() == pytest.approx([5_400] * 10, rel=0.06)


def test_numbers_are_the_same_for_every_study() -> None:
    # A new torch that draws otherwise must be noticed here, not as a study that cannot be compared.
    numbers = fixed_numbers(TASK, 54_000)
    assert hashlib.sha256(numbers.numpy().tobytes()).hexdigest()[:16] == "a7e72e5da39dced5"


def test_fixed_pairing_asks_the_same_in_another_order(mnist: Mnist) -> None:
    first, second, other_seed = epoch_of(mnist, 0), epoch_of(mnist, 1), epoch_of(mnist, 0, seed=6)
    assert not torch.equal(first.targets, second.targets)
    assert not torch.equal(first.targets, other_seed.targets)
    assert asked(first) == asked(second) == asked(other_seed)


def test_fresh_pairing_asks_with_new_numbers(mnist: Mnist) -> None:
    first, second = (asked(epoch_of(mnist, epoch, pairing=Pairing.FRESH)) for epoch in (0, 1))
    assert [image for image, _ in first] == [image for image, _ in second]
    same = sum(a == b for a, b in zip(first, second, strict=True))
    assert same == pytest.approx(5_400, rel=0.06)  # one in ten by generator


def test_shift_and_fresh_numbers_keep_the_order_of_digits(mnist: Mnist) -> None:
    plain = epoch_of(mnist, 1)
    for augmentation in ({"shift": 2}, {"pairing": Pairing.FRESH}, {"pairing": Pairing.FRESH, "shift": 2}):
        assert torch.equal(epoch_of(mnist, 1, **augmentation).targets[:, 0], plain.targets[:, 0])
    moved = epoch_of(mnist, 1, shift=2)
    assert torch.equal(moved.targets, plain.targets)
    changed = (plain.image != moved.image).flatten(1).any(dim=1).double().mean()
    assert float(changed) == pytest.approx(24 / 25, abs=0.005)  # (0, 0) is one of 25 distances


@pytest.mark.parametrize(
    ("split", "images"), [(Split.VALIDATION, 6_000), (Split.TEST, 10_000)], ids=["validation", "test"]
)
def test_evaluation_asks_every_image_with_all_ten_numbers(split: Split, images: int, mnist: Mnist) -> None:
    evaluation = TASK.validation(mnist) if split is Split.VALIDATION else TASK.test(mnist)
    batches = list(evaluation.batches(1000))
    assert evaluation.examples == images * 10 == sum(len(batch.targets) for batch in batches)
    for batch in batches:
        assert torch.equal(number_of(batch), torch.arange(10).expand(len(batch.image), 10))
        assert torch.equal(batch.targets[:, 1], batch.targets[:, 0] + number_of(batch).flatten())
    shown = torch.cat([batch.image[:, 0] for batch in batches])
    origin = digits_of(mnist, split)
    assert fingerprints(shown) == fingerprints(origin.images)
    answers = torch.cat([batch.targets[::10, 0] for batch in batches])
    assert torch.equal(answers.bincount(), origin.labels.bincount())
    assert not torch.equal(answers, origin.labels)  # shuffled, so that a beginning is a fair sample
    digits = torch.tensor(TASK.validation_digits() if split is Split.VALIDATION else TASK.test_digits())
    assert digits.shape == (images * 10, 1)
    labels = torch.cat([batch.targets[:, 0] for batch in batches])
    assert torch.equal(origin.labels[digits[:, 0]], labels), "each example is of the digit that it says"
