"""`Trial`: what a training function gets, and how it reports."""

from __future__ import annotations

import math
import operator
import os
import threading
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from reprlib import repr as short
from typing import Any, NoReturn, Protocol

from tune.conditions import Value

MOST_EXAMPLES = 900_000
"""Examples of one report: a line of the protocol has at most 1 MB."""

MOST_NAME = 200
"""Characters in the name of a metric or of a unit."""

_MARKS = {True: "1", False: "0"}


class StopTrial(BaseException):
    """Raised by `Trial.report` when the trial is not needed any more, to end the training function.

    A BaseException, so that `except Exception` in training code does not catch it.
    """


class Listener(Protocol):
    """Who receives what a trial says."""

    def report(self, content: dict[str, Any]) -> bool:
        """Takes `step`, `metrics` and perhaps `correct`. Returns whether the trial continues."""

    def checkpoint(self) -> bool:
        """Takes a copy of the directory. Returns whether the trial continues."""

    def keep(self, files: list[str]) -> None:
        """Takes names of files below the directory, with forward slashes."""


class Trial:
    """One run of a training function: its settings, and the place to report.

    @tune.objective(space=..., score="accuracy", budget=20)
    def train(trial: tune.Trial) -> None:
        model = build(**trial.params)
        for epoch in range(1, trial.budget + 1):
            trial.report(epoch, accuracy=fit_one_epoch(model, seed=trial.seed))
    """

    params: dict[str, Value]
    """the settings by name; those whose conditions do not hold are absent"""
    seed: int
    """for all that is random: confirmation repeats the same settings with other seeds"""
    number: int
    """the trial's number in its study"""
    budget: int
    """the last step to report, in units of the objective"""
    directory: Path
    """a folder for the files of this trial, absolute and there"""
    resumed: bool
    """whether the directory has the files of the last checkpoint, to continue from"""

    def __init__(
        self,
        *,
        params: Mapping[str, Value],
        seed: int,
        number: int,
        budget: int,
        directory: Path,
        resumed: bool,
        score: str,
        checkpoints: bool,
        listener: Listener | None,
    ) -> None:
        """Made by tune. listener: None in a test function, which reports nothing."""
        self.params = dict(params)
        self.seed = seed
        self.number = number
        self.budget = budget
        self.directory = directory
        self.resumed = resumed
        self.last_step = 0
        """of the reports of this call; 0: there was none"""
        self.stopped = False
        """whether StopTrial was raised"""
        self._score = score
        self._names: set[str] = set()
        self._checkpoints = checkpoints
        self._listener = listener
        self._correct: str | None = None
        self._examples: int | None = None
        self._ended = False
        self._process = os.getpid()
        self._lock = threading.RLock()

    def report(self, step: int, **metrics: Any) -> None:
        """Reports metrics after `step` units of the budget; steps rise, and the last one is the budget.

        A metric is one number: of Python, NumPy or PyTorch. The score must be among them, and all reports
        have the same ones. Raises StopTrial when the trial is not needed any more; TypeError, ValueError or
        RuntimeError for wrong use.
        """
        listener = self._open("report")
        with self._lock:
            self._continue()
            number = self._step(step)
            content: dict[str, Any] = {"step": number, "metrics": self._same(metrics)}
            if self._correct is not None:
                content["correct"] = self._correct
            self.last_step, self._correct = number, None
            if not listener.report(content):
                self.stopped = True
            self._continue()

    def checkpoint(self) -> None:
        """Says that the files in the directory are a state to continue from, once the next report was made.

        Returns when they have been copied. Raises RuntimeError unless the objective has checkpoints=True.
        """
        listener = self._open("checkpoint")
        if not self._checkpoints:
            raise RuntimeError(
                "trial.checkpoint: declare that the function continues where trial.resumed is true, with "
                "@tune.objective(..., checkpoints=True)"
            )
        with self._lock:
            self._continue()
            if not listener.checkpoint():
                self.stopped = True
            self._continue()

    def keep(self, *files: str | os.PathLike[str]) -> None:
        """Marks files in the directory that `tune export` delivers if the trial is among the best.

        Relative names are below the directory. Raises ValueError, TypeError or FileNotFoundError.
        """
        listener = self._open("keep")
        if not files:
            raise ValueError("trial.keep: name at least one file")
        with self._lock:
            listener.keep([self._inside(file) for file in files])

    def examples(self, correct: Iterable[Any]) -> None:
        """For each validation example whether the answer is right, in the same order at every report: a list,
        array or tensor of truth values or of 1 and 0. It is part of the next report, and lets intervals
        include the sampling of the validation set. Raises TypeError or ValueError."""
        self._open("examples")
        marks = _marks(correct)
        if self._examples not in (None, len(marks)):
            raise ValueError(
                f"trial.examples: {len(marks)} examples, and the last time {self._examples}: "
                "a trial is validated on the same examples throughout"
            )
        self._examples, self._correct = len(marks), marks

    def end(self) -> None:
        """Called by tune when the function has ended: it reports nothing afterwards."""
        self._ended = True

    def __repr__(self) -> str:
        return f"<tune.Trial {self.number}: {self.params}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a trial cannot be sent to another process, which could not report: "
            "send trial.params, trial.seed or trial.directory"
        )

    def _open(self, method: str) -> Listener:
        if os.getpid() != self._process:
            raise RuntimeError(
                f"trial.{method} was called in a child process; it belongs in the one that runs the function"
            )
        if self._listener is None:
            raise RuntimeError(f"trial.{method}: a test function reports nothing, it returns its metrics")
        if self._ended:
            raise RuntimeError(f"trial.{method}: trial {self.number} has ended")
        return self._listener

    def _continue(self) -> None:
        """Raises StopTrial once the trial is not needed any more, also where the first one was caught."""
        if self.stopped:
            raise StopTrial

    def _step(self, step: object) -> int:
        try:
            if isinstance(step, bool):
                raise TypeError
            number = operator.index(step)  # type: ignore[arg-type]
        except TypeError:
            raise TypeError(f"trial.report: step must be a whole number, not {short(step)}") from None
        if number < 1:
            raise ValueError(f"trial.report: the first step is 1, not {number}")
        if number <= self.last_step:
            raise ValueError(f"trial.report: steps must rise, but {number} follows {self.last_step}")
        if number > self.budget:
            raise ValueError(f"trial.report: step {number} exceeds trial.budget, {self.budget}")
        return number

    def _same(self, metrics: Mapping[str, Any]) -> dict[str, float]:
        """The metrics, checked: all reports have the same ones."""
        found = checked_metrics(metrics, self._score)
        if self._names and self._names != found.keys():
            raise ValueError(
                f"trial.report: the metrics are {', '.join(found)}, and of the first report they were "
                f"{', '.join(sorted(self._names))}; all reports have the same"
            )
        self._names = set(found)
        return found

    def _inside(self, file: str | os.PathLike[str]) -> str:
        name = os.fspath(file)
        if not isinstance(name, str) or not name:
            raise TypeError(f"trial.keep: a file must be a path, not {short(file)}")
        if not is_text(name) or "\0" in name:
            raise ValueError(f"trial.keep: {short(name)} is not a file name in UTF-8")
        folder = self.directory.resolve()
        path = (folder / name).resolve()
        if folder not in path.parents:
            raise ValueError(f"trial.keep: {name} is outside trial.directory, {self.directory}")
        if not path.is_file():
            raise FileNotFoundError(f"trial.keep: {name} is not a file in trial.directory, {self.directory}")
        return path.relative_to(folder).as_posix()


def is_name(text: object) -> bool:
    """Whether it can be the name of a metric or of a unit."""
    return isinstance(text, str) and 1 <= len(text) <= MOST_NAME and text.isprintable()


def checked_metrics(metrics: Mapping[str, Any], score: str) -> dict[str, float]:
    """Metrics as plain numbers, NaN and infinity included. Raises TypeError or ValueError."""
    found: dict[str, float] = {}
    for name, value in metrics.items():
        if not is_name(name):
            raise ValueError(
                f"the name of a metric must be printable, of 1 to {MOST_NAME} characters, not {short(name)}"
            )
        found[name] = _number(name, value)
    if score not in found:
        near = get_close_matches(score, found, 1)
        hint = f" (did you mean {score} by {near[0]}?)" if near else ""
        told = ", ".join(found) or "none"
        raise ValueError(f"the score, {score}, is missing; the metrics are: {told}{hint}")
    return found


def _number(name: str, value: Any) -> float:
    if getattr(value, "ndim", 0) and math.prod(value.shape) != 1:
        raise TypeError(f"metric {name} must be one number, not an array of shape {tuple(value.shape)}")
    # float() of a tensor that requires gradients warns, item() does not.
    number = value.item() if callable(getattr(value, "item", None)) else value
    is_real = hasattr(type(number), "__float__") or hasattr(type(number), "__index__")
    if isinstance(number, bool) or not is_real:
        raise TypeError(f"metric {name} must be a number, not {short(number)}")
    try:
        return float(number)
    except OverflowError:
        raise ValueError(f"metric {name} is too large: {short(number)}") from None


def _marks(correct: Iterable[Any]) -> str:
    values: Any = correct.tolist() if hasattr(correct, "tolist") else correct
    try:
        marks = "".join([_MARKS[value] for value in values])
    except (KeyError, TypeError):
        raise TypeError(
            f"trial.examples: a list of true or false, one for each validation example, not {short(correct)}"
        ) from None
    if not 1 <= len(marks) <= MOST_EXAMPLES:
        raise ValueError(f"trial.examples: 1 to {MOST_EXAMPLES:,} examples, not {len(marks):,}")
    return marks


def is_text(name: str) -> bool:
    """Whether it can be encoded: the name of a file that is not UTF-8 has half characters."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
