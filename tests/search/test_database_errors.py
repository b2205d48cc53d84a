"""An error of a driver becomes a sentence by its code, whatever its message says."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import psycopg
import pymysql
import pytest

from search.errors import ConfigError, TryAgain, TuneError
from search.optuna_db.creation import _MADE_MEANWHILE, _code
from search.store.engine import translated
from search.store.url import parse_url


def told(name: str | None, message: str, folder: Path) -> TuneError:
    """What a person is told of an SQLite error with this code."""
    error = sqlite3.OperationalError(message)
    if name is not None:
        error.sqlite_errorname = name
    with pytest.raises(TuneError) as caught, translated(parse_url(f"sqlite:///{folder / 'studies.db'}")):
        raise error
    return caught.value


@pytest.mark.parametrize(("name", "kind", "words"), [
    ("SQLITE_CANTOPEN", ConfigError, "cannot be opened"),
    ("SQLITE_CANTOPEN_ISDIR", ConfigError, "cannot be opened"),
    ("SQLITE_READONLY_DBMOVED", ConfigError, "was moved or deleted"),
    ("SQLITE_READONLY", ConfigError, "is read-only for you"),
    ("SQLITE_READONLY_DIRECTORY", ConfigError, "is read-only for you"),
    ("SQLITE_BUSY", TryAgain, "is locked by another process"),
    ("SQLITE_LOCKED_SHAREDCACHE", TryAgain, "is locked by another process"),
    ("SQLITE_FULL", TuneError, "is full: nothing was lost"),
    ("SQLITE_NOTADB", ConfigError, "is not a whole SQLite database"),
    ("SQLITE_CORRUPT_INDEX", ConfigError, "is not a whole SQLite database"),
    ("SQLITE_IOERR_FSYNC", TuneError, "The disk of"),
])  # fmt: skip
def test_sqlite_by_its_code(name: str, kind: type[TuneError], words: str, tmp_path: Path) -> None:
    found = told(name, "translated into another language", tmp_path)
    assert type(found) is kind
    assert words in str(found)


@pytest.mark.parametrize("name", ["SQLITE_ERROR", "SQLITE_CONSTRAINT_UNIQUE", None])
def test_words_in_a_message_decide_nothing(name: str | None, tmp_path: Path) -> None:
    found = told(name, "no such column: locked_full_readonly", tmp_path)
    assert type(found) is TuneError
    assert "failed: no such column" in str(found)


def test_what_the_installed_sqlite_says_of_a_file_that_is_no_database(tmp_path: Path) -> None:
    file = tmp_path / "studies.db"
    file.write_bytes(b"no database at all" * 100)
    with (
        pytest.raises(ConfigError, match="is not a whole SQLite database"),
        translated(parse_url(f"sqlite:///{file}")),
    ):
        sqlite3.connect(file).execute("SELECT * FROM sqlite_master")


@pytest.mark.parametrize(("error", "made_meanwhile"), [
    (psycopg.errors.DuplicateTable(), True),
    (psycopg.errors.UniqueViolation(), True),
    (psycopg.errors.DuplicateObject(), True),
    (psycopg.errors.InsufficientPrivilege('permission denied for "already exists"'), False),
    (pymysql.err.OperationalError(1050, "Table 'studies' already exists"), True),
    (pymysql.err.IntegrityError(1062, "Duplicate entry"), True),
    (pymysql.err.OperationalError(1142, "CREATE command denied, duplicate or unique"), False),
    (sqlite3.OperationalError("table studies already exists"), False),
    (None, False),
])  # fmt: skip
def test_a_table_that_another_process_made(error: Exception | None, made_meanwhile: bool) -> None:
    assert (_code(error) in _MADE_MEANWHILE) == made_meanwhile
