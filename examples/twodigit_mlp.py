"""The course's MLP in a plain PyTorch loop, after `tune data export --task twodigit --out twodigit.npz`.

TWODIGIT="$PWD/twodigit.npz" tune run --objective examples/twodigit_mlp.py  # absolute: it runs in examples/
"""

import os
import sys

import numpy as np
import torch
from torch import nn

import tune

with np.load(sys.argv[1] if len(sys.argv) > 1 else os.environ["TWODIGIT"]) as arrays:
    train_x, val_x = (torch.tensor(arrays[name]).flatten(1) / 255 for name in ("train_images", "val_images"))
    train_y, val_y = (torch.tensor(arrays[name]).long() for name in ("train_labels", "val_labels"))


@tune.objective(
    space=tune.Space(
        lr=tune.Float(1e-3, 1.0, log=True),
        momentum=tune.Float(0.0, 0.99),
        width=tune.Int(16, 256, log=True),
        batch_size=tune.Choice([32, 64, 128]),
    ),
    score="accuracy",
    budget=8,
    checkpoints=True,
)
def train(trial: tune.Trial) -> None:
    """Both digits of each image; an image counts as right when both are."""
    torch.manual_seed(trial.seed)
    params, start, state = trial.params, 0, trial.directory / "state.pt"
    width, batch_size = params["width"], params["batch_size"]
    model = nn.Sequential(nn.Linear(train_x.shape[1], width), nn.ReLU(), nn.Linear(width, 20))
    optimizer = torch.optim.SGD(model.parameters(), lr=params["lr"], momentum=params["momentum"])
    if trial.resumed:
        start, weights, moments, random = torch.load(state)
        model.load_state_dict(weights)
        optimizer.load_state_dict(moments)
        torch.set_rng_state(random)
    for epoch in range(start + 1, trial.budget + 1):
        for batch in torch.randperm(len(train_x)).split(batch_size):
            logits = model(train_x[batch]).view(-1, 2, 10)
            loss = nn.functional.cross_entropy(logits.transpose(1, 2), train_y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            correct = (model(val_x).view(-1, 2, 10).argmax(2) == val_y).all(1)
        torch.save((epoch, model.state_dict(), optimizer.state_dict(), torch.get_rng_state()), state)
        trial.checkpoint()
        trial.examples(correct)
        trial.report(epoch, accuracy=correct.float().mean(), loss=loss)


if __name__ == "__main__":
    train.run()
