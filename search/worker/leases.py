"""Holds a worker's claims for as long as it works."""

from __future__ import annotations

import logging
import threading
from types import TracebackType

from search.errors import TuneError
from search.records import Claim
from search.store.base import LeaseLost, Store

LEASE_S = 30.0
"""Seconds without a renewal after which a worker has lost its trial."""

RENEWALS_PER_LEASE = 3
"""Two renewals in a row may fail before a lease is in danger."""

_logger = logging.getLogger(__name__)


class Leases:
    """Renews the claims that a worker holds, from a separate thread, until the block is left.

    A renewal that fails because the database is away is tried again at the next turn; one that fails
    because the claim has changed hands makes it `lost`.
    """

    def __init__(self, store: Store, *, lease_s: float = LEASE_S) -> None:
        self._store = store
        self._lease_s = lease_s
        self._held: dict[str, Claim] = {}
        """by token: SQLite gives the id of a released claim to the next one"""
        self._lost: set[str] = set()
        """tokens: a claim may come back under another one"""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew_until_ended, name="leases", daemon=True)

    def hold(self, claim: Claim) -> None:
        """From now on this claim is renewed."""
        self._held[claim.token] = claim

    def drop(self, claim: Claim) -> None:
        """From now on it is not."""
        self._held.pop(claim.token, None)

    def lost(self, claim: Claim) -> bool:
        """Whether a claim that is held has passed to another worker."""
        return claim.token in self._lost

    def __enter__(self) -> Leases:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def renew(self) -> None:
        """Renews each claim that is held, once. The thread of the block calls this."""
        for claim in list(self._held.values()):
            try:
                self._store.renew(claim, lease_s=self._lease_s)
            except LeaseLost:
                self._lost.add(claim.token)
                self.drop(claim)
            except (TuneError, MemoryError) as error:
                _logger.warning("a lease could not be renewed and is tried again: %r", error)
                break  # the database is away for the others too, or memory is short for a moment

    def _renew_until_ended(self) -> None:
        while not self._ended.wait(self._lease_s / RENEWALS_PER_LEASE):
            self.renew()
