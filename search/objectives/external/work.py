"""One trial of training code: a conversation with its process, as reports."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from search.objectives.base import Job, Product, TrialError, Work
from search.objectives.external.archive import Archive, Damaged, empty, pack, pack_files
from search.objectives.external.checkpoint_file import CodeState, KeptFiles
from search.objectives.external.declared import CodeOptions, sha256_of
from search.objectives.external.messages import (
    ProtocolError,
    Reported,
    failed_from,
    kept_from,
    reported_from,
    request_of,
)
from search.objectives.external.process import Process
from search.objectives.external.session import Session
from search.records import DeclaredSpec, Report

LARGEST_KEPT_BYTES = 2**30
"""Of the files that a trial keeps: they are passed on in memory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """The files of a trial."""

    directory: Path
    """where it works; it is its own"""
    scratch: Path
    """folder for copies of it, on the same disk"""
    log: Path


class CodeWork(Work):
    """A trial of training code.

    It is asked for when its first report is wanted, and once more when it is to continue after another trial
    had the process: then from its last checkpoint, or from the start. Reports up to where it was are left
    out.
    """

    def __init__(
        self,
        session: Session,
        job: Job,
        spec: DeclaredSpec,
        place: Place,
        state: CodeState | None,
        code: Callable[[], Mapping[str, str]],
        *,
        checkpoints: bool,
    ) -> None:
        """state: what it continues from; None: nothing. code: SHA-256 by file, of the code in the process.
        checkpoints: whether the code can continue from what lies in the directory."""
        self._session, self._job, self._spec, self._place = session, job, spec, place
        self._code, self._checkpoints = code, checkpoints
        self._reported = 0 if state is None else state.reported
        """step of the last report that the search was given"""
        self._step = 0
        """of the last report of the process"""
        self._names = () if state is None else state.names
        self._kept = () if state is None else state.kept
        self._saved = state or CodeState(reported=0)
        """the checkpoint to continue from"""
        self._correct: str | None = None
        """for each validation example 1 or 0, as of the last report; None: not said"""
        self._copied: Archive | None = None
        """a checkpoint that counts as one once the next report is there"""
        self._is_tested = spec.confirms is not None and CodeOptions.of(spec).test
        self._finished = False

    def reports(self) -> Iterator[Report]:
        while not self._finished:
            try:
                report = self._next()
            except BaseException:
                self._session.kill()
                raise
            if report is None:
                return
            self._reported = report.step
            self.code = sha256_of(self._code())
            yield report

    def product(self) -> KeptFiles | None:
        archive = self._packed()
        if archive is None and not self._correct:
            return None
        return KeptFiles(archive, correct=self._correct)

    def completed(self, product: Product | None) -> KeptFiles | None:
        """With the files that are kept now, where it has none."""
        assert product is None or isinstance(product, KeptFiles), "it is this objective's"
        if product is not None and product.archive is not None:
            return product
        archive = self._packed()
        if archive is None:
            return product
        return KeptFiles(archive, correct=None if product is None else product.correct)

    def final_product(self, product: Product | None) -> Product | None:
        """With its directory, where `tune confirm` may call the code's test function for it."""
        if not self._is_tested:
            return product
        assert product is None or isinstance(product, KeptFiles), "it is this objective's"
        place = self._place
        directory = pack(
            place.directory, scratch=place.scratch, what="its directory", most=LARGEST_KEPT_BYTES
        )
        if product is None:
            return KeptFiles(None, directory=directory)
        return KeptFiles(product.archive, correct=product.correct, directory=directory)

    def _packed(self) -> Archive | None:
        """The files that it keeps, as they are now; None: there are none."""
        place, what = self._place, "what it keeps"
        there = [name for name in self._kept if (place.directory / name).exists()]
        if not there:
            return None
        return pack_files(place.directory, there, scratch=place.scratch, what=what, most=LARGEST_KEPT_BYTES)

    def state(self) -> CodeState:
        saved = self._saved
        return CodeState(
            reported=self._reported,
            names=self._names,
            kept=self._kept,
            step=saved.step,
            directory=saved.directory,
            code=saved.code,
        )

    def close(self) -> None:
        self._finished = True
        if self._session.is_at(self):
            self._session.stop(after=self._delete)
        else:
            self._delete()

    def _delete(self) -> None:
        shutil.rmtree(self._place.directory, ignore_errors=True)

    def _next(self) -> Report | None:
        """The next report that is wanted; None where the trial ended without one."""
        if self._session.is_at(self):
            process = self._session.process_of(self)
            self._send(process, "go")
        else:
            process = self._asked()
        while True:
            key, body = self._received(process)
            if key == "checkpoint":
                self._copy()
                self._send(process, "go")
            elif key == "keep":
                self._keep(kept_from(body))
            elif key == "report":
                report = self._taken(reported_from(body))
                if report.step == self._job.budget:
                    self._send(process, "go")
                    self._see_it_end(process)
                    return report
                if report.step > self._reported:
                    self._session.waits_at(self)
                    return report
                self._send(process, "go")  # it is on its way to where it was
            elif key == "ended":
                self._session.waits_at(None)
                return None
            else:
                raise ProtocolError(f"it wrote {key} during a trial")

    def _asked(self) -> Process:
        """The process, which was asked for this trial."""
        saved, place = self._saved, self._place
        process = self._session.free(place.log, self._job.check, self._note)
        self._copied, self._step = None, 0
        if saved.directory is None:
            empty(place.directory)
        else:
            try:
                saved.directory.extract(place.directory)
            except Damaged as error:
                raise TrialError(f"its checkpoint of step {saved.step} is damaged: {error}") from error
        asked = request_of(self._job, place.directory, resumed=saved.directory is not None)
        process.send({"trial": asked}, self._job.check)
        return process

    def _copy(self) -> None:
        """Copies the directory, if the code declares that it can continue from there."""
        if self._checkpoints:
            scratch = self._place.scratch
            self._copied = pack(self._place.directory, scratch=scratch, what="its checkpoint")

    def _keep(self, names: Sequence[str]) -> None:
        """Takes in which files it keeps; one that it deletes later is left out. Raises TrialError for one
        that is not there, or is a folder or a link, or behind a link to elsewhere."""
        directory = self._place.directory
        for name in names:
            path = directory / name
            outside = not path.resolve().is_relative_to(directory.resolve())
            if path.is_symlink() or not path.is_file() or outside:
                raise TrialError(f"it keeps {name}, which is not a file in its directory")
        self._kept = tuple(dict.fromkeys((*self._kept, *names)))

    def _note(self) -> str:
        """What its output begins with."""
        if self._saved.directory is None or self._code() == self._saved.code:
            return ""
        return f"the code has changed since step {self._saved.step}, from whose checkpoint this continues"

    def _see_it_end(self, process: Process) -> None:
        """After the last report: code may still write what it keeps, and a failure there is one."""
        self._finished = True
        while True:
            key, body = self._received(process)
            if key == "keep":
                self._keep(kept_from(body))
            elif key == "checkpoint":
                self._send(process, "go")  # nothing continues from there
            elif key == "report":
                raise ProtocolError(
                    f"it reported step {reported_from(body).step} after its budget of {self._job.budget}"
                )
            elif key == "ended":
                self._session.waits_at(None)
                return
            else:
                raise ProtocolError(f"it wrote {key} after its last report")

    def _send(self, process: Process, key: str) -> None:
        process.send({key: {}}, self._job.check)

    def _received(self, process: Process) -> tuple[str, Mapping[str, object]]:
        """The next message; raises the trial's own error where it is that it failed."""
        message = process.receive(self._job.check)
        assert message is not None, "without a limit it waits"
        if message[0] == "failed":
            raise failed_from(message[1])
        return message

    def _taken(self, found: Reported) -> Report:
        """The report as a record. Raises TrialError for one that the trial must not have made."""
        score = self._spec.metric.name
        if found.step <= self._step:
            raise TrialError(
                f"it reported step {found.step} after step {self._step}: steps must rise"
                if self._step
                else f"it reported step {found.step}; the first is 1"
            )
        if found.step > self._job.budget:
            raise TrialError(f"it reported step {found.step}, and its budget is {self._job.budget}")
        if score not in found.metrics:
            raise TrialError(
                f"its report of step {found.step} has no {score}, which the study optimizes; it has "
                f"{', '.join(found.metrics) or 'no metrics'}"
            )
        names = tuple(sorted(found.metrics))
        if self._names and names != self._names:
            raise TrialError(
                f"its report of step {found.step} has the metrics {', '.join(names)}, and the first one had "
                f"{', '.join(self._names)}: all reports must have the same"
            )
        self._names, self._step, self._correct = names, found.step, found.correct
        if self._copied is not None:
            self._saved = CodeState(
                reported=found.step, step=found.step, directory=self._copied, code=self._code()
            )
            self._copied = None
        return Report(step=found.step, seconds=0.0, metrics=dict(found.metrics), metric=self._spec.metric)
