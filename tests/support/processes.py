"""What tests ask of processes that they have not started themselves."""

from __future__ import annotations

import os


def exists(pid: int) -> bool:
    """Whether there is such a process, be it a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
