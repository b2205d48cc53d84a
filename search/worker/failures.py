"""Tells what kind of failure an error in a trial is."""

from __future__ import annotations

import errno

import torch

from models.training import Diverged
from search.records import Failure

OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "bad_alloc", "_ALLOC_FAILED")
"""What a plain RuntimeError of torch says when memory is the reason: its two CPU allocators, C++, cuBLAS."""


class TookTooLong(Exception):
    """Raised inside training when a trial's time is up."""


def failure_of(error: Exception) -> Failure:
    """The kind of a failure, by the class of the error and the number of one of the system.

    An allocation of torch that fails on a CPU raises a plain RuntimeError: there the message alone tells.
    """
    if isinstance(error, Diverged):
        return Failure.DIVERGED
    if isinstance(error, TookTooLong):
        return Failure.TIMEOUT
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return Failure.OUT_OF_MEMORY
    if isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY):
        return Failure.OUT_OF_MEMORY
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return Failure.OUT_OF_MEMORY
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return Failure.DISK_FULL
    return Failure.ERROR
