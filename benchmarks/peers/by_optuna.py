"""The side of plain Optuna, one worker: TPE, the median pruner, one SQLite file for all workers.

python by_optuna.py work FOLDER TRIALS SEED; python by_optuna.py count FOLDER
"""

import json
import sys
import tempfile
from pathlib import Path

import optuna
from optuna.study import MaxTrialsCallback
from optuna.trial import TrialState

ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


def study(folder: str, seed: int = 0) -> optuna.Study:
    return optuna.create_study(
        storage=f"sqlite:///{folder}/optuna.db",
        study_name="peers",
        load_if_exists=True,
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(),
    )


def objective(trial: optuna.Trial) -> float:
    import course_cnn

    settings = {
        "lr": trial.suggest_float("lr", *course_cnn.LR, log=True),
        "channels": trial.suggest_int("channels", *course_cnn.CHANNELS, log=True),
        "dropout": trial.suggest_float("dropout", *course_cnn.DROPOUT),
    }
    accuracy = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for epoch, accuracy in course_cnn.epochs(settings, until=course_cnn.EPOCHS, directory=Path(folder)):
            trial.report(accuracy, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
    return accuracy


if __name__ == "__main__":
    if sys.argv[1] == "work":
        _, _, where, trials, seed = sys.argv
        study(where, int(seed)).optimize(objective, callbacks=[MaxTrialsCallback(int(trials), ENDED)])
    else:
        states = [trial.state for trial in study(sys.argv[2]).trials]
        open_ = states.count(TrialState.RUNNING) + states.count(TrialState.WAITING)
        print(json.dumps({"finished": sum(state in ENDED for state in states), "open": open_}))
