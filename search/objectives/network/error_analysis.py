"""What the kept weights of a trial get wrong on validation: confusions of each head, the worst in images.
The test split is not for looking at images: it is never opened here.
"""

from __future__ import annotations

import heapq

import torch
from torch import Tensor

from data.datasets.base import OpenDataset
from data.tasks.base import Task
from data.tasks.example_grid import png
from models.checkpoint import parse_checkpoint
from models.network import Network
from models.training import EVALUATION_BATCH, Precision, precision_context
from search.analysis.mistakes import Confusion, Mistake, Mistakes, surest_first
from search.records import CheckpointRecord
from search.tasks import task_named

SHOWN = 24
"""Worst mistakes that are kept, with their images."""


def mistakes(
    content: bytes,
    checkpoint: CheckpointRecord,
    *,
    trial: int,
    task_name: str,
    dataset: OpenDataset,
    recorded: float | None,
    compositions: int = 0,
    precision: Precision = "float32",
) -> Mistakes:
    """Looks at every validation example with the weights of a checkpoint, on the CPU.

    content: of the checkpoint file. recorded: accuracy that the study has of these weights.
    compositions: of the study's validation set. precision: that in which the
    weights were scored when they were kept.

    Raises CheckpointCorrupt.
    """
    network = parse_checkpoint(content, "the checkpoint", expected_sha256=checkpoint.sha256).network()
    task = task_named(task_name)
    counts = {
        name: torch.zeros(classes, classes, dtype=torch.int64) for name, classes in network.signature.heads
    }
    worst: list[tuple[float, int, Mistake]] = []
    seen = 0
    with torch.inference_mode(), precision_context(precision, torch.device("cpu")):
        for image, number, targets in task.validation(dataset, compositions=compositions).batches(
            EVALUATION_BATCH * max(1, network.signature.numbers)
        ):
            beliefs, said = _answers(network, image, number)
            for place, count in enumerate(counts.values()):
                pairs = torch.stack((targets[:, place], said[:, place]))
                count.index_put_(tuple(pairs), torch.ones(len(targets), dtype=torch.int64), accumulate=True)
            least = _belief_in_truth(beliefs, targets)
            for row in torch.nonzero((said != targets).any(1)).flatten().tolist():
                entry = (-least[row], seen + row)
                if len(worst) < SHOWN or entry > worst[0][:2]:
                    mistake = _mistake(task, image, number, targets, said, row, least[row])
                    (heapq.heappush if len(worst) < SHOWN else heapq.heappushpop)(worst, (*entry, mistake))
            seen += len(targets)
    labels = {head.name: head.labels for head in task.heads}
    accuracy = sum(float(count.diagonal().sum()) / seen for count in counts.values()) / len(counts)
    return Mistakes(
        trial=trial,
        accuracy=accuracy,
        recorded=recorded,
        confusions=tuple(
            Confusion(
                head=name, counts=tuple(tuple(row) for row in count.tolist()), labels=labels.get(name, ())
            )
            for name, count in counts.items()
        ),
        worst=surest_first([mistake for _, _, mistake in worst]),
    )


def _answers(network: Network, image: Tensor, number: Tensor | None) -> tuple[list[Tensor], Tensor]:
    """Probabilities (N, classes) of each head, and the answers int64 (N, heads)."""
    logits = list(network(image, number).values())
    beliefs = [head.float().softmax(1) for head in logits]
    return beliefs, torch.stack([head.argmax(1) for head in logits], dim=1)


def _belief_in_truth(beliefs: list[Tensor], targets: Tensor) -> list[float]:
    """By example, the probability of the right answer of the head where it is least."""
    of_truth = [
        belief.gather(1, target[:, None])[:, 0]
        for belief, target in zip(beliefs, targets.unbind(1), strict=True)
    ]
    least: list[float] = torch.stack(of_truth).amin(0).tolist()
    return least


def _mistake(
    task: Task,
    image: Tensor,
    number: Tensor | None,
    targets: Tensor,
    said: Tensor,
    row: int,
    belief: float,
) -> Mistake:
    times = len(targets) // len(image)
    given = None if number is None else int(number.flatten()[row])
    return Mistake(
        png=png(image[row // times], ink=task.source.ink),
        truth=task.caption(targets[row].tolist(), given),
        said=task.caption(said[row].tolist(), given),
        belief=belief,
    )
