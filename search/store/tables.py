"""The tables `tune_*`, which live in the same database as Optuna's.
Times are UTC; keys of studies and trials are Optuna's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.dialects.mysql import DATETIME, MEDIUMTEXT

SCHEMA_VERSION = 6
"""Raised by every migration (search/store/upgrade.py)."""

metadata = MetaData()


class _Lenient(TypeDecorator[Any]):
    """A column whose unreadable values are read as NULL: they must not end the reading of other rows."""

    impl: Any = JSON
    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any] | None:
        read = super().result_processor(dialect, coltype)
        if read is None:
            return None

        def lenient(value: Any) -> Any:
            try:
                return read(value)
            except (TypeError, ValueError, RecursionError):
                return None

        return lenient


class _LenientMoment(_Lenient):
    impl: Any = DateTime
    cache_ok = True


_JSON = _Lenient()
_Moment = _LenientMoment().with_variant(DATETIME(fsp=6), "mysql", "mariadb")
"""UTC without a zone. MySQL would drop fractions of a second, which leases need."""

_Key = Integer()
_Double = Float(53)

schema = Table(
    "tune_schema",
    metadata,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
)

studies = Table(
    "tune_studies",
    metadata,
    Column("study_id", _Key, primary_key=True, autoincrement=False),
    Column("target_trials", Integer, nullable=False),
    Column("spec", _JSON, nullable=False),
    Column("created", _Moment, nullable=False),
)

claims = Table(
    "tune_claims",
    metadata,
    Column("claim_id", _Key, primary_key=True),
    Column("study_id", _Key, nullable=False),
    Column("slot", Integer, nullable=False),
    Column("worker_id", String(200), nullable=False),
    Column("token", String(32), nullable=False),
    Column("trial_id", _Key),
    Column("done", Boolean, nullable=False),
    Column("expires", _Moment, nullable=False),
    # The promise of exactly N trials rests on this line: two workers cannot fill one slot.
    UniqueConstraint("study_id", "slot", name="tune_claims_slot"),
)

offers = Table(
    "tune_offers",
    metadata,
    Column("claim_id", _Key, primary_key=True, autoincrement=False),
    Column("study_id", _Key, nullable=False),
    # An offer holds as long as this is the claim's token: the worker that takes over the claim voids it.
    Column("token", String(32), nullable=False),
)

reports = Table(
    "tune_reports",
    metadata,
    Column("trial_id", _Key, primary_key=True, autoincrement=False),
    # Of the trial's budget, in the unit that its objective counts in: training images.
    Column("step", BigInteger, primary_key=True, autoincrement=False),
    Column("seconds", _Double, nullable=False),
    # JSON, by name (search/store/metrics.py). As text: MySQL's own type would sort the names.
    Column("metrics", Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb"), nullable=False),
)

workers = Table(
    "tune_workers",
    metadata,
    Column("study_id", _Key, primary_key=True, autoincrement=False),
    Column("worker_id", String(200), primary_key=True),
    Column("host", String(200), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("device", String(32), nullable=False),
    Column("threads", Integer, nullable=False),
    Column("environment", _JSON, nullable=False),
    Column("joined", _Moment, nullable=False),
)

precisions = Table(
    "tune_precisions",
    metadata,
    Column("study_id", _Key, primary_key=True, autoincrement=False),
    Column("processor", String(200), primary_key=True),
    Column("family", String(32), primary_key=True),
    Column("precision", String(32), nullable=False),
)

checkpoints = Table(
    "tune_checkpoints",
    metadata,
    Column("trial_id", _Key, primary_key=True, autoincrement=False),
    Column("study_id", _Key, nullable=False),
    Column("path", String(500), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("score", _Double, nullable=False),
    Column("images", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Index("tune_checkpoints_study", "study_id", "score"),
)

weights = Table(
    "tune_weights",
    metadata,
    # The row of tune_checkpoints with this trial and SHA-256 has its weights here, in chunks from 0 on; one
    # without chunks has them in a file.
    Column("trial_id", _Key, primary_key=True, autoincrement=False),
    Column("sha256", String(64), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("content", LargeBinary(2**32 - 1), nullable=False),
)

answers = Table(
    "tune_answers",
    metadata,
    Column("trial_id", _Key, primary_key=True, autoincrement=False),
    Column("split", String(16), primary_key=True),
    Column("head", String(64), primary_key=True),
    Column("position", Integer, nullable=False),
    # Of the weights that gave these answers: a trial may have got better ones since.
    Column("sha256", String(64), nullable=False),
    Column("examples", Integer, nullable=False),
    # One bit for each example, 1 where the head is right.
    Column("bits", LargeBinary(2**24 - 1), nullable=False),
)

test_evaluations = Table(
    "tune_looks",
    metadata,
    Column("trial_id", _Key, primary_key=True, autoincrement=False),
    Column("moment", _Moment, primary_key=True),
    Column("study_id", _Key, nullable=False),
    Column("reason", String(500), nullable=False),
    Column("pictures", Integer, nullable=False),
    Column("joint", _Double, nullable=False),
    Index("tune_looks_study", "study_id"),
)

head_test_evaluations = Table(
    "tune_head_looks",
    metadata,
    Column("trial_id", _Key, primary_key=True, autoincrement=False),
    Column("moment", _Moment, primary_key=True),
    Column("head", String(64), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("accuracy", _Double, nullable=False),
)

deleted_test_evaluations = Table(
    "tune_deleted_looks",
    metadata,
    # Test evaluations of studies that were deleted: the test set was seen all the same.
    Column("look_id", _Key, primary_key=True),
    Column("task", String(64)),
    Column("study", String(512)),
    Column("moment", _Moment),
    Column("reason", String(500)),
    Column("pictures", Integer),
    Column("joint", _Double),
    Column("accuracy", _Double),
)

exports = Table(
    "tune_exports",
    metadata,
    Column("trial_id", _Key, primary_key=True, autoincrement=False),
    Column("moment", _Moment, primary_key=True),
    Column("study_id", _Key, nullable=False),
    Column("folder", String(500), nullable=False),
    Column("manifest_sha256", String(64), nullable=False),
    Index("tune_exports_study", "study_id"),
)

OF_STUDIES = (claims, offers, workers, precisions, checkpoints, test_evaluations, exports, studies)
"""Tables whose rows belong to a study, in the order in which they are deleted."""

OF_TRIALS = (reports, head_test_evaluations, weights, answers)
"""Tables whose rows belong to a trial and do not name its study."""

NAMING_A_TRIAL = (*OF_TRIALS, checkpoints, test_evaluations, exports)
"""Tables whose rows belong to a trial."""
