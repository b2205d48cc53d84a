"""What the installed Optuna makes and reads: its version, its schema. Refuses one that tune does not read."""

from __future__ import annotations

import functools
from pathlib import Path

import optuna

from search.errors import ConfigError
from search.optuna_db import optuna_tables
from search.optuna_db.creation import OptunaSchema


def is_tested() -> bool:
    """Whether the installed Optuna is of a minor version that passed the contract suites."""
    return ".".join(optuna.__version__.split(".")[:2]) in optuna_tables.TESTED


def optuna_schema() -> OptunaSchema:
    """The tables of the installed Optuna. Raises ConfigError where they are not those that tune reads."""
    try:
        from optuna.storages._rdb import models

        revision = installed_revision()
        metadata, version = models.BaseModel.metadata, models.SCHEMA_VERSION
    except (ImportError, AttributeError) as error:
        raise _refusal(f"does not describe its tables where tune looks for them ({error})") from error
    if revision != optuna_tables.REVISION:
        raise _refusal(f"makes storages of schema {revision}; this tune reads {optuna_tables.REVISION}")
    return OptunaSchema(
        metadata=metadata,
        revision=revision,
        version_info={"schema_version": version, "library_version": optuna.__version__},
    )


def _refusal(why: str) -> ConfigError:
    tested = optuna_tables.TESTED[-1]
    return ConfigError(
        f"The installed Optuna {optuna.__version__} {why}. Nothing was changed; install Optuna {tested}: "
        f"pip install 'optuna=={tested}.*'"
    )


@functools.cache
def installed_revision() -> str:
    """The schema that the installed Optuna makes and uses. Takes 60 ms: Alembic loads every migration."""
    from alembic.script import ScriptDirectory
    from optuna.storages._rdb import models

    revision = ScriptDirectory(str(Path(models.__file__).with_name("alembic"))).get_current_head()
    assert revision is not None
    return revision
