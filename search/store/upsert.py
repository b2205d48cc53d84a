"""Rows that may be there already, in the words of each kind of database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any

from sqlalchemy import Connection, Table


def put(
    connection: Connection,
    table: Table,
    key: tuple[str, ...],
    rows: Sequence[Mapping[str, object]],
    *,
    replace: bool = True,
) -> None:
    """Inserts rows; one whose key is there already is replaced, or left as it is."""
    if rows:
        columns = tuple(name for name in rows[0] if name not in key)
        connection.execute(_statement(connection.dialect.name, table, key, columns, replace), list(rows))


@lru_cache(maxsize=100)
def _statement(
    dialect: str, table: Table, key: tuple[str, ...], columns: tuple[str, ...], replace: bool
) -> Any:
    # Each kind of database has its own insert; importing all of them would cost every command 40 ms.
    module = import_module(f"sqlalchemy.dialects.{'mysql' if dialect == 'mariadb' else dialect}")
    statement = module.insert(table)
    if dialect in ("mysql", "mariadb"):
        new = {name: statement.inserted[name] for name in columns}
        return statement.on_duplicate_key_update(**(new if replace else {key[0]: table.c[key[0]]}))
    if replace:
        new = {name: statement.excluded[name] for name in columns}
        return statement.on_conflict_do_update(index_elements=list(key), set_=new)
    return statement.on_conflict_do_nothing(index_elements=list(key))
