"""What a shell offers after a TAB, asked for as the shell asks: through the environment of the command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from search.cli import completion
from search.cli.app import run_command
from search.optuna_db import optuna_tables
from search.store import tables
from search.study.pruners import PRUNERS
from search.study.samplers import SAMPLERS

TUNE = str(Path(sys.executable).parent / "tune")


def asked(line: str) -> dict[str, str]:
    """The variables with which bash asks for the last word of the line."""
    return {
        "_TUNE_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
    }


def completed(line: str, cwd: Path, **environment: str) -> list[str]:
    """What bash is offered for the last word of the line; stderr must be empty."""
    done = subprocess.run(
        [TUNE],
        cwd=cwd,
        env={**os.environ, **environment, **asked(line)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.fixture
def offered_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str, Path], list[str]]:
    """The same in this process, which spares half a second: the environment tells it what to do."""

    def ask(line: str, cwd: Path) -> list[str]:
        monkeypatch.chdir(cwd)
        for name, value in asked(line).items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            run_command([], debug=False)
        printed = capsys.readouterr()
        assert (end.value.code, printed.err) == (0, "")
        return printed.out.split()

    return ask


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("tune run --task ", ["twodigit", "sum"]),
        ("tune run --model ", ["mlp", "conv", "all"]),
        ("tune run --sampler ", ["tpe", "gp", "random", "qmc"]),
        ("tune run --pruner h", ["halving", "hyperband"]),
        ("tune run --device ", ["auto", "cpu", "cuda"]),
        ("tune run --engine ", ["local", "ray"]),
        ("tune data show --task s", ["sum"]),
        ("tune run --study t", ["twodigit"]),
        ("tune worker ", ["twodigit", "again", "sum"]),
        ("tune trials ", ["twodigit", "again", "sum"]),
        ("tune best a", ["again"]),
        ("tune report ", ["twodigit", "again", "sum"]),
        ("tune confirm ", ["twodigit", "again", "sum"]),
        ("tune export s", ["sum"]),
        ("tune repeat ", ["twodigit", "again", "sum"]),
        ("tune delete ", ["twodigit", "again", "sum"]),
        ("tune compare twodigit ", ["again", "sum"]),
        ("tune de", ["delete", "demo"]),
    ],
)
def test_every_name_is_offered_where_it_is_asked_for(
    finished: Path, offered_for: Callable[[str, Path], list[str]], line: str, offered: list[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    assert sorted(offered_for(line, finished)) == sorted(offered)
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before, "nothing is written"


def test_the_storage_is_the_one_that_is_named(
    finished: Path,
    tmp_path: Path,
    offered_for: Callable[[str, Path], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "a ü#%").mkdir()
    copy = shutil.copy(finished / "studies.db", tmp_path / "a ü#%" / "other.db")
    url = f"sqlite:///{finished / 'studies.db'}"
    assert completed(f"tune best --storage {url} a", tmp_path) == ["again"]
    assert offered_for(f"tune best --storage {url} a", tmp_path) == ["again"]
    assert offered_for("tune best ", tmp_path) == [], "there is no studies.db here"
    monkeypatch.setenv("TUNE_STORAGE", url)
    assert offered_for("tune best a", tmp_path) == ["again"]
    monkeypatch.setenv("TUNE_STORAGE", "sqlite:///other.db")
    assert offered_for("tune best a", Path(copy).parent) == ["again"]


@pytest.mark.parametrize("server", ["postgresql_url", "mysql_url"])
def test_names_come_from_a_server_too(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    offered_for: Callable[[str, Path], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    server: str,
) -> None:
    url = request.getfixturevalue(server)
    engine = create_engine(url)
    optuna_tables.studies.metadata.create_all(engine)
    tables.studies.metadata.create_all(engine)
    with engine.begin() as connection:
        for name in ("mine", "foreign"):
            connection.execute(optuna_tables.studies.insert().values(study_name=name))
        connection.execute(
            tables.studies.insert().values(
                study_id=1, target_trials=1, spec="{}", created="2026-01-01T00:00:00"
            )
        )
    engine.dispose()
    monkeypatch.setenv("TUNE_STORAGE", url)
    assert offered_for("tune best ", tmp_path) == ["mine"], "tune's own studies only"


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "sqlite:///nowhere/studies.db",
        "sqlite:///broken.db",
        "sqlite:///empty.db",
        "oracle://a:hush@h/d",
        "postgresql://a:hush@127.0.0.1:1/d",
        "mysql://a:hush@127.0.0.1:1/d",
    ],
)
def test_a_storage_that_cannot_be_read_offers_nothing_and_says_nothing(
    tmp_path: Path,
    offered_for: Callable[[str, Path], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    url: str,
) -> None:
    (tmp_path / "broken.db").write_bytes(b"no database at all" * 500)
    (tmp_path / "empty.db").touch()
    monkeypatch.setenv("TUNE_STORAGE", url)
    assert offered_for("tune best ", tmp_path) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.db", "empty.db"]
    assert (tmp_path / "empty.db").stat().st_size == 0


def test_neither_does_one_that_does_not_answer(tmp_path: Path) -> None:
    """In a process of its own: the look at it outlives the answer."""
    assert completed("tune best ", tmp_path, TUNE_STORAGE="postgresql://a:hush@192.0.2.1/d") == []


def test_the_names_are_those_of_the_registries() -> None:
    assert set(completion.SAMPLERS) == set(SAMPLERS)
    assert set(completion.PRUNERS) == set(PRUNERS)


def test_neither_torch_nor_optuna_is_imported(finished: Path) -> None:
    code = (
        "import sys\n"
        "from types import SimpleNamespace\n"
        "from search.cli import app, completion\n"
        "print(*completion.studies(SimpleNamespace(params={})))\n"
        "print(*sorted({'torch', 'optuna', 'plotly', 'numpy'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=finished, capture_output=True, text=True, check=True
    )
    assert done.stdout == "twodigit again sum\n\n"
