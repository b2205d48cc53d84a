"""A network of two inputs in a plain PyTorch loop, after `tune data export --task sum --out sum.npz`.

SUM="$PWD/sum.npz" tune run --objective examples/sum_two_inputs.py  # absolute: it runs in examples/
"""

import os

import numpy as np
import torch
from torch import nn

import tune

with np.load(os.environ["SUM"]) as arrays:
    data = {name: torch.tensor(arrays[name]) for name in arrays if name != "heads"}
train_x, val_x = data["train_images"][:, None] / 255, data["val_images"][:, None] / 255


class Network(nn.Module):
    """(N, 1, 28, 28) and (N,) -> logits of the digit (N, 10) and of the sum (N, 19)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        first, second = nn.Conv2d(1, width, 5), nn.Conv2d(width, 2 * width, 5)
        pooled = (nn.ReLU(), nn.MaxPool2d(2))
        self.features = nn.Sequential(first, *pooled, second, *pooled, nn.Flatten())
        self.number = nn.Embedding(10, 64)
        self.answers = nn.Sequential(nn.Linear(32 * width + 64, 128), nn.ReLU(), nn.Linear(128, 29))

    def forward(self, images: torch.Tensor, numbers: torch.Tensor) -> tuple[torch.Tensor, ...]:
        both = torch.cat([self.features(images), self.number(numbers)], 1)
        return self.answers(both).split([10, 19], 1)


@tune.objective(
    space=tune.Space(lr=tune.Float(1e-4, 1e-2, log=True), width=tune.Int(4, 32, log=True)),
    score="accuracy",
    budget=4,
)
def train(trial: tune.Trial) -> None:
    """The mean accuracy of both answers, Adam, batches of 64."""
    torch.manual_seed(trial.seed)
    model = Network(trial.params["width"])
    optimizer = torch.optim.Adam(model.parameters(), lr=trial.params["lr"])
    for epoch in range(1, trial.budget + 1):
        for batch in torch.randperm(len(train_x)).split(64):
            heads = model(train_x[batch], data["train_numbers"][batch])
            loss = sum(map(nn.functional.cross_entropy, heads, data["train_labels"][batch].T))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        right = torch.zeros(2)
        with torch.no_grad():
            for batch in torch.arange(len(val_x)).split(1000):
                heads = model(val_x[batch], data["val_numbers"][batch])
                answers = torch.stack([logits.argmax(1) for logits in heads], 1)
                right += (answers == data["val_labels"][batch]).sum(0)
        digit, total = right / len(val_x)
        trial.report(epoch, accuracy=(digit + total) / 2, digit=digit, sum=total)
