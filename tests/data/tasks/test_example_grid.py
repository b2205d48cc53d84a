"""The grid shows what the task gives, under the right words, and lands on the disk whole."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import search.files
from data.datasets.mnist import Mnist
from data.tasks.base import Augmentation, Task
from data.tasks.example_grid import BACKGROUND, GAP, WIDTH, grid, save_png
from data.tasks.registry import TASKS


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_grid_holds_the_first_examples(task: Task, split: Any, mnist: Mnist) -> None:
    captions = []

    class Listening(type(task)):  # type: ignore[misc]
        def caption(self, targets: Any, number: Any) -> str:
            captions.append(super().caption(targets, number))
            return str(captions[-1])

    sheet = grid(Listening(), mnist, split=split, rows=2, columns=3)
    assert sheet.mode == "RGB"
    assert sheet.getpixel((1, 1)) == tuple(bytes.fromhex(BACKGROUND[1:]))
    assert len(set(captions)) > 1
    if split == "train":
        first = next(task.training(mnist, augmentation=Augmentation(), seed=0).batches(6)).image[0, 0]
    else:
        first = next(task.validation(mnist).batches(10)).image[0, 0]
    # Dark ink on white paper, enlarged: the middle of each square shows the pixel itself.
    scale = WIDTH // 28
    left = GAP // 2 + ((sheet.width - GAP) // 3) // 2 - 28 * scale // 2
    shown = [
        [sheet.getpixel((left + x * scale + 1, GAP + y * scale + 1))[0] for x in range(28)]  # type: ignore[index]
        for y in range(len(first))
    ]
    assert shown == (255 - first).tolist()


def test_seed_and_shift_change_the_training_grid(mnist: Mnist) -> None:
    task = TASKS["twodigit"]
    sheets = [
        grid(task, mnist, rows=1, columns=2, seed=seed, augmentation=Augmentation(shift=shift)).tobytes()
        for seed, shift in [(0, 0), (0, 0), (1, 0), (0, 3)]
    ]
    assert sheets[0] == sheets[1]
    assert len(set(sheets)) == 3


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"rows": 0}, "rows >= 1"),
        ({"columns": -1}, "columns >= 1"),
        ({"split": "test"}, "the test digits stay unseen"),
    ],
)
def test_what_cannot_be_shown_is_refused(arguments: dict[str, Any], rule: str, mnist: Mnist) -> None:
    with pytest.raises(ValueError, match=rule):
        grid(TASKS["sum"], mnist, **arguments)


def test_a_png_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "grid.png"
    save_png(Image.new("RGB", (3, 2), "white"), path)
    with Image.open(path) as reread:
        assert reread.size == (3, 2)
    before = path.read_bytes()

    def broken(_: int) -> None:
        raise OSError("disk")

    monkeypatch.setattr(search.files.os, "fsync", broken)
    with pytest.raises(OSError, match="disk"):
        save_png(Image.new("RGB", (9, 9), "black"), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
