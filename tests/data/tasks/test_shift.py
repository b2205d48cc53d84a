"""A moved image is the old one at another place, and nothing else."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from data.tasks.shift import EdgeShifter, Shifter
from data.tasks.stream import generator_of


def moved_by_hand(image: Tensor, down: int, right: int) -> Tensor:
    """The definition: what was at (y, x) is at (y + down, x + right), if that is inside."""
    height, width = image.shape
    result = torch.zeros_like(image)
    for y in range(height):
        for x in range(width):
            if 0 <= y + down < height and 0 <= x + right < width:
                result[y + down, x + right] = image[y, x]
    return result


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(1, 6), st.integers(1, 7), st.integers(0, 9), st.integers(1, 5))
def test_equals_the_definition(data: st.DataObject, height: int, width: int, reach: int, count: int) -> None:
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**32)))
    # No zero in the images: whatever leaks in from a neighboring row or image would show.
    images = torch.randint(1, 256, (count, height, width), generator=generator, dtype=torch.uint8)
    distances = torch.randint(-reach, reach + 1, (count, 2), generator=generator)
    before = images.clone()
    moved = Shifter(height=height, width=width, reach=reach)(images, distances)
    expected = [moved_by_hand(p, *d.tolist()) for p, d in zip(images, distances, strict=True)]
    assert torch.equal(moved, torch.stack(expected))
    assert torch.equal(images, before)


def test_every_distance_within_reach() -> None:
    images = torch.randint(1, 256, (25, 28, 28), dtype=torch.uint8)
    distances = torch.cartesian_prod(torch.arange(-2, 3), torch.arange(-2, 3))
    moved = Shifter(height=28, width=28, reach=2)(images, distances)
    expected = [moved_by_hand(p, *d.tolist()) for p, d in zip(images, distances, strict=True)]
    assert torch.equal(moved, torch.stack(expected))


def test_distances_are_uniform_over_the_whole_reach() -> None:
    shifter = Shifter(height=28, width=28, reach=2)
    counts = shifter.draw((60_000,), generator_of("test")).flatten().add(2).bincount()
    assert counts.tolist() == pytest.approx([24_000] * 5, rel=0.03)


def at_the_edge_by_hand(image: Tensor, down: int, right: int, mirrored: int) -> Tensor:
    """The definition: what is at (y, x) was at (y - down, x - right) of the image or of its mirror image; for
    a place outside, at the nearest one inside."""
    source = image.flip(-1) if mirrored else image
    height, width = image.shape[-2:]
    result = torch.empty_like(image)
    for y in range(height):
        for x in range(width):
            old_y, old_x = min(max(y - down, 0), height - 1), min(max(x - right, 0), width - 1)
            result[..., y, x] = source[..., old_y, old_x]
    return result


@pytest.mark.parametrize("shape", [(6, 7), (3, 6, 7), (1, 8, 5)], ids=str)
@pytest.mark.parametrize("flip", [False, True])
def test_an_edge_shift_equals_the_definition(shape: tuple[int, ...], flip: bool) -> None:
    height, width = shape[-2:]
    images = torch.randint(0, 256, (40, *shape), generator=generator_of("images"), dtype=torch.uint8)
    before = images.clone()
    shifter = EdgeShifter(height=height, width=width, reach=3, flip=flip)
    transforms = shifter.draw((40,), generator_of("moves"))
    assert set(transforms[:, 2].tolist()) == ({0, 1} if flip else {0})
    assert set(transforms[:, :2].flatten().tolist()) == set(range(-3, 4))
    moved = shifter(images, transforms)
    expected = [at_the_edge_by_hand(i, *t.tolist()) for i, t in zip(images, transforms, strict=True)]
    assert torch.equal(moved, torch.stack(expected))
    assert torch.equal(images, before)
