"""Checks a request, or the options of workers: every wrong flag is named, all at once, before anything is
touched."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from data.datasets.image_set import is_set_name
from search.errors import ConfigError, UsageError, did_you_mean
from search.records import BY_CLASS, SCORES, DeclaredSpec, StudySpec
from search.service.create import ABLATION_SUFFIX, CONFIRMATION_SUFFIX, MAX_NAME, RunRequest, networks_only
from search.space.defaults import FAMILIES, families_of
from search.space.file import read_space
from search.study.evaluation_schedule import EvaluationSchedule
from search.study.pruners import make_pruning
from search.study.samplers import make_sampler
from search.tasks import known_task, task_named, task_names
from search.worker.options import DEFAULT_OPTIONS, DeviceName, WorkerOptions
from tune.space import Choice, Domain, Fixed, Float, Int

LEAST_STALL_S = 2.0
"""Below, workers would be ended that do nothing but train."""

ENDS_OF_A_RUN = ("timeout_s", "target")
"""The worker options that no `tune worker` has."""

MOST = 1_000_000
"""Of trials, workers or threads; more is a slip of the finger."""


def check(
    request: RunRequest,
    *,
    detach: bool = False,
    known: Collection[str] = (),
    spec: StudySpec | None = None,
) -> None:
    """Refuses an invalid request, with a line for each mistake.

    detach: no worker will be started. known: names of studies, for a request that names one which does not
    exist, and no task to make it for. spec: of the study that it names, as far as it was looked up.

    Raises UsageError, or ConfigError where nothing but the space file is wrong.
    """
    foreign_flags = [] if spec is None else [*networks_only(request, spec)]
    if isinstance(spec, DeclaredSpec):
        request = replace(request, task=None, epochs=None, model=None, space=None, precision=None)
    _refuse(
        [
            *map(UsageError, foreign_flags),
            *map(UsageError, _wrong_numbers(request)),
            *map(UsageError, _wrong_options(request.options)),
            *map(UsageError, _wrong_target(request, spec)),
            *map(UsageError, _no_task(request, known, spec)),
            *_wrong_names(request),
            *_wrong_device(request.options),
            *map(UsageError, _wrong_cluster(request.options)),
            *(map(UsageError, _idle(request)) if detach else ()),
        ]
    )


def check_space(request: RunRequest) -> None:
    """Refuses a space that does not fit the task, where the task is known only now: the rest of the request
    was checked. Raises ConfigError."""
    if request.space is not None:
        _read_fitting(request.space, families_of(request.model or "all"), request.task)


def check_options(options: WorkerOptions, *, study: str | None = None, epochs: float | None = None) -> None:
    """Refuses invalid options of workers that work on a study which exists, with a line for each mistake.

    study: its name; None: every study. epochs: budget of each trial; None: the study's.

    Raises UsageError.
    """
    _refuse(
        [
            *map(UsageError, _wrong_epochs(epochs)),
            *map(UsageError, _wrong_options(options)),
            *map(UsageError, () if study is None else _wrong_study(study)),
            *_wrong_device(options),
            *map(UsageError, _wrong_cluster(options)),
        ]
    )


def check_target(target: float | None, spec: DeclaredSpec) -> None:
    """Refuses a target that the metric of training code cannot have, where that is known only now: the rest
    of the request was checked. Raises UsageError."""
    _refuse([*map(UsageError, _wrong_value(target, spec))])


def _refuse(wrong: Sequence[UsageError | ConfigError]) -> None:
    if wrong:
        kind = UsageError if any(isinstance(error, UsageError) for error in wrong) else ConfigError
        raise kind("\n".join(map(str, wrong)))


def _wrong_numbers(request: RunRequest) -> Iterator[str]:
    yield from _wrong_count("trials", request.trials)
    yield from _wrong_epochs(request.epochs)
    if request.seed is not None and request.seed < 0:
        yield f"--seed must be 0 or more, not {request.seed}."


def _wrong_count(flag: str, number: int | None) -> Iterator[str]:
    if number is not None and not 1 <= number <= MOST:
        yield f"--{flag} must be from 1 to {MOST}, not {number}."


def _wrong_epochs(epochs: float | None) -> Iterator[str]:
    if epochs is not None and not 0.01 <= epochs <= 10_000:
        yield f"--epochs must be from 0.01 to 10000, not {epochs:g}."


def _wrong_options(options: WorkerOptions) -> Iterator[str]:
    yield from _wrong_count("workers", options.workers)
    yield from _wrong_count("threads", options.threads)
    if options.engine == "local" and (os.cpu_count() or MOST) < options.threads <= MOST:
        yield f"--threads must be at most the {os.cpu_count()} cores of this machine, not {options.threads}."
    for flag, seconds in (
        ("timeout", options.timeout_s),
        ("trial-timeout", options.trial_timeout_s),
        ("stall-timeout", options.stall_timeout_s),
    ):
        if seconds is not None and not seconds > 0:  # NaN is refused too
            yield f"--{flag} must be above 0 seconds, not {seconds:g}."
    if 0 < options.stall_timeout_s < LEAST_STALL_S:
        yield (
            f"--stall-timeout must be at least {LEAST_STALL_S:g} seconds, not {options.stall_timeout_s:g}: a "
            "worker that trains reports every few seconds."
        )


def _wrong_target(request: RunRequest, spec: StudySpec | None) -> Iterator[str]:
    """spec: of the study; None: there is none yet, and what training code declares is not known."""
    target = request.options.target
    if isinstance(spec, DeclaredSpec):
        yield from _wrong_value(target, spec)
    elif target is not None and request.of_code is None and not 0 < target < 1:
        yield f"--target is a fraction between 0 and 1 such as 0.985, not {target:g}."


def _wrong_value(target: float | None, spec: DeclaredSpec) -> Iterator[str]:
    if target is not None and not spec.metric.allows(target):
        possible = "fraction between 0 and 1" if spec.metric.is_fraction else "finite number"
        yield f"--target is a value of {spec.metric.title}, a {possible}, not {target:g}."


def _idle(request: RunRequest) -> Iterator[str]:
    """Flags that were given, as far as one can tell, and do nothing where only a study is made."""
    usual = asdict(DEFAULT_OPTIONS)
    for name, asked in asdict(request.options).items():
        if asked == usual[name] or name == "address":
            continue  # an address goes with its engine
        flag = name.removesuffix("_s").replace("_", "-")
        if name in ENDS_OF_A_RUN:
            yield f"--{flag} ends a run, and --detach only makes the study: leave one of the two out."
        else:
            yield (
                f"--{flag} is for workers, and --detach starts none: give it to "
                f"`tune worker {shlex.quote(request.name)}`."
            )


def _no_task(request: RunRequest, known: Collection[str], spec: StudySpec | None) -> Iterator[str]:
    given = {
        "--task": request.task,
        "--data": request.data,
        "--objective": request.objective,
        "--command": request.command,
    }
    sources = [flag for flag, value in given.items() if value is not None]
    if len(sources) > 1:
        yield (
            f"{' and '.join(sources)}: --task trains tune's networks on a task, --data on your images; "
            "--objective runs your Python function and --command your program: leave all but one out."
        )
    if request.space_changed and request.of_code is None and request.space is None and request.model is None:
        yield (
            "--space-changed needs the space that the study shall have: add --space or --model, or "
            "--objective or --command of your own code."
        )
    if request.python is not None and request.objective is None:
        yield "--python is the interpreter of --objective: add that, or leave it out."
    if request.skip_damaged and request.data is None:
        yield "--skip-damaged is for the images of --data: add that, or leave it out."
    if request.of_code is not None:
        networks = {"--epochs": request.epochs, "--model": request.model, "--space": request.space}
        more = {"--precision": request.precision, "--score": request.score}
        for flag, value in {**networks, **more}.items():
            if value is not None:
                yield f"{flag} is for tune's networks: your code declares its space and its budget itself."
    if sources or spec is not None:
        return
    flags = ", ".join(f"--task {task}" for task in task_names())
    flags += ", --data with the folder of your own images"
    if request.study is None:
        yield (
            f"Say what to search for, {flags}, or --objective train.py:train for your own code; or --study "
            "with the name of a study that exists."
        )
    else:
        hint = did_you_mean(request.study, known) if known else ""
        yield (
            f"There is no study {request.study} yet{hint}, and a new one needs {flags}, or --objective for "
            "your own code."
        )


def _wrong_names(request: RunRequest) -> Iterator[UsageError | ConfigError]:
    yield from map(UsageError, _wrong_score(request))
    task = request.task
    if task is not None and not is_set_name(task) and task not in (names := task_names()):
        yield UsageError(f"--task {task}: no such task{did_you_mean(task, names)}.")
    elif task is not None:
        yield from _refusal(lambda: task_named(task))
    if request.name or request.study is not None:
        yield from map(UsageError, _wrong_study(request.name))
    sampler, pruner, space = request.sampler, request.pruner, request.space
    if sampler is not None:
        yield from _refusal(lambda: make_sampler(sampler, 0))
    if pruner is not None:
        usual = EvaluationSchedule.doubling(epoch_images=1000, epochs=1)
        yield from _refusal(lambda: make_pruning(pruner, usual))
    wrong_model = list(_refusal(lambda: families_of(request.model or "all")))
    yield from wrong_model
    if space is not None:
        families = FAMILIES if wrong_model else families_of(request.model or "all")
        yield from _refusal(lambda: _read_fitting(space, families, request.task))


def _wrong_score(request: RunRequest) -> Iterator[str]:
    if request.score is None:
        return
    if request.score not in SCORES:
        yield f"--score {request.score}: no such score{did_you_mean(request.score, [*SCORES])}."
    elif request.task in task_names() and not task_named(request.task).by_class and request.score in BY_CLASS:
        yield (
            f"--score {request.score} is for sets of images, whose classes may differ in size: those of "
            f"{request.task} do not; leave it out."
        )


def _wrong_study(name: str) -> Iterator[str]:
    chosen = name.split(CONFIRMATION_SUFFIX)[0].split(ABLATION_SUFFIX)[0]
    if not name.strip() or len(chosen) > MAX_NAME or not name.isprintable():
        yield f"--study must be a printable name of 1 to {MAX_NAME} characters."


def _wrong_device(options: WorkerOptions) -> Iterator[UsageError | ConfigError]:
    if options.engine == "local":  # a cluster says itself whether it has GPUs
        yield from _refusal(lambda: _device_exists(options.device))


def _read_fitting(file: Path, families: tuple[str, ...], name: str | None) -> None:
    """Raises ConfigError for a space with mistakes, and where some of its blocks leave too little of an
    image: trial after trial would fail, and five in a row end a run. name: of the task."""
    task = None if name is None else known_task(name)
    domains = read_space(file, families, task).domains
    if "blocks" not in domains or task is None:
        return
    from models.conv import ConvConfig, ImageTooSmall

    smallest = ConvConfig(
        blocks=_most(domains["blocks"]),
        stem=_most(domains["stem"]),
        convolutions=_most(domains["convolutions"]),
        kernel=_most(domains["kernel"]),
        padding="valid" if "valid" in domains["padding"] else "same",
        batch_norm=True in domains["batch_norm"],
    )
    batch_size = 1 if 1 in domains["batch_size"] else 2  # the others are alike
    try:
        smallest.check_training(task.image_shape, batch_size)
    except ImageTooSmall as error:
        raise ConfigError(
            f"{file}: not every convolutional network of it fits: {error}. Narrow one of these."
        ) from error


def _most(domain: Domain) -> int:
    """The largest value that is ever drawn: steps may miss the end of a range."""
    match domain:
        case Int():
            return domain.high - (domain.high - domain.low) % domain.step
        case Float():
            return int(domain.high)
        case Choice():
            return max(int(option) for option in domain.options)
        case Fixed():
            return int(domain.value)


def _refusal(work: Callable[[], object]) -> Iterator[UsageError | ConfigError]:
    """What `work` raises, if it refuses."""
    try:
        work()
    except (UsageError, ConfigError) as error:
        yield error


def _device_exists(device: DeviceName) -> None:
    from models.gpus import DeviceUnavailable, count_gpus

    try:
        count_gpus(device)
    except DeviceUnavailable as error:
        raise UsageError(f"--device {device}: {error}.") from error


def _wrong_cluster(options: WorkerOptions) -> Iterator[str]:
    from search.launchers.ray import cluster_address

    address = cluster_address(options.address)
    if options.engine == "local":
        if options.address is not None:
            yield "--address is that of a Ray cluster: add --engine ray, or leave it out."
    elif not address:
        yield (
            "--engine ray needs --address HOST:PORT of a cluster's head (or RAY_ADDRESS), or --address auto "
            "for the cluster that this machine is part of; `ray start --head` makes one."
        )
    elif address == "local" or "://" in address:
        yield f"--address {address}: write HOST:PORT of the head, or auto, on a machine of the cluster."
