"""How many GPUs workers may use: torch is asked only where the system has files of one.

Torch takes a second or two to import, and a process that only starts workers needs nothing else of it.
"""

import os
import sys
from pathlib import Path
from typing import Literal

DeviceName = Literal["auto", "cpu", "cuda"]

_DRIVERS = ("dev/nvidiactl", "dev/nvidia0", "proc/driver/nvidia", "dev/nvmap", "dev/dxg", "dev/kfd")
"""One of these is there wherever torch can see a GPU on Linux: NVIDIA's driver on a server, on a Jetson and
in Windows' subsystem, and AMD's, whose devices torch calls cuda too."""


class DeviceUnavailable(RuntimeError):
    """The wanted device is not on this machine."""


def surely_none(root: Path = Path("/")) -> bool:
    """Whether this machine has no GPU that torch could use, as far as can be told without torch.

    root: where the system's files are. False also where only torch knows.
    """
    if sys.platform == "darwin":
        return True  # there is no CUDA for it
    if sys.platform != "linux":
        return False
    return os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1") or not any(
        (root / driver).exists() for driver in _DRIVERS
    )


def count_gpus(name: DeviceName = "auto") -> int:
    """GPUs that workers on the device of this name may use; 0 on the CPU. Raises DeviceUnavailable."""
    if name == "cpu":
        return 0
    if not surely_none():
        import torch

        if torch.cuda.is_available():
            return max(1, torch.cuda.device_count())
    if name == "cuda":
        raise DeviceUnavailable("cuda was asked for, but torch sees no CUDA device; use cpu or auto")
    return 0
