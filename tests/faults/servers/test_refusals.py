"""What PostgreSQL and libpq really say of a connection that can never be had: their words decide, as libpq
passes on no SQLSTATE (search.store.connecting). A server of the tests' own has rules of access for it."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL

from search.errors import ConfigError, TryAgain
from search.optuna_db.storage import open_storage

pytestmark = pytest.mark.parametrize("server", ["postgresql"], indirect=True)

ACCESS = """
host all postgres 127.0.0.1/32 trust
host all keyed 127.0.0.1/32 scram-sha-256
host all asleep,outsider,crowded 127.0.0.1/32 trust
"""
"""pg_hba.conf: who may come from where, and how they prove who they are."""

ROLES = (
    "CREATE ROLE keyed LOGIN PASSWORD 'right-4711'",
    "CREATE ROLE asleep",
    "CREATE ROLE outsider LOGIN",
    "CREATE ROLE crowded LOGIN CONNECTION LIMIT 0",
)


@pytest.fixture(scope="module")
def guarded(server: Any) -> Any:
    """The server with these roles and rules, and the database `closed` that nobody may connect to."""
    (server.folder / "data" / "pg_hba.conf").write_text(ACCESS, encoding="utf-8")
    engine = create_engine(server.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in (*ROLES, "CREATE DATABASE closed", "REVOKE CONNECT ON DATABASE closed FROM PUBLIC"):
            connection.execute(text(statement))
        connection.execute(text("SELECT pg_reload_conf()"))
    engine.dispose()
    return server


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"username": "keyed", "password": "wrong"}, "password authentication failed"),
        ({"username": "keyed"}, "no password supplied"),
        ({"username": "asleep"}, "is not permitted to log in"),
        ({"username": "stranger"}, "no pg_hba.conf entry"),
        ({"username": "outsider", "database": "closed"}, "permission denied for database"),
        ({"query": {"options": "-c log_statement=all"}, "username": "outsider"}, "permission denied to set"),
        ({"query": {"options": "-c port=1"}}, "cannot be changed"),
        ({"query": {"sslmode": "require"}}, "does not support SSL"),
        ({"query": {"require_auth": "md5"}}, "authentication method requirement"),
    ],
)
def test_what_stays_wrong(guarded: Any, change: dict[str, Any], words: str) -> None:
    refused(guarded.url.set(**change), words)


@pytest.fixture
def encrypted(guarded: Any, tmp_path: Path) -> Iterator[Any]:
    """The server with TLS and a certificate of its own for the name `localhost`, while a test lasts."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = guarded.folder / "data"
    certificate(folder, "server")
    for file in (folder / "server.crt", folder / "server.key"):
        shutil.chown(file, (folder / "PG_VERSION").stat().st_uid)
    (folder / "server.key").chmod(0o600)
    certificate(tmp_path, "other")
    shutil.copy(folder / "server.crt", tmp_path)
    set_tls(guarded, on=True)
    yield guarded
    set_tls(guarded, on=False)


def certificate(folder: Path, name: str) -> None:
    """Makes `NAME.crt` and `NAME.key`, for the host `localhost`."""
    files = ["-keyout", f"{folder / name}.key", "-out", f"{folder / name}.crt"]
    subject = ["-subj", f"/O={name}/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    subprocess.run(
        ["openssl", "req", "-x509", "-nodes", "-days", "2", *curve, *files, *subject],
        check=True,
        capture_output=True,
    )


def set_tls(server: Any, *, on: bool) -> None:
    """Turns TLS on or off, and waits until new connections see it."""
    url = server.url.render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"ALTER SYSTEM SET ssl = {'on' if on else 'off'}")
        connection.execute("SELECT pg_reload_conf()")
    deadline = time.monotonic() + 20
    while True:
        with psycopg.connect(url, sslmode="prefer") as connection:
            if connection.pgconn.ssl_in_use is on:
                return
        assert time.monotonic() < deadline, "the server does not take its new configuration"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"sslmode": "verify-full", "sslrootcert": "/none.pem"}, "root certificate file"),
        ({"sslmode": "verify-full", "sslrootcert": "{}/server.crt"}, "does not match host name"),
        ({"sslmode": "verify-ca", "sslrootcert": "{}/other.crt"}, "certificate verify failed"),
        ({"sslmode": "require", "sslcert": "{}/other.crt", "sslkey": "/none.key"}, "private key file"),
    ],
)
def test_certificates_that_are_wrong(
    encrypted: Any, tmp_path: Path, query: dict[str, str], words: str
) -> None:
    filled = {name: value.format(tmp_path) for name, value in query.items()}
    refused(encrypted.url.set(query=filled), words)


def refused(url: URL, words: str) -> None:
    """Asserts that the storage is refused for good, with these words of libpq or the server."""
    with pytest.raises(ConfigError, match="Trying again will not help") as caught:
        open_storage(url.render_as_string(hide_password=False))
    assert words in str(caught.value)
    error = caught.value.__cause__
    assert isinstance(error, psycopg.OperationalError)
    assert error.sqlstate is None, "libpq passes one on now: decide by that"


def test_what_may_pass(guarded: Any) -> None:
    url = guarded.url.set(username="crowded").render_as_string(hide_password=False)
    with pytest.raises(TryAgain, match="too many connections for role"):
        open_storage(url)
    right = guarded.url.set(username="keyed", password="right-4711")
    with psycopg.connect(right.render_as_string(hide_password=False)) as connection:
        assert connection.info.status is psycopg.pq.ConnStatus.OK
