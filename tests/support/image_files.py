"""Sets of labeled images as users have them: folders of PNG, .npz and IDX files."""

from __future__ import annotations

import gzip
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data.datasets.mnist import idx_header

Arrays = Mapping[str, tuple[NDArray[np.uint8], Sequence[Any]]]
"""Split → images uint8 (N, H, W) or (N, H, W, 3), and a label for each."""


def noise(count: int, *shape: int, seed: int = 0) -> NDArray[np.uint8]:
    """Images that all differ, uint8 (count, *shape)."""
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def png(pixels: NDArray[np.uint8], **how: Any) -> bytes:
    """uint8 (H, W) or (H, W, 3 or 4) as a PNG file."""
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG", **how)
    return content.getvalue()


def write_folders(folder: Path, images: NDArray[np.uint8], labels: Sequence[Any]) -> Path:
    """A folder for each class; files are named by place."""
    for place, (pixels, label) in enumerate(zip(images, labels, strict=True)):
        file = folder / str(label) / f"{place}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png(pixels))
    return folder


def write_idx(folder: Path, arrays: Arrays) -> Path:
    """Gzipped, named as MNIST; splits are `train` and `t10k`."""
    folder.mkdir(parents=True)
    for split, (images, labels) in arrays.items():
        for name, items in (("images-idx3", images), ("labels-idx1", np.array(labels, dtype=np.uint8))):
            content = idx_header(items.shape) + items.tobytes()
            (folder / f"{split}-{name}-ubyte.gz").write_bytes(gzip.compress(content))
    return folder
