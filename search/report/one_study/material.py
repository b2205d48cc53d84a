"""Everything that a report on a study is made of, gathered by the service."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from search.analysis.ablation import Ablation
from search.analysis.basis import Curves
from search.analysis.confirmation import Confirmation
from search.analysis.effects import Setting
from search.analysis.findings import Findings, work_out
from search.analysis.mistakes import Mistakes
from search.analysis.ranking import Ranking, count, so_far
from search.analysis.two_way import Digits
from search.records import Answers, Counts, Examples, StudyRecord, TrialRecord, Worker

LEADERS = 10
"""Trials whose curves and settings are shown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Material:
    """A study as it was at one moment."""

    study: StudyRecord
    trials: Sequence[TrialRecord]
    """all of them, by number"""
    curves: Curves
    seconds: Mapping[int, float]
    """of training, by trial id"""
    workers: Sequence[Worker]
    settings: tuple[Setting, ...]
    """those that were searched"""
    without_effect: frozenset[str]
    """names of settings that do nothing for the study's task; empty where no networks are trained"""
    exploration_trials: frozenset[int]
    """numbers of the exploration trials"""
    budget: int
    """steps of a trial that is not stopped early"""
    mistakes: Mistakes | str | None
    """of the winner's weights; else why there are none, in a sentence; None where no networks are trained"""
    confirmation: Confirmation | None
    ablation: Ablation | None = None
    """of the winner, or of another trial; None: there is none"""
    answers: tuple[Answers, Digits] | None = None
    """of the winner's weights on validation, and the digits that they are about; None: not known"""
    command: str | None
    """that reproduces the study; None: there is none"""
    space: str
    """the search space as a space file; of other objectives than networks in words, a setting a line"""
    moment: datetime.datetime
    """UTC; when the study was read"""
    version: str
    """of tune"""
    counts: Counts | None = None
    """of the study's trials, also those that cannot be used; None: of `trials`"""
    examples: Examples = field(default_factory=Examples)
    """that the networks are measured on"""

    @property
    def counted(self) -> Counts:
        """How many trials are in each state."""
        return self.counts or count(self.trials)

    @property
    def winner(self) -> TrialRecord | None:
        """The best complete searched trial, else the searched one that leads so far.

        A reference only where no searched trial came to a report; None: no trial did.
        """
        return self.ranking.foremost

    @property
    def ranking(self) -> Ranking:
        """Of the complete trials where a searched one is among them, else of all that have a score."""
        return so_far(self.trials)

    def findings(self) -> Findings:
        """All that is worked out from the trials."""
        return work_out(
            self.study.spec,
            self.trials,
            self.curves,
            settings=self.settings,
            exploration_trials=self.exploration_trials,
            budget=self.budget,
        )
