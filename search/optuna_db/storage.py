"""Opens a database as Optuna's storage and as tune's store, in the order that harms nothing.
Workers are handed the URL and open their own: listeners do not survive pickling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import optuna
from optuna.storages import RDBStorage

from search.optuna_db.creation import create_tables
from search.optuna_db.installed import optuna_schema
from search.optuna_db.opening import open_tables, refuse_damaged
from search.optuna_db.optuna_trials import OptunaTrials
from search.store.base import Store
from search.store.engine import parse_url, prepare, translated
from search.store.location import Location, locate
from search.store.opened_file import FileId
from search.store.sql import SQLStore


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

    def give_up_when(self, stop: Callable[[], bool]) -> None:
        """Ends the retries while the storage is away as soon as `stop` returns True."""
        self.trials.database.ending = stop

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
    text: str, *, create: bool = True, retry_s: float = 0.0, file_id: FileId | None = None
) -> Storage:
    """Opens the database. With `create` it is made where there is none; an SQLite file of an older tune is
    upgraded; else nothing is written.

    retry_s: deadline of the retries of everything that follows, while the database is away. file_id: of the
    SQLite file that another process has opened and that is meant; None: the one that is there.

    Raises ConfigError for an invalid URL, a database of another program, of a newer tune, on a server of an
    older one (each is left untouched), or none at all without `create`; TryAgain where no server answers.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # what a person should know, tune says itself
    optuna.logging.disable_default_handler()  # the process's own handler redacts what it prints
    optuna.logging.enable_propagation()
    location = locate(text)
    store = SQLStore(location.url, retry_s=retry_s, file_id=file_id)
    try:
        return _opened(store, location, create=create)
    except BaseException:
        store.close()
        raise


def _opened(store: SQLStore, location: Location, *, create: bool) -> Storage:
    schema = optuna_schema()  # another Optuna is refused before anything is written
    is_whole = open_tables(store, create=create)
    engine, text = store.database.engine, location.text
    with translated(location.url):
        refuse_damaged(engine)  # before anything is written
    if not is_whole:
        with translated(location.url):
            create_tables(engine, schema)
    with in_words(text):
        trials = RDBStorage(
            text,
            engine_kwargs=store.database.engine_arguments(retries=store.database.retry_s > 0),
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
