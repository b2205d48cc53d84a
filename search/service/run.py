"""The ways into a run: a new study, an existing one, or all open ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from search.errors import (
    AbsentHere,
    ConfigError,
    Interrupted,
    NoStorage,
    TryAgain,
    TuneError,
    UsageError,
    did_you_mean,
)
from search.objectives.registry import objective_named
from search.optuna_db.storage import open_storage
from search.records import DeclaredSpec, NetworkSpec, StudyRecord, StudySpec
from search.service.check import check, check_options, check_space, check_target
from search.service.create import RunRequest, create_or_resume, networks_only
from search.service.data import add_images, fetch_data
from search.service.delete import delete_what_others_left
from search.service.drive import Watch, drive, pause
from search.service.look import StudyView, find, own_record, record_of, studies
from search.service.origin import bring_set, find_set, require_task
from search.service.other_hosts import keep_to_one_host
from search.service.watched import RunResult
from search.store.database import RETRY_S
from search.store.location import locate
from search.study.reading import find_id, open_reading
from search.tasks import same_data, task_named
from search.worker.options import WorkerOptions

if TYPE_CHECKING:
    from data.datasets.base import Fetched
    from data.datasets.image_set import ImageSet
    from data.datasets.source import Progress
    from data.ingest.add import Added
    from search.launchers.base import Launcher

LOOK_S = 5.0
"""How often a worker without work looks for an open study."""

SHELVED_S = 600.0
"""Seconds for which a study whose run failed is left alone."""

Stage = Callable[[str], None]
"""Told in a few words what a command does that has nothing to show yet."""

_STARTING = {"local": "looking for GPUs", "ray": "connecting to the Ray cluster"}
READING = "reading {}"
CHECKING, OPENING, WORKERS = "checking {}", "opening the storage", "starting workers"
"""What the stages of a start are called."""

WAITING = "Waiting for a study with trials left to do."


def run(
    request: RunRequest,
    storage_url: str,
    *,
    watch: Watch,
    detach: bool = False,
    tell: Callable[[str], None] = lambda _: None,
    found: Callable[[Added], None] = lambda _: None,
    progress: Progress | None = None,
    stage: Stage = lambda _: None,
) -> RunResult:
    """Creates or resumes a study and works on it until the target is met.

    tell: given a sentence where files of studies that were deleted cannot be deleted, and where the space of
    the study has changed. found: given the set that was made of the user's images. stage: told what is done
    before the first snapshot, which may take seconds.

    Raises UsageError and ConfigError before anything is changed, Interrupted after a signal (the study is
    then in order and the same request continues), TuneError where trial after trial fails.
    """
    location = locate(storage_url)  # refused before anything is fetched
    spec, known = _looked_up(request, storage_url)
    if isinstance(spec, NetworkSpec) and request.data is None:
        require_task(spec)  # first: what a machine lacks is no wrong flag
        request = replace(request, task=spec.task)
    check(request, detach=detach, known=known, spec=spec)
    if (record := own_record(storage_url, request.name)) is not None:
        spec = record.spec
        for refusal in networks_only(request, spec):
            raise UsageError(refusal)
    declared = None
    if request.of_code is not None:
        from search.service.training_code import bring_code, declare, plan, refuse_pausing

        stage(READING.format(request.of_code))
        declared = declare(request, location, spec)
        check_target(request.options.target, declared)
        refuse_pausing(request, declared)
        for sentence in plan(declared):
            tell(sentence)
    images = None
    if request.data is not None:
        request, images = _with_set(request, progress, stage, found)
    stage(_STARTING[request.options.engine])
    with launcher_for(request.options, storage_url) as launcher:
        if images is not None:
            dataset: Fetched | None = images.verified
        elif declared is not None:
            dataset = None
        else:
            dataset = _dataset(request.task, spec, progress, stage)
        stage(OPENING)
        with open_storage(storage_url, retry_s=RETRY_S) as storage:
            keep_to_one_host(storage)
            delete_what_others_left(storage, tell)
            study, record = create_or_resume(storage, request, dataset, declared, images=images, tell=tell)
            if declared is not None:
                bring_code(request, storage, record, declared, tell)
            stage(WORKERS)
            return drive(storage, study, record, request.options, launcher, watch=watch, detach=detach)


def _dataset(
    task: str | None, spec: StudySpec | None, progress: Progress | None, stage: Stage
) -> Fetched | None:
    """The dataset of the task that a request names, else what a study of this spec needs, brought here."""
    if task is not None:
        return _with_data(task, progress, stage)
    assert spec is not None, "search.service.check refuses a new study without a task"
    return _readying(spec, progress, stage)()


def _with_set(
    request: RunRequest, progress: Progress | None, stage: Stage, found: Callable[[Added], None]
) -> tuple[RunRequest, ImageSet]:
    """The request with the images that it names as its task, and their set. Raises ConfigError for a space
    that does not fit them."""
    assert request.data is not None
    stage(READING.format(request.data))
    added = add_images(request.data, skip_damaged=request.skip_damaged, progress=progress)
    found(added)
    name = added.image_set.name
    request = replace(request, task=name, study=request.name, data=None, skip_damaged=False)
    check_space(request)  # now the images are known
    return request, added.image_set


def _looked_up(request: RunRequest, storage_url: str) -> tuple[StudySpec | None, list[str]]:
    """The spec of the study that a request without a task names, if there is such a study; else the names of
    the studies in the storage.
    """
    if request.task is not None or not request.name:
        return None, []
    try:
        with open_reading(storage_url) as storage:
            if find_id(storage.trials, request.name) is not None:
                return record_of(storage, request.name).spec, []
            return None, list(storage.trials.names().values())
    except NoStorage:
        return None, []


def _readying(spec: StudySpec, progress: Progress | None, stage: Stage) -> Callable[[], Fetched | None]:
    """What brings to this machine what work on a study needs, and returns the dataset, if it needs one.

    Raises AbsentHere, at once, where this machine lacks the task or the objective.
    """
    if isinstance(spec, NetworkSpec):
        require_task(spec)
        return partial(_with_data, spec.task, progress, stage)
    objective = objective_named(spec.objective)

    def make_ready() -> None:
        objective.make_ready(spec, stage)

    return make_ready


def make_ready(search: StudyRecord, progress: Progress | None, stage: Stage) -> StudyRecord:
    """Brings to this machine what is needed to retrain trials of a search, and returns it with what its
    training code declares now.

    Raises AbsentHere where it lacks the task or the objective, ConfigError for other files than the search's.
    """
    spec = search.spec
    if isinstance(spec, DeclaredSpec):
        return replace(search, spec=objective_named(spec.objective).make_ready(spec, stage))
    images = find_set(search, progress)
    source = require_task(spec).source
    stage(CHECKING.format(source.title))
    same_data(search, fetch_data(source, progress=progress) if images is None else images.verified)
    return search


def _with_data(task: str, progress: Progress | None, stage: Stage) -> Fetched:
    """The dataset of a task, which is then on this machine."""
    source = task_named(task).source
    stage(CHECKING.format(source.title))
    return fetch_data(source, progress=progress)


def launcher_for(options: WorkerOptions, storage_url: str) -> AbstractContextManager[Launcher]:
    """Who starts the workers, for as long as the block lasts.

    Raises, on entering, ConfigError and TryAgain where the engine cannot give what is needed.
    """
    match options.engine:
        case "local":
            from search.launchers.local import LocalLauncher

            return LocalLauncher(options.device)
        case "ray":
            from search.launchers.ray import RayLauncher

            return RayLauncher(options, storage_url)


def join(
    name: str,
    storage_url: str,
    options: WorkerOptions,
    *,
    data: Path | None = None,
    skip_damaged: bool = False,
    watch: Watch,
    tell: Callable[[str], None] = lambda _: None,
    progress: Progress | None = None,
    stage: Stage = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> RunResult:
    """Works on a study that exists, as `tune worker` does. Raises as `run`; stage: as there.

    data: where the images of its set lie, if this machine has not stored them yet. skip_damaged: leave out
    those that cannot be read.

    stop: whether the process is ending, so that a storage that is away is not waited for.
    """
    own_record(storage_url, name)
    stage(OPENING)
    with open_storage(storage_url, create=False, retry_s=RETRY_S) as storage:
        storage.give_up_when(stop)
        keep_to_one_host(storage, stop)
        delete_what_others_left(storage, tell)
        study, record = find(storage, name)
        images = _images(record, data, progress, stage, skip_damaged=skip_damaged)
        make_ready = _readying(record.spec, progress, stage)  # first: what a machine lacks is no wrong flag
        check_options(options, study=name)
        stage(_STARTING[options.engine])
        with launcher_for(options, storage_url) as launcher:
            if images is None:  # else they were verified a moment ago
                make_ready()
            stage(WORKERS)
            return drive(storage, study, record, options, launcher, watch=watch, detach=False)


def _images(
    record: StudyRecord, data: Path | None, progress: Progress | None, stage: Stage, *, skip_damaged: bool
) -> ImageSet | None:
    """The set of a study's images, if it was brought to this machine now. Raises ConfigError."""
    if data is not None:
        stage(READING.format(data))
        return bring_set(record, data, progress, skip_damaged=skip_damaged)
    return find_set(record, progress)


def serve(
    storage_url: str,
    options: WorkerOptions,
    *,
    only: str | None,
    watching: Callable[[], AbstractContextManager[Watch]],
    tell: Callable[[str], None],
    progress: Progress | None = None,
    stage: Stage = lambda _: None,
) -> NoReturn:
    """Works on every open study of the storage (or on `only` that one), the oldest first, for ever.

    `watching` makes a view for each study. A storage that is away is waited for, as is a study that does not
    exist yet; a study whose run fails is left alone for SHELVED_S, and `tell` is told. Raises Interrupted
    after a signal, and ConfigError for a storage that is not tune's, or where the `only` study cannot be
    worked on as it is.
    """
    from search.service.signals import Signals

    check_options(options, study=only)
    shelved: dict[str, float] = {}
    words, told = WAITING, ""
    with Signals() as signals:
        work = partial(join, tell=tell, progress=progress, stage=stage, stop=signals.stop)
        while not signals.stop():
            name = None
            try:
                if only is not None:
                    own_record(storage_url, only)
                found = studies(storage_url)
                words = _waiting_for(only, found)
                name = next(_open(found, only, shelved), None)
                if name is not None:
                    told = ""
                    with watching() as watch:
                        work(name, storage_url, options, watch=watch)
                    tell(f"{name} is done.")
                    continue
            except TryAgain as error:
                tell(str(error))
            except AbsentHere as error:  # other studies continue
                assert name is not None, "it is the study that needs it"
                tell(f"{name}: {error}")
                shelved[name] = time.monotonic()
            except Interrupted:
                raise
            except TuneError as error:
                if name is None or (only is not None and isinstance(error, ConfigError)):
                    raise
                tell(f"{name}: {error}")
                shelved[name] = time.monotonic()
            if words != told:
                tell(words)
                told = words
            pause(LOOK_S, signals.stop)
        assert signals.received is not None
        raise Interrupted("Stopped while there was nothing to do.", signals.received)


def _waiting_for(only: str | None, found: Sequence[StudyView]) -> str:
    """What a worker says that finds nothing to do."""
    known = [view.record.name for view in found]
    if only is None or only in known:
        return WAITING
    return f"There is no study {only} yet{did_you_mean(only, known) if known else ''}; waiting for it."


def _open(found: Sequence[StudyView], only: str | None, shelved: dict[str, float]) -> Iterator[str]:
    """Names of the studies that lack trials, the oldest first."""
    for view in found:
        name = view.record.name
        away = time.monotonic() - shelved.get(name, -SHELVED_S) < SHELVED_S
        if only in (None, name) and not away and not view.record.is_finished(view.counts.finished):
            yield name
