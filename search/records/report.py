"""What a trial reports, and whether its learning curve can be used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from search.records.metric import ACCURACY, Metric, mean_accuracy


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadScore:
    """One head on one split."""

    loss: float
    """cross-entropy in nats per example"""
    accuracy: float
    """fraction of examples, 0..1"""
    balanced_accuracy: float | None = None
    """mean of the classes' accuracies, 0..1; None: not worked out"""
    macro_f1: float | None = None
    """mean of the classes' F1 scores, 0..1; None: not worked out"""

    def of(self, score: str) -> float:
        """Its value of a key of SCORES. Raises ValueError where that was not worked out."""
        found = {"accuracy": self.accuracy, "log_loss": self.loss, **self.by_class}
        if score not in found:
            raise ValueError(f"the {score} of this head was not worked out")
        return found[score]

    @property
    def by_class(self) -> dict[str, float]:
        """The means over the classes, by name, as far as they were worked out."""
        found = {"balanced_accuracy": self.balanced_accuracy, "macro_f1": self.macro_f1}
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """One split at one moment of training."""

    heads: Mapping[str, HeadScore]
    joint: float
    """fraction of examples on which every head is right, 0..1"""

    @property
    def loss(self) -> float:
        """Mean of the heads' cross-entropies."""
        return sum(head.loss for head in self.heads.values()) / len(self.heads)

    @property
    def accuracy(self) -> float:
        """Mean of the heads' accuracies."""
        return mean_accuracy([head.accuracy for head in self.heads.values()])

    def of(self, score: str) -> float:
        """The mean over the heads of a key of SCORES, as a search scores it. Raises ValueError where that was
        not worked out."""
        return mean_accuracy([head.of(score) for head in self.heads.values()])


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What a trial reported at one moment: a point of its learning curve."""

    step: int
    """how much of its budget was spent by then, in the unit of its study: training images, say"""
    seconds: float
    """wall time since the trial began to work, evaluation included"""
    metrics: Mapping[str, float]
    """by name, as the objective reported them"""
    metric: Metric = ACCURACY
    """the one that the search optimizes"""

    @property
    def score(self) -> float:
        """How good the trial was: higher is better."""
        parts = self.parts
        return parts[""] if "" in parts else mean_accuracy(parts.values())

    @property
    def parts(self) -> Mapping[str, float]:
        """What the score is the mean of, by head; of a metric without heads, itself."""
        return self.metric.parts(self.metrics)

    @property
    def seconds_per_step(self) -> float:
        """How long a step took so far, evaluation included."""
        return self.seconds / self.step

    @property
    def worst(self) -> float:
        """The lowest of the parts."""
        return min(self.parts.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class CurveCheck:
    """What is needed to tell whether a learning curve can be used, without reading it."""

    reports: int
    unsound: int
    """reports with a number that is missing, not finite or out of its range: of a network any that is
    known, of other objectives one that the score is made of"""
    names: Mapping[str, int]
    """by metric of these, the reports that have it"""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedCurve:
    """A learning curve, and whether it can be used."""

    reports: tuple[Report, ...]
    """by step"""
    check: CurveCheck
