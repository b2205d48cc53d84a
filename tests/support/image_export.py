"""An export of a network of color images whose answers are known without training."""

from __future__ import annotations

from pathlib import Path

import torch

from data.images import Fit
from models.export import write_all
from models.mlp import MLPConfig
from models.network import Network, Signature, build
from search.serve.folder import CARD, described, write_manifest

LABELS = {"color": ("röd", "green", "blue <b>"), "light": ("dark", "bright")}
"""Names of the classes by head; one is no ASCII, and one would be a tag on a page."""

HEIGHT, WIDTH = 12, 16


def color_network(signature: Signature) -> Network:
    """Answers `color` with the strongest channel on average, `light` with whether the mean is above 0.5."""
    network = build(MLPConfig(width=3), signature, seed=0).eval()
    hidden, last = network.first, network.rest[-1]
    assert isinstance(last, torch.nn.Linear)
    pixels = signature.image[1] * signature.image[2]
    with torch.no_grad():
        for layer in (hidden, last):
            layer.weight.zero_()
            layer.bias.zero_()
        for channel in range(3):  # the mean of each channel in [0, 1]
            hidden.weight[channel, channel * pixels : (channel + 1) * pixels] = 1 / pixels
            last.weight[channel, channel] = 10
        last.weight[4] = 20 / 3
        last.bias[4] = -10
    return network


def image_export(folder: Path, *, fit: Fit = Fit.PAD) -> Path:
    """Writes the export as `tune export` does."""
    heads = tuple((name, len(labels)) for name, labels in LABELS.items())
    signature = Signature(image=(3, HEIGHT, WIDTH), heads=heads, mean=(0.0,) * 3, deviation=(1.0,) * 3)
    folder.mkdir()
    about = described(fit=fit, labels=LABELS, task="colors@0123456789ab", title="colors", digit_rows=(0,))
    differences = write_all(color_network(signature), folder, about=about)
    (folder / CARD).write_text("# colors\n", encoding="utf-8")
    write_manifest(folder, {"study": "colors", "trial": 3}, differences)
    return folder
