"""Optuna's tables, as far as tune reads and writes them itself: the columns, and the revision they are of.
creation.py makes the tables, from the description that Optuna itself has of them.

tests/contracts/test_optuna_tables.py holds this page against the installed Optuna.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Column,
    DateTime,
    Enum,
    Float,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    type_coerce,
)

REVISION = "v3.2.0.a"
"""Of the schema that this page describes (alembic_version). Another one is refused untouched."""

TESTED = ("5.0",)
"""Minor versions of Optuna that have this schema and passed the contract suites (`make compat`).
pyproject.toml pins Optuna to them."""

metadata = MetaData()

_Double = Float(53)


def _values(name: str, *, nan: bool) -> Enum:
    """Infinities and NaN are no numbers to every database, so that Optuna keeps them as words."""
    return Enum("FINITE", "INF_POS", "INF_NEG", *(["NAN"] if nan else []), name=name)


studies = Table(
    "studies",
    metadata,
    Column("study_id", Integer, primary_key=True),
    Column("study_name", String(512)),
)

directions = Table(
    "study_directions",
    metadata,
    Column("study_direction_id", Integer, primary_key=True),
    Column("direction", Enum("NOT_SET", "MINIMIZE", "MAXIMIZE", name="studydirection")),
    Column("study_id", Integer),
    Column("objective", Integer),
)


def _study_attributes(kind: str) -> Table:
    return Table(
        f"study_{kind}_attributes",
        metadata,
        Column(f"study_{kind}_attribute_id", Integer, primary_key=True),
        Column("study_id", Integer),
        Column("key", String(512)),
        Column("value_json", Text),
    )


study_user_attributes = _study_attributes("user")
study_system_attributes = _study_attributes("system")

trials = Table(
    "trials",
    metadata,
    Column("trial_id", Integer, primary_key=True),
    Column("number", Integer),
    Column("study_id", Integer),
    Column("state", Enum("RUNNING", "COMPLETE", "PRUNED", "FAIL", "WAITING", name="trialstate")),
    Column("datetime_start", DateTime),
    Column("datetime_complete", DateTime),
)

params = Table(
    "trial_params",
    metadata,
    Column("param_id", Integer, primary_key=True),
    Column("trial_id", Integer),
    Column("param_name", String(512)),
    Column("param_value", _Double),
    Column("distribution_json", Text),
)

values = Table(
    "trial_values",
    metadata,
    Column("trial_value_id", Integer, primary_key=True),
    Column("trial_id", Integer),
    Column("objective", Integer),
    Column("value", _Double),
    Column("value_type", _values("trialvaluetype", nan=False)),
)

steps = Table(
    "trial_intermediate_values",
    metadata,
    Column("trial_intermediate_value_id", Integer, primary_key=True),
    Column("trial_id", Integer),
    Column("step", Integer),
    Column("intermediate_value", _Double),
    Column("intermediate_value_type", _values("trialintermediatevaluetype", nan=True)),
)

heartbeats = Table(
    "trial_heartbeats",
    metadata,
    Column("trial_heartbeat_id", Integer, primary_key=True),
    Column("trial_id", Integer),
    Column("heartbeat", DateTime),
)


def _attributes(kind: str) -> Table:
    return Table(
        f"trial_{kind}_attributes",
        metadata,
        Column(f"trial_{kind}_attribute_id", Integer, primary_key=True),
        Column("trial_id", Integer),
        Column("key", String(512)),
        Column("value_json", Text),
    )


user_attributes = _attributes("user")
system_attributes = _attributes("system")

OF_TRIALS = (params, values, steps, heartbeats, user_attributes, system_attributes)
"""Tables whose rows belong to a trial."""

OF_STUDIES = (trials, directions, study_user_attributes, study_system_attributes)
"""Tables whose rows belong to a study."""

alembic_version = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""Alembic's table, as Alembic makes it: it holds the revision of Optuna's schema."""

NAMES = frozenset({*metadata.tables, alembic_version.name, "version_info"})
"""All tables that Optuna makes, also those which tune does not read."""


def as_word(column: Column[Any]) -> Any:
    """A column of an enumeration as the driver gives it: a word that Optuna does not know can be read."""
    return type_coerce(column, String).label(column.name)


_NAN = float("nan")
_WORDS = {"INF_POS": float("inf"), "INF_NEG": float("-inf")}


def number_of(value: float | None, kind: str | None) -> float:
    """A stored number: itself, or what its kind stands for. NaN for what Optuna did not write."""
    if value is None:
        return _WORDS.get(kind or "", _NAN)
    return value if isinstance(value, int | float) else _NAN


def stored(value: float) -> tuple[float | None, str]:
    """A number as it is stored: (number or NULL, its kind)."""
    if value != value:
        return None, "NAN"
    if value in (float("inf"), float("-inf")):
        return None, "INF_POS" if value > 0 else "INF_NEG"
    return value, "FINITE"
