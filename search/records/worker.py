"""Workers, and their claims to trials."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Worker:
    """A process that does trials, and the machine and versions that it runs on."""

    worker_id: str
    """host:pid:machine:random, unique for ever (search.machine)"""
    host: str
    pid: int
    device: str
    """cpu or cuda"""
    threads: int
    environment: Mapping[str, str | int]
    """versions and processor, by name"""
    artifacts: str | None = None
    """absolute path of the folder below which it writes files; None: a previous version did not note it"""

    @property
    def on_gpu(self) -> bool:
        """Whether it trains on a GPU: no CPU reproduces its results bit for bit."""
        return self.device != "cpu"


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A worker's right to fill one slot of a study's target. Slots 0..target-1; one claim a slot."""

    claim_id: int
    study_id: int
    slot: int
    worker_id: str
    token: str
    """changes whenever the claim changes hands, so that a late answer can be told from a good one"""
    trial_id: int | None
    """None until the trial is created"""
    done: bool
    """the slot is filled by a finished trial, for good"""
    expires: datetime.datetime
    """UTC. Every renewal changes it; it is never compared with a clock (search.worker.recovery)"""
