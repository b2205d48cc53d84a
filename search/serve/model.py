"""An exported model at work: images in, probabilities out, by ONNX Runtime and numpy alone."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from reprlib import repr as short
from typing import TYPE_CHECKING, Any

from search.errors import ConfigError, UsageError
from search.serve.folder import ONNX, Export

if TYPE_CHECKING:
    import numpy as np

LONGEST_S = 10.0
"""A model that takes longer for one image is ended; tune's take milliseconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One head's answer to one image."""

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
                "`pip install onnxruntime` fixes it."
            ) from error
        self.export = export
        self._file = f"{export.folder}/{ONNX}"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # one image of some thousand pixels: threads only cost
        options.log_severity_level = 4  # what goes wrong is raised
        try:
            self._session = onnxruntime.InferenceSession(
                export.onnx, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the library has a class for each of its codes and no common one
            raise ConfigError(
                f"onnxruntime {onnxruntime.__version__} cannot load {self._file}: {_words(error)}."
            ) from error
        self._run_options = onnxruntime.RunOptions
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._refuse_others()

    def answer(self, pixels: np.ndarray, number: int | None = None) -> dict[str, Answer]:
        """What each head says of one image: uint8 (H, W), or (H, W, C), as `image_file.prepared` makes it.

        Raises UsageError for a number that is missing, superfluous or out of range, ConfigError where the
        model does not compute what its export says.
        """
        import numpy as np

        self.check(number)
        export = self.export
        image = pixels.astype(np.float32) / np.float32(255)
        shape = (export.height, export.width, export.channels)
        fed: dict[str, Any] = {"image": image.reshape(shape).transpose(2, 0, 1)[None].copy()}
        if number is not None:
            fed["number"] = np.array([number], dtype=np.int64)
        logits: Mapping[str, Any] = dict(zip(self._outputs, self._run(fed), strict=True))
        for name, classes in export.heads:
            found = logits[name]
            if not isinstance(found, np.ndarray) or found.shape != (1, classes):
                raise ConfigError(f"{self._file} does not give {classes} logits of {name} for an image.")
            if found.dtype.kind != "f" or not np.isfinite(found).all():
                raise ConfigError(f"{self._file} gives logits of {name} that are not finite numbers.")
        return {name: Answer(probabilities=_softmax(logits[name][0])) for name, _ in export.heads}

    def _run(self, fed: Mapping[str, Any]) -> list[Any]:
        options = self._run_options()
        watch = threading.Timer(LONGEST_S, setattr, (options, "terminate", True))
        watch.daemon = True
        watch.start()
        try:
            found: list[Any] = self._session.run(self._outputs, fed, options)
        except Exception as error:  # as above
            raise ConfigError(f"{self._file} cannot compute an image: {_words(error)}.") from error
        finally:
            watch.cancel()
        return found

    def _refuse_others(self) -> None:
        """Raises ConfigError unless the model takes and gives what its export says."""
        taken = {each.name: each.type for each in self._session.get_inputs()}
        expected = {"image": "tensor(float)"}
        if self.export.numbers:
            expected["number"] = "tensor(int64)"
        if taken != expected:
            raise ConfigError(f"{self._file} takes {short(taken)}, not {expected}; make the export anew.")
        missing = [name for name, _ in self.export.heads if name not in self._outputs]
        if missing:
            raise ConfigError(f"{self._file} gives no {', '.join(missing)}; make the export anew.")

    def check(self, number: int | None) -> None:
        """Raises UsageError for a number that is missing, superfluous or out of range."""
        numbers = self.export.numbers
        if numbers and number is None:
            raise UsageError(
                f"The task {self.export.task} takes a number with the image; "
                f"give --number 0 to {numbers - 1}."
            )
        if number is None:
            return
        if not numbers:
            raise UsageError(f"The task {self.export.task} takes an image alone; leave --number out.")
        if not 0 <= number < numbers:
            raise UsageError(f"--number must be from 0 to {numbers - 1}, not {number}.")


def _softmax(logits: np.ndarray) -> tuple[float, ...]:
    import numpy as np

    shifted = logits.astype(np.float64)
    powers = np.exp(shifted - shifted.max())
    return tuple(map(float, powers / powers.sum()))


def _words(error: Exception) -> str:
    """What the library says, on one line of a terminal's length or two."""
    return " ".join(str(error).split())[:300].rstrip(".")
