"""The side of NePS, one worker: its ASHA, which continues from the checkpoint of the rung before.

python by_neps.py work FOLDER EVALUATIONS SEED; python by_neps.py count FOLDER
"""

import json
import random
import sys
from pathlib import Path

import neps
import numpy as np
import torch


def evaluate(
    lr: float,
    channels: int,
    dropout: float,
    epochs: int,
    pipeline_directory: Path,
    previous_pipeline_directory: Path | None,
) -> float:
    import course_cnn

    before = previous_pipeline_directory
    *_, (_, accuracy) = course_cnn.epochs(
        {"lr": lr, "channels": channels, "dropout": dropout},
        until=epochs,
        directory=Path(pipeline_directory),
        state=None if before is None else Path(before) / "state.pt",
    )
    return 1 - accuracy


def work(folder: str, evaluations: int, seed: int) -> None:
    import course_cnn

    # NePS draws from the global generators, whose states all workers share through its folder.
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)

    class Space(neps.PipelineSpace):  # type: ignore[misc] # it is not there where types are checked
        lr = neps.Float(*course_cnn.LR, log=True)
        channels = neps.Integer(*course_cnn.CHANNELS, log=True)
        dropout = neps.Float(*course_cnn.DROPOUT)
        epochs = neps.IntegerFidelity(1, course_cnn.EPOCHS)

    neps.run(
        evaluate_pipeline=evaluate,
        pipeline_space=Space(),
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
