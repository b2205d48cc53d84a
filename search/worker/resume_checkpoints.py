"""Resume checkpoints: the state of a trial on disk, from which any worker that reaches the study's folder
continues it.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from pathlib import Path

from search.objectives.base import CheckpointUnreadable, OpenObjective, ResumeCheckpoint

KEEP = 2
"""The last two: the newest may be damaged."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ResumeCheckpoints:
    """The resume checkpoints of one trial and of its repetitions."""

    folder: Path
    origin: int
    """number of the trial that the settings were first given to"""
    objective: OpenObjective
    """that writes and reads them"""

    def write(self, checkpoint: ResumeCheckpoint, fingerprint: str) -> None:
        """Writes a checkpoint and deletes the oldest. `fingerprint`: of all that the work depends on.

        Raises OSError where there is no room.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        about = {
            "fingerprint": fingerprint,
            "trial_id": str(checkpoint.trial_id),
            "images": str(checkpoint.step),  # so called before there were other objectives
            "best_images": str(checkpoint.best_step),
        }
        path = self.folder / f"trial-{self.origin:05d}.at-{checkpoint.step:010d}.safetensors"
        self.objective.write(path, checkpoint, about)
        for old in self._files()[KEEP:]:
            old.unlink(missing_ok=True)

    def newest(self, fingerprint: str) -> ResumeCheckpoint | None:
        """The newest checkpoint that is whole and of this work; None if there is none."""
        for path in self._files():
            try:
                state, best, about = self.objective.read(path)
            except CheckpointUnreadable as error:
                _logger.warning("a resume checkpoint of trial %s is skipped: %s", self.origin, error)
                continue
            if about.get("fingerprint") == fingerprint:
                return ResumeCheckpoint(
                    trial_id=int(about["trial_id"]),
                    step=int(about["images"]),
                    best_step=int(about["best_images"]),
                    best=best,
                    state=state,
                )
        return None

    def discard(self) -> None:
        """Removes them: the trial has ended for good."""
        for path in self._files():
            with contextlib.suppress(OSError):
                path.unlink()

    def _files(self) -> list[Path]:
        """Newest first."""
        return sorted(self.folder.glob(f"trial-{self.origin:05d}.at-*.safetensors"), reverse=True)


def discard_all(folder: Path) -> None:
    """Deletes the resume checkpoints of a finished study, and files that killed writers left incomplete."""
    for pattern in ("trial-*.at-*.safetensors", ".trial-*.tmp"):
        for path in folder.glob(pattern):
            with contextlib.suppress(OSError):
                path.unlink()
