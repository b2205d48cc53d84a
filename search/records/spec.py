"""All that decides what a study means."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from search.records.metric import ACCURACY_SCORE, SCORES, Metric

NETWORK = "network"
"""The objective that trains networks of tune's on its tasks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SpaceChange:
    """A change of a study's search space, and what it was before."""

    space: Mapping[str, object]
    """until then, in the form of `SearchSpec.space`"""
    moment: datetime.datetime
    """UTC"""
    set_aside: tuple[int, ...]
    """numbers of the trials that do not fit the space that followed, rising; also those of earlier changes"""


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchSpec:
    """What every study has, whatever its trials do."""

    space: Mapping[str, object]
    """the search space in the form of a space file (search.space.file)"""
    seed: int
    """root of every random number: sampling, initialization, order of examples"""
    sampler: str
    pruner: str
    references: tuple[str, ...] = ()
    """reference configurations that are the study's first trials"""
    confirms: str | None = None
    """name of the study whose leaders this one trains on fresh seeds; None: it is no confirmation"""
    ablates: str | None = None
    """name of the study whose winner this one changes, setting by setting; None: it is no ablation"""
    baseline: int | None = None
    """of an ablation: number, in that study, of the trial that is changed"""
    space_changes: tuple[SpaceChange, ...] = ()
    """the oldest first; `space` is what they led to"""

    @property
    def based_on(self) -> str | None:
        """Name of the study whose trials this one retrains; None: this one searches."""
        return self.ablates if self.confirms is None else self.confirms

    @property
    def searches(self) -> bool:
        """Whether a sampler proposes its settings; those of confirmations and ablations are given."""
        return self.based_on is None

    @property
    def set_aside(self) -> frozenset[int]:
        """Numbers of the trials that do not fit the present search space."""
        return frozenset(self.space_changes[-1].set_aside if self.space_changes else ())


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkSpec(SearchSpec):
    """All that decides what a study means whose trials train networks of tune's. Two runs share a study only
    if these agree."""

    task: str
    """name of the task, a key of data.tasks.registry.TASKS"""
    epochs: float
    """budget of one trial in passes over the training examples"""
    epoch_images: int
    """training examples in one pass"""
    validation_pictures: int
    """different images that a validation accuracy is measured on"""
    checksums: Mapping[str, str]
    """SHA-256 of each data file that the study was made with"""
    halvings: int = 4
    """reports within the first epoch: after 1/2, 1/4, … of it; 4 in studies made before this was said,
    0 where a trial has more epochs, and its first report comes later"""
    evaluate_every: int = 1
    """epochs from one report to the next, beyond the first epoch"""
    widen: float = 1.0
    """factor of the channels and units of a confirmation's leaders, relative to the search"""
    compositions: int = 0
    """times that each validation digit takes each place of an image in the validation set; 0: the fixed set
    on which searches choose"""
    precision: str = "auto"
    """auto: decided once for each kind of processor (Store.precisions); else float32 or bfloat16"""
    norm_images: int = 0
    """training images from which averaged weights get their batch-norm statistics before an evaluation
    within the first quarter epoch; 0, as in studies made before: they have the average of the statistics"""
    folds: int = 0
    """of an ablation: ways in which training and validation examples are divided; each seed has another one.
    0: as in the search"""
    score: str = ACCURACY_SCORE
    """what the search optimizes, a key of SCORES"""
    origin: Mapping[str, object] | None = None
    """of a set of images: the path that it was read from and how, so that a machine that has no such set can
    read it too (search.service.origin). It decides nothing: `checksums` say which images are meant"""

    @property
    def objective(self) -> str:
        """What the trials do, a key of search.objectives.registry."""
        return NETWORK

    @property
    def has_test(self) -> bool:
        """Whether a confirmation ends with an evaluation on held-out data."""
        return True

    @property
    def test_set(self) -> str:
        """Of these data: the same for all studies that are evaluated on them."""
        return self.task

    @property
    def metric(self) -> Metric:
        """What the search optimizes."""
        return SCORES[self.score]

    @property
    def scored_by_answers(self) -> bool:
        """Whether a score is the share of right answers, so that an interval over examples follows from them.
        Of another score intervals are over seeds alone."""
        return self.score == ACCURACY_SCORE

    @property
    def unit(self) -> str:
        """Of a step."""
        return "image"

    @property
    def budget(self) -> int:
        """Steps of a trial that is worked on to its end."""
        return round(self.epoch_images * self.epochs)


@dataclass(frozen=True, kw_only=True, slots=True)
class DeclaredSpec(SearchSpec):
    """All that decides what a study of any other objective means, as that objective declares it."""

    objective: str
    """what the trials do, a key of search.objectives.registry"""
    metric: Metric
    """what the search optimizes"""
    unit: str
    """of a step: "epoch", "step" …"""
    budget: int
    """steps of a trial that is worked on to its end"""
    options: Mapping[str, object] = field(default_factory=dict)
    """what the objective needs to know besides, as JSON"""

    @property
    def scored_by_answers(self) -> bool:
        """As of a network: its metric alone does not say so (search.analysis.answered asks the answers)."""
        return False

    @property
    def has_test(self) -> bool:
        """As of a network: whether training code has a test function."""
        return bool(self.options.get("test"))

    @property
    def test_set(self) -> str:
        """As of a network: the data of one test function."""
        return data_of_test(self.options)


def data_of_test(options: Mapping[str, object]) -> str:
    """What the data that a test function measures on are called in the ledger: 64 hexadecimal digits.

    options: of a study of training code. The function is known by its folder and its name.
    """
    named = [str(options.get(name)) for name in ("folder", "objective")]
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()


StudySpec = NetworkSpec | DeclaredSpec
"""All that decides what a study means."""
