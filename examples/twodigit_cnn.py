"""The course's CNN in a plain PyTorch loop, after `tune data export --task twodigit --out twodigit.npz`.

TWODIGIT="$PWD/twodigit.npz" tune run --objective examples/twodigit_cnn.py  # absolute: it runs in examples/
"""

import os

import numpy as np
import torch
from torch import nn

import tune

with np.load(os.environ["TWODIGIT"]) as arrays:
    train_x, val_x = (torch.tensor(arrays[name])[:, None] / 255 for name in ("train_images", "val_images"))
    train_y, val_y = (torch.tensor(arrays[name]).long() for name in ("train_labels", "val_labels"))


@tune.objective(
    space=tune.Space(
        lr=tune.Float(1e-4, 1e-2, log=True),
        channels=tune.Int(8, 64, log=True),
        dropout=tune.Float(0.0, 0.7),
    ),
    score="accuracy",
    budget=8,
    checkpoints=True,
)
def train(trial: tune.Trial) -> None:
    """The score is the mean accuracy of both digits."""
    torch.manual_seed(trial.seed)
    params, start, state = trial.params, 0, trial.directory / "state.pt"
    channels = params["channels"]
    first, second = nn.Conv2d(1, channels, 3), nn.Conv2d(channels, 2 * channels, 3)
    pooled = (nn.ReLU(), nn.MaxPool2d(2))
    blocks = nn.Sequential(first, *pooled, second, *pooled, nn.Flatten(), nn.Linear(90 * channels, 128))
    model = nn.Sequential(blocks, nn.ReLU(), nn.Dropout(params["dropout"]), nn.Linear(128, 20))
    optimizer = torch.optim.Adam(model.parameters(), lr=params["lr"])
    if trial.resumed:
        start, weights, moments, random = torch.load(state)
        model.load_state_dict(weights)
        optimizer.load_state_dict(moments)
        torch.set_rng_state(random)
    for epoch in range(start + 1, trial.budget + 1):
        model.train()
        for batch in torch.randperm(len(train_x)).split(64):
            loss = nn.functional.cross_entropy(model(train_x[batch]).view(-1, 10), train_y[batch].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            logits = torch.cat([model(images) for images in val_x.split(1000)]).view(-1, 2, 10)
        torch.save((epoch, model.state_dict(), optimizer.state_dict(), torch.get_rng_state()), state)
        trial.checkpoint()
        trial.report(epoch, accuracy=(logits.argmax(2) == val_y).float().mean(), loss=loss)
