"""Looks at everything that a run needs on this machine and says what it finds.
Knows nothing of how the findings are shown; changes nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version

from search.errors import TuneError

PACKAGES = ("torch", "optuna", "optuna-dashboard", "sqlalchemy", "plotly", "typer")
FREE_BYTES = 200 * 2**20
"""Ten checkpoints of the larger networks, the database and some air."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing looked at."""

    check: str
    ok: bool
    finding: str


def examine(storage_url: str) -> list[Finding]:
    """All findings, the good ones too."""
    looks: dict[str, Callable[[], Finding]] = {
        "device": _device,
        "data": _data,
        "storage": partial(_storage, storage_url),
        "disk": partial(_disk, storage_url),
    }
    return [*_packages(), *(_found(check, look) for check, look in looks.items())]


def _found(check: str, look: Callable[[], Finding]) -> Finding:
    """What a look finds, also where a package that it takes is missing."""
    try:
        return look()
    except ModuleNotFoundError as error:
        words = f"cannot be looked at without {error.name}; install that first"
        return Finding(check=check, ok=False, finding=words)
    except TuneError as error:  # a storage URL that is not valid
        return Finding(check=check, ok=False, finding=str(error))


def _packages() -> list[Finding]:
    found = []
    for name in PACKAGES:
        try:
            found.append(Finding(check=name, ok=True, finding=version(name)))
        except PackageNotFoundError:
            found.append(Finding(check=name, ok=False, finding="is not installed"))
    return found


def _device() -> Finding:
    from models.device import bfloat16_pays, choose_device, describe

    device = choose_device("auto")
    facts = describe(device)
    bfloat16 = "pays" if bfloat16_pays(device, "conv") else "does not pay"
    where = facts.get("gpu", facts["cpu"])
    return Finding(
        check="device",
        ok=True,
        finding=f"{device.type}: {where}, {facts['cores']} cores, {facts['cpu_capability']}; "
        f"bfloat16 {bfloat16} for convolutions",
    )


def _data() -> Finding:
    from data.mnist import FileState, MnistError, cache_folder, verify

    folder = cache_folder()
    try:
        checks = verify()
    except MnistError as error:
        return Finding(check="data", ok=False, finding=str(error))
    bad = [f"{name} is {check.state}" for name, check in checks.items() if check.state is not FileState.OK]
    if bad:
        return Finding(check="data", ok=False, finding=f"{folder}: {', '.join(bad)}; run `tune data fetch`")
    return Finding(check="data", ok=True, finding=f"MNIST is whole in {folder}")


def _storage(storage_url: str) -> Finding:
    from search.service.look import studies
    from search.store.location import locate

    file = locate(storage_url).database
    if file is not None:
        folder = file.parent
        if not os.access(file if file.exists() else folder, os.W_OK):
            words = f"{file} cannot be written; `tune run` needs that"
            return Finding(check="storage", ok=False, finding=words)
        if not os.access(folder, os.W_OK):
            words = f"{folder} cannot be written; SQLite keeps its journal beside {file.name}"
            return Finding(check="storage", ok=False, finding=words)
    try:
        found = studies(storage_url)
    except TuneError as error:
        missing = "`tune run` makes one" in str(error)  # before the first run that is as it should be
        return Finding(check="storage", ok=missing, finding=str(error))
    names = ", ".join(view.record.name for view in found) or "none yet"
    return Finding(check="storage", ok=True, finding=f"studies: {names}")


def _disk(storage_url: str) -> Finding:
    from search.store.location import locate

    folder = locate(storage_url).artifacts
    while not folder.exists():
        folder = folder.parent
    if not os.access(folder, os.W_OK):
        return Finding(check="disk", ok=False, finding=f"{folder} cannot be written; checkpoints go there")
    free = shutil.disk_usage(folder).free
    return Finding(
        check="disk", ok=free > FREE_BYTES, finding=f"{free / 2**30:.1f} GiB free for checkpoints in {folder}"
    )
