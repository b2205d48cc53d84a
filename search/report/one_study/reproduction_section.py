"""Everything that is needed to do it again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from shlex import quote

from search.records import State, StudySpec, Worker
from search.report.html import code, fold, listing, paragraph, table
from search.report.one_study.material import Material
from search.report.page import Section
from search.report.words import hardware


def repeat(material: Material) -> Section:
    """Everything that is needed to do it again."""
    best, spec = material.winner, material.study.spec
    assert best is not None
    return Section(
        heading="To do it again",
        folded=True,
        body=(
            paragraph("The same search, from the beginning:"),
            listing(material.command),
            paragraph(_reproducible(material)),
            paragraph("A single trial is repeated to the last bit on a processor of the same kind:"),
            listing(f"tune repeat {quote(material.study.name)} --trial {best.number}"),
            table(
                ("", ""),
                [
                    ("study", material.study.name),
                    ("task", spec.task),
                    ("made", f"{material.study.created:%Y-%m-%d %H:%M} UTC"),
                    ("read", f"{material.moment:%Y-%m-%d %H:%M} UTC"),
                    ("tune", material.version),
                    ("seed", str(spec.seed)),
                    ("sampler, pruner", f"{spec.sampler}, {spec.pruner}"),
                    ("precision", _precision(spec, material.workers)),
                    ("budget of a trial", f"{spec.epochs:g} epochs of {spec.epoch_images:,} examples"),
                    ("validation", f"{spec.validation_pictures:,} images"),
                    ("references", ", ".join(spec.references) or "none"),
                ],
                words=(0, 1),
            ),
            fold("The search space", listing(material.space)),
            fold(
                "The data (SHA-256)",
                table(("file", "sum"), [(n, code(s)) for n, s in spec.checksums.items()], words=(0, 1)),
            ),
            fold(
                "The machines",
                table(("workers", "where", "with"), _machines(material.workers), words=(1, 2)),
            ),
        ),
    )


def _precision(spec: StudySpec, workers: Sequence[Worker]) -> str:
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
    n, seed = len(material.workers), material.study.spec.seed
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


def _machines(workers: Sequence[Worker]) -> list[tuple[str, str, str]]:
    grounds = Counter(
        (worker.host, ", ".join(f"{name} {value}" for name, value in worker.environment.items()))
        for worker in workers
    )
    return [(str(n), host, environment) for (host, environment), n in grounds.most_common()]
