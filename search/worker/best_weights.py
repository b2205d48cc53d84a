"""Where the best weights of a study lie: in its database, or as files in its artifact folder.

On a server new weights go into the database, so that every machine that reaches it can read them. With an
SQLite file they go into a folder beside it, and where TUNE_ARTIFACTS names a folder, into that one. Weights
are read from where they were written, whatever holds for new ones.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import BinaryIO, Literal

from search.errors import TuneError
from search.files import write_whole
from search.objectives.base import Product
from search.records import Answers, CheckpointRecord, Claim, Report, StudyRecord
from search.store.base import Store
from search.store.location import ARTIFACTS_VARIABLE, Location, find_file
from search.worker.artifacts import Artifacts

KeptIn = Literal["database", "folder"]

LARGEST_BYTES = 64 * 2**20
"""Of the weights of one trial in the database; larger ones go into the folder."""

READ_BYTES = 2**20
"""Of a file in one piece."""


class WeightsMissing(TuneError):
    """No weights are where the database says. The message continues after a colon."""


class WeightsDamaged(TuneError):
    """The weights that were read are not those that were written. The message continues after a colon."""


def place_for_new_weights(location: Location) -> KeptIn:
    """The database of a server, unless TUNE_ARTIFACTS names a folder; the folder beside an SQLite file."""
    on_server = location.database is None
    return "database" if on_server and not os.environ.get(ARTIFACTS_VARIABLE) else "folder"


class WeightsPlace(ABC):
    """A place where best weights can lie."""

    @abstractmethod
    def write(
        self,
        checkpoint: CheckpointRecord,
        content: bytes,
        claim: Claim | None,
        answers: Answers | None,
    ) -> CheckpointRecord:
        """Writes the weights and their record, in place of the trial's earlier ones; returns the record.

        Raises LeaseLost as Store.add_checkpoint does; OSError where a disk has no room.
        """

    @abstractmethod
    def chunks(self, checkpoint: CheckpointRecord) -> Iterator[bytes]:
        """The weights in pieces, as they are. Raises OSError where a file cannot be read."""

    @abstractmethod
    def where(self, checkpoint: CheckpointRecord) -> str:
        """Where they are, as the end of a sentence."""


@dataclass(frozen=True, slots=True)
class WeightsInFolder(WeightsPlace):
    """The study's artifact folder: one file for the weights of each trial."""

    artifacts: Artifacts
    store: Store
    earlier: tuple[Path, ...] = ()
    """artifact folders in which previous versions of tune may have written them"""

    def write(
        self,
        checkpoint: CheckpointRecord,
        content: bytes,
        claim: Claim | None,
        answers: Answers | None,
    ) -> CheckpointRecord:
        path = self.artifacts.path(checkpoint)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
        study = self.artifacts
        self.store.add_checkpoint(
            study.study_id, checkpoint, claim=claim, created=study.created, answers=answers
        )
        return checkpoint

    def chunks(self, checkpoint: CheckpointRecord) -> Iterator[bytes]:
        with self.file(checkpoint).open("rb") as file:
            while piece := file.read(READ_BYTES):
                yield piece

    def where(self, checkpoint: CheckpointRecord) -> str:
        return f"at {self.file(checkpoint)}"

    def file(self, checkpoint: CheckpointRecord) -> Path:
        """Where the weights lie; where new ones would lie if there are none."""
        return find_file(checkpoint.path, (self.artifacts.root, *self.earlier))

    def discard(self, number: int, *, but: CheckpointRecord | None = None) -> None:
        """Removes the files of a trial, in all folders, but the one that has just been written."""
        if but is None:
            self.artifacts.discard(number)
        else:
            self.artifacts.keep_only(but, number)
        for root in self.earlier:
            replace(self.artifacts, root=root).discard(number)


@dataclass(frozen=True, slots=True)
class WeightsInDatabase(WeightsPlace):
    """The study's database: chunks beside the record, written in one transaction with it."""

    artifacts: Artifacts
    store: Store

    def write(
        self,
        checkpoint: CheckpointRecord,
        content: bytes,
        claim: Claim | None,
        answers: Answers | None,
    ) -> CheckpointRecord:
        study = self.artifacts
        self.store.add_checkpoint(
            study.study_id,
            checkpoint,
            claim=claim,
            created=study.created,
            content=content,
            answers=answers,
        )
        return replace(checkpoint, in_database=True)

    def chunks(self, checkpoint: CheckpointRecord) -> Iterator[bytes]:
        for position in count():
            chunk = self.store.weights_chunk(checkpoint, position)
            if chunk is None:
                return
            yield chunk

    def where(self, checkpoint: CheckpointRecord) -> str:
        return "in the database"


@dataclass(frozen=True, kw_only=True, slots=True)
class BestWeights:
    """The best weights of one study, wherever they lie: a search's ten best, all of a confirmation."""

    artifacts: Artifacts
    store: Store
    new_in: KeptIn
    """where new weights go"""
    earlier: tuple[Path, ...] = ()
    """artifact folders in which previous versions of tune may have written weights"""
    beside: frozenset[int] = frozenset()
    """ids of trials whose weights stay and take no place: they are not of the study's present space"""
    largest_bytes: int = LARGEST_BYTES
    """larger weights go into the folder, whatever `new_in` says"""

    @classmethod
    def of(cls, location: Location, record: StudyRecord, store: Store) -> BestWeights:
        """Those of a study as this process would read and write them. location: of the same storage."""
        artifacts = Artifacts.of(location.artifacts, record)
        new_in = place_for_new_weights(location)
        return cls(artifacts=artifacts, store=store, new_in=new_in, earlier=location.earlier)

    # Writing

    def worth_keeping(self, score: float) -> bool:
        """Whether a trial with this score is among the best so far."""
        keep = self.artifacts.keep
        if not keep:
            return keep is None
        kept = self.store.checkpoints(self.artifacts.study_id)
        kept = [each for each in kept if each.trial_id not in self.beside]
        return len(kept) < keep or score > kept[keep - 1].score

    def keep(
        self,
        product: Product,
        about: Mapping[str, str],
        *,
        number: int,
        trial_id: int,
        report: Report,
        claim: Claim | None = None,
    ) -> CheckpointRecord:
        """Keeps what a trial had made at a report, in place of what it made earlier.

        about: what the file notes of its origin, beside the trial. claim: under which the trial is worked on;
        None: it has ended. Raises as `write`.
        """
        origin = {"study": self.artifacts.name, "trial": str(number), "images": str(report.step)}
        return self.write(
            product.content({**about, **origin}),
            number=number,
            trial_id=trial_id,
            score=report.score,
            step=report.step,
            claim=claim,
            answers=product.answers,
        )

    def write(
        self,
        content: bytes,
        *,
        number: int,
        trial_id: int,
        score: float,
        step: int,
        claim: Claim | None = None,
        answers: Answers | None = None,
    ) -> CheckpointRecord:
        """Keeps the weights that a trial had at `step`, in place of its earlier ones.

        content: of a checkpoint file. claim: under which the trial is trained; None: it has ended. answers:
        of these weights on validation; None: not known. Raises LeaseLost once the claim has passed on or the
        study was deleted, and OSError where a disk has no room.
        """
        name = self.artifacts.checkpoint(number, step).relative_to(self.artifacts.root)
        checkpoint = CheckpointRecord(
            trial_id=trial_id,
            path=str(name),
            sha256=hashlib.sha256(content).hexdigest(),
            score=score,
            step=step,
            bytes=len(content),
        )
        fits = self.new_in == "database" and len(content) <= self.largest_bytes
        place: WeightsPlace = self._database if fits else self._folder
        written = place.write(checkpoint, content, claim, answers)
        self._folder.discard(number, but=None if written.in_database else written)
        return written

    def keep_best(self) -> None:
        """Removes the weights of all trials that are no longer among the best; files as far as they can be
        removed."""
        if self.artifacts.keep is None:
            return
        study_id, keep = self.artifacts.study_id, self.artifacts.keep
        for dropped in self.store.drop_checkpoints(study_id, keep=keep, beside=self.beside):
            with contextlib.suppress(OSError):
                self._folder.file(dropped).unlink()

    def discard(self, number: int) -> None:
        """Removes the files of a trial that failed; its chunks went when its claim was released."""
        self._folder.discard(number)

    # Reading

    def where(self, checkpoint: CheckpointRecord) -> str:
        """Where the weights are, as the end of a sentence: "at FILE", "in the database"."""
        return self._place_of(checkpoint).where(checkpoint)

    def open(self, checkpoint: CheckpointRecord) -> BinaryIO:
        """The weights as a checkpoint file that is open for reading: a verified copy in a temporary file.

        Raises as `read`, and OSError where there is no room for the copy.
        """
        copy = tempfile.TemporaryFile()  # noqa: SIM115  # the caller closes it
        try:
            self._copy(checkpoint, copy)
        except BaseException:
            copy.close()
            raise
        copy.seek(0)
        return copy

    def read(self, checkpoint: CheckpointRecord) -> bytes:
        """The content of the weights' checkpoint file, whose SHA-256 has been verified.

        Raises WeightsMissing, WeightsDamaged, and OSError where a file cannot be read.
        """
        content = io.BytesIO()
        self._copy(checkpoint, content)
        return content.getvalue()

    def _copy(self, checkpoint: CheckpointRecord, target: BinaryIO) -> None:
        """Chunk by chunk. The copy has the bytes that were verified, also if the original changes."""
        place, found = self._place_of(checkpoint), hashlib.sha256()
        length = 0
        try:
            for chunk in place.chunks(checkpoint):
                found.update(chunk)
                length += target.write(chunk)
        except FileNotFoundError as error:
            raise WeightsMissing(f"the checkpoint is no longer {place.where(checkpoint)}") from error
        if checkpoint.in_database and length < checkpoint.bytes:  # better ones may have replaced it meanwhile
            raise WeightsMissing(f"the checkpoint is no longer {place.where(checkpoint)}")
        if found.hexdigest() != checkpoint.sha256:
            raise WeightsDamaged(
                f"the checkpoint {place.where(checkpoint)} is not the one that was written: expected SHA-256 "
                f"{checkpoint.sha256}, found {found.hexdigest()}"
            )

    def too_large(self) -> list[CheckpointRecord]:
        """Weights that are in the folder only because they are too large for the database."""
        if self.new_in == "folder":
            return []
        kept = self.store.checkpoints(self.artifacts.study_id)
        return [each for each in kept if not each.in_database and each.bytes > self.largest_bytes]

    def _place_of(self, checkpoint: CheckpointRecord) -> WeightsPlace:
        return self._database if checkpoint.in_database else self._folder

    @property
    def _folder(self) -> WeightsInFolder:
        return WeightsInFolder(self.artifacts, self.store, self.earlier)

    @property
    def _database(self) -> WeightsPlace:
        return WeightsInDatabase(self.artifacts, self.store)
