"""Reads studies of one objective to set them side by side. Changes nothing."""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from search.analysis.ablation import ablation
from search.analysis.answered import alone
from search.analysis.comparison import Comparison, Pair, Studied
from search.analysis.comparison import compare as side_by_side
from search.analysis.ranking import origin
from search.analysis.two_ablations import TwoAblations, two_ablations
from search.analysis.two_way import Digits
from search.errors import UsageError
from search.records import DeclaredSpec, Direction, NetworkSpec, State, StudyRecord, StudySpec, Track
from search.report.words import hardware, plural
from search.service.look import Best, best_in, reader_of, record_of
from search.service.output import write
from search.service.read_ablation import foremost, read
from search.study.reading import Reading, TrialReader, open_reading
from search.study.variants import changes
from search.tasks import task_named


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """What a comparison found."""

    bests: tuple[Best, ...]
    """as `tune best` shows them, in the order asked for"""
    comparison: Comparison
    ablations: tuple[str, ...]
    """names of an ablation of each; empty where a study has none or is one"""


def compare(storage_url: str, names: Sequence[str]) -> Compared:
    """Sets studies of one objective side by side, in the order asked for.

    Raises UsageError for fewer than two studies, for one that does not exist, or for different objectives,
    tasks, metrics or units; TuneError for a study without a complete trial.
    """
    names = list(dict.fromkeys(names))
    if len(names) < 2:
        raise UsageError(
            f"To compare takes two studies or more; `tune best {shlex.quote(names[0])}` shows one."
        )
    with open_reading(storage_url) as storage:
        records = [record_of(storage, name) for name in names]
        readers = [reader_of(storage, record) for record in records]
        bests = [best_in(storage, *each) for each in zip(records, readers, strict=True)]
        check_comparable({record.name: record.spec for record in records})
        studies = [_studied(storage, *each) for each in zip(bests, readers, strict=True)]
        pairs = [
            _pairs(studies[0], readers[0], study, reader)
            for study, reader in zip(studies[1:], readers[1:], strict=True)
        ]
        effects = _ablations(storage, records)
        ablated = [foremost(storage, record) for record in records]
    found = replace(side_by_side(studies, pairs, _digits(studies)), ablations=effects)
    names = tuple(each.record.name for each in ablated if each is not None)
    return Compared(
        bests=tuple(bests), comparison=found, ablations=names if len(names) == len(records) else ()
    )


def _ablations(storage: Reading, records: Sequence[StudyRecord]) -> tuple[TwoAblations, ...]:
    """The first with each of the others; empty unless all are ablations."""
    if any(record.spec.ablates is None for record in records):
        return ()
    first, *others = (ablation(read(storage, record.name)) for record in records)
    spec = first.record.spec
    return tuple(
        two_ablations(
            first,
            other,
            changes(spec, first.baseline.settings, other.baseline.settings),
            pairs=len(others),
        )
        for other in others
    )


def _digits(studies: Sequence[Studied]) -> Digits | None:
    """Of the validation examples of these studies; None where they differ or no answers are known. Studies of
    the same training code are taken to have the same examples where they have as many."""
    code = {each.record.spec.test_set for each in studies if isinstance(each.record.spec, DeclaredSpec)}
    if code:
        sizes = {0 if each.answers is None else each.answers.examples for each in studies}
        return alone(sizes.pop()) if len(code) == len(sizes) == 1 and 0 not in sizes else None
    specs = [each.record.spec for each in studies if isinstance(each.record.spec, NetworkSpec)]
    sets = {spec.compositions for spec in specs}
    if len(sets) != 1 or all(each.answers is None for each in studies):
        return None
    return task_named(specs[0].task).validation_digits(compositions=sets.pop())


def check_comparable(specs: Mapping[str, StudySpec]) -> None:
    """Raises UsageError for studies, by name, whose scores or steps are of different kinds."""
    networks = {name: spec for name, spec in specs.items() if isinstance(spec, NetworkSpec)}
    kinds: list[tuple[str, Mapping[str, object], Mapping[str, str]]] = [
        (
            "of one objective",
            {name: spec.objective for name, spec in specs.items()},
            {name: f"is of {spec.objective}" for name, spec in specs.items()},
        ),
        (
            "of one task",
            {name: spec.task for name, spec in networks.items()},
            {name: f"is of {spec.task}" for name, spec in networks.items()},
        ),
        (
            "of one metric",
            {name: spec.metric for name, spec in specs.items()},
            {name: _metric_in_words(spec) for name, spec in specs.items()},
        ),
        (
            "that count the same steps",
            {name: spec.unit for name, spec in specs.items()},
            {name: f"counts {plural(spec.unit)}" for name, spec in specs.items()},
        ),
    ]
    for which, kind, told in kinds:
        if len(set(kind.values())) > 1:
            listed = ", ".join(f"{name} {words}" for name, words in told.items())
            raise UsageError(f"Only studies {which} can be compared: {listed}.")


def _metric_in_words(spec: StudySpec) -> str:
    verb = "maximizes" if spec.metric.direction is Direction.MAXIMIZE else "minimizes"
    return f"{verb} {spec.metric.name}{', a fraction' * spec.metric.is_fraction}"


def _studied(storage: Reading, best: Best, reader: TrialReader) -> Studied:
    workers = storage.store.workers(best.view.record.study_id).values()
    return Studied(
        record=best.view.record,
        counts=best.view.counts,
        tracks=reader.tracks(storage.store),
        reports=reader.reports(),
        best=best.trial,
        reference=best.view.ranking.reference,
        report=best.report,
        answers=storage.store.answers([best.trial.trial_id], "validation").get(best.trial.trial_id),
        machines=tuple(dict.fromkeys(hardware(worker.environment) for worker in workers)),
    )


def _pairs(
    first: Studied, first_reader: TrialReader, other: Studied, other_reader: TrialReader
) -> list[Pair]:
    """The runs that both studies have, with one seed and the same settings.

    In a search a trial's seed follows from the study's and from its own number (that of the first try, where
    it is a repetition), in a confirmation or an ablation from the study's and the index of the run's seed.
    """
    one, two = first.record.spec, other.record.spec
    same_kind = (one.confirms is None, one.ablates is None) == (two.confirms is None, two.ablates is None)
    if one.seed != two.seed or not same_kind:
        return []
    mine, theirs = _complete(first.tracks), _complete(other.tracks)
    if not one.searches:
        mine, theirs = _by_seed(mine, first_reader), _by_seed(theirs, other_reader)
    shared = sorted(mine.keys() & theirs.keys(), key=lambda key: mine[key].number)
    settings = [
        {trial.trial_id: trial.settings for trial in reader.of([runs[key].trial_id for key in shared])}
        for reader, runs in ((first_reader, mine), (other_reader, theirs))
    ]
    return [
        Pair(
            trials=(mine[first].number, theirs[first].number),
            reference=mine[first].reference,
            scores=(_score(mine[first]), _score(theirs[first])),
        )
        for first in shared
        if settings[0].get(mine[first].trial_id) == settings[1].get(theirs[first].trial_id)
    ]


def _by_seed(runs: Mapping[Hashable, Track], reader: TrialReader) -> dict[Hashable, Track]:
    """The runs of a confirmation or an ablation by the index of their seed, their settings and budget."""
    tracks = {track.trial_id: track for track in runs.values()}
    return {
        (run.seed, getattr(run, "budget", None), frozenset(trial.settings.items())): tracks[trial.trial_id]
        for trial in reader.of(list(tracks))
        if (run := trial.confirming or trial.ablation) is not None and not getattr(run, "chooses", False)
    }


def _complete(tracks: Sequence[Track]) -> dict[Hashable, Track]:
    """Complete trials by the number that their seed was derived from."""
    repeats = {track.number: track.retry_of for track in tracks}
    return {
        origin(track.number, repeats): track
        for track in tracks
        if track.state is State.COMPLETE and track.reports
    }


def _score(track: Track) -> float:
    return max(report.score for report in track.reports)


def write_page(found: Compared, out: Path, *, force: bool) -> int:
    """Writes the page of a comparison and returns its bytes. Raises UsageError as `search.service.output`."""
    from search.report.side_by_side.comparison_page import comparison_page

    moment = datetime.datetime.now(datetime.UTC)
    footer = f"Written by tune {version('tune')} on {moment:%Y-%m-%d %H:%M} UTC."
    return write(out, comparison_page(found.comparison, footer=footer), force=force)
