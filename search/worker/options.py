"""What a user asks of the workers of a run: made once from the flags of a command, and passed on whole.

`WorkerConfig` takes it to the worker processes, `WorkerContext` to what a worker does there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from models.gpus import DeviceName as DeviceName

EngineName = Literal["local", "ray"]


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerOptions:
    """How many workers a run has, who starts them, what each may use, and when the run or a trial ends.

    Every field is a flag of `tune run`, checked by `search.service.check`. All of it can be written as JSON.
    """

    workers: int | None = None
    """processes; None: one a core, a few on a GPU"""
    threads: int = 1
    """of each worker"""
    device: DeviceName = "auto"
    engine: EngineName = "local"
    """who starts the workers: this machine, or a Ray cluster"""
    address: str | None = None
    """of the Ray cluster's head; None: RAY_ADDRESS"""
    timeout_s: float | None = None
    """ends the run after this time; the study stays open"""
    trial_timeout_s: float | None = None
    """fails a trial that is at work for longer"""
    stall_timeout_s: float = 600.0
    """ends a worker from whose trials no report came for this time"""
    target: float | None = None
    """value of the study's metric, for networks the validation accuracy on every head: no trial begins once
    one has it, and the run ends when that one is complete"""


DEFAULT_OPTIONS = WorkerOptions()
"""What is asked for where nothing is said."""
