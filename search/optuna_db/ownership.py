"""Tells tune's own trials from those that another program added to the same study.

A trial is tune's own if a slot of the study's target is claimed for it, or if it bears the mark that is
written together with its beginning. Versions of tune that wrote no mark kept the claim of every finished
trial, and left an attribute on the others. A mark names its trial, so that a copy of a trial is not taken for
tune's. What has no claim and no mark was finished by another program, whatever its attributes say.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, Table, select

from search.optuna_db import optuna_tables
from search.records import State
from search.store import tables
from search.store.database import raw

MARK = "tune:trial"
"""System attribute of a trial that tune began: the trial's own id."""

# User attributes that tune writes; optuna-dashboard shows them beside the parameters.
REFERENCE, PINNED, RETRY_OF, ORIGIN = "reference", "pinned", "retry_of", "origin"
PARAMETERS, FAILURE, FAILURE_DETAIL = "parameters", "failure", "failure_detail"
CODE_SHA256 = "code_sha256"
CONFIRMING = "confirming"
"""[number of the candidate in the searched study, index of the seed]"""

ABLATION = "ablation"
"""[arm, index of the seed, budget in steps, whether it only chooses]"""

SPACE_REVISION = "space_revision"
"""how often the study's search space had changed before the trial's settings were drawn; without: never"""

OWN_ATTRIBUTES = frozenset({REFERENCE, RETRY_OF, CONFIRMING, ABLATION, FAILURE, PARAMETERS})
"""A trial that waits, runs or failed is tune's own if it has one of these and no mark that contradicts it."""

Fetch = Callable[..., list[Any]]
"""From columns of one table, the first of them the trial id, to its rows of the trials that are asked for."""


def rows_of(connection: Connection, condition: Any) -> Fetch:
    """Reads tables of Optuna's for the trials under a condition on the table of trials.

    Rows are as the driver gives them: numbers and words need no conversion, and SQLAlchemy's own rows, two
    hundred thousand of them, would take a quarter of a second.
    """
    trials = optuna_tables.trials

    def fetch(*columns: Any, where: Any = None) -> list[Any]:
        table: Table = columns[0].table
        query = (
            select(*columns).join_from(table, trials, trials.c.trial_id == table.c.trial_id).where(condition)
        )
        return raw(connection, query if where is None else query.where(where))

    return fetch


def own_trials(
    connection: Connection, fetch: Fetch, found: Mapping[int, tuple[int, State | None]]
) -> frozenset[int]:
    """Ids of those among the trials that are tune's own. found: (study id, state) by trial id."""
    if not found:
        return frozenset()
    system, user = optuna_tables.system_attributes.c, optuna_tables.user_attributes.c
    marks = {
        trial_id: text
        for trial_id, text in fetch(system.trial_id, system.value_json, where=system.key == MARK)
        if trial_id in found
    }
    own = {trial_id for trial_id, text in marks.items() if text == json.dumps(trial_id)}
    rest = found.keys() - own
    if not rest:
        return frozenset(own)
    claims = tables.claims.c
    studies = sorted({study_id for study_id, _ in found.values()})
    query = select(claims.trial_id, claims.study_id).where(claims.study_id.in_(studies))
    claimed = raw(connection, query.where(claims.trial_id.between(min(rest), max(rest))))
    own |= {trial_id for trial_id, study_id in claimed if trial_id in rest and found[trial_id][0] == study_id}
    unfinished = {
        trial_id
        for trial_id in found.keys() - own - marks.keys()
        if (state := found[trial_id][1]) is not None and not state.is_finished
    }
    if unfinished:
        attributes = fetch(user.trial_id, where=user.key.in_(sorted(OWN_ATTRIBUTES)))
        own |= unfinished & {trial_id for (trial_id,) in attributes}
    return frozenset(own)
