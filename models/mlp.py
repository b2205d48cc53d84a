"""The multi-layer perceptron: its config, and the parts that a network is built of."""

from dataclasses import dataclass

from torch import nn

from models.checks import choice, real, whole
from models.layers import Parts
from models.widths import ACTIVATIONS, Activation, tapered


@dataclass(frozen=True, kw_only=True, slots=True)
class MLPConfig:
    """Flattened image (and one-hot number) -> `depth` hidden layers -> heads. Raises InvalidConfig."""

    depth: int = 1
    """Hidden layers; 0: the heads sit on the pixels, which is logistic regression."""
    width: int = 64
    """Units of the first hidden layer."""
    taper: float = 1.0
    """Each hidden layer is this many times as wide as the one before; 1: all alike."""
    activation: Activation = "relu"
    """After each hidden layer."""
    dropout: float = 0.0
    """Probability that a hidden unit (without hidden layers: a pixel) is left out in training; 0: never."""

    def __post_init__(self) -> None:
        whole("depth", self.depth, low=0)
        whole("width", self.width, low=1)
        real("taper", self.taper, low=0, above=True)
        choice("activation", self.activation, ACTIVATIONS)
        real("dropout", self.dropout, low=0, below=1)

    @property
    def widths(self) -> tuple[int, ...]:
        """Units of each hidden layer."""
        return tapered(self.width, self.taper, self.depth)


def parts(config: MLPConfig, image: tuple[int, int, int]) -> Parts:
    """The parts for images of that (channels, height, width)."""
    channels, height, width = image
    return Parts(
        backbone=nn.Sequential(nn.Flatten()),
        features=channels * height * width,
        widths=config.widths,
        activation=config.activation,
        dropout=config.dropout,
    )
