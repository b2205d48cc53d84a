"""What the shell offers after a TAB: names of studies, tasks, models, samplers and pruners.

Neither torch nor optuna is imported, nothing is printed, and nothing is written.
"""

from __future__ import annotations

import contextlib
from threading import Thread

import typer

from search.space.defaults import FAMILIES

RETRY_S = 2.0
"""A storage that has not answered by then has no names to offer."""

SAMPLERS = ("tpe", "gp", "random", "qmc")
PRUNERS = ("asha", "halving", "median", "percentile", "hyperband", "none")
"""Known without importing Optuna; a test holds them against the registries."""


def tasks() -> list[str]:
    """Names of the tasks, also of those that installed packages declare."""
    from data.tasks.registry import task_names

    return list(task_names())


def sets() -> list[str]:
    """Names of the sets of images that are stored here."""
    from data.datasets.image_set import stored_sets

    return [each.name for each in stored_sets()]


def models() -> list[str]:
    """What --model takes."""
    return [*FAMILIES, "all"]


def samplers() -> list[str]:
    """What --sampler takes."""
    return list(SAMPLERS)


def pruners() -> list[str]:
    """What --pruner takes."""
    return list(PRUNERS)


def studies(context: typer.Context) -> list[str]:
    """Names of the studies in the storage that the command line names; none where they cannot be had."""
    from search.cli.options import storage_url

    url = storage_url(context.params.get("storage"))
    found: list[str] = []

    def look() -> None:
        with contextlib.suppress(Exception):  # an error message would garble the line that is typed
            from search.optuna_db.names import study_names

            found.extend(study_names(url))

    thread = Thread(target=look, daemon=True)
    thread.start()
    thread.join(RETRY_S)
    taken = context.params.get("names") or ()
    return [name for name in found if name not in taken]
