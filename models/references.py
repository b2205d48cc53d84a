"""The three published networks that every search is measured against, with their published training."""

from dataclasses import dataclass

from models.conv import ConvConfig
from models.mlp import MLPConfig
from models.network import ModelConfig
from models.optimizer import OptimizerConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """A published network and its training."""

    model: ModelConfig
    """The network; it fits any signature."""
    optimizer: OptimizerConfig
    """At a constant learning rate."""
    batch_size: int
    """Examples in a step."""


COURSE_SGD = OptimizerConfig(name="sgd", lr=0.01, momentum=0.9)

REFERENCES: dict[str, Reference] = {
    # MITx 6.86x, project 3: 76,628 parameters on twodigit
    "course-mlp": Reference(model=MLPConfig(depth=1, width=64), optimizer=COURSE_SGD, batch_size=64),
    # the same project; 720 features on 42×28, nothing between the linear 128 and the heads but dropout
    "course-conv": Reference(
        model=ConvConfig(
            blocks=2, channels=8, growth=2.0, kernel=3, hidden=128, hidden_activation=False, dropout=0.5
        ),
        optimizer=COURSE_SGD,
        batch_size=64,
    ),
    # pytorch_mnist_multi_label, without its softmax before the loss: 45,709 parameters on sum
    "assignment-conv": Reference(
        model=ConvConfig(
            blocks=2,
            channels=6,
            growth=2.0,
            kernel=5,
            hidden=128,
            hidden_layers=2,
            hidden_taper=0.5,
            number_width=64,
        ),
        optimizer=OptimizerConfig(name="adam", lr=0.001, momentum=0.9),
        batch_size=64,
    ),
}
