"""Exports what training code kept of a trial: its files, a model card, and a manifest of both."""

from __future__ import annotations

import datetime
import hashlib
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from search.analysis.ablation import Ablation
from search.analysis.confirmation import Confirmation
from search.errors import TuneError, UsageError
from search.objectives.external.archive import Damaged
from search.objectives.external.checkpoint_file import extract_kept
from search.objectives.external.declared import CodeOptions, sha256_of
from search.records import CheckpointRecord, TestEvaluation
from search.report.model_card.files_card import FilesCardFacts, KeptFile, card
from search.seeds import training_seed
from search.serve.folder import CARD, FILES, FILES_FORMAT, write_manifest
from search.service.look import FoundTrial
from search.study.reading import open_reading


def fill(
    storage_url: str,
    folder: Path,
    found: FoundTrial,
    checkpoint: CheckpointRecord,
    *,
    test_evaluations: Sequence[TestEvaluation],
    test_attempts: int,
    ablation: Ablation | None,
    confirmation: Confirmation | None,
) -> tuple[Mapping[str, int], str]:
    """Writes the export of a trial of training code; returns the bytes of each kept file, and the SHA-256 of
    the manifest.

    folder: empty. Raises UsageError where the trial kept no files, TuneError where they are not there or not
    those that were written, OSError without room.
    """
    record, trial = found.record, found.trial
    files = _extract(storage_url, folder / FILES, found, checkpoint)
    options = CodeOptions.of(record.spec)  # type: ignore[arg-type]  # no other study has training code
    made = datetime.datetime.now(datetime.UTC)
    versions = {"python": platform.python_version(), "tune": version("tune")}
    seed = training_seed(
        record.spec.seed, origin=found.origin, confirming=trial.confirming, ablation=trial.ablation
    )
    seeds = {"of the study": record.spec.seed, "of the trial": seed}
    report = next(report for report in found.curve if report.step == checkpoint.step)
    facts = FilesCardFacts(
        objective=options.objective,
        study=record,
        trial=trial,
        report=report,
        files=files,
        code=options.code if sha256_of(options.code) == trial.code else {},
        test_evaluations=tuple(test_evaluations),
        test_attempts=test_attempts,
        ablation=ablation,
        confirmation=confirmation,
        seeds=seeds,
        environment={} if found.worker is None else _environment(found.worker.environment),
        versions=versions,
        made=made,
    )
    (folder / CARD).write_text(card(facts), encoding="utf-8")
    told = {
        "study": record.name,
        "trial": trial.number,
        "objective": options.objective,
        "made": made.isoformat(timespec="seconds"),
        "settings": trial.settings,
        "step": report.step,
        "metrics": report.metrics,
        "seeds": seeds,
        "code_sha256": trial.code,
        "versions": versions,
    }
    return {each.name: each.bytes for each in files}, write_manifest(folder, told, format=FILES_FORMAT)


def _environment(known: Mapping[str, str | int]) -> dict[str, str | int]:
    """Where it was trained, without paths of that machine and what the card says elsewhere."""
    return {
        name: each for name, each in known.items() if name != "interpreter" and not name.startswith("code ")
    }


def _extract(
    storage_url: str, folder: Path, found: FoundTrial, checkpoint: CheckpointRecord
) -> tuple[KeptFile, ...]:
    """Writes the kept files into the folder, by name."""
    from search.worker.best_weights import BestWeights, WeightsDamaged, WeightsMissing

    called = f"trial {found.trial.number} of {found.record.name}"
    with open_reading(storage_url) as storage:
        kept = BestWeights.of(storage.location, found.record, storage.store)
        try:
            with kept.open(checkpoint) as file:
                extract_kept(file, folder)
        except WeightsMissing as error:
            on = "" if found.worker is None else f", which were written on {found.worker.host}"
            raise TuneError(
                f"The files of {called}{on}, are not {kept.where(checkpoint)}. Set TUNE_ARTIFACTS if they "
                "lie elsewhere, or give the command on that machine."
            ) from error
        except (WeightsDamaged, Damaged) as error:
            raise TuneError(
                f"The files of {called} are not those that it kept: {error}. Nothing was exported; "
                "`--trial` takes another one."
            ) from error
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if not files:
        raise UsageError(nothing_kept(f"Trial {found.trial.number} of {found.record.name}"))
    return tuple(_described(path, path.relative_to(folder.parent).as_posix()) for path in files)


def _described(path: Path, name: str) -> KeptFile:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return KeptFile(name=name, bytes=path.stat().st_size, sha256=sha256)


def nothing_kept(called: str) -> str:
    """Why there is nothing to export. called: the trial."""
    from search.worker.artifacts import KEEP

    return (
        f'{called} has no files to export: `trial.keep("model.onnx")` in the training code names them before '
        f"a report, and only the {KEEP} best trials of a search keep theirs."
    )
