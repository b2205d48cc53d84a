"""The few layers that torch lacks or that are faster written by hand here."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.widths import Activation


def activation(name: Activation) -> nn.Module:
    """A fresh module of that name, with torch's own defaults."""
    match name:
        case "relu":
            return nn.ReLU()
        case "leaky_relu":
            return nn.LeakyReLU()
        case "elu":
            return nn.ELU()
        case "tanh":
            return nn.Tanh()
        case "gelu":
            return nn.GELU()
        case "silu":
            return nn.SiLU()


class Normalize(nn.Module):
    """uint8 0..255 or float [0, 1], (N, C, H, W) -> float32, the dataset's mean at 0, its deviation at 1."""

    mean: Tensor | float
    deviation: Tensor | float

    def __init__(self, mean: Sequence[float], deviation: Sequence[float]) -> None:
        """Of pixels in [0, 1]: one number for all channels, or one a channel."""
        super().__init__()
        if len(mean) == len(deviation) == 1:
            self.mean, self.deviation = mean[0], deviation[0]
        else:  # the description of the network has them, so its weights need not
            self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
            self.register_buffer("deviation", torch.tensor(deviation).view(-1, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        if image.dtype == torch.uint8:
            return image.float().mul_(1 / (255 * self.deviation)).sub_(self.mean / self.deviation)
        return (image - self.mean) / self.deviation


class Dropout(nn.Module):
    """Dropout whose randomness is an argument: it draws from `generator`, never from the global stream.

    Sixteen random bits decide over each value, four values to one 64-bit draw: 54 µs for (64, 128) where
    nn.Dropout takes 144 µs, 0.9 against 3.8 ms for (64, 64, 9, 6) (one thread). So the probability is a
    multiple of 1/65536, and the kept values are scaled by exactly that probability.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.kept = 65536 - round(p * 65536)
        self.generator: torch.Generator | None = None
        """On the inputs' device; None draws from the global stream. `Training` sets its own."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.kept == 65536:
            return x
        draws = torch.empty((x.numel() + 3) // 4, dtype=torch.int64, device=x.device)
        bits = draws.random_(-(2**63), None, generator=self.generator).view(torch.int16)[: x.numel()]
        keep = bits.view(x.shape) < self.kept - 32768
        return x * keep.to(x.dtype).mul_(65536 / self.kept)

    def extra_repr(self) -> str:
        return f"p={1 - self.kept / 65536:g}"


class Flatten(nn.Module):
    """(N, C, H, W) -> (N, C·H·W), whose gradient comes back in the memory format of the input.

    nn.Flatten's comes back contiguous, and a channels_last block in front of it then mixes both formats: in
    the last, smallest block of conv 16-32-64 normalization took 1.04 ms backward and SiLU 0.74, now 0.13 and
    0.11 (batch 128, bfloat16, one thread). A step of conv 24-48-96 is 1.06 to 1.12 times as fast (n = 3).
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.requires_grad and x.is_contiguous(memory_format=torch.channels_last):
            x.register_hook(  # type: ignore[no-untyped-call]
                lambda gradient: gradient.contiguous(memory_format=torch.channels_last)
            )
        return x.flatten(1)


class NumberTable(nn.Module):
    """One row of features for each possible number: ten rows a batch, whatever the batch size.

    `width` 0: the one-hot rows themselves. Else activation(Linear(one-hot)), as if applied to each example.
    """

    def __init__(self, numbers: int, width: int, act: Activation) -> None:
        super().__init__()
        self.features = width or numbers
        self.linear = nn.Linear(numbers, width) if width else None
        self.activation = activation(act)

    def forward(self) -> Tensor | None:
        """(numbers, features); None stands for the one-hot rows, which nobody needs to multiply with."""
        return None if self.linear is None else self.activation(self.linear.weight.t() + self.linear.bias)


class ConcatLinear(nn.Linear):
    """A linear layer over the concatenation [image features, number features], never concatenated.

    W·[x, t] = W_x·x + W_t·t: the first term is computed once for each image, the second once for each
    possible number, so K numbers for each image cost K additions and no matmul. The parameters are those
    of nn.Linear.
    """

    def __init__(self, features: int, table: NumberTable, out: int) -> None:
        super().__init__(features + table.features, out)
        self.split = features
        self.table = table

    def forward(self, x: Tensor, number: Tensor | None = None) -> Tensor:
        """x (N, features), number (N,) or (N, K) -> (N, out), or (N*K, out) with row n*K+k: number k of n."""
        if number is None:
            raise ValueError("this network takes an image and a number, got no number")
        from_image = functional.linear(x, self.weight[:, : self.split], self.bias)
        rows, onto = self.table(), self.weight[:, self.split :]
        rows = onto.t() if rows is None else functional.linear(rows, onto)
        added = functional.embedding(number, rows)
        return from_image + added if number.dim() == 1 else (from_image.unsqueeze(1) + added).flatten(0, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """What a family contributes to a network: how it sees the image, and the linear layers after that."""

    backbone: nn.Sequential
    """Normalized image (N, C, H, W) -> (N, features)."""
    features: int
    """Number of features that the backbone gives."""
    widths: tuple[int, ...]
    """Of the hidden linear layers between features and heads; may be empty."""
    activation: Activation | None
    """After each hidden linear layer; None: no activation there."""
    dropout: float
    """After each hidden layer, or on the features where there is no hidden layer."""
    number_width: int = 0
    """Features of the number; 0: its one-hot row."""
    number_activation: Activation = "relu"
    """After the number's linear layer, where it has one."""
