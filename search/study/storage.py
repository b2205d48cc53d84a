"""Opens a database as Optuna's storage and as tune's store, in the order that harms nothing.
Workers are handed the URL and open their own: listeners do not survive pickling.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import optuna
from alembic.script import ScriptDirectory
from optuna.storages import RDBStorage
from optuna.storages._rdb import models

from search.errors import ConfigError
from search.store import optuna_tables
from search.store.base import Store
from search.store.creation import OptunaSchema
from search.store.database import Database
from search.store.engine import parse_url, prepare, translated
from search.store.location import Location, locate
from search.store.opened_file import FileId
from search.store.optuna_trials import OptunaTrials
from search.store.sql import SQLStore
from search.study.showing import Show, ShowingStorage


@dataclass(frozen=True, kw_only=True, slots=True)
class Storage:
    """The two views of one database."""

    url: str = field(repr=False)
    """complete, with its password: never print it"""
    name: str
    """the URL as it may be shown"""
    location: Location
    """where the database and the files of its studies lie"""
    optuna: RDBStorage
    """Optuna's tables as Optuna reads and writes them: studies, queued trials"""
    trials: OptunaTrials
    """the same tables as tune reads and writes them: all that happens to many trials"""
    store: Store
    """tune's tables"""

    def __enter__(self) -> Storage:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        """Closes; an error of Optuna's storage leaves the block as one of tune's, in words."""
        self.close()
        if isinstance(error, optuna.exceptions.StorageInternalError):
            with in_words(self.url):
                raise error

    @property
    def file_id(self) -> FileId | None:
        """Of the SQLite file that is open; None on a server."""
        return None if self.trials.database.file is None else self.trials.database.file.file_id

    def heed(self, stop: Callable[[], bool]) -> None:
        """From now on a storage that is away is not waited for once `stop` says so."""
        self.trials.database.hurry = stop

    def close(self) -> None:
        """Gives back every connection. The end of a `with` block does it too."""
        self.store.close()
        self.optuna.engine.dispose()


@contextmanager
def in_words(url: str) -> Iterator[None]:
    """Turns errors of the driver, also those that Optuna wraps, into sentences: see engine.translated."""
    with translated(parse_url(url)):
        try:
            yield
        except optuna.exceptions.StorageInternalError as error:
            raise (error.__cause__ or error) from None


def open_storage(
    text: str, *, create: bool = True, patience_s: float = 0.0, file_id: FileId | None = None
) -> Storage:
    """Opens the database; with `create`, it is made where there is none, else nothing is written.

    patience_s: so long everything that comes later is tried again while the database is away. file_id: of the
    SQLite file that another process has opened and that is meant; None: the one that is there.

    Raises ConfigError for an invalid URL, a database of another program, another schema
    (which is left untouched), or none at all without `create`; TryAgain where no server answers.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # what a person should know, tune says itself
    optuna.logging.disable_default_handler()  # the process's own handler redacts what it prints
    optuna.logging.enable_propagation()
    location = locate(text)
    store = SQLStore(location.url, patience_s=patience_s, file_id=file_id)
    try:
        return _opened(store, location, create=create)
    except BaseException:
        store.close()
        raise


def _opened(store: SQLStore, location: Location, *, create: bool) -> Storage:
    is_whole = store.look(create=create)
    store.refuse_damaged()  # before anything is written
    optuna_schema = _optuna_schema()
    if not is_whole:
        store.create_tables(optuna_schema)
    text = location.text
    with in_words(text):
        trials = RDBStorage(
            text,
            engine_kwargs=store.database.engine_arguments(patient=store.database.patience_s > 0),
            skip_table_creation=True,
            skip_compatibility_check=True,  # it was checked above
        )
        prepare(trials.engine)
        store.database.watch(trials.engine)
    return Storage(
        url=text,
        name=location.name,
        location=location,
        optuna=trials,
        trials=OptunaTrials(store.database),
        store=store,
    )


def open_undisturbing(text: str, show: Show, database: Database, *, threads: int) -> ShowingStorage:
    """Optuna's storage for a program that looks far more often than it writes, such as optuna-dashboard.

    Without tune's rule that every transaction claims the right to write at once: readers with that rule
    would stand in the workers' way. The database must exist. show: what it is shown beside what is stored.
    database: the same one, opened before: an SQLite file that is moved or replaced is noticed by both.
    threads: how many use it at once.
    """
    location = locate(text)
    pool = {"pool_size": 1, "max_overflow": 2 * threads - 1}  # Optuna may open a second one inside a first
    with translated(location.url):
        storage = ShowingStorage(
            location.text,
            show,
            database,
            engine_kwargs={**database.engine_arguments(patient=False), **pool},
        )
    if storage.engine.dialect.name != "sqlite":
        prepare(storage.engine)
    database.watch(storage.engine)
    return storage


def _optuna_schema() -> OptunaSchema:
    """The tables of the installed Optuna. Raises ConfigError where they are not those that tune reads."""
    revision = installed_revision()
    if revision != optuna_tables.REVISION:
        raise ConfigError(
            f"The installed Optuna {optuna.__version__} makes storages of schema {revision}; this tune reads "
            f"{optuna_tables.REVISION}. Nothing was changed; install one that tune was tested with."
        )
    return OptunaSchema(
        metadata=models.BaseModel.metadata,
        revision=revision,
        version_info={"schema_version": models.SCHEMA_VERSION, "library_version": optuna.__version__},
    )


@functools.cache
def installed_revision() -> str:
    """The schema that the installed Optuna makes and uses. Takes 60 ms: Alembic loads every migration."""
    revision = ScriptDirectory(str(Path(models.__file__).with_name("alembic"))).get_current_head()
    assert revision is not None
    return revision
