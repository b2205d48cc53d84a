"""Serves the page on which one draws digits and sees what an exported model makes of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from search.serve.demo import make_server
from search.serve.folder import open_export
from search.serve.model import Model
from search.serve.sender import only_here
from search.service.serving import until_stopped


def serve(folder: Path, *, host: str, port: int, ready: Callable[[str, str | None], None]) -> None:
    """Serves until a signal comes, which it raises as `until_stopped` does. `ready` is given the address, and
    a warning where others can reach it.

    Raises UsageError for a folder that is no export, a port that is taken, an address that is not this
    machine's; ConfigError for an export that cannot be used.
    """
    model = Model(open_export(folder))
    with make_server(model, host=host, port=port) as server:
        warning = f"Warning: everybody who reaches {host} can use this page; nothing is encrypted."
        ready(server.address, None if only_here(host) else warning)
        until_stopped(server)
