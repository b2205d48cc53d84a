"""Turns the best weights of a trial into the content of a checkpoint file, and writes it where it belongs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from models.checkpoint import checkpoint_bytes, network_tensors
from models.network import ModelConfig, Network, Signature
from search.records import Answers, CheckpointRecord, Claim, Point
from search.worker.best_weights import BestWeights


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Snapshot:
    """A copy of a network's weights, with what is needed to rebuild it."""

    config: ModelConfig
    signature: Signature
    weights: Mapping[str, Tensor]
    """copies, as `network_tensors` names them"""


def snapshot_of(network: Network) -> Snapshot:
    """The network as it is now."""
    copies = {name: tensor.clone() for name, tensor in network_tensors(network).items()}
    return Snapshot(config=network.config, signature=network.signature, weights=copies)


def keep(
    weights: BestWeights,
    moment: Snapshot,
    *,
    task: str,
    number: int,
    trial_id: int,
    point: Point,
    precision: str,
    claim: Claim | None = None,
    answers: Answers | None = None,
) -> CheckpointRecord:
    """Keeps the weights in place of the trial's earlier ones; returns what the store remembers of them.

    point: of the trial's curve, where the weights were taken. claim: under which the trial is trained; None:
    it has ended. answers: of these weights on validation; None: not known. Raises OSError where there is no
    room, LeaseLost once the claim has passed on.
    """
    content = checkpoint_bytes(
        config=moment.config,
        signature=moment.signature,
        tensors=moment.weights,
        metadata={
            "task": task,
            "study": weights.artifacts.name,
            "trial": str(number),
            "images": str(point.images),
            "precision": precision,
        },
    )
    return weights.write(
        content,
        number=number,
        trial_id=trial_id,
        score=point.validation.accuracy,
        images=point.images,
        claim=claim,
        answers=answers,
    )
