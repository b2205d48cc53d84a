"""What a Ray cluster reports about itself: sent through the pipe from the driver to the launcher."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """What a Ray cluster has, as it says."""

    hosts: tuple[str, ...]
    """names of its machines; two Ray nodes on one machine name it twice"""
    cpus: tuple[float, ...]
    """of each of them"""
    gpus: float
    """of all of them together"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unreachable:
    """Why there is no connection, as the end of a sentence."""

    why: str
