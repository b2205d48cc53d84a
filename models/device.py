"""What this process computes on: the device, the threads, and whether bfloat16 pays here."""

import contextlib
import ctypes
import functools
import math
import os
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.nn import functional

from models.gpus import DeviceName, count_gpus

BFLOAT16_WORTH = 1.25
"""Speed-up of the probe below which bfloat16's rounding buys too little."""

_BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
"""Instructions of x86 processors that compute in bfloat16."""


def choose_device(name: DeviceName = "auto") -> torch.device:
    """auto: CUDA where there is one, else the CPU. Raises DeviceUnavailable for a CUDA that is not there."""
    return torch.device("cuda" if count_gpus(name) else "cpu")


def prepare_process(threads: int = 1) -> None:
    """Sets the threads of this process, and lets it keep what it frees until `give_back_memory`.

    One thread: these networks are small, and two processes of one thread use two cores better than one
    process of two.
    """
    torch.set_num_threads(threads)
    keep_freed_memory()


def keep_freed_memory() -> None:
    """Lets the C library use freed memory again without asking the system. Does nothing where it cannot.

    Every step frees its activations, and glibc hands pieces of that size back each time: a step of conv
    24-48-96 met 4,100 page faults in bfloat16 and took 1.16 times as long (docs/decisions/007).
    """
    trim_threshold, map_threshold = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
    with contextlib.suppress(AttributeError, OSError, TypeError):
        library = ctypes.CDLL(None)
        library.mallopt(trim_threshold, 1 << 30)
        library.mallopt(map_threshold, 1 << 25)  # 32 MB, the most that glibc takes


def give_back_memory() -> None:
    """Returns to the system what this process has freed. The C library keeps it otherwise, in pieces that the
    next network, of other shapes, cannot use. Does nothing where it cannot."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """Within, this thread takes numbers below 1e-38 for 0; afterwards it does as it did before.

    A moment of a dead unit decays until rounding holds it at a denormal for good, and arithmetic on those
    is slow: 12,000 Adam steps of MLP 64 on random images took 1.7 to 2.8 ms each, flushed 0.9 to 1.5, at
    the same loss to the last digit (SGD and AdamW likewise). Not set for the whole process, because other
    code may count on denormals (hypothesis does, and says so).
    """
    was_flushed = bool((torch.tensor(2.0**-140) * 1.0 == 0).item())
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(was_flushed)


def bfloat16_pays(device: torch.device, family: str) -> bool:
    """Whether training in bfloat16 is faster here: the instructions are there, and on a CPU a probe says so.

    Never for MLPs on a CPU: MLP 64 took 1.46 ms a step against 1.07 in float32, 512-512 5.9 against 3.6.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if family == "mlp" or not _bfloat16_flags():
        return False
    return bfloat16_speedup() >= BFLOAT16_WORTH


@functools.cache
def bfloat16_speedup() -> float:
    """Time of a 3×3 convolution 32 -> 64, forward and backward, in float32 over bfloat16. Takes 0.1 to 0.2 s.

    Measured in CPU time of one thread, so that other processes do not decide the answer: on two cores with
    four other processes at work, 15 repetitions gave 0.54 to 0.62; in wall time of two threads they gave 0.36
    to 1.93.

    Measured because the flag says too little. With avx512_bf16 but without AMX: 0.53 on a Sapphire Rapids in
    a virtual machine that hides AMX (whole steps: conv 8-16 0.73, 32-64 0.87, 24-48-96 0.80); about 1.9 for
    whole steps was noted on another AVX-512 machine.
    """
    # The probe takes no random numbers: the global stream is not ours to move.
    image = torch.linspace(-1, 1, 64 * 32 * 20 * 13).view(64, 20, 13, 32).permute(0, 3, 1, 2)
    weight = torch.linspace(-1, 1, 64 * 32 * 9).view(64, 3, 3, 32).permute(0, 3, 1, 2)
    seconds = {torch.float32: math.inf, torch.bfloat16: math.inf}
    pairs = {dtype: (image.to(dtype), weight.to(dtype).requires_grad_()) for dtype in seconds}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(12):  # by turns, so that a busy moment of the machine meets both
            for dtype, (x, w) in pairs.items():
                began = time.thread_time()
                functional.conv2d(x, w).sum().backward()  # type: ignore[no-untyped-call]
                seconds[dtype] = min(seconds[dtype], time.thread_time() - began)
    finally:
        torch.set_num_threads(threads)
    return seconds[torch.float32] / seconds[torch.bfloat16]


def describe(device: torch.device) -> dict[str, str | int]:
    """The hardware and software that a result depends on, for the record that is kept with it."""
    described: dict[str, str | int] = {
        "device": device.type,
        "cpu": _cpu_model(),
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "bfloat16_instructions": " ".join(_bfloat16_flags()) or "none",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    if device.type == "cuda":
        described["gpu"] = torch.cuda.get_device_name(device)
        described["gpu_uuid"] = str(torch.cuda.get_device_properties(device).uuid)
        described["visible_gpus"] = os.environ.get("CUDA_VISIBLE_DEVICES", "all")
        described["cuda"] = str(torch.version.cuda)
    return described


def processor_kind(described: Mapping[str, str | int]) -> str:
    """Name of the kind of processor that `describe` found; the same on every machine that has this kind."""
    if "gpu" in described:
        return f"{described['device']}: {described['gpu']}"
    return f"{described['device']}: {described['cpu']}, bfloat16 by {described['bfloat16_instructions']}"


def _cpu_info(field: str) -> str:
    """That field of the first processor in /proc/cpuinfo; empty where there is none (macOS, Windows)."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), "")


def _cpu_model() -> str:
    return _cpu_info("model name") or platform.processor() or platform.machine()


def _cpu_flags() -> set[str]:
    return set(_cpu_info("flags").split())


def _bfloat16_flags() -> list[str]:
    return sorted(_BFLOAT16_FLAGS & _cpu_flags())
