"""Reports of networks with heads: the names of their metrics, and what the metrics of one split say.

The names are paths, as TensorBoard and Lightning write them: `learning_rate`, `train/joint`,
`validation/joint`, and for each head `train/loss/HEAD`, `train/accuracy/HEAD`, `validation/loss/HEAD` and
`validation/accuracy/HEAD`. Of tasks whose classes may differ in size (data.tasks.base.Task.by_class) there
are `validation/balanced_accuracy/HEAD` and `validation/macro_f1/HEAD`. A trial that evaluates training
examples has besides `train_eval/joint`, `train_eval/loss/HEAD` and `train_eval/accuracy/HEAD`: of the network
that is evaluated on validation, in evaluation mode too, on a fixed sample of training examples without
augmentation. They can be compared with `validation/…`; `train/…` cannot, which is running, in training mode,
with dropout and augmentation.
"""

from __future__ import annotations

from search.records import ACCURACY, HeadScore, Metric, Report, Scores

TRAIN, TRAIN_EVAL, VALIDATION = "train", "train_eval", "validation"


def head_report(
    *,
    step: int,
    seconds: float,
    learning_rate: float,
    train: Scores,
    validation: Scores,
    train_eval: Scores | None = None,
    metric: Metric = ACCURACY,
) -> Report:
    """A report of a network.

    step: training images seen. train: running, in training mode, over the examples since the report before.
    train_eval: on a sample of training examples, as on validation; None: not evaluated. metric: the one that
    the search optimizes.
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
        for name, value in validation.heads[head].by_class.items():
            metrics[f"{VALIDATION}/{name}/{head}"] = value
    if train_eval is not None:
        metrics[f"{TRAIN_EVAL}/joint"] = train_eval.joint
        for head, score in train_eval.heads.items():
            metrics[f"{TRAIN_EVAL}/loss/{head}"] = score.loss
            metrics[f"{TRAIN_EVAL}/accuracy/{head}"] = score.accuracy
    return Report(step=step, seconds=seconds, metrics=metrics, metric=metric)


def train_of(report: Report) -> Scores:
    """Running, in training mode, over the examples since the report before.

    Raises KeyError as `validation_of`.
    """
    return _scores(report, TRAIN)


def train_eval_of(report: Report) -> Scores | None:
    """In evaluation mode, on a fixed sample of training examples without augmentation; to be compared with
    `validation_of`. None where that was not evaluated, or cannot be used."""
    try:
        return _scores(report, TRAIN_EVAL)
    except KeyError:
        return None


def validation_of(report: Report) -> Scores:
    """On validation. Raises KeyError for a report that is not a network's."""
    return _scores(report, VALIDATION)


def joint_of(report: Report) -> float:
    """Fraction of validation examples on which every head is right. Raises KeyError as `validation_of`."""
    return report.metrics[f"{VALIDATION}/joint"]


def accuracies_of(report: Report) -> dict[str, float]:
    """On validation, by head, and `joint`. Raises KeyError as `validation_of`."""
    return {**ACCURACY.parts(report.metrics), "joint": joint_of(report)}


def _scores(report: Report, split: str) -> Scores:
    metrics = report.metrics
    return Scores(
        heads={
            head: HeadScore(
                loss=metrics[f"{split}/loss/{head}"],
                accuracy=metrics[f"{split}/accuracy/{head}"],
                balanced_accuracy=metrics.get(f"{split}/balanced_accuracy/{head}"),
                macro_f1=metrics.get(f"{split}/macro_f1/{head}"),
            )
            for head in ACCURACY.parts(metrics)
        },
        joint=metrics[f"{split}/joint"],
    )
