"""Exported files answer as the network does, whatever the batch, and do not tell where they were made."""

from collections.abc import Mapping
from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor

from models import export
from models.conv import ConvConfig
from models.export import BATCH_SIZES, Inexact, compare, examples, rebuild, write_all
from models.mlp import MLPConfig
from models.network import ModelConfig, Network, Signature, build
from models.quantize import INT8, quantize

ROOT = Path(__file__).resolve().parents[2]

IMAGE_ONLY = Signature(image=(1, 20, 12), heads=(("row", 4), ("again", 4)))
NUMBERED = Signature(image=(1, 16, 16), numbers=3, heads=(("row", 4), ("sum", 6)))

COLOR = Signature(image=(3, 9, 14), heads=(("pet", 3),), mean=(0.5, 0.4, 0.3), deviation=(0.2, 0.25, 0.3))

CASES: dict[str, tuple[ModelConfig, Signature]] = {
    "everything at once": (
        ConvConfig(
            channels=4, kernel=3, hidden=9, batch_norm=True, dropout=0.4, number_width=5, activation="gelu"
        ),
        NUMBERED,
    ),
    "as plain as can be": (MLPConfig(width=8), IMAGE_ONLY),
    "in color": (ConvConfig(channels=4, padding="same", batch_norm=True, hidden=9), COLOR),
}


@pytest.fixture(scope="module", params=CASES)
def case(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Network, Path, Mapping[str, float]]:
    config, signature = CASES[request.param]
    network = build(config, signature, seed=1)
    for layer in network.modules():  # as after training: statistics that are not 0 and 1
        if isinstance(layer, torch.nn.BatchNorm2d):
            assert layer.running_mean is not None
            layer.running_mean.normal_(generator=torch.Generator().manual_seed(2))
    folder = tmp_path_factory.mktemp("export")
    return network, folder, write_all(network, folder, about={"task": "toy"})


def test_every_file_answers_as_the_network(case: tuple[Network, Path, Mapping[str, float]]) -> None:
    _, folder, differences = case
    assert set(differences) == {"model.onnx", "model.pt2", "model.safetensors"}
    assert all(0 <= difference < 1e-5 for difference in differences.values())
    assert sorted(path.name for path in folder.iterdir()) == sorted([*differences, "config.json"])
    assert sum(BATCH_SIZES) == 1000


def test_the_onnx_file_keeps_its_contract(case: tuple[Network, Path, Mapping[str, float]]) -> None:
    network, folder, _ = case
    graph = onnx.load_model(folder / "model.onnx").graph

    def shape(value: onnx.ValueInfoProto) -> tuple[str, int, list[object]]:
        kind = value.type.tensor_type
        return value.name, kind.elem_type, [each.dim_param or each.dim_value for each in kind.shape.dim]

    inputs = [("image", onnx.TensorProto.FLOAT, ["N", *network.signature.image])]
    if network.signature.numbers:
        inputs.append(("number", onnx.TensorProto.INT64, ["N"]))
    assert [shape(value) for value in graph.input] == inputs
    assert [shape(value) for value in graph.output] == [
        (name, onnx.TensorProto.FLOAT, ["N", classes]) for name, classes in network.signature.heads
    ]


def test_config_and_weights_alone_rebuild_the_network(
    case: tuple[Network, Path, Mapping[str, float]],
) -> None:
    network, folder, _ = case
    again = rebuild(folder)
    assert (again.config, again.signature) == (network.config, network.signature)
    for name, tensor in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


def test_no_file_tells_where_it_was_made(case: tuple[Network, Path, Mapping[str, float]]) -> None:
    _, folder, _ = case
    for path in folder.iterdir():
        content = path.read_bytes()
        assert str(ROOT).encode() not in content, path.name
        assert b"site-packages" not in content, path.name


def test_everybody_in_the_group_may_read_all_files(
    case: tuple[Network, Path, Mapping[str, float]],
) -> None:
    _, folder, _ = case
    assert len({path.stat().st_mode for path in folder.iterdir()}) == 1


class TestCompare:
    @pytest.fixture
    def network(self) -> Network:
        return build(MLPConfig(width=8), IMAGE_ONLY, seed=1).eval()

    def test_the_network_itself_is_exact(self, network: Network) -> None:
        assert compare(network, network, "x") < 1e-5

    @pytest.mark.parametrize(
        ("spoil", "why"),
        [
            (lambda logits: logits + 2e-4, "a constant"),
            (lambda logits: logits if len(logits) < 960 else logits.roll(1, 0), "only the largest batch"),
            (lambda logits: logits if len(logits) > 1 else -logits, "only a batch of one"),
            (lambda logits: logits * float("nan"), "no number at all"),
            (lambda logits: torch.cat([logits[:-1], logits[-1:] + 1]), "only the last row"),
        ],
    )
    def test_a_file_that_differs_is_found(self, network: Network, spoil, why: str) -> None:  # type: ignore[no-untyped-def]
        def answer(image: Tensor, number: Tensor | None) -> Mapping[str, Tensor]:
            return {name: spoil(logits) for name, logits in network(image, number).items()}

        with pytest.raises(Inexact, match=r"broken\.onnx differs from the network"):
            compare(network, answer, "broken.onnx")

    def test_a_normalization_that_is_missing_is_found(self, network: Network) -> None:
        with pytest.raises(Inexact):
            compare(network, lambda image, number: network(image / 2, number), "x")


def test_examples_have_ink_like_digits_and_every_number() -> None:
    batch = examples(NUMBERED, 400)
    assert batch.image.shape == (400, *NUMBERED.image)
    assert batch.image.dtype == torch.uint8
    assert 0.15 < (batch.image > 0).float().mean() < 0.25
    assert len(set(batch.image.flatten().tolist())) == 256
    assert batch.number is not None
    assert set(batch.number.tolist()) == {0, 1, 2}


def test_int8_is_smaller_and_nearly_the_same(tmp_path: Path) -> None:
    network = build(MLPConfig(width=256), IMAGE_ONLY, seed=1).eval()
    export.write_onnx(export.program_of(network), IMAGE_ONLY, tmp_path / export.ONNX)
    batch = examples(IMAGE_ONLY, 200)
    quantize(tmp_path / export.ONNX, tmp_path / INT8, image=batch.image, number=None)
    assert (tmp_path / INT8).stat().st_size < 0.4 * (tmp_path / export.ONNX).stat().st_size
    exact = network(batch.image)["row"].detach()
    rough = export.onnx_answer(tmp_path / INT8)(batch.image.float() / 255, None)["row"]
    assert 0 < float((rough - exact).abs().max()) < 0.1 * float(exact.abs().max())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a file that is always full")
@pytest.mark.parametrize("name", ["model.onnx", "model.pt2", "model.safetensors", "config.json"])
def test_a_full_disk_is_an_oserror(tmp_path: Path, name: str) -> None:
    """Of one network: each file is written in one place, whatever the network."""
    (tmp_path / name).symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device"):
        write_all(build(*CASES["as plain as can be"], seed=1), tmp_path, about={"task": "toy"})


def test_int8_fits_processors_that_add_products_in_sixteen_bits(
    case: tuple[Network, Path, Mapping[str, float]], tmp_path: Path
) -> None:
    """x86 without VNNI adds two products of an activation (0 to 255) and a weight, and cuts off the rest."""
    network, folder, _ = case
    batch = examples(network.signature, 64)
    quantize(folder / export.ONNX, tmp_path / INT8, image=batch.image, number=batch.number)
    weights = [
        onnx.numpy_helper.to_array(each).astype(int)
        for each in onnx.load_model(tmp_path / INT8).graph.initializer
        if each.data_type == onnx.TensorProto.INT8
    ]
    largest = max(int(abs(each).max()) for each in weights)
    assert 0 < 2 * 255 * largest < 2**15
