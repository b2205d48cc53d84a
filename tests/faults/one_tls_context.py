"""One TLS context for all connections to MySQL and MariaDB, where a URL says nothing about TLS.

PyMySQL makes one for each connection, also to a server without TLS, and reads the certificates of the system
for it: 25 to 50 ms of processor time. The tests connect thousands of times.
"""

from __future__ import annotations

import ssl
from typing import Any


def share() -> None:
    """From now on every connection of this process whose URL says nothing about TLS has the same context."""
    try:
        from pymysql.connections import Connection
    except ImportError:  # the driver is an extra
        return
    ordinary: Any = Connection._create_ssl_ctx
    shared = ordinary(Connection(defer_connect=True), {})

    def context(self: Connection, given: Any) -> ssl.SSLContext:
        made: ssl.SSLContext = ordinary(self, given) if given else shared
        return made

    Connection._create_ssl_ctx = context
