"""Checks everything that a run needs on this machine and says what it finds.
It changes nothing.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from urllib.parse import unquote

from search.errors import NoStorage, TuneError
from search.filesystem import network_file_system

PACKAGES = ("torch", "optuna", "optuna-dashboard", "sqlalchemy", "plotly", "typer")
PLACES = ("database", "best weights", "resume checkpoints", "exports")
"""What a study leaves behind (search.service.places)."""
FREE_BYTES = 200 * 2**20
"""Ten checkpoints of the larger networks, the database and some air."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """The result of one check."""

    check: str
    ok: bool
    finding: str


def examine(storage_url: str) -> list[Finding]:
    """All findings, the good ones too."""
    checks: dict[str, Callable[[], Finding]] = {
        "command": _command,
        "device": _device,
        "precision": _precision,
        "data": _data,
        "storage": partial(_storage, storage_url),
        "disk": partial(_disk, storage_url),
        **{what: partial(_place, what, storage_url) for what in PLACES},
    }
    if storage_url.startswith("sqlite"):
        checks["file system"] = partial(_file_system, storage_url)
    return [*_packages(), *(_found(name, check) for name, check in checks.items())]


def _found(name: str, check: Callable[[], Finding]) -> Finding:
    """What a check finds, also where a package that it takes is missing."""
    try:
        return check()
    except ModuleNotFoundError as error:
        words = f"cannot be checked without {error.name}; install that first"
        return Finding(check=name, ok=False, finding=words)
    except TuneError as error:  # a storage URL that is not valid
        return Finding(check=name, ok=False, finding=str(error))


def _packages() -> list[Finding]:
    found = []
    for name in PACKAGES:
        try:
            found.append(Finding(check=name, ok=True, finding=version(name)))
        except PackageNotFoundError:
            found.append(Finding(check=name, ok=False, finding="is not installed"))
    return found


def _command() -> Finding:
    """Whether `tune` starts this program: Ray and torchtune have a script of that name too."""
    always = f"`{shlex.quote(sys.executable)} -P -m search` always works"
    scripts = commands()
    for script in scripts:
        if not _is_ours(script):
            words = f"{script} belongs to another package: {_remedy(script)}; {always}"
            return Finding(check="command", ok=False, finding=words)
    return Finding(check="command", ok=True, finding=str(scripts[0]) if scripts else always)


def commands() -> list[Path]:
    """The scripts named `tune` that a user may start: that of this environment, and the first on the PATH."""
    first = shutil.which("tune")
    found = [_script_here(), *([] if first is None else [Path(first)])]
    return [script for script in dict.fromkeys(found) if script.exists()]


def _script_here() -> Path:
    return Path(sysconfig.get_path("scripts")) / "tune"


def _is_ours(script: Path) -> bool:
    try:
        with script.open("rb") as file:
            return b"from search." in file.read(10_000)
    except OSError:
        return False


def _remedy(script: Path) -> str:
    if script != _script_here():
        return f"start {_script_here()}, or put its folder before that one in PATH"
    try:
        source = json.loads(distribution("tune").read_text("direct_url.json") or "{}")
    except PackageNotFoundError:
        source = {}
    folder = source.get("url", "").removeprefix("file://")
    if not source.get("dir_info", {}).get("editable"):
        return "install tune again, after that package, with --force-reinstall --no-deps"
    pip = f"{shlex.quote(sys.executable)} -m pip install --force-reinstall --no-deps --editable"
    return f"`{pip} {shlex.quote(unquote(folder))}` puts tune's own in its place"


def _device() -> Finding:
    from models.device import choose_device, describe

    device = choose_device("auto")
    facts = describe(device)
    where = facts.get("gpu", facts["cpu"])
    return Finding(
        check="device",
        ok=True,
        finding=f"{device.type}: {where}, {facts['cores']} cores, {facts['cpu_capability']}",
    )


def _precision() -> Finding:
    """What a new study would decide here. Studies that exist have recorded theirs."""
    from models.device import BFLOAT16_WORTH, bfloat16_pays, bfloat16_speedup, choose_device, describe

    device = choose_device("auto")
    precision = "bfloat16" if bfloat16_pays(device, "conv") else "float32"
    if device.type == "cuda":
        why = f"the GPU {'computes in' if precision == 'bfloat16' else 'only emulates'} bfloat16"
    elif describe(device)["bfloat16_instructions"] == "none":
        why = "the processor has no bfloat16 instructions"
    else:
        why = f"bfloat16 is {bfloat16_speedup():.2f} times as fast, and used from {BFLOAT16_WORTH:g} on"
    return Finding(
        check="precision",
        ok=True,
        finding=f"{precision} for convolutions in a new study: {why}; every study records its own decision",
    )


def _data() -> Finding:
    from data.datasets.base import DatasetError, FileState
    from data.datasets.mnist import cache_folder, verify

    try:
        folder = cache_folder()
        checks = verify()
    except DatasetError as error:
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
        missing = isinstance(error, NoStorage)  # before the first run that is as it should be
        return Finding(check="storage", ok=missing, finding=str(error))
    names = ", ".join(view.record.name for view in found) or "none yet"
    return Finding(check="storage", ok=True, finding=f"studies: {names}")


def _file_system(storage_url: str) -> Finding:
    from search.service.other_hosts import warning
    from search.store.location import locate

    file = locate(storage_url).database
    assert file is not None
    kind = network_file_system(file)
    if kind is not None:
        return Finding(check="file system", ok=False, finding=warning(str(file), kind))
    return Finding(check="file system", ok=True, finding=f"{file} lies on no network file system")


def _place(what: str, storage_url: str) -> Finding:
    """Where something lies; nothing is wrong about it."""
    from search.service.places import WHERE

    try:
        return Finding(check=what, ok=True, finding=WHERE[what](storage_url))
    except TuneError as error:  # the storage does not exist yet, or its own check says what is wrong
        return Finding(check=what, ok=True, finding=str(error))


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
