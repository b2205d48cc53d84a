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

WIDTH = 84
"""Screen pixels for the width of an image, or as many as it takes more: a digit has 3 for each of its own."""

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
    scale = max(1, WIDTH // width)
    cell_width = max([width * scale, *(round(font.getlength(caption)) for _, caption in examples)]) + GAP
    cell_height = height * scale + CAPTION_HEIGHT + GAP
    sheet = Image.new("RGB", (columns * cell_width + GAP, rows * cell_height + GAP), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for place, (pixels, caption) in enumerate(examples):
        middle = GAP // 2 + place % columns * cell_width + cell_width // 2
        left, top = middle - width * scale // 2, GAP + place // columns * cell_height
        image = shown_to_people(pixels, ink=task.source.ink)
        sheet.paste(image.resize((width * scale, height * scale), Image.Resampling.NEAREST), (left, top))
        draw.rectangle((left - 1, top - 1, left + width * scale, top + height * scale), outline=FRAME)
        baseline = top + height * scale + CAPTION_HEIGHT - 8
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


def png(pixels: Tensor, *, ink: bool = True) -> bytes:
    """One image uint8 (H, W) or (C, H, W) as a PNG, a pixel to a pixel; see `shown_to_people`."""
    buffer = io.BytesIO()
    shown_to_people(pixels, ink=ink).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def shown_to_people(pixels: Tensor, *, ink: bool) -> Image.Image:
    """uint8 (H, W) or (C, H, W) with C = 1 or 3 as an image. ink: 255 is ink, which is shown dark on white
    paper, the way people write; the network sees it the other way round."""
    if ink:
        pixels = 255 - pixels
    if pixels.dim() == 3:
        pixels = pixels[0] if len(pixels) == 1 else pixels.permute(1, 2, 0)
    return Image.fromarray(pixels.contiguous().numpy())


def _examples(
    task: Task, data: OpenDataset, split: str, count: int, seed: int, augmentation: Augmentation
) -> list[tuple[Tensor, str]]:
    """(uint8 (C, H, W), caption) of the first `count` images."""
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
    images = [image for image in batch.image for _ in range(times)]
    return [
        (image, task.caption(targets, number))
        for image, targets, number in zip(images, answers, numbers, strict=True)
    ]
