"""Shows a task: a grid of its examples with their answers, as a PNG for people."""

import io
from itertools import islice
from pathlib import Path
from typing import Literal

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from data.datasets.base import OpenDataset
from data.tasks.base import Augmentation, Batch, Task
from search.files import write_whole

SCALE = 3
"""Screen pixels for each pixel of a digit."""

GAP = 22
"""Pixels between images and around the grid."""

FONT_SIZE = 22
CAPTION_HEIGHT = 34
BACKGROUND, FRAME, INK = "#f6f7f9", "#d5d9e0", "#1f2733"

DEFAULT = Augmentation()


def grid(
    task: Task,
    data: OpenDataset,
    *,
    split: Literal["train", "validation"] = "train",
    rows: int = 4,
    columns: int = 8,
    seed: int = 0,
    augmentation: Augmentation = DEFAULT,
) -> Image.Image:
    """The first rows x columns examples, captioned with their answers; RGB.

    `seed` and `augmentation` matter to the training split only: validation is the same for everyone.

    Raises:
        ValueError: rows or columns is below 1, or the split is none of the two.
    """
    if rows < 1 or columns < 1:
        raise ValueError(f"a grid needs rows >= 1 and columns >= 1, not {rows} and {columns}")
    examples = _examples(task, data, split, rows * columns, seed, augmentation)
    font = ImageFont.load_default(FONT_SIZE)
    _, height, width = task.image_shape
    cell_width = max([width * SCALE, *(round(font.getlength(caption)) for _, caption in examples)]) + GAP
    cell_height = height * SCALE + CAPTION_HEIGHT + GAP
    sheet = Image.new("RGB", (columns * cell_width + GAP, rows * cell_height + GAP), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for place, (pixels, caption) in enumerate(examples):
        middle = GAP // 2 + place % columns * cell_width + cell_width // 2
        left, top = middle - width * SCALE // 2, GAP + place // columns * cell_height
        # Dark ink on white paper, the way people write; the network sees it the other way round.
        image = Image.fromarray((255 - pixels).numpy()).resize(
            (width * SCALE, height * SCALE), Image.Resampling.NEAREST
        )
        sheet.paste(image, (left, top))
        draw.rectangle((left - 1, top - 1, left + width * SCALE, top + height * SCALE), outline=FRAME)
        baseline = top + height * SCALE + CAPTION_HEIGHT - 8
        draw.text((middle, baseline), caption, font=font, fill=INK, anchor="ms")
    return sheet


def save_png(image: Image.Image, path: Path) -> None:
    """Write `image` to `path`, whole or not at all.

    Raises:
        OSError: the disk refused.
    """
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    write_whole(path, buffer.getvalue())


def png(pixels: Tensor) -> bytes:
    """One image uint8 (H, W), ink 255, as a PNG with dark ink on white paper, a pixel to a pixel."""
    buffer = io.BytesIO()
    Image.fromarray((255 - pixels).numpy()).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _examples(
    task: Task, data: OpenDataset, split: str, count: int, seed: int, augmentation: Augmentation
) -> list[tuple[Tensor, str]]:
    """(uint8 (H, W), caption) of the first `count` images."""
    if split == "train":
        batch = next(task.training(data, augmentation=augmentation, seed=seed).batches(count))
        return _captioned(task, batch)
    if split == "validation":
        # Counted in scored examples, which are up to `numbers` to the image; a set may end before count.
        batches = task.validation(data).batches(max(1, task.numbers))
        return [
            _captioned(task, batch)[place % max(1, task.numbers)]
            for place, batch in enumerate(islice(batches, count))
        ]
    raise ValueError(f"split must be 'train' or 'validation', not {split!r}: the test digits stay unseen")


def _captioned(task: Task, batch: Batch) -> list[tuple[Tensor, str]]:
    """One entry for each scored example of the batch."""
    answers = batch.targets.tolist()
    times = len(answers) // len(batch.image)
    numbers = [None] * len(answers) if batch.number is None else batch.number.flatten().tolist()
    images = [image for image in batch.image[:, 0] for _ in range(times)]
    return [
        (image, task.caption(targets, number))
        for image, targets, number in zip(images, answers, numbers, strict=True)
    ]
