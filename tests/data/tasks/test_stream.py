"""What the p-th example is depends on p alone; an evaluation set is scored once, whole, in order."""

from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from data.tasks.base import Batch
from data.tasks.stream import EndlessStream, FiniteSet, chunk_on, generator_of

EPOCH = 7
CHUNK = 10


def plan(epoch: int) -> tuple[Tensor, ...]:
    order = torch.randperm(EPOCH, generator=generator_of("test", epoch))
    return order, torch.full((EPOCH,), epoch)


def compose(index: Tensor, epoch: Tensor) -> Batch:
    return Batch(index[:, None, None, None].to(torch.uint8), epoch, torch.stack((index, epoch), dim=1))


@settings(max_examples=60, deadline=None)
@given(batch_size=st.integers(1, 40), start=st.integers(0, 60), count=st.integers(1, 6))
def test_examples_depend_on_their_place_alone(batch_size: int, start: int, count: int) -> None:
    stream = EndlessStream(examples=EPOCH, plan=plan, compose=compose, chunk=CHUNK)
    batches = list(islice(stream.batches(batch_size, start=start), count))
    # The oracle is the plan itself, read from the first example on.
    everything = torch.cat([torch.stack(plan(epoch), dim=1) for epoch in range(60)])
    expected = everything[start : start + batch_size * count]
    assert [len(batch.image) for batch in batches] == [batch_size] * count
    assert torch.equal(torch.cat([batch.targets for batch in batches]), expected)
    assert torch.equal(
        torch.cat([batch.number for batch in batches if batch.number is not None]), expected[:, 1]
    )
    assert torch.equal(torch.cat([batch.image.flatten() for batch in batches]), expected[:, 0])


@settings(max_examples=80, deadline=None)
@given(
    images=st.integers(1, 30),
    scored=st.integers(1, 10),
    batch_size=st.integers(1, 50),
)
def test_a_finite_set_scores_each_example_once(images: int, scored: int, batch_size: int) -> None:
    def many(index: Tensor) -> Batch:
        number = torch.arange(scored).repeat(len(index), 1)
        targets = torch.stack((index[:, None].expand_as(number), number), dim=2).view(-1, 2)
        return Batch(index[:, None, None, None], number, targets)

    finite = FiniteSet(rows=(torch.arange(images),), compose=many, scored=scored, chunk=CHUNK)
    batches = list(finite.batches(batch_size))
    assert finite.examples == images * scored
    expected = torch.cartesian_prod(torch.arange(images), torch.arange(scored)).view(-1, 2)
    assert torch.equal(torch.cat([batch.targets for batch in batches]), expected)
    for batch in batches:
        assert batch.number is not None
        assert batch.number.shape[0] == len(batch.image)
        assert batch.number.numel() == len(batch.targets) <= max(batch_size, scored)
        assert torch.equal(batch.number.flatten(), batch.targets[:, 1])


@pytest.mark.parametrize(
    "arguments", [{"batch_size": 0}, {"batch_size": -1}, {"batch_size": 1, "start": -1}], ids=str
)
def test_a_stream_refuses_at_the_call(arguments: dict[str, int]) -> None:
    stream = EndlessStream(examples=EPOCH, plan=plan, compose=compose, chunk=CHUNK)
    with pytest.raises(ValueError, match=r"batch_size >= 1 and start >= 0, not"):
        stream.batches(**arguments)


def test_a_finite_set_refuses_at_the_call() -> None:
    finite = FiniteSet(rows=(torch.arange(3),), compose=compose, chunk=CHUNK)
    with pytest.raises(ValueError, match="batch_size >= 1, not 0"):
        finite.batches(0)


def test_keys_of_generators_do_not_collide() -> None:
    keys = [("a", 1, 2), ("a", 2, 1), ("a", 12), ("a1", 2), ("b", 1, 2), ("a", "1", 2)]
    assert len({generator_of(*key).initial_seed() for key in keys}) == len(keys)


def test_a_generator_is_the_same_in_every_process_and_version() -> None:
    # Pinned: another value would change the data of all studies that were ever made.
    assert generator_of("twodigit", "pairs", 0, 0).initial_seed() == 8608884020642688768


def test_a_gpu_gets_more_at_once() -> None:
    assert chunk_on("cpu") < chunk_on("cuda")
    assert chunk_on(torch.device("cuda", 1)) == chunk_on("cuda")
