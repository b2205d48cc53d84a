"""Keeps passwords out of every text that leaves the process: messages, log records, warnings, tracebacks.

Two rules, each in one place:

- `masked_url` shows a storage URL. Its password and the value of every option that is not known to be
  harmless are hidden. Drivers name their secrets as they like (`passwd`, `sslpassword`, `ssl_key_password`,
  `oauth_client_secret`, `options=-c …`), so an unknown option must be hidden, not shown.
- `redacted` cleans a text that may quote an error of a driver or the words of a user. It hides every secret
  that was `remember`ed, however it is encoded there, and masks whatever looks like a URL.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from types import TracebackType
from typing import Any
from urllib.parse import unquote_plus

HIDDEN = "***"

STORAGE_VARIABLE = "TUNE_STORAGE"
"""The environment variable for the storage URL."""

_HARMLESS_LIBPQ = """
    application_name channel_binding client_encoding connect_timeout dbname fallback_application_name
    gssdelegation gssencmode host hostaddr keepalives keepalives_count keepalives_idle keepalives_interval
    krbsrvname load_balance_hosts max_protocol_version min_protocol_version oauth_client_id oauth_issuer
    oauth_scope passfile port prepare_threshold replication require_auth requirepeer service
    ssl_max_protocol_version ssl_min_protocol_version sslcert sslcertmode sslcompression sslcrl sslcrldir
    sslkey sslmode sslnegotiation sslrootcert sslsni target_session_attrs tcp_user_timeout user
"""
_HARMLESS_PYMYSQL = """
    autocommit bind_address charset client_flag collation compress database db local_infile
    max_allowed_packet program_name read_default_file read_default_group read_timeout sql_mode ssl_ca
    ssl_cert ssl_check_hostname ssl_disabled ssl_key ssl_verify_cert ssl_verify_identity unix_socket
    use_unicode write_timeout
"""
_HARMLESS_SQLITE = "cache check_same_thread immutable isolation_level mode nolock timeout uri"

HARMLESS = frozenset((_HARMLESS_LIBPQ + _HARMLESS_PYMYSQL + _HARMLESS_SQLITE).split())
"""Options of a storage URL whose values are shown: modes, limits, names and paths."""

_URL = re.compile(r"\w[\w+.-]*://\S+")
_PASSWORD = re.compile(r"(://[^\s:/]*):\S*@")
_OPTION = re.compile(r"([?&;])([^?&;=]*)=([^&]*)")
"""Also where a question mark was forgotten, or options are divided as other programs divide them."""

_SHORTEST_ANYWHERE = 6
"""A secret with fewer characters, or of letters only, is hidden where it stands as a whole word: a password
`a` or `postgres` must not tear other words apart."""

_known: frozenset[str] = frozenset()
"""The secrets of every storage URL that this process has read."""


def masked_url(text: str) -> str:
    """The URL as it may be shown: without its password and the values of options that may be secret."""
    return _OPTION.sub(_masked_option, _PASSWORD.sub(rf"\1:{HIDDEN}@", text))


def _masked_option(option: re.Match[str]) -> str:
    start, name, value = option.groups()
    return f"{start}{name}={value if is_harmless(name, unquote_plus(value)) else HIDDEN}"


def is_harmless(name: str, value: str) -> bool:
    """Whether the value of this option of a URL may be shown; not one with other options in it."""
    return name in HARMLESS and not re.search("[;=&?]", value)


def remember(secrets: Iterable[str | None]) -> None:
    """From now on `redacted` hides these."""
    global _known
    _known |= {secret for secret in secrets if secret and secret != HIDDEN}


def redacted(text: str, *, ours: bool = False) -> str:
    """The text without any known secret, and with every URL in it masked.

    ours: a sentence of tune's own, which quotes no secret. What users typed may still be in it, so secrets
    that cannot be mistaken are hidden; a password such as `a` or `storage` would only tear it apart.
    """
    for pattern in _patterns(frozenset(filter(_unmistakable, _known)) if ours else _known):
        text = pattern.sub(HIDDEN, text)
    return _URL.sub(lambda url: masked_url(url[0]), text)


@lru_cache(maxsize=2)
def _patterns(secrets: frozenset[str]) -> list[re.Pattern[str]]:
    """One for each secret; the longest first, because one may be a part of another."""
    return [_pattern(secret) for secret in sorted(secrets, key=len, reverse=True)]


def _unmistakable(secret: str) -> bool:
    """Whether it is neither a plain word nor a short number, but a secret wherever it stands."""
    return len(secret) >= _SHORTEST_ANYWHERE and not secret.isalpha()


def _pattern(secret: str) -> re.Pattern[str]:
    """Matches the secret as it is, percent-encoded, and as `repr`, JSON and libpq would quote it."""
    anywhere = _unmistakable(secret)
    word = "".join(map(_any_form, secret))
    # The digits of a percent-encoded character are no part of a word.
    before = "" if anywhere else r"(?:(?<![A-Za-z0-9])|(?<=%[0-9A-Fa-f]{2}))"
    after = "" if anywhere else r"(?![A-Za-z0-9])"
    return re.compile(before + word + after)


def _any_form(character: str) -> str:
    encoded = character.encode("utf-8", "surrogatepass")
    coded = {
        "".join(f"%{byte:02x}" for byte in encoded),
        repr(character)[1:-1],
        repr(encoded)[2:-1],
        json.dumps(character)[1:-1],
        f"\\{character}",
        "+" if character == " " else "",
    } - {character, ""}
    # The encoded forms first: those of % and \\ begin with the character itself.
    forms = [*(f"(?i:{re.escape(form)})" for form in sorted(coded)), re.escape(character)]
    return f"(?:{'|'.join(forms)})"


def traceback_text(error: BaseException) -> str:
    """The traceback of an error and of what caused it, redacted."""
    return redacted("".join(traceback.format_exception(error)))


class RedactingFormatter(logging.Formatter):
    """Redacts whole log records, their tracebacks too."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


class RedactingStream:
    """A text stream to which a library writes tracebacks."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(redacted(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        self._stream.flush()


def redact_output() -> None:
    """From now on log records, warnings and the tracebacks that Python prints by itself are redacted.

    For the process of a command or of a worker. What tune prints itself, it redacts itself.
    """
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(RedactingFormatter())
    plain = warnings.formatwarning
    warnings.formatwarning = lambda *arguments, **more: redacted(plain(*arguments, **more))
    sys.excepthook = _print_redacted
    threading.excepthook = lambda failed: _print_redacted(
        failed.exc_type, failed.exc_value or failed.exc_type(), failed.exc_traceback
    )


def _print_redacted(
    _kind: type[BaseException], error: BaseException, _traceback: TracebackType | None
) -> None:
    sys.stderr.write(traceback_text(error))


@contextmanager
def storage_out_of_environment() -> Iterator[None]:
    """Processes that are started within the block do not inherit TUNE_STORAGE.

    Workers get the URL through a pipe; whatever they start in turn must not find it.
    """
    url = os.environ.pop(STORAGE_VARIABLE, None)
    try:
        yield
    finally:
        if url is not None:
            os.environ[STORAGE_VARIABLE] = url
