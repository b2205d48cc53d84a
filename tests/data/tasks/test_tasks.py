"""What every task promises to those who train on it."""

import hashlib
from itertools import islice

import pytest
import torch

from data.datasets.base import Split
from data.datasets.mnist import Mnist
from data.registry import UnknownName
from data.tasks.base import Augmentation, Head, Pairing, Task
from data.tasks.digits import digits_of
from data.tasks.registry import TASKS, get_task

AUGMENTATIONS = [
    Augmentation(),
    Augmentation(shift=2),
    Augmentation(pairing=Pairing.FRESH),
    Augmentation(pairing=Pairing.FRESH, shift=14),
    Augmentation(affine=1.5),
    Augmentation(pairing=Pairing.FRESH, shift=1, affine=0.5),
]

every_task = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())


@every_task
def test_is_registered_under_its_own_name(task: Task) -> None:
    assert get_task(task.name) is task
    assert task.references, "a study shows what it gained over somebody"
    assert task.title


@every_task
@pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=str)
def test_training_batches_have_the_promised_form(
    task: Task, augmentation: Augmentation, mnist: Mnist
) -> None:
    stream = task.training(mnist, augmentation=augmentation, seed=1)
    assert stream.examples == task.epoch_examples
    for batch in islice(stream.batches(50), 3):
        assert batch.image.shape == (50, *task.image_shape)
        assert batch.image.dtype == torch.uint8
        assert batch.targets.shape == (50, len(task.heads))
        assert batch.targets.dtype == torch.int64
        assert (batch.number is None) == (task.numbers == 0)
        if batch.number is not None:
            assert batch.number.shape == (50,)
            assert batch.number.dtype == torch.int64
            assert 0 <= batch.number.min() <= batch.number.max() < task.numbers


@every_task
def test_the_description_counts_as_the_batches_do(task: Task, mnist: Mnist) -> None:
    for compositions in (0, task.compositions):
        examples = task.validation(mnist, compositions=compositions).examples
        assert len(task.validation_digits(compositions=compositions)) == examples
        images = examples // max(1, task.numbers) // max(1, compositions)
        assert task.validation_images(compositions=compositions) == images
    assert len(task.test_digits()) == task.test(mnist).examples


@every_task
def test_the_training_sample_is_of_the_training_examples_without_augmentation(
    task: Task, mnist: Mnist
) -> None:
    sample = task.training_sample(mnist)
    assert sample.examples == task.validation_images()
    batches = list(sample.batches(1000))
    images = torch.cat([batch.image for batch in batches])
    targets = torch.cat([batch.targets for batch in batches])
    assert images.shape == (task.validation_images(), *task.image_shape)
    assert (batches[0].number is None) == (task.numbers == 0)
    again = torch.cat([batch.targets for batch in task.training_sample(mnist).batches(640)])
    assert torch.equal(targets, again), "the same in every trial, at every batch size"
    epoch = next(task.training(mnist, augmentation=Augmentation(), seed=7).batches(task.epoch_examples))
    trained = {
        (image.tobytes(), *answers)
        for image, answers in zip(epoch.image.numpy(), epoch.targets.tolist(), strict=True)
    }
    sampled = {
        (image.tobytes(), *answers) for image, answers in zip(images.numpy(), targets.tolist(), strict=True)
    }
    assert len(sampled) == len(images), "none is there twice"
    assert sampled <= trained
    for column, head in zip(targets.T, task.heads, strict=True):
        assert column.unique().tolist() == list(range(head.classes))


@every_task
def test_all_classes_of_all_heads_occur(task: Task, mnist: Mnist) -> None:
    batch = next(task.training(mnist, augmentation=Augmentation(), seed=1).batches(task.epoch_examples))
    for column, head in zip(batch.targets.T, task.heads, strict=True):
        assert column.unique().tolist() == list(range(head.classes))


@every_task
@pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=str)
def test_examples_depend_on_their_place_alone(task: Task, augmentation: Augmentation, mnist: Mnist) -> None:
    stream = task.training(mnist, augmentation=augmentation, seed=1)
    begin = task.epoch_examples - 100  # over the end of the first epoch
    one = next(stream.batches(300, start=begin))
    many = list(islice(stream.batches(25, start=begin), 12))
    assert torch.equal(one.image, torch.cat([batch.image for batch in many]))
    assert torch.equal(one.targets, torch.cat([batch.targets for batch in many]))


@every_task
def test_seeds_give_different_orders_and_the_global_generator_is_left_alone(task: Task, mnist: Mnist) -> None:
    before = torch.get_rng_state()
    first, again, other = (
        next(task.training(mnist, augmentation=AUGMENTATIONS[3], seed=seed).batches(500)).targets
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


@every_task
@pytest.mark.parametrize("split", ["validation", "test"])
def test_evaluation_is_the_same_at_every_batch_size(task: Task, split: str, mnist: Mnist) -> None:
    evaluation = getattr(task, split)(mnist)

    def digest(batch_size: int) -> str:
        total = hashlib.sha256()
        for batch in evaluation.batches(batch_size):
            total.update(batch.targets.numpy().tobytes())
        return total.hexdigest()

    assert digest(1000) == digest(640) == digest(100_000)
    assert sum(len(batch.targets) for batch in evaluation.batches(512)) == evaluation.examples


@every_task
def test_a_beginning_of_the_validation_set_is_a_fair_sample(task: Task, mnist: Mnist) -> None:
    images = 1_000
    beginning = next(task.validation(mnist).batches(images * max(1, task.numbers)))
    counts = beginning.targets[:, 0].bincount() / max(1, task.numbers)
    # Ten classes of about 100 images each, standard deviation below 10.
    assert counts.tolist() == pytest.approx([100] * 10, abs=35)


def test_splits_are_disjoint_and_together_all_of_mnist(mnist: Mnist) -> None:
    train, validation, test = (digits_of(mnist, split).images for split in Split)
    size = 28 * 28
    # Views of one mapping: train ends at the very byte where validation begins.
    assert train.data_ptr() == mnist.train_images.data_ptr()
    assert train.data_ptr() + train.numel() == validation.data_ptr()
    assert train.numel() + validation.numel() == mnist.train_images.numel() == 60_000 * size
    assert test.data_ptr() == mnist.test_images.data_ptr()
    assert (len(train), len(validation), len(test)) == (54_000, 6_000, 10_000)


@every_task
def test_training_shows_training_digits_only(task: Task, mnist: Mnist) -> None:
    # All digits that are not for training become white squares: none may ever show.
    marked = Mnist(
        train_images=torch.cat(
            [mnist.train_images[:54_000], torch.full((6_000, 28, 28), 255, dtype=torch.uint8)]
        ),
        train_labels=mnist.train_labels,
        test_images=torch.full_like(mnist.test_images, 255),
        test_labels=mnist.test_labels,
        checksums={},
    )
    stream = task.training(marked, augmentation=Augmentation(pairing=Pairing.FRESH), seed=1)
    for batch in islice(stream.batches(3_000), task.epoch_examples // 3_000 + 1):
        assert not (batch.image == 255).flatten(2).all(dim=2).any()
        assert batch.image[:, 0, 0, 0].max() < 255  # no digit has full ink in its corner, a square has
    white = next(task.validation(marked).batches(100)).image
    assert (white == 255).all()


@every_task
def test_every_answer_has_words(task: Task, mnist: Mnist) -> None:
    answers = {"twodigit": ([7, 3], None, "7 · 3"), "sum": ([4, 13], 9, "4 + 9 = 13")}
    targets, number, words = answers[task.name]
    assert task.caption(targets, number) == words


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("towdigit", "did you mean twodigit?"),
        ("summ", "did you mean sum?"),
        ("imagenet", "known are twodigit, sum"),
        ("", "known are twodigit, sum"),
    ],
)
def test_an_unknown_task_comes_with_a_hint(name: str, hint: str) -> None:
    with pytest.raises(UnknownName) as caught:
        get_task(name)
    assert str(caught.value) == f"there is no task {name!r}: {hint}"


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: Augmentation(shift=-1), "shift must be 0 to 14 pixels, not -1"),
        (lambda: Augmentation(shift=15), "shift must be 0 to 14 pixels, not 15"),
        (lambda: Augmentation(affine=-0.1), "affine must be 0 to 4, not -0.1"),
        (lambda: Augmentation(affine=float("nan")), "affine must be 0 to 4, not nan"),
        (lambda: Augmentation(pairing="fresh"), "pairing must be a Pairing .fixed, fresh., not 'fresh'"),  # type: ignore[arg-type]
        (lambda: Head(name="", classes=2), "a head needs a name"),
        (lambda: Head(name="digit", classes=1), "2 or more classes"),
        (lambda: Head(name="pet", classes=2, labels=("cat",)), "a label for each of its 2 classes, not 1"),
    ],
)
def test_a_wrong_value_is_refused_with_its_rule(make: object, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        make()  # type: ignore[operator]


def test_trials_share_what_lies_on_a_gpu(mnist: Mnist) -> None:
    """A stand-in for a GPU: torch's meta device, to which nothing is ever copied twice either."""
    first, second = (digits_of(mnist, Split.TRAIN, device="meta") for _ in range(2))
    assert first.images is second.images
    assert digits_of(mnist, Split.TRAIN, device="cpu").images.device.type == "cpu"
    assert digits_of(mnist, Split.VALIDATION, device="meta").images.shape != first.images.shape
