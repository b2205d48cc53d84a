"""Serves the page on which one draws digits and sees what an exported model makes of them.
Knows nothing of the page and of HTTP's details: search.serve.demo has those.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from search.serve.demo import make_server
from search.serve.folder import open_export
from search.serve.model import Model


def serve(folder: Path, *, host: str, port: int, ready: Callable[[str, str | None], None]) -> None:
    """Serves until interrupted. `ready` is told the address, and a warning where others can reach it.

    Raises UsageError for a folder that is no export, a port that is taken, an address that is not ours.
    """
    server = make_server(Model(open_export(folder)), host=host, port=port)
    with server:
        ready(server.address, server.warning)
        server.serve_forever(poll_interval=0.1)
