"""Writes the best weights of a trial as the file that tune keeps of it.
Knows nothing of databases, nor of whether the trial is worth it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from models.checkpoint import network_tensors, save_checkpoint
from models.network import ModelConfig, Network, Signature
from search.records import CheckpointRecord, Point
from search.work.artifacts import Artifacts


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Moment:
    """A network as it was, whatever becomes of it."""

    config: ModelConfig
    signature: Signature
    weights: Mapping[str, Tensor]
    """copies, as `network_tensors` names them"""


def moment_of(network: Network) -> Moment:
    """The network as it is now."""
    copies = {name: tensor.clone() for name, tensor in network_tensors(network).items()}
    return Moment(config=network.config, signature=network.signature, weights=copies)


def keep(
    artifacts: Artifacts,
    moment: Moment,
    *,
    task: str,
    number: int,
    trial_id: int,
    point: Point,
    precision: str,
) -> CheckpointRecord:
    """Writes the file and returns what the store shall remember of it; then earlier ones may go.

    point: of the trial's curve, where the weights were taken. Raises OSError where there is no room.
    """
    path = artifacts.checkpoint(number, point.images)
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = save_checkpoint(
        path,
        config=moment.config,
        signature=moment.signature,
        tensors=moment.weights,
        metadata={
            "task": task,
            "study": artifacts.name,
            "trial": str(number),
            "images": str(point.images),
            "precision": precision,
        },
    )
    return CheckpointRecord(
        trial_id=trial_id,
        path=str(path.relative_to(artifacts.root)),
        sha256=digest,
        score=point.validation.accuracy,
        images=point.images,
        bytes=path.stat().st_size,
    )
