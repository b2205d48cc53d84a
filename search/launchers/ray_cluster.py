"""What a Ray cluster says of itself, as it goes through the pipe from the foreman to the engine."""

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
