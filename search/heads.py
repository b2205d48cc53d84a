"""Reports of networks with heads: the names of their metrics, and what the metrics of one split say.

The names are paths, as TensorBoard and Lightning write them: `learning_rate`, `train/joint`,
`validation/joint`, and for each head `train/loss/HEAD`, `train/accuracy/HEAD`, `validation/loss/HEAD` and
`validation/accuracy/HEAD`.
"""

from __future__ import annotations

from search.records import HeadScore, Report, Scores

TRAIN, VALIDATION = "train", "validation"


def head_report(
    *, step: int, seconds: float, learning_rate: float, train: Scores, validation: Scores
) -> Report:
    """A report of a network.

    step: training images seen. train: running, in training mode, over the examples since the report before.
    """
    metrics = {
        "learning_rate": learning_rate,
        "train/joint": train.joint,
        "validation/joint": validation.joint,
    }
    for head in train.heads:
        for split, scores in ((TRAIN, train), (VALIDATION, validation)):
            metrics[f"{split}/loss/{head}"] = scores.heads[head].loss
            metrics[f"{split}/accuracy/{head}"] = scores.heads[head].accuracy
    return Report(step=step, seconds=seconds, metrics=metrics)


def train_of(report: Report) -> Scores:
    """Running, in training mode, over the examples since the report before.

    Raises KeyError as `validation_of`.
    """
    return _scores(report, TRAIN)


def validation_of(report: Report) -> Scores:
    """On validation. Raises KeyError for a report that is not a network's."""
    return _scores(report, VALIDATION)


def joint_of(report: Report) -> float:
    """Fraction of validation examples on which every head is right. Raises KeyError as `validation_of`."""
    return report.metrics[f"{VALIDATION}/joint"]


def accuracies_of(report: Report) -> dict[str, float]:
    """On validation, by head, and `joint`. Raises KeyError as `validation_of`."""
    return {**report.parts, "joint": joint_of(report)}


def _scores(report: Report, split: str) -> Scores:
    metrics = report.metrics
    return Scores(
        heads={
            head: HeadScore(
                loss=metrics[f"{split}/loss/{head}"], accuracy=metrics[f"{split}/accuracy/{head}"]
            )
            for head in report.parts
        },
        joint=metrics[f"{split}/joint"],
    )
