"""The best weights of a trial: where they are, what they answer, what was made of them."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointRecord:
    """Where the best weights of a trial are, and how to know that they are whole."""

    trial_id: int
    path: str
    """the file, relative to the artifact folder; of weights in the database, the name that it would have"""
    sha256: str
    score: float
    """of the report at which the trial had these weights"""
    step: int
    """of that report"""
    bytes: int
    in_database: bool = False
    """whether the weights are in the database, not in a file; a store tells it of what it has read"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """Which examples of a split kept weights answer right: enough to compare two networks pair by pair."""

    split: str
    """name of a data.datasets.base.Split"""
    examples: int
    heads: Mapping[str, bytes]
    """by head, a bit for each example in the order of the split, the first in the highest bit; 1: right"""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportRecord:
    """A model that was exported."""

    study_id: int
    trial_id: int
    moment: datetime.datetime
    """UTC"""
    folder: str
    """as it was called where it was made"""
    manifest_sha256: str
    """of the folder's manifest, which has the checksums of all its files"""
