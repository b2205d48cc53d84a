"""The facts that packages pass to each other: frozen records, standard library only."""

from __future__ import annotations

from search.records.evaluation import TestAttempt, TestEvaluation, TestEvaluationCounts
from search.records.examples import Examples
from search.records.metric import (
    ACCURACY,
    ACCURACY_SCORE,
    BY_CLASS,
    DIGITS,
    SCORES,
    Direction,
    Metric,
    mean_accuracy,
)
from search.records.report import CheckedCurve, CurveCheck, HeadScore, Report, Scores
from search.records.spec import NETWORK, DeclaredSpec, NetworkSpec, SearchSpec, SpaceChange, StudySpec
from search.records.study import Counts, StudyRecord
from search.records.trial import (
    INTERRUPTED_IN_TRAINING,
    INTERRUPTED_WHILE_PAUSED,
    STEP,
    AblationRun,
    Confirming,
    Failure,
    ForeignTrial,
    State,
    Track,
    TrialRecord,
    short_arm,
)
from search.records.weights import Answers, CheckpointRecord, ExportRecord
from search.records.worker import Claim, Worker
from tune.space import Value  # records are made of settings, and others take both from here

__all__ = [
    "ACCURACY",
    "ACCURACY_SCORE",
    "BY_CLASS",
    "DIGITS",
    "INTERRUPTED_IN_TRAINING",
    "INTERRUPTED_WHILE_PAUSED",
    "NETWORK",
    "SCORES",
    "STEP",
    "AblationRun",
    "Answers",
    "CheckedCurve",
    "CheckpointRecord",
    "Claim",
    "Confirming",
    "Counts",
    "CurveCheck",
    "DeclaredSpec",
    "Direction",
    "Examples",
    "ExportRecord",
    "Failure",
    "ForeignTrial",
    "HeadScore",
    "Metric",
    "NetworkSpec",
    "Report",
    "Scores",
    "SearchSpec",
    "SpaceChange",
    "State",
    "StudyRecord",
    "StudySpec",
    "TestAttempt",
    "TestEvaluation",
    "TestEvaluationCounts",
    "Track",
    "TrialRecord",
    "Value",
    "Worker",
    "mean_accuracy",
    "short_arm",
]
