"""Errors of torch that mean a lack of memory. Those without a class or a code are told by their message, and
that is provoked here, so that a version of torch that says something else is noticed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from search.objectives.network.open_network import CUDA_OUT_OF_MEMORY, is_out_of_memory

PIB = 2**50
"""More bytes than the address space of a process has on x86-64 and on Arm: fails at once, touches nothing."""


@pytest.mark.parametrize(
    "allocate",
    [
        pytest.param(lambda: torch.empty(PIB, dtype=torch.uint8), id="tensor"),
        pytest.param(lambda: torch.zeros(1).expand(PIB).split(1), id="C++ vector of tensors"),
    ],
)
def test_what_torch_really_raises_is_recognized(allocate: Callable[[], object]) -> None:
    with pytest.raises(RuntimeError) as caught:
        allocate()
    assert type(caught.value) is RuntimeError, "a class or a code: decide by that, not by the message"
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize(("code", "expected"), [(CUDA_OUT_OF_MEMORY, True), (700, False), (None, False)])
def test_an_error_of_cuda_is_told_by_its_code(code: int | None, expected: bool) -> None:
    error = torch.AcceleratorError("CUDA error: not enough memory, or so it says")
    if code is not None:
        error.error_code = code  # type: ignore[attr-defined]
    assert is_out_of_memory(error) is expected


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda: torch.empty(2**62), id="size overflows"),
        pytest.param(lambda: torch.zeros(2) @ torch.zeros(3), id="shapes"),
    ],
)
def test_other_errors_of_torch_are_not(wrong: Callable[[], object]) -> None:
    with pytest.raises(RuntimeError) as caught:
        wrong()
    assert not is_out_of_memory(caught.value)
