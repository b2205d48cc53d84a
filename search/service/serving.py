"""Runs a server in the foreground until a signal ends it."""

from __future__ import annotations

import signal
from typing import NoReturn

from search.errors import Interrupted
from search.serve.server import Server
from search.worker.signals import Signals


def until_stopped(server: Server) -> NoReturn:
    """Answers requests until SIGINT or SIGTERM. Raises KeyboardInterrupt for the first, Interrupted for the
    second, so that the exit code is 130 or 143."""
    with Signals() as signals:
        server.run(signals.stop)
    if signals.received == signal.SIGTERM:
        raise Interrupted("Stopped by SIGTERM.", signal.SIGTERM)
    raise KeyboardInterrupt
