"""From a config and a signature to a network: images (and numbers) in, logits for each head out."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from models import conv, mlp
from models.checks import InvalidConfig, choice, near, real, whole
from models.conv import ConvConfig
from models.layers import ConcatLinear, Dropout, Normalize, NumberTable, Parts, activation
from models.mlp import MLPConfig

ModelConfig = MLPConfig | ConvConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Signature:
    """What goes in and what comes out. Raises InvalidConfig."""

    image: tuple[int, int, int]
    """Channels, height and width of an image."""
    numbers: int = 0
    """How many numbers the second input tells apart (0..numbers-1); 0: there is no second input."""
    heads: tuple[tuple[str, int], ...]
    """(name, classes) of each output, in order."""
    mean: tuple[float, ...] = (0.1307,)
    """Of the dataset's training images, pixels in [0, 1]: one number for all channels, or one a channel.
    Subtracted inside the network. The default is what every network had before this was said: MNIST's."""
    deviation: tuple[float, ...] = (0.3081,)
    """The same for the standard deviation, by which is divided."""

    def __post_init__(self) -> None:
        if len(self.image) != 3:
            raise InvalidConfig(f"image must be (channels, height, width), got {self.image!r}")
        for name, size in zip(("channels", "height", "width"), self.image, strict=True):
            whole(name, size, low=1)
        whole("numbers", self.numbers, low=0)
        names = [name for name, _ in self.heads]
        if not names or len(set(names)) != len(names):
            raise InvalidConfig(f"heads must be one or more, each with its own name, got {names!r}")
        for name, values in (("mean", self.mean), ("deviation", self.deviation)):
            if len(values) not in (1, self.image[0]):
                raise InvalidConfig(f"{name} must be one number or one a channel, got {values!r}")
            for value in values:
                real(name, value, low=0, above=name == "deviation")
        if len(self.mean) != len(self.deviation):
            raise InvalidConfig(f"mean and deviation must be alike, got {self.mean!r}, {self.deviation!r}")
        for name, classes in self.heads:
            whole(f"classes of head {name}", classes, low=2)

    @property
    def classes(self) -> tuple[int, ...]:
        """Classes of each head, in order."""
        return tuple(classes for _, classes in self.heads)


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerSummary:
    """One row of a network's table."""

    name: str
    """Where the layer lives in the network, as in its state_dict."""
    kind: str
    """The layer's class."""
    output: tuple[int, ...]
    """Shape of its output for one example, without the batch."""
    parameters: int
    """Trainable numbers of the layer itself."""


class Network(nn.Module):
    """A family's image part, then linear layers, the last of which holds all heads side by side."""

    def __init__(self, config: ModelConfig, signature: Signature, made: Parts) -> None:
        super().__init__()
        self.config = config
        self.signature = signature
        self.normalize = Normalize(signature.mean, signature.deviation)
        self.picture = made.backbone  # under the name that it has in every state dict
        widths = (*made.widths, sum(signature.classes))
        if signature.numbers:
            table = NumberTable(signature.numbers, made.number_width, made.number_activation)
            self.first: nn.Linear = ConcatLinear(made.features, table, widths[0])
        else:
            self.first = nn.Linear(made.features, widths[0])
        self.rest = nn.Sequential()
        if made.dropout and not made.widths:
            self.picture.append(Dropout(made.dropout))
        for before, after in pairwise(widths):
            if made.activation:
                self.rest.append(activation(made.activation))
            if made.dropout:
                self.rest.append(Dropout(made.dropout))
            self.rest.append(nn.Linear(before, after))

    def forward(self, image: Tensor, number: Tensor | None = None) -> dict[str, Tensor]:
        """Logits by head.

        image: uint8 0..255 or float [0, 1], (N, C, H, W). number: int64 (N,), or (N, K) for K numbers with
        each image; None without number input. Returns (N, classes) for each head; (N*K, classes) for (N,
        K), row n*K+k for image n with its number k. Raises ValueError where a number is missing or
        superfluous.
        """
        cut = torch.split(self.logits(image, number), list(self.signature.classes), dim=1)
        return {name: logits for (name, _), logits in zip(self.signature.heads, cut, strict=True)}

    def logits(self, image: Tensor, number: Tensor | None = None) -> Tensor:
        """As forward, all heads side by side in one tensor, in the signature's order."""
        features = self.picture(self.normalize(image))
        if isinstance(self.first, ConcatLinear):
            return self.rest(self.first(features, number))  # type: ignore[no-any-return]
        if number is not None:
            raise ValueError("this network takes an image alone, got a number too")
        return self.rest(self.first(features))  # type: ignore[no-any-return]

    @property
    def parameter_count(self) -> int:
        """Trainable numbers of the whole network."""
        return sum(p.numel() for p in self.parameters())

    def summary(self) -> list[LayerSummary]:
        """One record for each layer that computes something, in the order in which it is called."""
        rows: list[LayerSummary] = []

        def record(name: str) -> Callable[[nn.Module, Any, Any], None]:
            def hook(module: nn.Module, _: object, output: Tensor | None) -> None:
                own = sum(p.numel() for p in module.parameters(recurse=isinstance(module, NumberTable)))
                shape = () if output is None else tuple(output.shape[1:])
                rows.append(LayerSummary(name=name, kind=type(module).__name__, output=shape, parameters=own))

            return hook

        layers = [(n, m) for n, m in self.named_modules() if ".table." not in n and not list(m.children())]
        layers += [(n, m) for n, m in self.named_modules() if isinstance(m, ConcatLinear | NumberTable)]
        handles = [m.register_forward_hook(record(n)) for n, m in dict(layers).items()]
        was_training = self.training
        try:
            self.eval()
            device = self.first.weight.device
            number = torch.zeros(1, dtype=torch.int64, device=device) if self.signature.numbers else None
            with torch.inference_mode():
                self.logits(torch.zeros(1, *self.signature.image, dtype=torch.uint8, device=device), number)
        finally:
            self.train(was_training)
            for handle in handles:
                handle.remove()
        return rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """A kind of network."""

    config: type[ModelConfig]
    """Its settings."""
    parts: Callable[[Any, tuple[int, int, int]], Parts]
    """Its parts, from such a config and (channels, height, width). Raises InvalidConfig on a misfit."""


FAMILIES: dict[str, Family] = {
    "mlp": Family(config=MLPConfig, parts=mlp.parts),
    "conv": Family(config=ConvConfig, parts=conv.parts),
}


def family_of(config: ModelConfig) -> str:
    """The name under which the config's family is registered."""
    return next(name for name, family in FAMILIES.items() if isinstance(config, family.config))


def build(config: ModelConfig, signature: Signature, *, seed: int) -> Network:
    """A fresh float32 network on the CPU; `seed` alone decides its weights. Raises InvalidConfig.

    torch's layers draw their first weights from the global stream, which is put back as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Network(config, signature, FAMILIES[family_of(config)].parts(config, signature.image))
    # channels_last: 5.5 against 10.0 ms a step for conv 8-16-fc128, batch 64, one thread
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def config_to_json(config: ModelConfig) -> str:
    """The config as one JSON object: its family, then its fields."""
    return json.dumps({"family": family_of(config), **asdict(config)})


def config_from_json(text: str) -> ModelConfig:
    """The inverse of config_to_json. Raises InvalidConfig, with near matches of an unknown name."""
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidConfig(f"a model config must be a JSON object, got {text[:80]!r}: {error}") from error
    if not isinstance(values, dict):
        raise InvalidConfig(f"a model config must be a JSON object, got {text[:80]!r}")
    name = values.pop("family", None)
    choice("family", name, FAMILIES)
    known = [field.name for field in fields(FAMILIES[name].config)]
    for key in values:
        if key not in known:
            raise InvalidConfig(f"{name} has no setting {key!r}{near(key, known)}")
    return FAMILIES[name].config(**values)
