"""Checkpoints: come back bit for bit, or not at all."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from models.checkpoint import CheckpointCorrupt, load_checkpoint, network_tensors, save_checkpoint
from models.conv import ConvConfig
from models.mlp import MLPConfig
from models.network import Network, Signature, build
from models.optimizer import OptimizerConfig
from models.training import Training, TrainingConfig

TINY = Signature(image=(1, 2, 2), heads=(("a", 2), ("b", 3)))
METADATA = {"study": "twodigit", "trial": "7", "note": 'quotes " and \\"content_sha256\\": \\"x'}


def saved(path: Path, network: Network) -> str:
    return save_checkpoint(
        path,
        config=network.config,
        signature=network.signature,
        tensors=network_tensors(network),
        metadata=METADATA,
    )


@pytest.fixture
def tiny() -> Network:
    return build(MLPConfig(width=2), TINY, seed=1)


def test_network_comes_back_with_everything_said_about_it(tmp_path: Path, numbered: Signature) -> None:
    network = build(ConvConfig(channels=4, hidden=8, batch_norm=True, number_width=5), numbered, seed=1)
    sha256 = saved(tmp_path / "best.safetensors", network)
    found = load_checkpoint(tmp_path / "best.safetensors", expected_sha256=sha256)
    assert (found.config, found.signature, found.metadata) == (network.config, numbered, METADATA)
    assert found.sha256 == sha256 == hashlib.sha256((tmp_path / "best.safetensors").read_bytes()).hexdigest()
    again = found.network()
    assert not again.training
    for name, tensor in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)


def test_same_content_same_bytes(tmp_path: Path, tiny: Network) -> None:
    assert len({saved(tmp_path / str(i), tiny) for i in range(5)}) == 1


def test_a_training_goes_through_a_file(
    tmp_path: Path, training_on, evaluation_on, image_only: Signature
) -> None:  # type: ignore[no-untyped-def]
    config = TrainingConfig(batch_size=16, images=640, optimizer=OptimizerConfig(name="adamw"))
    model = ConvConfig(channels=4, hidden=8, batch_norm=True, dropout=0.2)

    def training(seed: int) -> Training:
        data, held_out = training_on(signature=image_only), evaluation_on(signature=image_only)
        return Training(build(model, image_only, seed=seed), data, held_out, config, seed=seed)

    whole, half, resumed = training(1), training(1), training(2)
    expected = [report.validation for report in whole.reports([320, 640])]
    next(half.reports([320, 640]))
    path = tmp_path / "last.safetensors"
    save_checkpoint(path, config=model, signature=image_only, tensors=half.state_dict())
    resumed.load_state_dict(load_checkpoint(path).tensors)
    assert [report.validation for report in resumed.reports([320, 640])] == expected[1:]


def test_every_flipped_bit_is_found(tmp_path: Path, tiny: Network) -> None:
    path = tmp_path / "best.safetensors"
    saved(path, tiny)
    content = path.read_bytes()
    for position in range(len(content)):
        flipped = bytearray(content)
        flipped[position] ^= 1 << (position % 8)
        path.write_bytes(flipped)
        with pytest.raises(CheckpointCorrupt, match=r"expected .*, found "):
            load_checkpoint(path)


def test_every_truncation_is_found(tmp_path: Path, tiny: Network) -> None:
    path = tmp_path / "best.safetensors"
    saved(path, tiny)
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointCorrupt):
            load_checkpoint(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(CheckpointCorrupt):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a checkpoint",
        safetensors.torch.save({"x": torch.zeros(2)}),
        safetensors.torch.save({"x": torch.zeros(2)}, metadata={"checkpoint": "{}"}),
    ],
    ids=["empty", "text", "foreign safetensors", "foreign metadata"],
)
def test_foreign_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "foreign.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointCorrupt, match=r"foreign\.safetensors is not a sound checkpoint"):
        load_checkpoint(path)


def test_a_sound_file_that_is_not_the_expected_one_is_refused(tmp_path: Path, tiny: Network) -> None:
    sha256 = saved(tmp_path / "one", tiny)
    saved(tmp_path / "other", build(MLPConfig(width=2), TINY, seed=2))
    with pytest.raises(CheckpointCorrupt, match=f"expected SHA-256 {sha256}"):
        load_checkpoint(tmp_path / "other", expected_sha256=sha256)


def test_a_missing_file_is_just_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "nothing")


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from models.checkpoint import network_tensors, save_checkpoint
from models.mlp import MLPConfig
from models.network import Signature, build

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
network = build(MLPConfig(width=64), Signature(image=(1, 9, 9), heads=(("a", 2),)), seed=1)
try:
    save_checkpoint(Path(sys.argv[1]), config=network.config, signature=network.signature,
                    tensors=network_tensors(network))
except OSError as error:
    sys.exit(0 if "too large" in str(error) else 3)
sys.exit(4)
"""


def test_a_full_disk_keeps_the_old_file_and_leaves_nothing_behind(tmp_path: Path, tiny: Network) -> None:
    path = tmp_path / "best.safetensors"
    sha256 = saved(path, tiny)
    ran = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], check=False, timeout=60)
    assert ran.returncode == 0
    assert [p.name for p in tmp_path.iterdir()] == ["best.safetensors"]
    assert load_checkpoint(path, expected_sha256=sha256).config == tiny.config


def test_an_interruption_while_writing_keeps_the_old_file(
    tmp_path: Path, tiny: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "best.safetensors"
    sha256 = saved(path, tiny)

    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        saved(path, build(MLPConfig(width=3), TINY, seed=2))
    assert [p.name for p in tmp_path.iterdir()] == ["best.safetensors"]
    assert load_checkpoint(path, expected_sha256=sha256).config == tiny.config
