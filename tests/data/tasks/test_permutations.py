"""Compositions are those that torch drew for the first studies, whichever library draws them now."""

import pytest
import torch

from data.tasks.permutations import columns, seed_of
from data.tasks.stream import generator_of


@pytest.mark.parametrize("size", [1, 2, 3, 9, 1_000, 6_000])
@pytest.mark.parametrize("key", [("twodigit", "composition", "test"), ("sum", 3), ("",)])
def test_equals_torch(size: int, key: tuple[str | int, ...]) -> None:
    generator = generator_of(*key)
    by_torch = torch.stack([torch.randperm(size, generator=generator) for _ in range(3)], dim=1)
    assert columns(size, 3, *key).tolist() == by_torch.tolist()


def test_what_is_shared_cannot_be_changed() -> None:
    assert columns(5, 1, "a") is columns(5, 1, "a")
    with pytest.raises(ValueError, match="read-only"):
        columns(5, 1, "a")[0] = 1


def test_neighboring_keys_have_unrelated_seeds() -> None:
    assert len({seed_of("a", 1, 2), seed_of("a", 2, 1), seed_of("a", 12), seed_of("a1", 2)}) == 4
