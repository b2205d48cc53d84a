"""Everything that is needed to reproduce the search."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from shlex import quote

from search.records import DeclaredSpec, NetworkSpec, State, StudySpec, Worker
from search.report.html import Html, code, fold, listing, paragraph, table
from search.report.one_study.material import Material
from search.report.page import Section
from search.report.words import amount, hardware


def repeat(material: Material) -> Section:
    """Everything that is needed to reproduce the search."""
    best, spec = material.winner, material.study.spec
    assert best is not None
    how: list[Html] = []
    if material.command is not None:
        how = [paragraph("The same search, from the beginning:"), listing(material.command)]
    how.append(paragraph(_reproducible(material)))
    if isinstance(spec, NetworkSpec):
        how += [
            paragraph("A single trial is repeated to the last bit on a processor of the same kind:"),
            listing(f"tune repeat {quote(material.study.name)} --trial {best.number}"),
        ]
    facts = [
        ("study", material.study.name),
        ("task", spec.task) if isinstance(spec, NetworkSpec) else ("objective", spec.objective),
        ("made", f"{material.study.created:%Y-%m-%d %H:%M} UTC"),
        ("read", f"{material.moment:%Y-%m-%d %H:%M} UTC"),
        ("tune", material.version),
        ("seed", str(spec.seed)),
        ("sampler, pruner", f"{spec.sampler}, {spec.pruner}"),
        *_protocol(spec, material.workers),
        ("references", ", ".join(spec.references) or "none"),
    ]
    return Section(
        heading="To reproduce it",
        folded=True,
        body=(
            *how,
            table(("", ""), facts, words=(0, 1)),
            fold("The search space", listing(material.space)),
            *_given(spec),
            fold(
                "The machines",
                table(("workers", "where", "with"), _machines(material.workers), words=(1, 2)),
            ),
        ),
    )


def _protocol(spec: StudySpec, workers: Sequence[Worker]) -> list[tuple[str, str]]:
    """What was measured, on how much."""
    if isinstance(spec, NetworkSpec):
        return [
            ("precision", _precision(spec, workers)),
            ("budget of a trial", f"{spec.epochs:g} epochs of {spec.epoch_images:,} examples"),
            ("validation", f"{spec.validation_pictures:,} images"),
        ]
    return [
        ("metric", f"{spec.metric.name}, {spec.metric.direction.value}d"),
        ("budget of a trial", amount(spec.budget, spec)),
    ]


def _given(spec: StudySpec) -> list[Html]:
    """What the trials had from outside: data, or the options of the objective."""
    if isinstance(spec, NetworkSpec):
        checksums = [(name, code(checksum)) for name, checksum in spec.checksums.items()]
        return [fold("The data (SHA-256)", table(("file", "checksum"), checksums, words=(0, 1)))]
    if not spec.options:
        return []
    return [fold("The options of the objective", listing(json.dumps(spec.options, indent=2, default=str)))]


def _precision(spec: NetworkSpec, workers: Sequence[Worker]) -> str:
    """What the study says, and what that came to on each kind of processor."""
    if spec.precision != "auto":
        return spec.precision
    noted = [
        f"{hardware(worker.environment)}: {value} for {name.removeprefix('precision_')}"
        for worker in workers
        for name, value in worker.environment.items()
        if name.startswith("precision_")
    ]
    return "; ".join([spec.precision, *dict.fromkeys(noted)])


def _reproducible(material: Material) -> str:
    """What the seed of this study fixes, by how many workers it had."""
    n, spec = len(material.workers), material.study.spec
    if isinstance(spec, DeclaredSpec):
        return _repeats(material, spec)
    seed = spec.seed
    if n > 1:
        return (
            f"Seed {seed} alone does not repeat this search: {n} workers had a part in it, and what a trial "
            "was proposed after and compared with depended on whose results came first. Given those results, "
            "the seed fixes what each trial draws, its first weights and its order of examples."
        )
    if any(worker.on_gpu for worker in material.workers):
        return (
            f"One worker trained all of it, on a GPU: seed {seed} repeats the course of the search only as "
            "far as the GPU repeats its arithmetic."
        )
    if any(trial.state is State.FAILED for trial in material.trials):
        return (
            f"One worker trained all of it, and some trials failed or were interrupted: seed {seed} repeats "
            "the search as far as that happens again at the same moments."
        )
    return (
        f"One worker trained all of it: with seed {seed}, --workers 1 and a processor of the same kind, the "
        "command gives the same trials, settings and accuracies."
    )


def _repeats(material: Material, spec: DeclaredSpec) -> str:
    """The same of another objective than networks: whether it repeats its values is not known."""
    n, seed = len(material.workers), spec.seed
    if n > 1:
        return (
            f"Seed {seed} alone does not repeat this search: {n} workers had a part in it, and what a trial "
            "was proposed after and compared with depended on whose results came first. Given those results, "
            "the seed fixes what each trial draws, and the seed that it is given."
        )
    failed = any(trial.state is State.FAILED for trial in material.trials)
    likewise = ", and trials fail or are interrupted at the same moments" if failed else ""
    return (
        f"One worker did all of it: seed {seed} repeats the search as far as {spec.objective} comes to the "
        f"same values with the same settings and seed{likewise}."
    )


def _machines(workers: Sequence[Worker]) -> list[tuple[str, str, str]]:
    environments = Counter(
        (worker.host, ", ".join(f"{name} {value}" for name, value in worker.environment.items()))
        for worker in workers
    )
    return [(str(n), host, environment) for (host, environment), n in environments.most_common()]
