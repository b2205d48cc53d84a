"""A distorted image is the old one seen through its map, and the maps are what the strength allows."""

import math

import pytest
import torch
from torch import Tensor

from data.tasks.affine import SLANT, STRETCH, TURN_DEGREES, Affine
from data.tasks.augmenter import augmenter_of
from data.tasks.base import Augmentation
from data.tasks.shift import EdgeShifter, Shifter
from data.tasks.stream import generator_of


def seen_by_hand(image: Tensor, matrix: Tensor, *, edges: bool = False) -> Tensor:
    """The definition: each new pixel is the bilinear mean of the four old ones around where its map leads.

    Places are counted from the image's middle, in half images; what lies outside is 0, or as the edge.
    """
    height, width = image.shape
    old, (a, b, c), (d, e, f) = image.tolist(), *matrix.double().tolist()
    new = torch.zeros(height, width, dtype=torch.float64)
    for row in range(height):
        for column in range(width):
            x, y = (2 * column + 1) / width - 1, (2 * row + 1) / height - 1
            left, top = a * x + b * y + c, d * x + e * y + f
            left, top = ((left + 1) * width - 1) / 2, ((top + 1) * height - 1) / 2
            for i in (math.floor(top), math.floor(top) + 1):
                for j in (math.floor(left), math.floor(left) + 1):
                    if edges or (0 <= i < height and 0 <= j < width):
                        shade = old[min(max(i, 0), height - 1)][min(max(j, 0), width - 1)]
                        new[row, column] += shade * (1 - abs(top - i)) * (1 - abs(left - j))
    return new


@pytest.mark.parametrize("reach", [0, 2])
@pytest.mark.parametrize("edges", [False, True])
@pytest.mark.parametrize("size", [(9, 9), (7, 12)], ids=str)
def test_equals_the_definition(size: tuple[int, int], edges: bool, reach: int) -> None:
    affine = Affine(strength=2.0, reach=reach, size=size, edges=edges)
    images = torch.randint(0, 256, (20, *size), dtype=torch.uint8, generator=generator_of("images"))
    before, maps = images.clone(), affine.draw((20,), generator_of("maps"))
    seen = affine(images, maps)
    assert seen.dtype == torch.uint8
    for image, matrix, found in zip(images, maps, seen, strict=True):
        difference = seen_by_hand(image, matrix, edges=edges) - found
        assert difference.abs().max() < 0.51  # rounding to whole shades
    assert torch.equal(images, before)


def test_a_turn_turns_without_stretching_also_where_an_image_is_no_square() -> None:
    height, width = 20, 30
    maps = Affine(strength=3.0, reach=0, size=(height, width)).draw((500,), generator_of("maps")).double()
    squares = Affine(strength=3.0, reach=0, size=(25, 25)).draw((500,), generator_of("maps")).double()
    # From half images to pixels on both sides: the same map whatever the image's form.
    to_pixels = torch.tensor([width / 2, height / 2], dtype=torch.float64)
    in_pixels = maps[:, :, :2] * to_pixels[None, :, None] / to_pixels[None, None, :]
    assert torch.allclose(in_pixels, squares[:, :, :2], atol=1e-6)


def test_all_channels_of_an_image_move_alike_and_a_flip_is_drawn_after_the_rest() -> None:
    images = torch.randint(0, 256, (30, 3, 9, 9), dtype=torch.uint8, generator=generator_of("images"))
    plain = Affine(strength=1.0, reach=1, size=(9, 9), edges=True)
    mirroring = Affine(strength=1.0, reach=1, size=(9, 9), edges=True, flip=True)
    maps = plain.draw((30,), generator_of("maps"))
    flipped = mirroring.draw((30,), generator_of("maps"))
    for channel in range(3):
        assert torch.equal(plain(images, maps)[:, channel], plain(images[:, channel], maps))
    seen, mirrored = plain(images.flip(-1), maps), mirroring(images, flipped)
    changed = (maps != flipped).flatten(1).any(1)
    assert 5 < changed.sum() < 25
    difference = (seen.int() - mirrored.int()).abs()[changed]
    assert difference.max() <= 1, "it shows the mirrored image through the same map"
    assert torch.equal(plain(images, maps)[~changed], mirrored[~changed])


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


def test_whole_images_show_their_edges_and_may_be_mirrored() -> None:
    for augmentation in (Augmentation(shift=1), Augmentation(flip=True)):
        assert isinstance(augmenter_of(augmentation, (28, 20), "cpu", edges=True), EdgeShifter)
    assert augmenter_of(Augmentation(affine=1.0, flip=True), (28, 20), "cpu", edges=True) == Affine(
        strength=1.0, reach=0, size=(28, 20), edges=True, flip=True
    )
    assert augmenter_of(Augmentation(), (28, 20), "cpu", edges=True) is None
    with pytest.raises(ValueError, match="a mirrored digit is no digit"):
        augmenter_of(Augmentation(flip=True), (28, 28), "cpu")
