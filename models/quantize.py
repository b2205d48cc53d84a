"""An ONNX file with eight-bit arithmetic: a quarter of the size, nearly the same answers."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor

INT8 = "model-int8.onnx"
"""Name of the file."""

CALIBRATION = 512
"""Images that the ranges of the activations are taken from."""

BATCH = 64


def quantize(model: Path, out: Path, *, image: Tensor, number: Tensor | None) -> None:
    """Writes the float ONNX file `model` as one whose convolutions and linear layers compute with int8.

    image: uint8 (N, C, H, W), number: int64 (N,) or None: examples of training, never of validation or test,
    which would then have taken part in making what they judge. Static, with a scale for each output channel
    of a weight and the range of each activation as it occurred (docs/decisions/012 has what else was tried).
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    logger = logging.getLogger()
    before = logger.level
    logger.setLevel(logging.ERROR)  # it recommends the preparation that it is given here
    try:
        with TemporaryDirectory() as folder:
            prepared = Path(folder) / "prepared.onnx"
            quant_pre_process(model, prepared)
            quantize_static(
                prepared,
                out,
                _Calibration(image, number),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
                # Weights of seven bits: on x86 without VNNI two products of eight bits are added in sixteen,
                # and what does not fit is cut off.
                reduce_range=True,
            )
    finally:
        logger.setLevel(before)


class _Calibration:
    """Batches in the form that ONNX Runtime asks for: one dictionary after the other, then None."""

    def __init__(self, image: Tensor, number: Tensor | None) -> None:
        self._left = _fed(image, number)

    def get_next(self) -> Mapping[str, Any] | None:
        return next(self._left, None)


def _fed(image: Tensor, number: Tensor | None) -> Iterator[Mapping[str, Any]]:
    for start in range(0, len(image), BATCH):
        fed = {"image": (image[start : start + BATCH].float() / 255).numpy()}
        if number is not None:
            fed["number"] = number[start : start + BATCH].numpy()
        yield fed
