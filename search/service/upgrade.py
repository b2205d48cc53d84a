"""Brings a storage of an older tune up to date."""

from __future__ import annotations

from search.optuna_db.opening import open_tables
from search.store.location import locate
from search.store.sql import SQLStore


def upgrade(storage_url: str, *, backed_up: bool) -> None:
    """Does what every command does to an SQLite file by itself, and to a server's database once its operator
    has copied it.

    Raises ConfigError where it was not copied, or where the storage is not tune's or of a newer tune.
    """
    store = SQLStore(locate(storage_url).url)
    try:
        open_tables(store, backed_up=backed_up)
    finally:
        store.close()
