"""A network, or a whole training, as one safetensors file that verifies itself."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from models.network import ModelConfig, Network, Signature, build, config_from_json, config_to_json
from search.files import write_whole

FORMAT = "tune-checkpoint-1"
NO_CHECKSUM = "0" * 64
CHECKSUM_FIELD = re.compile(rb'\\"content_sha256\\": \\"([0-9a-f]{64})\\"')
"""Where the content's SHA-256 stands: inside the header's one metadata entry, itself JSON, hence the
backslashes. It is taken over the whole file with NO_CHECKSUM in its place: it covers every byte but itself.
"""


class CheckpointCorrupt(ValueError):
    """The bytes are not the checkpoint that was written: truncated, altered, or of another kind."""

    def __init__(self, source: Path | str, *, expected: str, found: str) -> None:
        super().__init__(f"{source} is not a sound checkpoint: expected {expected}, found {found}")
        self.source = source
        """the file, or another name for where the bytes came from"""
        self.expected = expected
        self.found = found


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """What a checkpoint holds."""

    config: ModelConfig
    """Of the network."""
    signature: Signature
    """Of the network."""
    tensors: dict[str, Tensor]
    """As saved; a network's under "network."."""
    metadata: dict[str, str]
    """As saved."""
    sha256: str
    """Of the file's bytes, as sha256sum prints it."""

    def network(self) -> Network:
        """The network with its saved weights, in evaluation mode, on the CPU."""
        network = build(self.config, self.signature, seed=0)
        prefix = "network."
        network.load_state_dict(
            {name.removeprefix(prefix): t for name, t in self.tensors.items() if name.startswith(prefix)}
        )
        return network.eval()


def network_tensors(network: Network) -> dict[str, Tensor]:
    """What save_checkpoint takes where there is a network and no training."""
    return {f"network.{name}": tensor for name, tensor in network.state_dict().items()}


def save_checkpoint(
    path: Path,
    *,
    config: ModelConfig,
    signature: Signature,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str] | None = None,
) -> str:
    """Writes the checkpoint and returns the SHA-256 of the file.

    Arguments as for checkpoint_bytes. Whatever happens, `path` holds either the old file or the new one
    whole. Raises OSError (a full disk, say) after removing what it had begun.
    """
    content = checkpoint_bytes(config=config, signature=signature, tensors=tensors, metadata=metadata)
    write_whole(path, content)
    return hashlib.sha256(content).hexdigest()


def checkpoint_bytes(
    *,
    config: ModelConfig,
    signature: Signature,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """The content of a checkpoint file. The same arguments give the same bytes.

    tensors: `Training.state_dict()` or `network_tensors(network)`.
    """
    entry = {
        "format": FORMAT,
        "content_sha256": NO_CHECKSUM,
        "config": json.loads(config_to_json(config)),
        "signature": asdict(signature),
        "metadata": dict(metadata or {}),
    }
    # One metadata entry, because safetensors writes several in an order that changes from run to run.
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    content = safetensors.torch.save(plain, metadata={"checkpoint": json.dumps(entry)})
    content_checksum = hashlib.sha256(content).hexdigest()
    return content.replace(NO_CHECKSUM.encode(), content_checksum.encode(), 1)


def load_checkpoint(path: Path, *, expected_sha256: str | None = None) -> Checkpoint:
    """Reads and verifies a checkpoint. Raises CheckpointCorrupt, or OSError where the file cannot be read.

    expected_sha256: what save_checkpoint returned; None: the file's own checksum alone decides.
    """
    return parse_checkpoint(path.read_bytes(), path, expected_sha256=expected_sha256)


def parse_checkpoint(content: bytes, source: Path | str, *, expected_sha256: str | None = None) -> Checkpoint:
    """Verifies and parses the content of a checkpoint file. Raises CheckpointCorrupt.

    source: where the content came from, for the message of the error. expected_sha256: see load_checkpoint.
    """
    file_checksum = hashlib.sha256(content).hexdigest()
    if expected_sha256 is not None and file_checksum != expected_sha256:
        raise CheckpointCorrupt(source, expected=f"SHA-256 {expected_sha256}", found=file_checksum)
    stated = CHECKSUM_FIELD.search(content)
    if stated is None:
        raise CheckpointCorrupt(
            source, expected=f"a {FORMAT} header", found=f"{len(content)} bytes without one"
        )
    whole, blank = memoryview(content), hashlib.sha256()
    for part in (whole[: stated.start(1)], NO_CHECKSUM.encode(), whole[stated.end(1) :]):
        blank.update(part)
    content_checksum = blank.hexdigest()
    if content_checksum != stated[1].decode():
        expected = f"content SHA-256 {stated[1].decode()}"
        raise CheckpointCorrupt(source, expected=expected, found=content_checksum)
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        entry = json.loads(header["__metadata__"]["checkpoint"])
        if entry["format"] != FORMAT:
            raise CheckpointCorrupt(source, expected=f"format {FORMAT}", found=repr(entry["format"]))
        return Checkpoint(
            config=config_from_json(json.dumps(entry["config"])),
            signature=signature_from(entry["signature"]),
            tensors=safetensors.torch.load(content),
            metadata=entry["metadata"],
            sha256=file_checksum,
        )
    except (SafetensorError, KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointCorrupt(source, expected=f"a {FORMAT} file", found=f"{error!r}") from error


def signature_from(values: Mapping[str, object]) -> Signature:
    """The inverse of dataclasses.asdict(signature), after JSON has made lists of the tuples.

    What was written before a signature had mean and deviation has neither: they are the defaults then.
    """
    image, heads = values["image"], values["heads"]
    scales: dict[str, tuple[float, ...]] = {
        name: tuple(values[name])  # type: ignore[arg-type]
        for name in ("mean", "deviation")
        if name in values
    }
    return Signature(
        image=tuple(image),  # type: ignore[arg-type]
        numbers=values["numbers"],  # type: ignore[arg-type]
        heads=tuple((name, classes) for name, classes in heads),  # type: ignore[attr-defined]
        **scales,
    )
