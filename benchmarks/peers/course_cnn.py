"""The course's CNN on twodigit in plain PyTorch: what every side of benchmarks/versus_peers.py trains.

Environment: TWODIGIT, the file of `tune data export`; EVENTS, a file that gets one line of JSON an epoch;
EXAMPLES, how many training images to use. One thread, because two workers share the cores.

The seed of a training follows from its settings, so that it is the same rule under every search.
"""

import json
import os
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

LR = (1e-4, 1e-2)
CHANNELS = (8, 64)
DROPOUT = (0.0, 0.7)
EPOCHS = 8

torch.set_num_threads(1)
with np.load(os.environ["TWODIGIT"]) as arrays:
    _most = int(os.environ.get("EXAMPLES", "1000000"))
    train_x = torch.tensor(arrays["train_images"][:_most])[:, None] / 255
    train_y = torch.tensor(arrays["train_labels"][:_most]).long()
    val_x = torch.tensor(arrays["val_images"][:_most])[:, None] / 255
    val_y = torch.tensor(arrays["val_labels"][:_most]).long()


def network(channels: int, dropout: float) -> nn.Module:
    """(N, 1, 42, 28) -> logits of both digits, (N, 20)."""
    first, second = nn.Conv2d(1, channels, 3), nn.Conv2d(channels, 2 * channels, 3)
    pooled = (nn.ReLU(), nn.MaxPool2d(2))
    blocks = nn.Sequential(first, *pooled, second, *pooled, nn.Flatten(), nn.Linear(90 * channels, 128))
    return nn.Sequential(blocks, nn.ReLU(), nn.Dropout(dropout), nn.Linear(128, 20))


def plain(settings: dict[str, Any]) -> dict[str, float]:
    """The settings as numbers of Python, whatever a library makes of them, in one order."""
    return {
        "lr": float(settings["lr"]),
        "channels": int(settings["channels"]),
        "dropout": float(settings["dropout"]),
    }


def seed_of(settings: dict[str, Any]) -> int:
    """The seed of the training with these settings."""
    return zlib.crc32(json.dumps(plain(settings)).encode())


def epochs(
    settings: dict[str, Any], *, until: int, directory: Path, state: Path | None = None
) -> Iterator[tuple[int, float]]:
    """Trains until epoch `until`: (epoch, mean accuracy of both digits on validation) after each one.

    Before it yields it has written `directory`/state.pt; `state` is such a file to continue from.
    """
    torch.manual_seed(seed_of(settings))
    model = network(int(settings["channels"]), settings["dropout"])
    optimizer = torch.optim.Adam(model.parameters(), lr=settings["lr"])
    start = 0
    if state is not None:
        start, weights, moments, random = torch.load(state)
        model.load_state_dict(weights)
        optimizer.load_state_dict(moments)
        torch.set_rng_state(random)
    for epoch in range(start + 1, until + 1):
        model.train()
        for batch in torch.split(torch.randperm(len(train_x)), 64):
            loss = nn.functional.cross_entropy(model(train_x[batch]).view(-1, 10), train_y[batch].flatten())
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        model.eval()
        with torch.no_grad():
            logits = torch.cat([model(images) for images in torch.split(val_x, 1000)]).view(-1, 2, 10)
        accuracy = (logits.argmax(2) == val_y).float().mean().item()
        whole = (epoch, model.state_dict(), optimizer.state_dict(), torch.get_rng_state())
        torch.save(whole, directory / "state.pt")
        _note(settings, epoch, accuracy)
        yield epoch, accuracy


def _note(settings: dict[str, Any], epoch: int, accuracy: float) -> None:
    event = {"t": time.time(), "pid": os.getpid(), "settings": plain(settings)}
    line = json.dumps({**event, "epoch": epoch, "accuracy": accuracy})
    with Path(os.environ["EVENTS"]).open("a", encoding="utf-8") as file:
        file.write(line + "\n")
