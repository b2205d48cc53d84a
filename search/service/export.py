"""Exports a trained network as a folder that other programs load."""

from __future__ import annotations

import datetime
import errno
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from data.images import Fit
from search.errors import ConfigError, TuneError, UsageError
from search.objectives.external.kind import CODE
from search.records import (
    ExportRecord,
    NetworkSpec,
    Scores,
)
from search.report.model_card.facts import CardFacts, LayerRow, Setting
from search.report.model_card.network_card import card
from search.seeds import derive, training_seed
from search.serve.folder import CARD, ONNX, described, foreign, is_export, write_manifest
from search.serve.whole import whole_folder
from search.service import export_files
from search.service.data import fetch_data, load_data
from search.service.export_choice import Chosen, choose, how_to_retrain
from search.service.look import FoundTrial, own_record
from search.space.defaults import BY_NAME, shown_settings
from search.study.reading import open_reading
from search.tasks import examples_of, same_data, task_named

if TYPE_CHECKING:  # torch takes a second to import; a refusal comes without it
    from data.datasets.source import Progress
    from data.tasks.base import Task
    from models.network import Network

VERSIONS = ("tune", "torch", "onnx", "onnxscript", "onnxruntime", "safetensors", "numpy")
"""Of the packages that had a hand in an export."""

NAMED = 3
"""Files that a refusal names at most."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantized:
    """The int8 file beside the float one, both by ONNX Runtime on the whole validation set."""

    before: Scores
    after: Scores

    @property
    def facts(self) -> dict[str, dict[str, float]]:
        """The accuracies by head and `joint`, for the manifest and for JSON."""
        return {
            of: {**{name: head.accuracy for name, head in scores.heads.items()}, "joint": scores.joint}
            for of, scores in (("validation", self.after), ("float_validation", self.before))
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """The export that was written."""

    folder: Path
    study: str
    """the one that the trial is in: where a search was confirmed, that of its confirmation"""
    trial: int
    differences: Mapping[str, float]
    """by file, the largest difference of a logit from the network's"""
    int8: Quantized | None
    manifest_sha256: str
    files: Mapping[str, int] = field(default_factory=dict)
    """of training code: bytes of each file that it kept, by its path in the folder"""


def export(
    storage_url: str,
    name: str,
    *,
    trial: int | None,
    out: Path,
    force: bool,
    int8: bool,
    tell: Callable[[str], None],
    progress: Progress | None = None,
) -> Exported:
    """Writes the folder of docs/design.md, section 5, and notes it in the storage.

    trial: None takes the confirmed winner's best run, else the best complete trial. tell: is given sentences
    on how far it is. Each format is loaded again and compared with the network; where one differs, or where
    anything else fails, there is no folder (or the one that was there before).

    Raises UsageError for an invalid request or a study that trains no networks, ConfigError where libraries
    are missing, TuneError where the trial has no sound weights or a format is not exact.
    """
    _refuse_place(out, force)
    if not _is_of_code(storage_url, name):
        _refuse_without_libraries()
    elif int8:
        raise UsageError(f"{name} is of training code, and --int8 is for tune's networks: leave it out.")
    with open_reading(storage_url) as storage:
        chosen = choose(storage, name, trial, tell)
    spec = chosen.found.record.spec
    try:
        with whole_folder(out, replace=force) as folder:
            try:
                if isinstance(spec, NetworkSpec):
                    done = _fill(
                        storage_url, folder, out, chosen, spec, int8=int8, tell=tell, progress=progress
                    )
                else:
                    done = _fill_with_files(storage_url, folder, out, chosen)
            except OSError as error:  # the folder is there already: it is not the name's fault
                raise _unfinished(error) from error
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise _unfinished(error) from error
        raise UsageError(f"--out {out} cannot be written: {error.strerror or error}.") from error
    _note(storage_url, chosen, done)
    return done


def _unfinished(error: OSError) -> TuneError:
    if error.errno in _NO_ROOM:
        return TuneError("The disk is full, and nothing was exported: make room and give the command again.")
    return TuneError(f"Nothing was exported: {error}. Fix that and give the command again.")


def _refuse_place(out: Path, force: bool) -> None:
    """Raises UsageError where no export may be put: before anything is read."""
    try:
        _refuse_contents(out, force)
    except OSError as error:
        raise UsageError(f"--out {out} cannot be written: {error.strerror or error}.") from error


def _is_of_code(storage_url: str, name: str) -> bool:
    """Whether the trials of the study run training code. Raises UsageError where they do not and train no
    networks either, and as `own_record` does."""
    record = own_record(storage_url, name)
    if record is None or isinstance(record.spec, NetworkSpec):
        return False
    if record.spec.objective == CODE:
        return True
    raise UsageError(
        f"The study {name} trains no networks of tune's (its objective is {record.spec.objective}), and "
        f"`tune export` writes only those and files of training code; `tune trials {quote(name)} --json` has "
        "the settings of every trial."
    )


def _refuse_without_libraries() -> None:
    """Raises ConfigError where what an export takes is not installed."""
    from models.export import missing_libraries

    if missing := missing_libraries():
        listed = ", ".join(missing)
        raise ConfigError(
            f"To export takes {listed}, not installed here; `pip install -e '.[export]'` in tune's folder "
            f"(or `pip install {' '.join(missing)}`) fixes it."
        )


def _refuse_contents(out: Path, force: bool) -> None:
    """Raises UsageError where no export may be put, OSError where it cannot be looked at."""
    if out.is_dir() and not out.is_symlink():
        if any(out.iterdir()):
            if not is_export(out):
                raise UsageError(f"--out {out} is a folder with other things in it; choose a new one.")
            if not force:
                raise UsageError(f"--out {out} has an export already; --force replaces it.")
            if others := foreign(out):
                more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
                raise UsageError(
                    f"--out {out} has more in it than its export: {', '.join(others[:NAMED])}{more}. --force "
                    "would delete that too; move it elsewhere, or choose a new folder."
                )
    elif out.exists() or out.is_symlink():
        raise UsageError(f"--out {out} exists and is not a folder; choose a new one.")
    if not out.absolute().parent.is_dir():
        raise UsageError(f"--out {out} cannot be written: there is no folder {out.parent}.")


def _load(storage_url: str, chosen: Chosen) -> Network:
    """The network with its best weights. Raises TuneError where they are not those that were written, are
    not there, or cannot be read."""
    from models.checkpoint import parse_checkpoint
    from search.worker.best_weights import BestWeights, WeightsDamaged, WeightsMissing

    found = chosen.found
    called = f"The weights of trial {found.trial.number} of {found.record.name}"
    with open_reading(storage_url) as storage:
        weights = BestWeights.of(storage.location, found.record, storage.store)
        where = weights.where(chosen.checkpoint)
        try:
            content = weights.read(chosen.checkpoint)
        except WeightsMissing as error:
            written_on = "" if found.worker is None else f", and were written on {found.worker.host}"
            raise TuneError(
                f"{called} are not {where}{written_on}. Set TUNE_ARTIFACTS if they lie elsewhere; else "
                f"{how_to_retrain(found)}."
            ) from error
        except WeightsDamaged as error:
            raise TuneError(f"{called} are damaged: {error}; {how_to_retrain(found)}.") from error
        except OSError as error:
            why = error.strerror or error
            raise TuneError(
                f"{called} {where} cannot be read ({why}). Fix that; else {how_to_retrain(found)}."
            ) from error
    return parse_checkpoint(content, called, expected_sha256=chosen.checkpoint.sha256).network()


def _fill(
    storage_url: str,
    folder: Path,
    out: Path,
    chosen: Chosen,
    spec: NetworkSpec,
    *,
    int8: bool,
    tell: Callable[[str], None],
    progress: Progress | None,
) -> Exported:
    """Writes the export of a network. spec: of its study."""
    from models.export import BATCH_SIZES, TOLERANCE, Inexact, write_all

    found = chosen.found
    record, trial, task = found.record, found.trial, task_named(spec.task)
    network = _load(storage_url, chosen)
    tell(f"Trial {trial.number} of {record.name}: writing each format, loading it again, comparing …")
    about = described(
        fit=None if task.source.ink else Fit(task.source.fit),
        labels=_labels(task),
        task=task.name,
        title=task.title,
        digit_rows=task.digit_rows,
    )
    try:
        differences = write_all(network, folder, about=about)
    except Inexact as error:
        raise TuneError(f"{error}: nothing was exported. Please report it.") from error
    quantized = _quantize(folder, found, task, tell, progress) if int8 else None
    made = datetime.datetime.now(datetime.UTC)
    (folder / CARD).write_text(
        card(_facts(chosen, spec, folder, network, task, differences, quantized, made)), encoding="utf-8"
    )
    facts = {
        "study": record.name,
        "trial": trial.number,
        "task": task.name,
        "made": made.isoformat(timespec="seconds"),
        "comparison": {
            "inputs": sum(BATCH_SIZES),
            "batch_sizes": list(BATCH_SIZES),
            "tolerance": TOLERANCE,
        },
        "settings": trial.settings,
        "checkpoint_sha256": chosen.checkpoint.sha256,
        "versions": versions(),
    }
    if quantized is not None:
        facts["int8"] = quantized.facts
    return Exported(
        folder=out,
        study=record.name,
        trial=trial.number,
        differences=differences,
        int8=quantized,
        manifest_sha256=write_manifest(folder, facts, differences),
    )


def _fill_with_files(storage_url: str, folder: Path, out: Path, chosen: Chosen) -> Exported:
    """Writes the export of what training code kept."""
    found = chosen.found
    files, manifest_sha256 = export_files.fill(
        storage_url,
        folder,
        found,
        chosen.checkpoint,
        test_evaluations=chosen.test_evaluations,
        test_attempts=chosen.test_attempts,
        ablation=chosen.ablation,
        confirmation=chosen.confirmation,
    )
    return Exported(
        folder=out,
        study=found.record.name,
        trial=found.trial.number,
        differences={},
        int8=None,
        manifest_sha256=manifest_sha256,
        files=files,
    )


def _labels(task: Task) -> dict[str, tuple[str, ...]]:
    """Names of the classes by head, of the heads whose classes have names."""
    return {head.name: head.labels for head in task.heads if head.labels}


def _quantize(
    folder: Path,
    found: FoundTrial,
    task: Task,
    tell: Callable[[str], None],
    progress: Progress | None,
) -> Quantized:
    from models.quantize import INT8
    from search.objectives.network.exported import smaller, validate

    fetch_data(task.source, progress=progress)
    dataset = load_data(task.source)
    same_data(found.record, dataset)
    tell("Making the int8 file, scoring it and the float one on validation …")
    smaller(task, dataset, folder / ONNX, folder / INT8)
    before, after = (validate(task, dataset, folder / file) for file in (ONNX, INT8))
    return Quantized(before=before, after=after)


def _facts(
    chosen: Chosen,
    spec: NetworkSpec,
    folder: Path,
    network: Network,
    task: Task,
    differences: Mapping[str, float],
    quantized: Quantized | None,
    made: datetime.datetime,
) -> CardFacts:
    from models.export import BATCH_SIZES, TOLERANCE

    found = chosen.found
    record, trial = found.record, found.trial
    # A trial that was pruned may have come to a better report than the last one whose weights were kept.
    report = next(report for report in found.curve if report.step == chosen.checkpoint.step)
    return CardFacts(
        title=task.title,
        dataset=task.source.title,
        scope=task.source.scope,
        study=record,
        spec=spec,
        trial=trial,
        report=report,
        curve=tuple(found.curve),
        heads=tuple((head.name, head.classes) for head in task.heads),
        labels=_labels(task),
        image=task.image_shape,
        fit=None if task.source.ink else Fit(task.source.fit),
        mean=network.signature.mean,
        deviation=network.signature.deviation,
        numbers=task.numbers,
        layers=tuple(
            LayerRow(name=row.name, kind=row.kind, output=row.output, parameters=row.parameters)
            for row in network.summary()
        ),
        parameters=network.parameter_count,
        settings=tuple(
            Setting(name=name, value=trial.settings[name], meaning=parameter.meaning)
            for name, parameter in BY_NAME.items()
            if name in shown_settings(trial.settings, task)
        ),
        differences=differences,
        tolerance=TOLERANCE,
        compared=sum(BATCH_SIZES),
        bytes={path.name: path.stat().st_size for path in sorted(folder.iterdir())},
        int8=None if quantized is None else (quantized.before, quantized.after),
        test_evaluations=chosen.test_evaluations,
        test_attempts=chosen.test_attempts,
        ablation=chosen.ablation,
        confirmation=chosen.confirmation,
        intervals=chosen.intervals,
        examples=examples_of(spec),
        seeds=_seeds(found),
        environment={} if found.worker is None else found.worker.environment,
        versions=versions(),
        made=made,
    )


def _seeds(found: FoundTrial) -> dict[str, int]:
    """All seeds of the trial, by what they decide."""
    record, trial = found.record, found.trial
    seed = training_seed(
        record.spec.seed, origin=found.origin, confirming=trial.confirming, ablation=trial.ablation
    )
    return {
        "of the study": record.spec.seed,
        "of the trial": seed,
        "of the first weights": derive(seed, "weights"),
        "of the examples": derive(seed, "examples"),
        "of dropout": derive(seed, "dropout"),
    }


def versions() -> dict[str, str]:
    """Of what writes an export, by name."""
    found = {"python": platform.python_version()}
    for name in VERSIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _note(storage_url: str, chosen: Chosen, done: Exported) -> None:
    record = ExportRecord(
        study_id=chosen.found.record.study_id,
        trial_id=chosen.found.trial.trial_id,
        moment=datetime.datetime.now(datetime.UTC),
        folder=str(done.folder),
        manifest_sha256=done.manifest_sha256,
    )
    try:
        with open_reading(storage_url) as storage:
            storage.store.add_export(record)
    except TuneError as error:
        raise TuneError(
            f"The export is in {done.folder}, but the storage took no note of it: {error}"
        ) from error
