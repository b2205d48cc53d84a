"""Starts the command of this installation, `python -P -m search`, and reads the JSON that it prints."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tune.progress import Progress, say

STORAGE = "TUNE_STORAGE"
"""Environment variable for the URL of the storage: in a list of arguments all users could read a password."""

PROGRESS = "TUNE_PROGRESS"
"""Environment variable; with `json` a command that works on a study writes its progress as lines of JSON.
Such a command ends soon after this process was killed, because it cannot write them any more."""

ERROR = "tune: "
"""What the sentence of a command that failed begins with, on stderr."""

END_S = 10.0
"""Time that the command has to save its trials when this process is about to leave it."""


class TuneError(Exception):
    """A command of tune refused or failed. The message is its sentence: what, why, and what to do."""

    def __init__(self, message: str, exit_code: int, found: Any = None) -> None:
        """exit_code: 1 the work failed, 2 wrong usage, 75 try again later, 78 configuration. found: what the
        command printed as JSON all the same, as `Study.confirm` returns it where the test function failed;
        None: nothing."""
        super().__init__(message)
        self.exit_code = exit_code
        self.found = found


@dataclass(frozen=True)
class Caller:
    """Where commands run."""

    folder: Path
    """absolute; a relative storage counts from here"""
    storage: str | None
    """URL, perhaps with a password; None: studies.db in the folder"""

    @classmethod
    def here(cls, storage: str | None) -> Caller:
        """In the current folder. storage: None: TUNE_STORAGE, if it is set."""
        return cls(folder=Path.cwd(), storage=storage or os.environ.get(STORAGE))

    def __repr__(self) -> str:
        return f"Caller({str(self.folder)!r})"  # without the storage, which may have a password

    def ask(self, *arguments: str, study: str | None = None, progress: bool = False) -> Any:
        """What a command prints as JSON. study: its name, where that is an argument. progress: whether to
        show how far its trials are.

        Raises TuneError where it refuses or fails, and KeyboardInterrupt after Ctrl-C, once the command has
        saved its trials and ended.
        """
        display = Progress.for_this_session() if progress else None
        environment = {**os.environ, PROGRESS: "" if progress and display is None else "json"}
        if self.storage is not None:
            environment[STORAGE] = self.storage
        name = [] if study is None else ["--", study]  # it may begin with a hyphen
        with tempfile.TemporaryFile() as output:
            told = _run([*arguments, "--json", *name], self.folder, environment, output, display)
            if told.interrupted:
                raise KeyboardInterrupt(told.sentence or "Stopped at once; the same call continues.")
            output.seek(0)
            printed = output.read()
            if told.code != 0:
                raise TuneError(told.sentence, told.code, _json_of(printed))
            return json.loads(printed)


@dataclass
class _Told:
    """What a command says while it runs, and how it ends."""

    sentence: str = ""
    code: int = 0
    interrupted: bool = False


def _run(
    arguments: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    output: IO[bytes],
    display: Progress | None,
) -> _Told:
    # In a separate session: Ctrl-C reaches the command from here, once, in a terminal and in a notebook.
    process = subprocess.Popen(
        [*_command(), *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    told = _Told()
    try:
        while True:
            try:
                _follow(process, told, display)
                break
            except KeyboardInterrupt:
                told.interrupted = True
                process.send_signal(signal.SIGINT)  # the second one ends it at once
    finally:
        _end(process)
        if display is not None:
            display.close()
    return told


def _follow(process: subprocess.Popen[bytes], told: _Told, display: Progress | None) -> None:
    """Reads what the command says until it has ended. May be called again after an interruption."""
    assert process.stderr is not None
    for content in process.stderr:
        line = content.decode("utf-8", "replace").rstrip("\n")
        found = _progress_of(line)
        if found is not None:
            if display is not None:
                display.show(found)
        elif told.sentence or line.startswith(ERROR):
            told.sentence += ("\n" if told.sentence else "") + (line if told.sentence else line[len(ERROR) :])
        elif display is not None:
            display.say(line)
        else:
            say(line)
    told.code = process.wait()
    if told.code and not told.sentence and not told.interrupted:
        how = f"signal {-told.code}" if told.code < 0 else f"exit code {told.code}"
        told.sentence = f"The command of tune ended with {how}; what it said is above."


def _progress_of(line: str) -> dict[str, Any] | None:
    if not line.startswith('{"progress": '):
        return None
    try:
        found = json.loads(line)["progress"]
    except ValueError:  # cut short by an interruption
        return {}
    return found if isinstance(found, dict) else {}


def _json_of(printed: bytes) -> Any:
    """What a command that failed has printed; None: nothing, or no JSON."""
    try:
        return json.loads(printed)
    except ValueError:
        return None


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a command that is not waited for any more, because showing what it says failed."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stderr is not None:
        process.stderr.close()


def _command() -> list[str]:
    """The command of the installation of this package. Raises TuneError where there is none."""
    installed = (Path(__file__).resolve().parents[1] / "search" / "__main__.py").is_file()
    if not installed or not sys.executable or sys.version_info < (3, 11):
        raise TuneError(
            "tune.search needs Python 3.11 or newer with an installation of tune, which "
            f"{sys.executable or 'this program'} is not: start it there, and let this one run the training "
            "code with `tune run --objective train.py:train --python PATH`.",
            78,
        )
    return [sys.executable, "-P", "-m", "search"]
