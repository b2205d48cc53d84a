"""Networks of every family against layers put together by hand, and the contract that all of them keep."""

import dataclasses
import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from data.datasets.mnist import MNIST
from data.tasks.registry import TASKS
from models.checks import InvalidConfig
from models.conv import ConvConfig, ImageTooSmall
from models.layers import activation
from models.mlp import MLPConfig
from models.network import (
    FAMILIES,
    ModelConfig,
    Signature,
    build,
    config_from_json,
    config_to_json,
    family_of,
)
from models.widths import ACTIVATIONS
from search.objectives.network.decoding import decode

(MNIST_MEAN,), (MNIST_STD,) = MNIST.mean, MNIST.deviation
TWODIGIT = Signature(image=(1, 42, 28), heads=(("first_digit", 10), ("second_digit", 10)))
SUM = Signature(image=(1, 28, 28), numbers=10, heads=(("digit", 10), ("sum", 19)))
SIGNATURES = {"twodigit": TWODIGIT, "sum": SUM, "color": Signature(image=(3, 17, 23), heads=(("only", 2),))}

REFERENCES = {
    name: decode(settings, images=1, seed=0, precision="float32").model
    for task in TASKS.values()
    for name, settings in task.references.items()
}
"""The published networks, as the tasks describe them."""

CONFIGS: dict[str, ModelConfig] = {
    "mlp": MLPConfig(width=16),
    "mlp, deep and tapered": MLPConfig(depth=3, width=24, taper=0.5, activation="elu", dropout=0.2),
    "conv": ConvConfig(channels=4, hidden=16),
    "conv, same padding and norm": ConvConfig(
        blocks=3, channels=3, padding="same", batch_norm=True, hidden=16
    ),
    "conv, two in a block": ConvConfig(
        blocks=3, channels=3, stem=2, convolutions=3, padding="same", batch_norm=True, hidden=16
    ),
    "conv, usual order of pooling": ConvConfig(channels=4, activation="gelu", batch_norm=True, hidden=16),
    "conv, number with another width": ConvConfig(channels=4, hidden=16, hidden_layers=2, number_width=8),
    "conv, heads on the features": ConvConfig(channels=4, hidden_layers=0, dropout=0.3),
}


def inputs(signature: Signature, n: int = 5) -> tuple[torch.Tensor, torch.Tensor | None]:
    draw = torch.Generator().manual_seed(7)
    image = torch.randint(0, 256, (n, *signature.image), dtype=torch.uint8, generator=draw)
    if not signature.numbers:
        return image, None
    return image, torch.randint(0, signature.numbers, (n,), generator=draw)


@pytest.mark.parametrize("signature", SIGNATURES.values(), ids=SIGNATURES)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
class TestEveryNetwork:
    def test_gives_one_tensor_of_logits_per_head(self, config: ModelConfig, signature: Signature) -> None:
        out = build(config, signature, seed=1)(*inputs(signature))
        assert [(name, logits.shape) for name, logits in out.items()] == [
            (name, (5, classes)) for name, classes in signature.heads
        ]

    def test_same_seed_same_weights_and_global_stream_untouched(
        self, config: ModelConfig, signature: Signature
    ) -> None:
        torch.manual_seed(3)
        before = torch.get_rng_state()
        one = build(config, signature, seed=1).state_dict()
        assert torch.equal(torch.get_rng_state(), before)
        torch.rand(1)
        again, other = build(config, signature, seed=1), build(config, signature, seed=2)
        assert all(torch.equal(tensor, one[name]) for name, tensor in again.state_dict().items())
        assert not torch.equal(other.first.weight, again.first.weight)

    def test_bytes_and_fractions_of_one_mean_the_same(
        self, config: ModelConfig, signature: Signature
    ) -> None:
        network = build(config, signature, seed=1).eval()
        image, number = inputs(signature)
        torch.testing.assert_close(network(image / 255, number), network(image, number))

    def test_summary_adds_up(self, config: ModelConfig, signature: Signature) -> None:
        network = build(config, signature, seed=1)
        rows = network.summary()
        assert sum(row.parameters for row in rows) == network.parameter_count
        assert rows[-1].output == (sum(signature.classes),)
        assert network.training, "the summary leaves the mode as it was"

    def test_config_survives_json(self, config: ModelConfig, signature: Signature) -> None:
        assert config_from_json(config_to_json(config)) == config


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_many_numbers_for_one_image_equal_repeated_images(config: ModelConfig) -> None:
    network = build(config, SUM, seed=1).eval()
    image, _ = inputs(SUM)
    numbers = torch.arange(10).expand(5, 10).roll(2, dims=1)
    repeated = network(image.repeat_interleave(10, dim=0), numbers.flatten())
    torch.testing.assert_close(network(image, numbers), repeated)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_exports_with_any_batch_size(config: ModelConfig) -> None:
    network = build(config, SUM, seed=1).eval()
    image, number = inputs(SUM)
    assert number is not None
    example, n = (image / 255, number), torch.export.Dim.DYNAMIC
    program = torch.export.export(network, example, dynamic_shapes=({0: n}, {0: n}))
    longer = tuple(torch.cat([tensor, tensor]) for tensor in example)
    torch.testing.assert_close(program.module()(*longer), network(*longer))


def by_hand(config: ConvConfig, signature: Signature) -> nn.ModuleDict:
    """A conv network without any of the shortcuts: one-hot, concatenation, a linear layer for each head."""
    size = torch.zeros(1, *signature.image)
    backbone = nn.Sequential()
    for channels in config.block_channels:
        padding = config.kernel // 2 if config.padding == "same" else 0
        backbone.append(nn.Conv2d(size.shape[1], channels, config.kernel, padding=padding))
        backbone.append(activation(config.activation))
        backbone.append(nn.MaxPool2d(2))
        size = backbone(torch.zeros(1, *signature.image))
    number = nn.Sequential(nn.Linear(signature.numbers, config.number_width), activation(config.activation))
    hidden = nn.Sequential()
    incoming = size[0].numel() + config.number_width
    for width in config.widths:
        hidden.extend([nn.Linear(incoming, width), activation(config.activation)])
        incoming = width
    heads = nn.ModuleList(nn.Linear(incoming, classes) for classes in signature.classes)
    return nn.ModuleDict({"picture": backbone, "number": number, "hidden": hidden, "heads": heads})


def test_mean_and_deviation_are_those_of_the_signature() -> None:
    of_mnist = build(MLPConfig(width=8), TWODIGIT, seed=1).eval()
    other = dataclasses.replace(TWODIGIT, mean=(0.286,), deviation=(0.353,))
    network = build(MLPConfig(width=8), other, seed=1).eval()
    image = inputs(TWODIGIT)[0].float() / 255
    alike = (image - 0.286) / 0.353 * MNIST_STD + MNIST_MEAN  # what looks the same to the network of MNIST
    for head, logits in network(image).items():
        torch.testing.assert_close(logits, of_mnist(alike)[head], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("mean", "deviation", "rule"),
    [
        ((0.1, 0.2), (0.3, 0.3), "mean must be one number or one a channel, got .0.1, 0.2."),
        ((0.1,), (), "deviation must be one number or one a channel"),
        ((0.1,), (0.0,), "deviation must be a number > 0, got 0.0"),
        ((float("nan"),), (1.0,), "mean must be a number >= 0, got nan"),
        ((0.1, 0.1, 0.1), (1.0,), "mean and deviation must be alike"),
    ],
)
def test_a_mean_or_deviation_that_cannot_be_is_refused(
    mean: tuple[float, ...], deviation: tuple[float, ...], rule: str
) -> None:
    image = (3, 8, 8)
    with pytest.raises(InvalidConfig, match=rule):
        Signature(image=image, heads=(("a", 2),), mean=mean, deviation=deviation)


@pytest.mark.parametrize("act", ["relu", "leaky_relu", "elu", "tanh"])
def test_conv_equals_the_network_built_by_hand(act: str) -> None:
    """By hand the pooling comes last, as in textbooks: for these activations that changes no number."""
    config = dataclasses.replace(REFERENCES["assignment-conv"], activation=act)
    assert isinstance(config, ConvConfig)
    network, plain = build(config, SUM, seed=4).eval(), by_hand(config, SUM)
    image, number = inputs(SUM)
    assert number is not None

    ours = network.state_dict()
    convs = [m for m in plain["picture"].modules() if isinstance(m, nn.Conv2d)]
    for block, conv in enumerate(convs):
        conv.load_state_dict({k: ours[f"picture.{block}.0.{k}"] for k in ("weight", "bias")})
    plain["number"][0].load_state_dict({k: ours[f"first.table.linear.{k}"] for k in ("weight", "bias")})
    linears = [m for m in plain["hidden"] if isinstance(m, nn.Linear)]
    for layer, name in zip(linears, ("first", "rest.1"), strict=True):
        layer.load_state_dict({k: ours[f"{name}.{k}"] for k in ("weight", "bias")})
    for head, weight, bias in zip(
        plain["heads"],
        ours["rest.3.weight"].split([10, 19]),
        ours["rest.3.bias"].split([10, 19]),
        strict=True,
    ):
        head.load_state_dict({"weight": weight, "bias": bias})

    features = plain["picture"]((image / 255 - MNIST_MEAN) / MNIST_STD).flatten(1)
    joined = torch.cat([features, plain["number"](functional.one_hot(number, 10).float())], dim=1)
    expected = [head(plain["hidden"](joined)) for head in plain["heads"]]
    torch.testing.assert_close(list(network(image, number).values()), expected)
    assert network.parameter_count == sum(p.numel() for p in plain.parameters())


def test_mlp_equals_linear_layers_over_image_and_one_hot_number() -> None:
    network = build(MLPConfig(depth=2, width=12), SUM, seed=4).eval()
    image, number = inputs(SUM)
    assert number is not None
    x = ((image / 255 - MNIST_MEAN) / MNIST_STD).flatten(1)
    x = torch.cat([x, functional.one_hot(number, 10).float()], dim=1)
    for name in ("first", "rest.1", "rest.3"):
        layer = network.get_submodule(name)
        x = functional.linear(x if name == "first" else x.relu(), layer.weight, layer.bias)
    torch.testing.assert_close(network.logits(image, number), x)


@pytest.mark.parametrize(
    ("name", "signature", "parameters", "reason"),
    [
        ("course-mlp", TWODIGIT, 1176 * 64 + 64 + 2 * (64 * 10 + 10), "76,628, as the course counts it"),
        ("course-conv", TWODIGIT, 80 + 1168 + 721 * 128 + 2 * 1290, "720 features on 42×28"),
        ("assignment-conv", SUM, 45_709, "as its authors print it"),
    ],
)
def test_reference_has_the_published_size(
    name: str, signature: Signature, parameters: int, reason: str
) -> None:
    assert build(REFERENCES[name], signature, seed=0).parameter_count == parameters, reason


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("signature", [TWODIGIT, SUM])
def test_reference_fits_every_task(name: str, signature: Signature) -> None:
    assert build(REFERENCES[name], signature, seed=0).parameter_count > 0


def test_course_conv_has_nothing_between_its_linear_and_the_heads_but_dropout() -> None:
    kinds = [row.kind for row in build(REFERENCES["course-conv"], TWODIGIT, seed=0).summary()]
    assert kinds[-4:] == ["Flatten", "Linear", "Dropout", "Linear"]


@pytest.mark.parametrize(
    ("config", "image"),
    [
        (ConvConfig(blocks=4, kernel=3), (1, 28, 28)),
        (ConvConfig(blocks=1, kernel=29), (1, 28, 28)),
        (ConvConfig(blocks=5, padding="same"), (1, 28, 28)),
        (ConvConfig(blocks=3, kernel=5), (1, 42, 28)),
    ],
    ids=["fourth block", "kernel above image", "halved away", "the narrow side"],
)
def test_image_too_small_says_where(config: ConvConfig, image: tuple[int, int, int]) -> None:
    with pytest.raises(ImageTooSmall, match=f"blocks={config.blocks}.*below 1 pixel in block"):
        build(config, Signature(image=image, heads=(("digit", 10),)), seed=0)


@pytest.mark.parametrize(
    ("config", "batch_size", "refused"),
    [
        (ConvConfig(blocks=4, padding="same", batch_norm=True), 1, True),
        (ConvConfig(blocks=3, padding="valid", batch_norm=True), 1, True),
        (ConvConfig(blocks=2, stem=2, kernel=7, padding="valid", batch_norm=True), 1, True),
        (ConvConfig(blocks=2, stem=3, convolutions=4, padding="valid", batch_norm=True), 1, True),
        (ConvConfig(blocks=4, padding="same", batch_norm=True), 2, False),
        (ConvConfig(blocks=3, padding="same", batch_norm=True), 1, False),
        (ConvConfig(blocks=4, padding="same"), 1, False),
    ],
    ids=["14, 7, 3, 1", "13, 5, 1", "8, 1", "11, 1", "two images", "three pixels", "no norm"],
)
def test_one_value_to_normalize_is_refused_as_by_torch(
    config: ConvConfig, batch_size: int, refused: bool
) -> None:
    network = build(config, SUM, seed=0).train()
    if not refused:
        network(*inputs(SUM, batch_size))
        config.check_training(SUM.image, batch_size)
        return
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        network(*inputs(SUM, batch_size))
    with pytest.raises(ImageTooSmall, match=f"blocks={config.blocks}.*of 28×28 to 1 pixel"):
        config.check_training(SUM.image, batch_size)


@pytest.mark.parametrize(
    ("family", "settings", "message"),
    [
        ("mlp", {"depth": -1}, "depth must be an integer >= 0, got -1"),
        ("mlp", {"depth": True}, "depth must be an integer >= 0, got True"),
        ("mlp", {"width": "64"}, "width must be an integer >= 1, got '64'"),
        ("mlp", {"taper": float("nan")}, "taper must be a number > 0, got nan"),
        ("mlp", {"dropout": 1.0}, "dropout must be a number >= 0 and < 1, got 1.0"),
        ("conv", {"kernel": 4}, "kernel must be odd, got 4"),
        ("conv", {"activation": "rleu"}, r"got 'rleu' \(did you mean relu"),
        ("conv", {"padding": "some"}, r"padding must be one of same, valid, got 'some' \(did you mean same"),
        ("conv", {"batch_norm": 1}, "batch_norm must be true or false, got 1"),
        ("conv", {"chanels": 8}, r"conv has no setting 'chanels' \(did you mean channels"),
        ("convv", {}, r"family must be one of mlp, conv, got 'convv' \(did you mean conv"),
    ],
)
def test_refusal_names_the_rule_and_the_value(family: str, settings: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidConfig, match=message):
        config_from_json(json.dumps({"family": family, **settings}))


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '"mlp"', "{}"])
def test_what_is_no_config_is_refused(text: str) -> None:
    with pytest.raises(InvalidConfig):
        config_from_json(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": ()}, "heads must be one or more"),
        ({"heads": (("a", 2), ("a", 3))}, "each with its own name"),
        ({"heads": (("a", 1),)}, "classes of head a must be an integer >= 2, got 1"),
        ({"image": (1, 0, 28)}, "height must be an integer >= 1, got 0"),
        ({"numbers": -1}, "numbers must be an integer >= 0, got -1"),
    ],
)
def test_signature_is_checked(change: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidConfig, match=message):
        dataclasses.replace(TWODIGIT, **change)


def test_number_missing_or_superfluous_is_said() -> None:
    image, number = inputs(SUM)
    with pytest.raises(ValueError, match="got no number"):
        build(MLPConfig(), SUM, seed=0)(image)
    with pytest.raises(ValueError, match="got a number too"):
        build(MLPConfig(), TWODIGIT, seed=0)(inputs(TWODIGIT)[0], number)


def test_tapered_widths_never_vanish() -> None:
    assert MLPConfig(depth=4, width=10, taper=0.1).widths == (10, 1, 1, 1)
    assert ConvConfig(blocks=3, channels=6, growth=1.5).block_channels == (6, 9, 14)


unit = st.floats(0, 1, exclude_max=True)
positive = st.floats(0.01, 10)
CONFIG_STRATEGIES = {
    "mlp": st.builds(
        MLPConfig,
        depth=st.integers(1, 9),
        width=st.integers(1, 4096),
        taper=positive,
        activation=st.sampled_from(ACTIVATIONS),
        dropout=unit,
    ),
    "conv": st.builds(
        ConvConfig,
        blocks=st.integers(1, 5),
        stem=st.integers(1, 4),
        convolutions=st.integers(1, 4),
        channels=st.integers(1, 256),
        growth=positive,
        kernel=st.integers(0, 5).map(lambda half: 2 * half + 1),
        padding=st.sampled_from(["same", "valid"]),
        hidden_layers=st.integers(0, 3),
        hidden_activation=st.booleans(),
        batch_norm=st.booleans(),
        dropout=unit,
        number_width=st.integers(0, 64),
    ),
}


def test_every_family_has_a_strategy() -> None:
    assert set(CONFIG_STRATEGIES) == set(FAMILIES)


@given(st.one_of(*CONFIG_STRATEGIES.values()))
def test_any_config_survives_json(config: ModelConfig) -> None:
    assert config_from_json(config_to_json(config)) == config
    assert isinstance(config, FAMILIES[family_of(config)].config)


def test_the_convolutions_of_a_block_stand_before_its_pooling() -> None:
    config = ConvConfig(blocks=2, stem=2, convolutions=3, channels=4, batch_norm=True, hidden=16)
    network = build(config, TWODIGIT, seed=0)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    made = [(m.in_channels, m.out_channels) for m in convolutions]
    assert made == [(1, 4), (4, 4), (4, 8), (8, 8), (8, 8)], "the stem is the first block"
    assert config.sizes((1, 42, 28)) == ((4, 19, 12), (8, 6, 3)), "each takes two pixels, then half is left"
    inner, last = ["Conv2d", "BatchNorm2d", "ReLU"], ["Conv2d", "MaxPool2d", "BatchNorm2d", "ReLU"]
    kinds = [row.kind for row in network.summary()]
    assert kinds[1:18] == [*inner, *last, *inner, *inner, *last]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_gradients_come_back_in_the_format_of_the_blocks(precision: str) -> None:
    """A contiguous one in front of a channels_last block makes its backward pass several times slower."""
    network = build(ConvConfig(blocks=2, channels=8, padding="same", hidden=16), TWODIGIT, seed=0)
    formats: list[bool] = []
    activation = network.picture[1][-1]
    activation.register_full_backward_hook(
        lambda _module, _into, gradients: formats.append(
            gradients[0].is_contiguous(memory_format=torch.channels_last)
        )
    )
    image = torch.zeros(3, 1, 42, 28, dtype=torch.uint8)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        network.logits(image).sum().backward()
    assert formats == [True]


def test_channels_are_rounded_to_the_divisor() -> None:
    exact = ConvConfig(blocks=3, channels=12, growth=1.5)
    assert exact.block_channels == (12, 18, 27)
    assert dataclasses.replace(exact, divisor=8).block_channels == (16, 16, 24)
    assert dataclasses.replace(exact, channels=1, divisor=8).block_channels == (8, 8, 8)
