"""A distorted image is the old one seen through its map, and the maps are what the strength allows."""

import math

import pytest
import torch
from torch import Tensor

from data.tasks.affine import SLANT, STRETCH, TURN_DEGREES, Affine
from data.tasks.augmenter import augmenter_of
from data.tasks.base import Augmentation
from data.tasks.shift import Shifter
from data.tasks.stream import generator_of


def seen_by_hand(image: Tensor, matrix: Tensor) -> Tensor:
    """The definition: each new pixel is the bilinear mean of the four old ones around where its map leads.

    Places are counted from the image's middle, in half images; what lies outside is 0.
    """
    size = len(image)
    old, (a, b, c), (d, e, f) = image.tolist(), *matrix.double().tolist()
    new = torch.zeros(size, size, dtype=torch.float64)
    for row in range(size):
        for column in range(size):
            x, y = (2 * column + 1) / size - 1, (2 * row + 1) / size - 1
            left, top = a * x + b * y + c, d * x + e * y + f
            left, top = ((left + 1) * size - 1) / 2, ((top + 1) * size - 1) / 2
            for i in (math.floor(top), math.floor(top) + 1):
                for j in (math.floor(left), math.floor(left) + 1):
                    if 0 <= i < size and 0 <= j < size:
                        new[row, column] += old[i][j] * (1 - abs(top - i)) * (1 - abs(left - j))
    return new


@pytest.mark.parametrize("reach", [0, 2])
def test_equals_the_definition(reach: int) -> None:
    affine = Affine(strength=2.0, reach=reach, size=9)
    images = torch.randint(0, 256, (20, 9, 9), dtype=torch.uint8, generator=generator_of("images"))
    before, maps = images.clone(), affine.draw((20,), generator_of("maps"))
    seen = affine(images, maps)
    assert seen.dtype == torch.uint8
    for image, matrix, found in zip(images, maps, seen, strict=True):
        assert (seen_by_hand(image, matrix) - found).abs().max() < 0.51  # rounding to whole shades
    assert torch.equal(images, before)


def test_affine_without_strength_equals_the_shifter() -> None:
    images = torch.randint(1, 256, (64, 28, 28), dtype=torch.uint8, generator=generator_of("images"))
    maps = Affine(strength=0.0, reach=3).draw((64,), generator_of("maps"))
    distances = torch.stack([-14 * maps[:, 1, 2], -14 * maps[:, 0, 2]], dim=1).round().long()
    assert distances.flatten().unique().tolist() == list(range(-3, 4))
    moved = Shifter(height=28, width=28, reach=3)(images, distances)
    assert torch.equal(Affine(strength=0.0, reach=3)(images, maps), moved)


@pytest.mark.parametrize("strength", [0.5, 1.0, 3.0])
def test_maps_are_as_far_from_nothing_as_the_strength_says(strength: float) -> None:
    maps = Affine(strength=strength, reach=0).draw((40_000,), generator_of("maps")).double()
    assert torch.equal(maps[:, :, 2], torch.zeros(40_000, 2, dtype=torch.float64))
    # A map is a turn after [[wider, slant], [0, taller]]: undone column by column.
    turn = torch.atan2(maps[:, 1, 0], maps[:, 0, 0])
    cosine, sine = torch.cos(turn), torch.sin(turn)
    wider = cosine * maps[:, 0, 0] + sine * maps[:, 1, 0]
    slant = cosine * maps[:, 0, 1] + sine * maps[:, 1, 1]
    taller = cosine * maps[:, 1, 1] - sine * maps[:, 0, 1]
    amounts = torch.stack(
        [
            turn / math.radians(TURN_DEGREES),
            wider.log() / math.log1p(STRETCH),
            taller.log() / math.log1p(STRETCH),
            slant / SLANT,
        ]
    )
    quarters = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0], dtype=torch.float64)
    for amount in amounts:  # uniform from minus to plus strength
        assert torch.allclose(amount.quantile(quarters), strength * (2 * quarters - 1), atol=0.02 * strength)
    independent = torch.corrcoef(amounts) - torch.eye(4, dtype=torch.float64)
    assert independent.abs().max() < 0.02


def test_the_cheapest_augmenter_that_suffices_is_chosen() -> None:
    assert augmenter_of(Augmentation(), (28, 28), "cpu") is None
    assert isinstance(augmenter_of(Augmentation(shift=1), (28, 28), "cpu"), Shifter)
    assert augmenter_of(Augmentation(shift=1, affine=0.5), (28, 28), "cpu") == Affine(strength=0.5, reach=1)


def test_only_squares_are_turned() -> None:
    with pytest.raises(ValueError, match="affine turns squares only, not images of 28x20"):
        augmenter_of(Augmentation(affine=1.0), (28, 20), "cpu")
    assert augmenter_of(Augmentation(shift=2), (28, 20), "cpu") is not None
