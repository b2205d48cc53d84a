"""Calls the test function of training code for a trial that was kept.

The function may see held-out data, so that search.service.test_evaluation alone calls it
(tests/contracts/test_test_split.py).
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from search.errors import ConfigError, TuneError
from search.objectives.base import Job, TrialError
from search.objectives.external.archive import Damaged
from search.objectives.external.checkpoint_file import extract_directory
from search.objectives.external.declared import CodeOptions, unstarted
from search.objectives.external.messages import ProtocolError, failed_from, metrics_from, request_of
from search.objectives.external.process import Process, Unstarted, start
from search.objectives.external.trial_files import log_path
from search.records import DeclaredSpec


def call_test_function(
    spec: DeclaredSpec,
    job: Job,
    content: bytes,
    folder: Path,
    *,
    begin: Callable[[], None],
    limit_s: float,
    threads: int,
) -> dict[str, float]:
    """What the test function says of a trial: its finite metrics by name, the score among them.

    It gets a copy of the directory that training left, in a process of the study's command. Its output is
    appended to the trial's log. content: of the file that was kept of the trial. folder: of the study's
    files. begin: is called once the process is ready, before the function. limit_s: after this the function
    is ended. threads: that its process may use, where its libraries ask for that.

    Raises ConfigError where the code cannot be started or there is no directory, and TuneError where the
    function fails.
    """
    options = CodeOptions.of(spec)
    log = log_path(folder, job.number)
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tune-") as place:
        directory = Path(place) / "trial"
        try:
            if not extract_directory(content, directory):
                raise ConfigError(
                    f"Nothing was kept of trial {job.number} for the test function of {options.objective}."
                )
            process, _ = start(
                options.command, options.folder, log, log_bytes=options.log_bytes, threads=threads
            )
        except Damaged as error:
            raise ConfigError(f"What was kept of trial {job.number} is damaged: {error}.") from error
        except (Unstarted, OSError) as error:
            raise ConfigError(unstarted(options.objective, error)) from error
        try:
            process.use_log(log, "the test function", lambda: None)
            begin()
            metrics = _asked(process, job, directory, limit_s)
        except TrialError as error:
            more = "" if error.detail == str(error) else f"\n{error.detail}"
            raise TuneError(f"The test function of {options.objective} failed: {error}.{more}") from error
        finally:
            process.kill()
    score = spec.metric.name
    if not math.isfinite(metrics.get(score, math.nan)):
        said = metrics.get(score, "nothing")
        raise TuneError(f"The test function of {options.objective} returned {said} as its {score}.")
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def _asked(process: Process, job: Job, directory: Path, limit_s: float) -> Mapping[str, float]:
    process.send({"test": request_of(job, directory, resumed=True)}, job.check)
    message = process.receive(job.check, until=time.monotonic() + limit_s)
    if message is None:
        raise TrialError(
            f"it did not return within {limit_s:,.0f} s and was ended; a larger --stall-timeout gives it "
            "more time"
        )
    key, body = message
    if key == "failed":
        raise failed_from(body)
    if key != "tested" or not isinstance(body.get("metrics"), dict):
        raise ProtocolError(f"it wrote {key} in place of tested, with its metrics")
    return metrics_from(body["metrics"])
