"""Fixtures that more than one room needs: real MNIST, a database of each kind for a single test, and
`tune` as a process in the background."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import one_thread  # noqa: F401  # importing it is its use
import one_tls_context
import pytest
import valley
from hypothesis import settings
from specs import network_spec
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from data.datasets.fetch import fetch
from data.datasets.mnist import Mnist, load
from search import redaction
from search.records import NetworkSpec

SERVERS = {
    "postgresql": ("TUNE_TEST_POSTGRESQL", "postgresql://postgres@127.0.0.1:5432/postgres"),
    "mysql": ("TUNE_TEST_MYSQL", "mysql+pymysql://root@127.0.0.1:3306/test"),
}
"""Database -> (environment variable, default URL of a server on which databases may be made and dropped)."""

LONGEST = (
    "search/test_processes.py",
    "docs/test_guides.py",
    "contracts/test_optuna_contract.py",
    "search/worker/test_weights.py",
    "search/objectives/external/test_faults.py",
    "contracts/test_creation.py",
    "search/cli/test_training_code.py",
    "search/service/test_confirm.py",
    "faults/servers/test_restart.py",
    "search/objectives/external/test_code.py",
    "contracts/test_retry.py",
    "faults/test_deletion.py",
    "search/study/test_space_change.py",
    "search/service/test_export.py",
    "contracts/test_from_outside.py",
    "faults/test_every_moment.py",
)
"""Files that take half a minute and more."""

one_tls_context.share()

settings.register_profile("untimed", deadline=None)  # an example takes a second where the machine is busy
settings.load_profile("untimed")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A script's background job ignores Ctrl-C, and so would every command that the tests start in it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and what nohup started ignores the end of its terminal


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files come first, so that of several processes none is left with one of them at the end."""
    here = Path(__file__).parent
    longest = {here / file for file in LONGEST}
    assert all(file.exists() for file in longest), "a file of LONGEST has another name"
    items.sort(key=lambda item: item.path not in longest)


@pytest.fixture(autouse=True)
def _no_secret_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The passwords of other tests must not be hidden in the output of this one."""
    monkeypatch.setattr(redaction, "_known", frozenset())


@pytest.fixture(scope="session")
def mnist() -> Mnist:
    """The real thing, from the cache or from wherever this machine can get it."""
    fetch()
    return load()


@pytest.fixture(scope="session")
def plain_spec() -> NetworkSpec:
    """Of a study that searches nothing, for tests that need any study at all."""
    return network_spec()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A new SQLite file."""
    return f"sqlite:///{tmp_path / 'studies.db'}"


@pytest.fixture
def postgresql_url() -> Iterator[str]:
    """A new database on the PostgreSQL server."""
    yield from _fresh_database("postgresql")


@pytest.fixture
def mysql_url() -> Iterator[str]:
    """A new database on the MySQL or MariaDB server."""
    yield from _fresh_database("mysql")


@pytest.fixture(scope="session")
def shared_database() -> Iterator[Callable[[str], str]]:
    """shared_database("postgresql"): the URL of one database for all tests that empty its tables."""
    made: dict[str, tuple[str, Iterator[str]]] = {}

    def url(kind: str) -> str:
        if kind not in made:
            fresh = _fresh_database(kind)
            made[kind] = next(fresh), fresh
        return made[kind][0]

    yield url
    for _, fresh in made.values():
        next(fresh, None)


@pytest.fixture(scope="session")
def fresh_database() -> Callable[[str], contextlib.AbstractContextManager[str]]:
    """fresh_database("mysql"): a new database on that server, dropped when the block ends."""
    return contextlib.contextmanager(_fresh_database)


def _fresh_database(kind: str) -> Iterator[str]:
    variable, default = SERVERS[kind]
    server = make_url(os.environ.get(variable, default))
    name = f"tune_test_{secrets.token_hex(6)}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
    except OperationalError:
        pytest.skip(f"no {kind} server answers; start one or point {variable} at it")
    try:
        yield server.set(database=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            force = " WITH (FORCE)" if kind == "postgresql" else ""
            connection.execute(text(f"DROP DATABASE {name}{force}"))
        engine.dispose()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as pip makes one of an installed package, in which commands and workers find the objective of
    tests/support/valley.py. Their processes start without torch."""
    folder = tmp_path_factory.mktemp("site")
    told = folder / "valley_objective-1.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: valley-objective\nVersion: 1.0\n")
    (told / "entry_points.txt").write_text("[tune.objectives]\nvalley = valley:VALLEY\n")
    shutil.copy(valley.__file__, folder / "valley.py")
    return folder


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """start("run", …, cwd=folder): the command in the background, in a process group of its own, as a shell
    starts it. Whatever is left of it when the test is over is killed."""
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, cwd: Path, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "search", *arguments],  # not the script: Ray has one named tune
            cwd=cwd,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
