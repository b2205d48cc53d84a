"""Finds the objective of a study by its name: tune's own, then those of installed packages.

A package declares its own as an entry point of the group `tune.objectives`, whose value is an `Objective` of
that name (see data/registry.py).
"""

from __future__ import annotations

from search.errors import AbsentHere
from search.objectives.base import Objective
from search.objectives.external.kind import CODE_OBJECTIVE
from search.objectives.network.kind import NETWORK_OBJECTIVE

OBJECTIVES: dict[str, Objective] = {each.name: each for each in (NETWORK_OBJECTIVE, CODE_OBJECTIVE)}

GROUP = "tune.objectives"


class ObjectiveAbsent(AbsentHere):
    """This machine cannot work on a study, because it lacks the objective; another one may have it."""


def objective_named(name: str) -> Objective:
    """The objective of a study. Raises ObjectiveAbsent where nothing on this machine declares it."""
    from data.registry import UnknownName, UnusableEntry, declared

    if name in OBJECTIVES:
        return OBJECTIVES[name]
    try:
        found = declared(Objective, name, GROUP, tuple(OBJECTIVES))
    except UnknownName as error:
        raise ObjectiveAbsent(
            f"{error}. An objective of another package is known where that package is installed, and its "
            "studies need it on every machine."
        ) from error
    except UnusableEntry as error:
        raise ObjectiveAbsent(f"{error}. Repair or reinstall the package that declares it.") from error
    assert isinstance(found, Objective)
    return found
