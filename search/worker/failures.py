"""Tells what kind of failure an error in a trial is."""

from __future__ import annotations

import errno
from collections.abc import Callable

from search.records import Failure
from search.worker.trial_runner import NotFinite


class TookTooLong(Exception):
    """Raised inside the work when a trial's time is up."""


def failure_of(error: Exception, of_objective: Callable[[Exception], Failure | None]) -> Failure:
    """The kind of a failure, by the class of the error and the number of one of the system.

    of_objective: the kind of the objective's errors, None of others.
    """
    if (known := of_objective(error)) is not None:
        return known
    if isinstance(error, NotFinite):
        return Failure.DIVERGED
    if isinstance(error, TookTooLong):
        return Failure.TIMEOUT
    if isinstance(error, MemoryError):
        return Failure.OUT_OF_MEMORY
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return Failure.OUT_OF_MEMORY
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return Failure.DISK_FULL
    return Failure.ERROR
