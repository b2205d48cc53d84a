"""The flags of workers that several commands share: each is declared once, for its field of WorkerOptions."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection
from typing import Annotated

import typer

from search.worker.options import DEFAULT_OPTIONS, DeviceName, EngineName, WorkerOptions


def _options(
    threads: Annotated[int, typer.Option(help="Threads of each worker.")] = DEFAULT_OPTIONS.threads,
    trial_timeout: Annotated[
        float | None, typer.Option(help="Fail a trial that takes longer, in seconds.")
    ] = DEFAULT_OPTIONS.trial_timeout_s,
    stall_timeout: Annotated[
        float, typer.Option(help="Replace a worker that reports nothing for this time, in seconds.")
    ] = DEFAULT_OPTIONS.stall_timeout_s,
    device: Annotated[
        DeviceName, typer.Option(help="auto takes a GPU where there is one.")
    ] = DEFAULT_OPTIONS.device,
    engine: Annotated[
        EngineName, typer.Option(help="Who starts the workers: this machine, or a Ray cluster.")
    ] = DEFAULT_OPTIONS.engine,
    address: Annotated[
        str | None,
        typer.Option(
            help="HOST:PORT of the Ray cluster's head, or auto; else RAY_ADDRESS.", show_default=False
        ),
    ] = DEFAULT_OPTIONS.address,
) -> WorkerOptions:
    return WorkerOptions(
        threads=threads,
        trial_timeout_s=trial_timeout,
        stall_timeout_s=stall_timeout,
        device=device,
        engine=engine,
        address=address,
    )


def with_worker_options(
    command: Callable[..., None], *, without: Collection[str] = ()
) -> Callable[..., None]:
    """The command with the flags of workers, which in its help stand before `--storage`; it is given their
    values as `options`, a WorkerOptions.

    without: names of flags that the command does not have, so that these keep their defaults.
    """
    flags = [
        flag
        for flag in inspect.signature(_options, eval_str=True).parameters.values()
        if flag.name not in without
    ]

    @functools.wraps(command)
    def with_flags(**given: object) -> None:
        options = _options(**{flag.name: given.pop(flag.name) for flag in flags})  # type: ignore[arg-type]
        command(options=options, **given)

    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        if parameter.name == "storage":
            parameters += flags
        if parameter.name != "options":
            parameters.append(parameter)
    del with_flags.__wrapped__  # typer shall read this signature and not the command's own
    with_flags.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_flags.__annotations__ = {each.name: each.annotation for each in parameters}
    return with_flags
