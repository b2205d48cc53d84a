"""Promise P9: a canary in the storage URL is found nowhere, whatever command meets it, however it ends.

The commands are those that are registered: a new one is held to it without being named here. That a whole run
leaks nothing into process lists, files and the database is held in test_processes.py.
"""

from __future__ import annotations

import importlib
import logging
import pickle
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import typer
from snapshots import Snapshots, lines_with
from sqlalchemy.engine import make_url

from search import redaction
from search.cli.app import app
from search.launchers.ray import RayLauncher
from search.launchers.ray_cluster import Cluster
from search.optuna_db.storage import Storage, open_storage
from search.records import NetworkSpec
from search.redaction import traceback_text
from search.store.url import parse_url
from search.study.study import Study
from search.worker.options import WorkerOptions
from search.worker.process import WorkerConfig, WorkerExit, run_worker

SENTENCES = Snapshots(__file__, "secrets")
Command = Callable[..., Any]

CANARY = "canary-4711"
PASSWORD = f"{CANARY}@/: é'"
"""with characters that are encoded in a URL"""
USERINFO = f"u:{quote(PASSWORD, safe='')}"


def leaked(*texts: str) -> list[str]:
    """What of these texts has the canary, in any form that a password can take there."""
    return [text for text in texts if "canary" in text or "4711" in text]


def commands() -> dict[str, Any]:
    """Every registered command by the words that call it."""

    def below(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        inner = getattr(command, "commands", None)
        if inner is None:
            yield " ".join(words), command
            return
        for name, each in inner.items():
            yield from below(each, (*words, name))

    return dict(below(typer.main.get_command(app), ()))


COMMANDS = commands()

VALUES = {
    "study": "s",
    "names": "s t",
    "task": "twodigit",
    "trial": "0",
    "out": "out",
    "folder": "none",
    "images": "none.png",
    "path": "none",
}
"""What is given for an argument that a command cannot do without, by its name."""

MORE = {"worker": ("s",), "run": ("--task", "twodigit")}
"""More arguments for commands that would wait or ask otherwise, or never come to the storage."""


def call(name: str) -> list[str]:
    """The shortest way to call a command."""
    words = name.split()
    for parameter in COMMANDS[name].params:
        if parameter.required:
            value = VALUES[parameter.name].split()
            words += value if parameter.param_type_name == "argument" else [parameter.opts[0], *value]
    return [*words, *MORE.get(name, ())]


def uses_storage(name: str) -> bool:
    return any("--storage" in parameter.opts for parameter in COMMANDS[name].params)


WITH_STORAGE = [name for name in COMMANDS if uses_storage(name)]

URLS = {
    "nobody answers": (f"postgresql://{USERINFO}@127.0.0.1:1/d?sslpassword={CANARY}", 75),
    "in the query": (f"postgresql://u@127.0.0.1:1/d?password={CANARY}&options=-c%20x.y%3D{CANARY}", 75),
    "by MySQL's names": (f"mysql://u@127.0.0.1:1/d?passwd={CANARY}&ssl_key_password={CANARY}", 75),
    "an option that no driver has": (f"postgresql://{USERINFO}@127.0.0.1:1/d?PGPASSWORD={CANARY}", 78),
    "an option that PyMySQL lacks": (f"mysql://{USERINFO}@127.0.0.1:1/d?secret={CANARY}", 78),
    "a wrong sslmode": (f"postgresql://{USERINFO}@127.0.0.1:1/d?sslmode=x&sslpassword={CANARY}", 78),
    "not encoded": (f"postgresql://u:{CANARY}@{CANARY}:x@127.0.0.1:1/d", 78),
    "another database": (f"oracle://{USERINFO}@h/d?password={CANARY}", 78),
    "another driver": (f"postgresql+asyncpg://{USERINFO}@h/d?password={CANARY}", 78),
    "no question mark": (f"postgresql://u@h/d&password={CANARY}", 78),
    "SQLite with a key": (f"sqlite:///x.db?key={CANARY}", 78),
}
"""By what is wrong with it: a URL, and how it ends."""


@pytest.mark.filterwarnings("ignore:'passwd' is deprecated:DeprecationWarning")
@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("name", WITH_STORAGE)
def test_no_refusal_has_it(
    name: str, url: str, here: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor has its traceback, which --debug shows before it."""
    text, code = URLS[url]
    monkeypatch.setenv("TUNE_STORAGE", text)
    done = here(*call(name), cwd=tmp_path, debug=True)
    assert done.returncode == (1 if name == "doctor" else code), done.stderr
    assert name == "doctor" or "Traceback" in done.stderr
    assert leaked(done.stdout, done.stderr) == []
    assert [path.name for path in tmp_path.rglob("*")] == [], "a refusal leaves nothing behind"


@pytest.mark.parametrize("url", URLS)
def test_a_password_among_the_arguments_is_warned_of(url: str, here: Command, tmp_path: Path) -> None:
    done = here("studies", "--storage", URLS[url][0], cwd=tmp_path)
    SENTENCES.check("a password among the arguments", lines_with(done.stderr, "Careful"))
    assert leaked(done.stdout, done.stderr) == []
    assert "Careful" not in here("studies", "--storage", "sqlite:///x.db", cwd=tmp_path).stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_repeats_what_was_typed_in_the_wrong_place(
    name: str, here: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = URLS["nobody answers"][0]
    monkeypatch.setenv("TUNE_STORAGE", url)
    help_text = here(*name.split(), "--help", cwd=tmp_path)
    assert help_text.returncode == 0
    shown = [help_text.stdout, help_text.stderr]
    for wrong in ([f"--store={url}"], [url, url, url]):
        done = here(*call(name), *wrong, cwd=tmp_path)
        assert done.returncode in (2, 75, 78), done.stderr
        shown += [done.stdout, done.stderr]
    assert leaked(*shown) == []


def test_a_study_called_like_a_url(
    here: Command, tmp_path: Path, sqlite_url: str, plain_spec: NetworkSpec
) -> None:
    with open_storage(sqlite_url) as storage:
        Study.create(storage, "s", plain_spec, 1)
    done = here("trials", f"postgresql://{USERINFO}@h/d", cwd=tmp_path)
    assert done.returncode == 2
    assert "There is no study postgresql://u:***@h/d" in done.stderr
    assert leaked(done.stderr) == []


@pytest.mark.parametrize("debug", [False, True])
def test_what_should_not_happen(
    debug: bool, here: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that nobody thought of quotes what it was given."""

    def quoting(_text: str) -> None:
        url = parse_url(f"postgresql://{USERINFO}@127.0.0.1:1/d?sslpassword={CANARY}-2")
        raise AssertionError(f"{url!r} {url.password!r} {dict(url.query)} {url.password}")

    monkeypatch.setattr("search.service.look.all_studies", quoting)
    done = here("studies", cwd=tmp_path, debug=debug)
    assert done.returncode == 1
    assert "unexpected error: AssertionError" in done.stderr
    assert ("Traceback" in done.stderr) == debug
    assert leaked(done.stderr) == []


def test_a_warning_is_not_torn_apart_by_a_short_password(
    here: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def warn(_text: str) -> tuple[list[object], list[object]]:
        logging.getLogger("search.service.look").warning("No accuracy between 0 and 1: %s.", f"{CANARY}-2")
        return [], []

    redaction.remember(["1", f"{CANARY}-2"])
    monkeypatch.setattr("search.service.look.all_studies", warn)
    done = here("studies", cwd=tmp_path)
    assert "No accuracy between 0 and 1: ***." in done.stderr


def test_a_worker_that_waits_says_why_without_it(start: Command, tmp_path: Path) -> None:
    """On each try again, which a journal keeps."""
    running = start("worker", "--forever", cwd=tmp_path, TUNE_STORAGE=URLS["nobody answers"][0])
    first = running.stderr.readline()
    assert "does not answer" in first
    line = Path(f"/proc/{running.pid}/cmdline").read_bytes().decode()
    running.kill()
    assert leaked(first, line, *running.communicate()) == []


def test_a_command_as_a_process_with_a_traceback(tune: Command, tmp_path: Path) -> None:
    for url in ("nobody answers", "a wrong sslmode"):
        done = tune("--debug", "studies", cwd=tmp_path, TUNE_STORAGE=URLS[url][0])
        assert "Traceback" in done.stderr
        assert leaked(done.stdout, done.stderr) == []


URL = f"postgresql://{USERINFO}@h/d?sslpassword={CANARY}"


def order(folder: Path, url: str = URL) -> WorkerConfig:
    return WorkerConfig(storage_url=url, study="s", artifact_root=folder, options=WorkerOptions(device="cpu"))


def test_nothing_that_holds_the_url_shows_it(tmp_path: Path, sqlite_url: str) -> None:
    with open_storage(sqlite_url) as storage:
        assert isinstance(storage, Storage)
        shown = repr(storage)
    assert f"url='{sqlite_url}'" not in shown, "only under `name`, as it may be shown"
    assert leaked(repr(order(tmp_path)), str(order(tmp_path))) == []


def test_a_worker_hands_back_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for url, _ in URLS.values():
        end = run_worker(order(tmp_path, url), lambda: False)
        assert end.how in ("died", "gave up")
        assert leaked(end.words, repr(end)) == []


@dataclass
class FakeRay:
    """Records what Ray would be told; what it keeps is all but the arguments of calls."""

    kept: list[Any] = field(default_factory=list)
    """by Ray's head and in its logs"""
    arguments: list[Any] = field(default_factory=list)
    """of calls of an actor's methods, which go to the worker itself"""

    def module(self) -> types.ModuleType:
        ray, exceptions = types.ModuleType("ray"), types.ModuleType("ray.exceptions")

        class RayError(Exception):
            pass

        exceptions.RayError = RayError  # type: ignore[attr-defined]
        exceptions.ActorUnavailableError = type("ActorUnavailableError", (RayError,), {})  # type: ignore[attr-defined]
        ray.exceptions = exceptions  # type: ignore[attr-defined]
        ray.init = self._keep  # type: ignore[attr-defined]
        ray.remote = self._remote  # type: ignore[attr-defined]
        ray.nodes = list  # type: ignore[attr-defined]
        return ray

    def _keep(self, *arguments: Any, **options: Any) -> None:
        self.kept += [*arguments, *options.items()]

    def _remote(self, kind: type) -> Any:
        fake = self

        class Method:
            def __init__(self, name: str) -> None:
                self.name = name

            def remote(self, *arguments: Any) -> None:
                fake.kept.append(self.name)
                fake.arguments += arguments

        class Actor:
            def __getattr__(self, name: str) -> Method:
                return Method(name)

        class Made:
            def options(self, **options: Any) -> Made:
                fake.kept += options.items()
                return self

            def remote(self, *arguments: Any) -> Actor:
                fake.kept += arguments
                return Actor()

        self.kept.append(kind.__qualname__)
        return Made()


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRay]:
    fake = FakeRay()
    module: Any = fake.module()
    monkeypatch.setitem(sys.modules, "ray", module)
    monkeypatch.setitem(sys.modules, "ray.exceptions", module.exceptions)
    monkeypatch.delitem(sys.modules, "search.launchers.ray_driver", raising=False)
    yield fake
    sys.modules.pop("search.launchers.ray_driver", None)  # it has imported the fake


class TestRay:
    def test_only_the_argument_of_a_call_has_it(
        self, ray: FakeRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from search.launchers.ray_driver import _Driver

        driver = _Driver()
        driver.connect("auto")
        engine = RayLauncher(WorkerOptions(device="cpu", engine="ray", address="auto"), URL)
        engine._cluster = Cluster(hosts=("a",), cpus=(2.0,), gpus=0.0)
        monkeypatch.setattr(
            engine, "_call", lambda name, *arguments: getattr(driver, name)(*arguments)
        )  # the pipe
        engine.starter(1)(order(tmp_path))
        assert ray.kept, "something was recorded"
        assert [each for each in ray.kept if leaked(repr(each)) or b"canary" in pickle.dumps(each)] == []
        [sent] = ray.arguments
        assert leaked(repr(sent)) == []
        assert sent.storage_url == URL, "the worker must know it"

    def test_what_a_worker_leaves_in_its_log(
        self,
        ray: FakeRay,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        driver = importlib.import_module("search.launchers.ray_driver")
        monkeypatch.setattr(driver, "redact_output", lambda: None)  # of this process; it is tested elsewhere

        def dies(given: WorkerConfig, _stop: object) -> WorkerExit:
            open_url = make_url(given.storage_url)
            redaction.remember([open_url.password])
            raise RuntimeError(f"cannot connect to {open_url.password} at {given.storage_url}")

        monkeypatch.setattr(driver, "run_worker", dies)
        worker = driver._Worker()
        with pytest.raises(RuntimeError) as caught:
            worker._work(order(tmp_path))
        _, end = worker.look()
        assert end.how == "died"
        assert "RuntimeError: cannot connect to ***" in end.words
        assert leaked(end.words, traceback_text(caught.value)) == []


def test_a_local_worker_that_crashes_leaves_no_secret_on_the_terminal(tmp_path: Path) -> None:
    """multiprocessing would print the traceback of its process as it is."""
    script = tmp_path / "crash.py"
    script.write_text(
        f"""
import sys
from pathlib import Path
from search.redaction import remember
from search.launchers import local
from search.worker.options import WorkerOptions
from search.worker.process import WorkerConfig

def dies(given, stop):
    remember([{PASSWORD!r}])
    raise RuntimeError("no route with " + {PASSWORD!r} + " at " + given.storage_url)

local.run_worker = dies  # the spawned process imports this file again
if __name__ == "__main__":
    config = WorkerConfig(storage_url={URL!r}, study="s", artifact_root=Path("x"),
                          options=WorkerOptions(device="cpu"))
    worker = local.LocalWorker(config)
    worker.wait(30)
    sys.stdout.write(repr(worker.end) + repr(config))
"""
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=True, cwd=tmp_path
    )
    assert "exit code 1" in done.stdout
    assert "RuntimeError: no route with ***" in done.stderr
    assert leaked(done.stdout, done.stderr) == []


def test_the_dashboards_tracebacks_are_redacted(tmp_path: Path) -> None:
    from search.serve.sender import for_its_own_page

    class Log:
        text = ""

        def write(self, text: str) -> int:
            self.text += text
            return len(text)

        def flush(self) -> None:
            pass

    redaction.remember([PASSWORD])
    log = Log()

    def app(environment: dict[str, Any], start_response: Any) -> list[bytes]:
        environment["wsgi.errors"].write(f"Traceback … {PASSWORD} {URL}")
        return []

    environment = {"HTTP_HOST": "127.0.0.1:8080", "wsgi.errors": log}
    address = "http://127.0.0.1:8080/dashboard/"
    for_its_own_page(app, host="127.0.0.1", address=address)(environment, lambda *_: None)
    assert "Traceback" in log.text
    assert leaked(log.text) == []
