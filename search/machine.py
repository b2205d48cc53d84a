"""Which machine this is: a process id means something only on the machine or container that gave it."""

from __future__ import annotations

import functools
import hashlib
import os
import secrets
import socket
import uuid
from pathlib import Path


@functools.cache
def machine() -> str:
    """Eight hex digits: of this boot of this kernel and this process namespace, whatever the host is called.

    Clones of a machine and containers on the host's network share a name and may share process ids. Where the
    kernel has no such files it is the network card that is asked.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        boot, space = f"{uuid.getnode():x}", ""
    return hashlib.sha256(f"{socket.gethostname()} {boot} {space}".encode()).hexdigest()[:8]


def new_worker_id() -> str:
    """For a worker in this process; says where it is, and occurs once."""
    return f"{socket.gethostname()}:{os.getpid()}:{machine()}:{secrets.token_hex(4)}"


def host_of(worker_id: str) -> str:
    """The name of the host on which the worker, or the parent, of that id was started."""
    return worker_id.split(":")[0]


def is_elsewhere(worker_id: str) -> bool:
    """Whether the worker, or the parent, of that id was started on another machine or before a boot."""
    if worker_id.count(":") < 3:  # a parent's, host:pid:parent, or an older tune's
        return host_of(worker_id) != socket.gethostname()
    return not is_here(worker_id)


def is_here(worker_id: str) -> bool:
    """Whether the worker of that id was started on this machine since it was booted."""
    return machine() in worker_id.split(":")[2:-1]
