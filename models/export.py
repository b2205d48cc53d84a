"""A trained network as files that other programs load, each of them held against the network it came from."""

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from models.checkpoint import signature_from
from models.network import Network, Signature, build, config_from_json, config_to_json

ONNX, PROGRAM, WEIGHTS, CONFIG = "model.onnx", "model.pt2", "model.safetensors", "config.json"
"""Names of the files: ONNX, torch.export, the bare weights and what they are the weights of."""

LIBRARIES = ("onnx", "onnxscript", "onnxruntime")
"""What an export needs beside torch."""

METADATA = ("labels", "fit")
"""What an ONNX file says itself, as JSON in its metadata: names of classes by head, how images are made to
fit."""

TOLERANCE = 1e-4
"""Largest difference of a logit from the network's that an export may have."""

BATCH_SIZES = (1, 2, 7, 30, 960)
"""One pass each, 1,000 examples in all: the batch is the dimension that an export can get wrong."""

Answer = Callable[[Tensor, Tensor | None], Mapping[str, Tensor]]
"""Logits by head of float32 images (N, C, H, W) in [0, 1] and, where there is one, numbers int64 (N,)."""


class Inexact(ValueError):
    """A file answers otherwise than the network it came from."""

    def __init__(self, file: str, difference: float) -> None:
        super().__init__(
            f"{file} differs from the network by {difference:.2g} in a logit, more than {TOLERANCE:g}"
        )
        self.file = file
        self.difference = difference


def missing_libraries() -> list[str]:
    """Those of LIBRARIES that are not installed here."""
    return [name for name in LIBRARIES if find_spec(name) is None]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Examples:
    """Inputs of one size that nobody has to fetch."""

    image: Tensor
    """uint8 (N, C, H, W)."""
    number: Tensor | None
    """int64 (N,); None without number input."""


def examples(signature: Signature, count: int, *, seed: int = 0) -> Examples:
    """`count` images with ink on one pixel in five, as digits have, and numbers.

    Not noise: it makes logits several times as large as any digit does, and rounding grows with them.
    """
    generator = torch.Generator().manual_seed(seed)
    shape = (count, *signature.image)
    image = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
    blank = torch.rand(shape, generator=generator) > 0.2
    number = torch.randint(signature.numbers, (count,), generator=generator) if signature.numbers else None
    return Examples(image=image.masked_fill_(blank, 0), number=number)


def write_all(network: Network, folder: Path, *, about: Mapping[str, object]) -> dict[str, float]:
    """Writes all four files, loads them again and compares.

    network: on the CPU. about: what config.json says beside the network's own settings; of it, `labels` and
    `fit` are in the ONNX file's metadata, too. Returns the largest difference of a logit by file. Raises
    Inexact where one is above TOLERANCE.
    """
    network = network.eval()
    write_weights(network, folder, about=about)
    program = program_of(network)
    metadata = {key: json.dumps(about[key], ensure_ascii=False) for key in METADATA if about.get(key)}
    write_onnx(program, network.signature, folder / ONNX, metadata=metadata)
    with _quiet():
        # Its example inputs, which are part of the file, are zeros, and small. By way of memory, because
        # torch's own writer takes the process down where the disk is full.
        content = io.BytesIO()
        torch.export.save(program, content)
        (folder / PROGRAM).write_bytes(content.getvalue())
        answer = program_answer(folder / PROGRAM)
    return {
        ONNX: compare(network, onnx_answer(folder / ONNX), ONNX),
        PROGRAM: compare(network, answer, PROGRAM),
        WEIGHTS: compare(network, rebuild(folder), WEIGHTS),
    }


def compare(network: Network, answer: Answer, file: str) -> float:
    """The largest difference of any logit over all batch sizes. Raises Inexact above TOLERANCE.

    Both see the same floats. On bytes, the network rounds its normalization otherwise, which a network of
    large logits shows more than any file does: 7e-5 at logits of 160.
    """
    largest = 0.0
    for size in BATCH_SIZES:
        batch = examples(network.signature, size, seed=size)
        with torch.inference_mode():
            image = batch.image.float() / 255
            wanted, found = network(image, batch.number), answer(image, batch.number)
        for name, logits in wanted.items():
            difference = float((found[name] - logits).abs().max())
            if not difference <= TOLERANCE:  # NaN is inexact too
                raise Inexact(file, difference)
            largest = max(largest, difference)
    return largest


def write_weights(network: Network, folder: Path, *, about: Mapping[str, object]) -> None:
    """model.safetensors has the state_dict under its own names, config.json all that `rebuild` needs."""
    weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    # Not save_file: it makes files that only their owner may read.
    (folder / WEIGHTS).write_bytes(safetensors.torch.save(weights))
    entry = {
        **about,
        "model": json.loads(config_to_json(network.config)),
        "signature": asdict(network.signature),
    }
    (folder / CONFIG).write_text(json.dumps(entry, indent=2) + "\n", encoding="utf-8")


def rebuild(folder: Path) -> Network:
    """The network from config.json and model.safetensors alone, in evaluation mode, on the CPU."""
    entry = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    network = build(config_from_json(json.dumps(entry["model"])), signature_from(entry["signature"]), seed=0)
    network.load_state_dict(safetensors.torch.load_file(folder / WEIGHTS))
    return network.eval()


def program_of(network: Network) -> torch.export.ExportedProgram:
    """The network as torch.export sees it, the batch size left open, without the paths of its sources."""
    batch = examples(network.signature, 2)
    inputs: tuple[Tensor, ...] = (torch.zeros(batch.image.shape),)
    if batch.number is not None:
        inputs += (torch.zeros_like(batch.number),)
    with _quiet():
        program = torch.export.export(
            network, inputs, dynamic_shapes=tuple({0: torch.export.Dim.DYNAMIC} for _ in inputs)
        )
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    return program


def program_answer(path: Path) -> Answer:
    """What a torch.export file answers."""
    module = torch.export.load(path).module()

    def answer(image: Tensor, number: Tensor | None) -> Mapping[str, Tensor]:
        return module(image) if number is None else module(image, number)  # type: ignore[no-any-return]

    return answer


def write_onnx(
    program: torch.export.ExportedProgram,
    signature: Signature,
    path: Path,
    *,
    metadata: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """One self-contained file: inputs `image` (and `number`), an output for each head, batch size N."""
    import onnx

    names = [name for name, _ in signature.heads]
    with _quiet():
        made = torch.onnx.export(
            program,
            input_names=["image", "number"] if signature.numbers else ["image"],
            output_names=names,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert made is not None, "no file was named, so it is returned"
    model = made.model_proto
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    del model.graph.value_info[:]  # they call the batch size by another name
    for node in model.graph.node:
        del node.metadata_props[:]  # stack traces with the paths of this machine
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    onnx.save_model(model, path)


def onnx_answer(path: Path) -> Answer:
    """What an ONNX file answers, by ONNX Runtime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def answer(image: Tensor, number: Tensor | None) -> Mapping[str, Tensor]:
        fed: dict[str, Any] = {"image": image.numpy()}
        if number is not None:
            fed["number"] = number.numpy()
        return {name: torch.from_numpy(out) for name, out in zip(names, session.run(None, fed), strict=True)}

    return answer


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps torch's talk about its own insides (deprecations, missing torchvision) from the user."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
