"""What is drawn becomes what MNIST would have made of it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from data.datasets.mnist import Mnist
from data.tasks.digits import Split, digits_of
from search.serve.strokes import Blank, compose, digit


def drawn(image: np.ndarray) -> np.ndarray:
    """A digit of MNIST as large as the page sends it."""
    return np.asarray(Image.fromarray(image).resize((112, 112), Image.Resampling.BICUBIC))


def test_mnist_comes_back_as_itself(mnist: Mnist) -> None:
    originals = digits_of(mnist, Split.VALIDATION).images[:200].numpy()
    again = np.stack([digit(drawn(image)) for image in originals]).astype(int)
    error = np.abs(again - originals).mean()
    for axis in (1, 2):
        for step in (-1, 1):  # one pixel beside the mark would show
            assert error < 0.6 * np.abs(np.roll(again, step, axis) - originals).mean()


@pytest.mark.parametrize("scale", [0.5, 0.9])
def test_neither_size_nor_place_on_the_pad_matters(mnist: Mnist, scale: float) -> None:
    large = drawn(mnist.train_images[54_000].numpy())
    side = round(112 * scale)
    small = np.asarray(Image.fromarray(large).resize((side, side), Image.Resampling.BICUBIC))
    made = []
    for at in (0, (112 - side) // 2, 112 - side):
        pad = np.zeros((112, 112), dtype=np.uint8)
        pad[at : at + side, at : at + side] = small
        made.append(digit(pad))
    assert np.array_equal(made[0], made[1])
    assert np.array_equal(made[0], made[2])
    assert np.abs(made[0].astype(int) - digit(large)).mean() < 12


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ((slice(0, 112), slice(0, 4)), "a line as high as the pad, at its left edge"),
        ((slice(100, 104), slice(0, 112)), "a line as wide as the pad, near its bottom"),
        ((slice(50, 51), slice(50, 51)), "a dot"),
        ((slice(0, 112), slice(0, 112)), "nothing but ink"),
    ],
)
def test_all_ink_stays_inside(place: tuple[slice, slice], why: str) -> None:
    pad = np.zeros((112, 112), dtype=np.uint8)
    pad[place] = 255
    made = digit(pad)
    rows, columns = np.nonzero(made)
    longer = max(np.ptp(rows), np.ptp(columns)) + 1
    assert longer == 20, why
    assert made.max() == 255
    assert not made[[0, -1]].any()
    assert not made[:, [0, -1]].any()


def test_a_lopsided_digit_is_not_cut_off() -> None:
    pad = np.zeros((112, 112), dtype=np.uint8)
    pad[:10, :] = 255  # all the weight on top, a thin tail far below
    pad[:, 50:52] = 255
    assert np.nonzero(digit(pad).any(axis=1))[0].size == 20


def test_two_digits_overlap_as_in_the_task(mnist: Mnist) -> None:
    first, second = (drawn(mnist.train_images[54_000 + k].numpy()) for k in (1, 2))
    canvas = compose([first, second], (0, 14), height=42, width=28)
    expected = np.zeros((42, 28), dtype=np.uint8)
    expected[:28] = digit(first)
    expected[14:] = np.maximum(expected[14:], digit(second))
    assert np.array_equal(canvas, expected)


def test_a_blank_layer_is_named() -> None:
    ink = np.full((112, 112), 255, dtype=np.uint8)
    with pytest.raises(Blank) as blank:
        compose([ink, np.full((112, 112), 20, dtype=np.uint8)], (0, 14), height=42, width=28)
    assert blank.value.layer == 1
