"""The side of NePS, one worker: its ASHA, which continues from the checkpoint of the rung before.

python by_neps.py work FOLDER EVALUATIONS SEED; python by_neps.py count FOLDER
"""

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import neps
import numpy as np
import torch


def evaluate(
    lr: float,
    channels: float,
    dropout: float,
    epochs: int,
    pipeline_directory: Path,
    previous_pipeline_directory: Path | None,
) -> float:
    import course_cnn

    before = previous_pipeline_directory
    *_, (_, accuracy) = course_cnn.epochs(
        {"lr": lr, "channels": round(channels), "dropout": dropout},
        until=epochs,
        directory=Path(pipeline_directory),
        state=None if before is None else Path(before) / "state.pt",
    )
    return 1 - accuracy


def space() -> Any:
    import course_cnn

    least, most = course_cnn.CHANNELS

    class Space(neps.PipelineSpace):  # type: ignore[misc] # it is not there where types are checked
        lr = neps.Float(*course_cnn.LR, log=True)
        # To be rounded: of an Integer from 8 to 64 with log=True NePS 0.17 draws 8, 23 and 64 only.
        channels = neps.Float(least - 0.5, most + 0.5, log=True)
        dropout = neps.Float(*course_cnn.DROPOUT)
        epochs = neps.IntegerFidelity(1, course_cnn.EPOCHS)

    return Space()


def work(folder: str, evaluations: int, seed: int, function: Callable[..., float] = evaluate) -> None:
    """function: what is evaluated."""
    # NePS draws from the global generators, whose states all workers share through its folder.
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    neps.run(
        evaluate_pipeline=function,
        pipeline_space=space(),
        root_directory=f"{folder}/neps",
        total_evaluations_to_spend=evaluations,
        optimizer="asha",
    )


if __name__ == "__main__":
    if sys.argv[1] == "work":
        work(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        _, summary = neps.status(f"{sys.argv[2]}/neps")
        told = {str(name): value for name, value in summary.items()}
        finished = int(told.get("num_success", 0))
        print(json.dumps({"finished": finished, "open": int(told.get("num_evaluating", 0))}))
