"""Resume checkpoints: the state of a trial on disk, from which any worker that reaches the study's folder
continues it.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from models.checkpoint import CheckpointCorrupt, load_checkpoint, save_checkpoint
from models.network import Network

KEEP = 2
"""The last two: the newest may be damaged."""

FORMAT = 2
"""Of a training's state; another format cannot be read. 1 had the state of torch's own optimizers."""

_BEST = "best."
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class ResumeCheckpoint:
    """A trial as it stood at one of its reports."""

    trial_id: int
    """whose learning curve leads to here"""
    images: int
    """training images at its last report"""
    state: Mapping[str, Tensor]
    """of the training, there or on the way to the next report"""
    best_images: int
    """where on the curve its best weights lie"""
    best: Mapping[str, Tensor]
    """those, under the names of models.checkpoint.network_tensors"""


class ResumeCheckpoints:
    """The resume checkpoints of one trial and of its repetitions."""

    def __init__(self, folder: Path, origin: int) -> None:
        """`origin`: number of the trial that the settings were first given to."""
        self._folder = folder
        self._origin = origin

    def write(self, checkpoint: ResumeCheckpoint, network: Network, fingerprint: str) -> None:
        """Writes a checkpoint and deletes the oldest. `fingerprint`: of all that the training depends on.

        Raises OSError where there is no room.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        save_checkpoint(
            self._folder / f"trial-{self._origin:05d}.at-{checkpoint.images:010d}.safetensors",
            config=network.config,
            signature=network.signature,
            tensors={
                **checkpoint.state,
                **{_BEST + name: tensor for name, tensor in checkpoint.best.items()},
            },
            metadata={
                "fingerprint": fingerprint,
                "trial_id": str(checkpoint.trial_id),
                "images": str(checkpoint.images),
                "best_images": str(checkpoint.best_images),
            },
        )
        for old in self._files()[KEEP:]:
            old.unlink(missing_ok=True)

    def newest(self, fingerprint: str) -> ResumeCheckpoint | None:
        """The newest checkpoint that is whole and of this training; None if there is none."""
        for path in self._files():
            try:
                found = load_checkpoint(path)
            except (CheckpointCorrupt, OSError) as error:
                _logger.warning("a resume checkpoint of trial %s is skipped: %s", self._origin, error)
                continue
            if found.metadata.get("fingerprint") != fingerprint:
                continue
            best = {n.removeprefix(_BEST): t for n, t in found.tensors.items() if n.startswith(_BEST)}
            return ResumeCheckpoint(
                trial_id=int(found.metadata["trial_id"]),
                images=int(found.metadata["images"]),
                state={name: t for name, t in found.tensors.items() if not name.startswith(_BEST)},
                best_images=int(found.metadata["best_images"]),
                best=best,
            )
        return None

    def discard(self) -> None:
        """Removes them: the trial has ended for good."""
        for path in self._files():
            with contextlib.suppress(OSError):
                path.unlink()

    def _files(self) -> list[Path]:
        """Newest first."""
        return sorted(self._folder.glob(f"trial-{self._origin:05d}.at-*.safetensors"), reverse=True)


def discard_all(folder: Path) -> None:
    """Deletes the resume checkpoints of a finished study, and files that killed writers left incomplete."""
    for pattern in ("trial-*.at-*.safetensors", ".trial-*.tmp"):
        for path in folder.glob(pattern):
            with contextlib.suppress(OSError):
                path.unlink()
