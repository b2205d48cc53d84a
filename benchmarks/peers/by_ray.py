"""The side of Ray Tune: OptunaSearch and ASHA, two trials at a time; trials that fail are tried again.

python by_ray.py FOLDER TRIALS SEED UNTIL; UNTIL in seconds since the epoch
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune import CheckpointConfig, FailureConfig, RunConfig
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

HERE = str(Path(__file__).resolve().parent)


def trainable(config: dict[str, float]) -> None:
    sys.path.insert(0, HERE)
    import course_cnn

    with tempfile.TemporaryDirectory() as folder:
        state, checkpoint = None, tune.get_checkpoint()
        if checkpoint is not None:
            state = Path(checkpoint.to_directory()) / "state.pt"
        for _, accuracy in course_cnn.epochs(
            config, until=course_cnn.EPOCHS, directory=Path(folder), state=state
        ):
            tune.report({"accuracy": accuracy}, checkpoint=tune.Checkpoint.from_directory(folder))


def space() -> dict[str, Any]:
    import course_cnn

    least, most = course_cnn.CHANNELS
    return {
        "lr": tune.loguniform(*course_cnn.LR),
        "channels": tune.lograndint(least, most + 1),  # without its upper end
        "dropout": tune.uniform(*course_cnn.DROPOUT),
    }


def main(folder: str, trials: int, seed: int, until: float) -> None:
    sys.path.insert(0, HERE)
    import course_cnn

    variables = {name: os.environ[name] for name in ("TWODIGIT", "EVENTS", "EXAMPLES") if name in os.environ}
    ray.init(num_cpus=2, runtime_env={"env_vars": variables}, include_dashboard=False, log_to_driver=False)
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space=space(),
        tune_config=tune.TuneConfig(
            metric="accuracy",
            mode="max",
            search_alg=OptunaSearch(seed=seed),
            scheduler=ASHAScheduler(max_t=course_cnn.EPOCHS),
            num_samples=trials,
            max_concurrent_trials=2,
            time_budget_s=until - time.time(),  # Ray counts from here on
        ),
        run_config=RunConfig(
            storage_path=folder,
            name="peers",
            failure_config=FailureConfig(max_failures=-1),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
            verbose=0,
        ),
    )
    results = tuner.fit()
    # One that the end of the time has stopped has no error either.
    finished = sum(result.error is None and bool((result.metrics or {}).get("done")) for result in results)
    print(json.dumps({"finished": finished, "open": len(results) - finished}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
