"""Database servers of the tests' own, to be killed and started again: the shared ones serve others too.

Neither waits for the disk at a commit (fsync is off, or once a second): what is tried here is a server that
dies, and what a process has handed to the system outlives it. Only a system that dies needs more, and no test
can have that.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import OperationalError

START_S = 60.0


class Server(ABC):
    """A server in a temporary folder, on a port of its own."""

    user: str
    """who runs it where the tests run as root: servers refuse root"""
    end: signal.Signals
    """the signal that ends it at once, in the middle of whatever it does"""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self.folder = Path(tempfile.mkdtemp(prefix="tune-server-"))
        if os.geteuid() == 0:
            shutil.chown(self.folder, user=self.user)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._call(*self._install())
        self.start()

    @abstractmethod
    def _install(self) -> list[str]:
        """The command that makes an empty installation."""

    @abstractmethod
    def _serve(self) -> list[str]:
        """The command that serves it, in the foreground."""

    @property
    @abstractmethod
    def url(self) -> URL:
        """Of the database that every installation has."""

    def start(self) -> None:
        """Serves, and waits until it answers."""
        log = (self.folder / "log").open("ab")
        with log:
            self._process = subprocess.Popen(self._serve(), stdout=log, stderr=log, **self._as_user())
        deadline = time.monotonic() + START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((self.folder / "log").read_text()[-3000:])
            time.sleep(0.05)

    def kill(self) -> None:
        """Ends it at once; every connection breaks."""
        assert self._process is not None
        self._process.send_signal(self.end)
        self._process.wait(START_S)

    def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"tune_{secrets.token_hex(6)}"
        engine = create_engine(self.url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return self.url.set(database=name).render_as_string(hide_password=False)

    def close(self) -> None:
        """Ends it and removes all of it."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        engine = create_engine(self.url)
        try:
            with engine.connect():
                return True
        except OperationalError:
            return False
        finally:
            engine.dispose()

    def _call(self, *command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False, **self._as_user())
        assert done.returncode == 0, done.stdout + done.stderr

    def _as_user(self) -> dict[str, Any]:
        if os.geteuid() != 0:
            return {"cwd": self.folder}
        return {"cwd": self.folder, "user": self.user, "group": self.user, "extra_groups": []}


class PostgreSQL(Server):
    """What `pg_ctl stop -m immediate` does to a server: SIGQUIT, and no backend ends its work."""

    user = "postgres"
    end = signal.SIGQUIT

    def _install(self) -> list[str]:
        folder = str(self.folder / "data")
        options = ["--no-sync", "--encoding", "UTF8", "--locale", "C", "--auth", "trust"]
        return [_program("initdb"), "--pgdata", folder, "--username", "postgres", *options]

    def _serve(self) -> list[str]:
        settings = [f"port={self.port}", f"unix_socket_directories={self.folder}", "fsync=off"]
        flags = [word for setting in settings for word in ("-c", setting)]
        return [_program("postgres"), "-D", str(self.folder / "data"), *flags]

    @property
    def url(self) -> URL:
        """See Server."""
        return URL.create("postgresql", "postgres", host="127.0.0.1", port=self.port, database="postgres")


class MariaDB(Server):
    """A server that kill -9 ends."""

    user = "mysql"
    end = signal.SIGKILL

    def _install(self) -> list[str]:
        return [
            _program("mariadb-install-db"),
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        ]

    def _serve(self) -> list[str]:
        return [
            _program("mariadbd"),
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            f"--port={self.port}",
            f"--socket={self.folder / 'socket'}",
            f"--pid-file={self.folder / 'pid'}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--innodb-flush-log-at-trx-commit=2",
        ]

    @property
    def url(self) -> URL:
        """See Server."""
        return URL.create("mysql+pymysql", "root", host="127.0.0.1", port=self.port, database="mysql")


def _program(name: str) -> str:
    """Where it is installed. Debian keeps PostgreSQL's programs off the path, a folder for each version."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    folders = [os.environ.get("PATH", ""), "/usr/sbin", *map(str, reversed(versions))]
    found = shutil.which(name, path=os.pathsep.join(folders))
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


SERVERS = {"postgresql": PostgreSQL, "mariadb": MariaDB}


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """One of each kind, which the tests of a module share; each leaves it serving."""
    made = SERVERS[request.param]()
    yield made
    made.close()
