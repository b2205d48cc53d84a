"""Who may ask a server on this machine: its own pages, by a name of this machine's own.

Whatever page a browser has open may send requests to this machine, also under a name that a stranger points
here for the purpose. So a request under another name than this machine's own is refused, and so is one that
another page sent.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from search.redaction import RedactingStream

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication

LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})


def for_its_own_page(app: WSGIApplication, *, host: str, address: str) -> WSGIApplication:
    """The app, which is not called when a request comes under a foreign name or from another page."""

    def answer(environment: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        words = refusal(
            environment.get("HTTP_HOST"), environment.get("HTTP_ORIGIN"), host=host, address=address
        )
        if words is None:
            environment["wsgi.errors"] = RedactingStream(environment["wsgi.errors"])  # tracebacks go there
            return app(environment, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
        return [f"tune: {words}.\n".encode()]

    return answer


def only_here(host: str) -> bool:
    """Whether only this machine reaches that address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def refusal(asked: str | None, origin: str | None, *, host: str, address: str) -> str | None:
    """Why a request gets no answer; None where it may have one.

    asked, origin: its headers Host and Origin. host: what the server listens on. address: where its page is.
    """
    if not names_us(asked, host=host):
        return f"this page is at {address}, not at {str(asked)[:80]}; --host NAME gives it another name"
    if origin is not None and _netloc(origin) != asked:
        return "another page sent this"
    return None


def names_us(asked: str | None, *, host: str) -> bool:
    """Whether a Host header has a name of this machine, where the server listens on `host`.

    An address cannot be pointed elsewhere, so that any will do where others are let in; a foreign name
    could lead here from anywhere.
    """
    name = _hostname(asked)
    if name in LOCAL or name == host.lower():
        return name is not None
    return host not in LOCAL and name is not None and (_is_address(name) or name in _own_names())


def _hostname(header: str | None) -> str | None:
    try:
        return urlsplit(f"//{header}").hostname if header else None
    except ValueError:
        return None


def _netloc(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _own_names() -> set[str]:
    return {socket.gethostname().lower(), socket.getfqdn().lower()}
