"""All that the card of a network says, as values."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from search.analysis.ablation import Ablation
from search.analysis.confirmation import Confirmation
from search.analysis.two_way import Intervals
from search.records import (
    Examples,
    NetworkSpec,
    Report,
    Scores,
    StudyRecord,
    TestEvaluation,
    TrialRecord,
    Value,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerRow:
    """One layer that computes something."""

    name: str
    kind: str
    output: tuple[int, ...]
    """shape for one example"""
    parameters: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One setting of the trial."""

    name: str
    value: Value
    meaning: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CardFacts:
    """All that is on the card."""

    title: str
    """of the task"""
    dataset: str
    """title of the dataset"""
    scope: str
    """what a network that learned from the dataset knows"""
    study: StudyRecord
    """that the trial is in"""
    spec: NetworkSpec
    """of the study"""
    trial: TrialRecord
    report: Report
    """of the curve, where the weights were taken"""
    curve: Sequence[Report]
    heads: tuple[tuple[str, int], ...]
    labels: Mapping[str, Sequence[str]]
    """names of the classes by head; a head that is not in it has numbers from 0"""
    image: tuple[int, int, int]
    fit: str | None
    """how an image of another size is made to fit; None: it shows digits, light ink on black"""
    mean: Sequence[float]
    """of the training pixels in [0, 1], a channel each; subtracted inside the network"""
    deviation: Sequence[float]
    """the same for the standard deviation"""
    numbers: int
    layers: Sequence[LayerRow]
    parameters: int
    settings: Sequence[Setting]
    differences: Mapping[str, float]
    """by file"""
    tolerance: float
    """of a logit"""
    compared: int
    """inputs that each file was compared on"""
    bytes: Mapping[str, int]
    """by file"""
    int8: tuple[Scores, Scores] | None
    """validation by the float file and by the int8 file"""
    test_evaluations: Sequence[TestEvaluation]
    """of these weights"""
    test_attempts: int
    """test evaluations of these weights without a result"""
    ablation: Ablation | None
    """of the search that the trial comes from; None: there is none"""
    confirmation: Confirmation | None
    """that chose this trial; None where it was the best of a search, or asked for by number"""
    intervals: Mapping[str, Intervals]
    """of the accuracies over examples, by split; none for a split whose single answers are not known"""
    examples: Examples
    """that the accuracies were measured on"""
    seeds: Mapping[str, int]
    environment: Mapping[str, str | int]
    """where it was trained; empty if unknown"""
    versions: Mapping[str, str]
    """of what wrote the export"""
    made: datetime.datetime
    """UTC"""
