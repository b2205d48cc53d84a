"""Where the files of a study lie: resume checkpoints, and best weights that are not in the database."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from search.records import CheckpointRecord, StudyRecord

KEEP = 10
"""Trials whose best weights are kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifacts:
    """The folder of one study."""

    root: Path
    """folder of the storage; paths in the database are relative to it"""
    study_id: int
    name: str
    """of the study"""
    created: datetime.datetime
    """when the study was made"""
    keep: int | None = KEEP
    """trials whose weights are kept; None: all of them, as in a confirmation, where trials are few and each
    may turn out to be the one that is tested and exported; 0: none, as in an ablation"""

    @classmethod
    def of(cls, root: Path, record: StudyRecord) -> Artifacts:
        """Those of a study: the best trials' in a search, every trial's in a confirmation, none of an
        ablation, whose networks are worse on purpose."""
        spec = record.spec
        keep = None if spec.confirms is not None else 0 if spec.ablates is not None else KEEP
        return cls(root=root, study_id=record.study_id, name=record.name, created=record.created, keep=keep)

    @property
    def folder(self) -> Path:
        """This study's own folder, also where databases share the root: each has a study 1, and perhaps of
        the same name."""
        words = re.sub(r"[^A-Za-z0-9._-]+", "_", self.name)[:60]
        return self.root / f"{self.study_id:04d}-{words}-{_mark(self.created)}"

    def checkpoint(self, number: int, step: int) -> Path:
        """Where trial `number` keeps the weights that it had at `step`.

        Each time has its own file: a worker that deletes a row from the database and then its file cannot
        meet better weights there, which another worker has just written and not yet noted.
        """
        return self.folder / f"trial-{number:05d}-{step}.safetensors"

    def path(self, checkpoint: CheckpointRecord) -> Path:
        """The file of a checkpoint that the database names."""
        return self.root / checkpoint.path

    def keep_only(self, kept: CheckpointRecord, number: int) -> None:
        """Removes what trial `number` kept before, now that the database names `kept`."""
        self._remove(number, but=self.path(kept))

    def discard(self, number: int) -> None:
        """Removes what trial `number` kept: it failed."""
        self._remove(number)

    def _remove(self, number: int, *, but: Path | None = None) -> None:
        """As far as they can be removed; what an earlier tune kept has no step in its name."""
        mark = f"trial-{number:05d}"
        with contextlib.suppress(OSError):
            for path in (self.folder / f"{mark}.safetensors", *self.folder.glob(f"{mark}-*.safetensors")):
                if path != but:
                    path.unlink(missing_ok=True)


def folder_pattern(record: StudyRecord) -> str:
    """Matches the name of a study's folder and of no other, also where the name of the study is lost."""
    return f"{record.study_id:04d}-*-{_mark(record.created)}"


def _mark(created: datetime.datetime) -> str:
    return hashlib.sha256(created.isoformat().encode()).hexdigest()[:8]
