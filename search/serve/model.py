"""An exported model at work: pictures in, probabilities out, by ONNX Runtime and numpy alone.
Knows nothing of torch, nor of where the pictures come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search.errors import ConfigError, TuneError, UsageError
from search.serve.folder import Export

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One head's answer to one picture."""

    probabilities: tuple[float, ...]
    """by class; their sum is 1"""

    @property
    def choice(self) -> int:
        """The most probable class."""
        return max(range(len(self.probabilities)), key=self.probabilities.__getitem__)

    @property
    def probability(self) -> float:
        """What the network gives its choice; a network is often surer than it should be."""
        return self.probabilities[self.choice]


class Model:
    """A session of ONNX Runtime on an export. Threads may share it."""

    def __init__(self, export: Export) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise ConfigError(
                "The model is computed by onnxruntime, which is not installed; "
                "`pip install onnxruntime` mends it."
            ) from error
        self.export = export
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # one picture of some thousand pixels: threads only cost
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                export.onnx, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the library has a class for each of its codes and no common one
            raise TuneError(
                f"onnxruntime {onnxruntime.__version__} cannot load {export.folder}/model.onnx: {error}"
            ) from error
        self._outputs = [output.name for output in self._session.get_outputs()]

    def answer(self, pixels: np.ndarray, number: int | None = None) -> dict[str, Answer]:
        """What each head says of one picture: uint8 (H, W), light ink on black ground.

        Raises UsageError for a number that is missing, superfluous or out of range.
        """
        import numpy as np

        self.check(number)
        export = self.export
        image = pixels.astype(np.float32) / np.float32(255)
        fed: dict[str, Any] = {"image": image.reshape(1, 1, export.height, export.width)}
        if number is not None:
            fed["number"] = np.array([number], dtype=np.int64)
        logits: Mapping[str, Any] = dict(
            zip(self._outputs, self._session.run(self._outputs, fed), strict=True)
        )
        return {name: Answer(probabilities=_softmax(logits[name][0])) for name, _ in export.heads}

    def check(self, number: int | None) -> None:
        """Raises UsageError for a number that is missing, superfluous or out of range."""
        numbers = self.export.numbers
        if numbers and number is None:
            raise UsageError(
                f"The task {self.export.task} takes a number with the picture; "
                f"give --number 0 to {numbers - 1}."
            )
        if number is None:
            return
        if not numbers:
            raise UsageError(f"The task {self.export.task} takes a picture alone; leave --number out.")
        if not 0 <= number < numbers:
            raise UsageError(f"--number must be from 0 to {numbers - 1}, not {number}.")


def _softmax(logits: np.ndarray) -> tuple[float, ...]:
    import numpy as np

    shifted = logits.astype(np.float64)
    powers = np.exp(shifted - shifted.max())
    return tuple(map(float, powers / powers.sum()))
