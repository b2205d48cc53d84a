"""Runs a recorded trial of a user's training code once more, from its beginning. Nothing of it stays."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from search.errors import Interrupted, TuneError
from search.objectives.base import Job, TrialError, job_of
from search.objectives.external.declared import sha256_of
from search.objectives.external.open_code import OpenCode
from search.records import DeclaredSpec, Report
from search.report.words import amount
from search.service.look import FoundTrial
from search.service.signals import Signals
from search.study.evaluation_schedule import EvaluationSchedule

WatchCode = Callable[[Report | None, Report], None]
"""Told the old report of a step, if there is one, and the new one as soon as that is there."""

NO_FILES = sha256_of({})
"""SHA-256 that is recorded of code whose files are not known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rerun:
    """What training code reported now."""

    retrained: tuple[Report, ...]
    """by step, as far as the recorded trial went"""
    code_then: str | None
    """SHA-256 of the code that the recorded trial ran; None: not known"""
    code: str | None
    """the same of the code that ran now"""
    environment: Mapping[str, str | int]
    """of this machine, in the words of a worker's"""


def rerun(found: FoundTrial, spec: DeclaredSpec, watch: WatchCode, *, stall_timeout_s: float) -> Rerun:
    """The trial with its settings, its seed and its budget, stopped where it was stopped, and ended where it
    reports nothing for `stall_timeout_s` seconds.

    Raises AbsentHere where the code cannot be started here, ConfigError where it declares another search,
    TuneError where it fails, Interrupted at a signal.
    """
    threads = 1 if found.worker is None else found.worker.threads
    with tempfile.TemporaryDirectory(prefix="tune-") as place:
        code = OpenCode(spec, Path(place), threads=threads, checkpoints=False)
        try:
            with Signals() as signals:
                limits = _Limits(found, signals, stall_timeout_s)
                job = _job(found, spec, limits.check)
                retrained, sha256 = _run(code, job, found, limits.watching(watch))
        finally:
            code.close()
    return Rerun(
        retrained=retrained,
        code_then=_known(found.trial.code),
        code=_known(sha256),
        environment=code.environment,
    )


class _Limits:
    """What ends the code before its end: a signal, or a time without a report."""

    def __init__(self, found: FoundTrial, signals: Signals, stall_timeout_s: float) -> None:
        self._found, self._signals, self._stall_timeout_s = found, signals, stall_timeout_s
        self._heard = time.monotonic()

    def check(self) -> None:
        """Raises Interrupted, or TrialError."""
        if self._signals.received is not None:
            which = f"trial {self._found.trial.number} of {self._found.record.name}"
            raise Interrupted(f"Stopped: {which} was not repeated to its end.", self._signals.received)
        if time.monotonic() - self._heard > self._stall_timeout_s:
            raise TrialError(
                f"it reported nothing for {self._stall_timeout_s:g} s and was ended; a larger "
                "--stall-timeout gives it longer"
            )

    def watching(self, watch: WatchCode) -> WatchCode:
        """The same, and each report begins the time anew."""

        def heard(before: Report | None, report: Report) -> None:
            watch(before, report)
            self._heard = time.monotonic()

        return heard


def _job(found: FoundTrial, spec: DeclaredSpec, check: Callable[[], None]) -> Job:
    trial = found.trial
    return job_of(
        spec,
        trial.settings,  # inactive ones are left out
        EvaluationSchedule.of_trial(spec, trial.ablation),
        origin=found.origin,
        number=trial.number,
        confirming=trial.confirming,
        ablation=trial.ablation,
        check=check,
    )


def _run(
    code: OpenCode, job: Job, found: FoundTrial, watch: WatchCode
) -> tuple[tuple[Report, ...], str | None]:
    """The reports, and SHA-256 of the code that made them."""
    old = {report.step: report for report in found.curve}
    retrained: list[Report] = []
    work = code.begin(job)
    try:
        for report in _as_far(work.reports(), last=max(old)):
            retrained.append(report)
            watch(old.get(report.step), report)
    except TrialError as error:
        more = "" if error.detail == str(error) else f"\n{error.detail}"
        at = f" after {amount(retrained[-1].step, found.record.spec)}" if retrained else ""
        which = f"Trial {found.trial.number} of {found.record.name}"
        raise TuneError(f"{which} failed{at} when it was repeated: {error}.{more}") from error
    except OSError as error:
        raise TuneError(f"{code.options.objective} did not start: {error.strerror}.") from error
    finally:
        work.close()
    return tuple(retrained), work.code


def _as_far(reports: Iterable[Report], *, last: int) -> Iterator[Report]:
    """The reports up to step `last`. Raises TrialError where the search would have called it a failure."""
    step = 0
    for report in reports:
        if not math.isfinite(report.score):
            raise TrialError(f"the {report.metric.title} was {report.score} at step {report.step}")
        step = report.step
        if step <= last:
            yield report
        if step >= last:
            return
    raise TrialError(f"it ended at step {step}, and the recorded trial reported step {last}")


def _known(sha256: str | None) -> str | None:
    return None if sha256 == NO_FILES else sha256
