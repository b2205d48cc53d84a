"""Keeps an SQLite file on a network file system to one host: warns, and refuses the second host.

SQLite's locks do not hold across machines, and two that write damage the file. The rule:

- Another host is at work while one of its open claims is new or renewed, seen from here by a monotonic clock.
  Claims that stand still for a lease are those of a host that is gone: it keeps no host out.
- A run or a worker that finds another host at work is refused before it writes.
- Hosts that start at the same time find out while they work. The host of the worker that joined the study
  first continues (in several studies: the first study), all others end.

A container counts as a host, and so does a machine before it was booted again.
"""

from __future__ import annotations

import datetime
import functools
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from search.errors import ConfigError
from search.filesystem import network_file_system
from search.machine import host_of, is_elsewhere
from search.records import Claim
from search.worker.leases import LEASE_S, RENEWALS_PER_LEASE

if TYPE_CHECKING:  # `tune doctor` does without SQLAlchemy and Optuna
    from search.optuna_db.storage import Storage

_log = logging.getLogger(__name__)

REMEDY = "use a server: --storage postgresql://…"


class OtherHosts:
    """Which hosts besides this one work in a storage. On a server, and on a local disk, there is no check."""

    def __init__(self, storage: Storage, *, lease_s: float = LEASE_S) -> None:
        self._storage = storage
        self._lease_s = lease_s
        file = storage.trials.database.file
        self._path = None if file is None else file.path
        self._kind = None if self._path is None else network_file_system(self._path)
        self._seen: dict[int, tuple[str, datetime.datetime]] | None = None
        """the claims of other hosts at the last check, by id: token and expiry"""
        self._looked = -float("inf")

    def warn(self) -> None:
        """Says once a process that the storage lies on a network file system."""
        if self._kind is not None:
            _warn(warning(str(self._path), self._kind))

    def refuse(self, stop: Callable[[], bool] = lambda: False) -> None:
        """Raises ConfigError where another host is at work. Where it left claims, that takes up to a lease.

        stop: whether the process is ending.
        """
        if self._kind is None or not (left := self._look()):
            return
        hosts = ", ".join(sorted({host_of(claim.worker_id) for claim in left}))
        _log.warning("%s has trials open: looking for %.0f s whether it is at work.", hosts, self._lease_s)
        until = time.monotonic() + 1.1 * self._lease_s
        while time.monotonic() < until and not stop():
            time.sleep(min(0.5, self._lease_s / 10))
            if working := self._working():
                raise self._refusal(working)

    def check(self) -> None:
        """Raises ConfigError where another host is at work and has come first; looks only now and then."""
        due = time.monotonic() - self._looked >= self._lease_s / RENEWALS_PER_LEASE
        if self._kind is None or not due:
            return
        working = self._working()
        if working and self._first(working) < self._first(self._claims(elsewhere=False)):
            raise self._refusal(working)

    def _working(self) -> list[Claim]:
        """The claims of other hosts that are new or were renewed since the last check."""
        before = self._seen
        claims = self._look()
        if before is None:
            return []
        return [claim for claim in claims if before.get(claim.claim_id) != (claim.token, claim.expires)]

    def _look(self) -> list[Claim]:
        claims = self._claims(elsewhere=True)
        self._seen = {claim.claim_id: (claim.token, claim.expires) for claim in claims}
        self._looked = time.monotonic()
        return claims

    def _claims(self, *, elsewhere: bool) -> list[Claim]:
        """The open claims of all studies that workers of other hosts hold, or those of this host."""
        store = self._storage.store
        return [
            claim
            for study in store.studies()
            for claim in store.open_claims(study.study_id)
            if is_elsewhere(claim.worker_id) == elsewhere
        ]

    def _first(self, claims: list[Claim]) -> tuple[float, int]:
        """Of the first of these claims' holders to join: (study, place among its workers)."""
        order: dict[int, list[str]] = {}
        places = [(float("inf"), 0)]
        for claim in claims:
            if claim.study_id not in order:
                order[claim.study_id] = list(self._storage.store.workers(claim.study_id))
            joined = order[claim.study_id]
            if claim.worker_id in joined:  # not a parent that holds the claim of a worker which is gone
                places.append((claim.study_id, joined.index(claim.worker_id)))
        return min(places)

    def _refusal(self, working: list[Claim]) -> ConfigError:
        hosts = ", ".join(sorted({host_of(claim.worker_id) for claim in working}))
        return ConfigError(
            f"The storage {self._path} lies on a network file system ({self._kind}), and {hosts} is at work "
            f"on it: SQLite's locks do not hold across machines. Wait until that has ended, or {REMEDY}"
        )


def keep_to_one_host(storage: Storage, stop: Callable[[], bool] = lambda: False) -> None:
    """Warns of a network file system. Raises ConfigError where another host works on it.

    stop: whether the process is ending.
    """
    others = OtherHosts(storage)
    others.warn()
    others.refuse(stop)


def warning(path: str, kind: str) -> str:
    """For an SQLite file on a network file system of that kind."""
    return (
        f"The storage {path} lies on a network file system ({kind}), where SQLite's locks cannot be relied "
        f"on: work on it from one host only, move it to a local disk, or {REMEDY}"
    )


@functools.cache
def _warn(words: str) -> None:
    _log.warning("%s", words)
