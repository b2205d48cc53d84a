"""Serves optuna-dashboard on tune's storage and artifact folder.
Knows nothing of studies: the dashboard reads Optuna's tables by itself.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from search.errors import UsageError
from search.study.storage import open_storage, open_undisturbing


def serve(storage_url: str, *, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serves until interrupted. Raises UsageError for a port that is taken or an address that is not ours."""
    from optuna_dashboard import run_server

    open_storage(storage_url, create=False).close()  # every refusal of a storage, in words
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UsageError(
                f"--host {host} --port {port} cannot be used: {error.strerror}; choose another --port."
            ) from error
    ready(f"http://{host}:{port}/dashboard/")
    run_server(open_undisturbing(storage_url), host=host, port=port)
