"""Your own training code: the settings that a search may choose, and the function that it calls.

    import tune

    @tune.objective(
        space=tune.Space(
            lr=tune.Float(1e-4, 1e-1, log=True),
            depth=tune.Int(1, 4),
            optimizer=tune.Choice(["sgd", "adam"]),
            momentum=tune.Float(0.0, 0.99, when={"optimizer": "sgd"}),
        ),
        score="accuracy", budget=20,
    )
    def train(trial: tune.Trial) -> None:
        model = build(**trial.params)
        for epoch in range(1, trial.budget + 1):
            trial.report(epoch, accuracy=fit_one_epoch(model, seed=trial.seed))

    study = tune.search(train, trials=50, workers=2)
    study.best.params

Imports the standard library only and runs on Python 3.9: your own interpreter imports it.
"""

from tune.command import TuneError
from tune.objectives import Objective, objective
from tune.space import Choice, Float, Int, Space, SpaceError
from tune.study import BestTrial, Study, TrialResult, open_study, search
from tune.trial import StopTrial, Trial

__all__ = [
    "BestTrial",
    "Choice",
    "Float",
    "Int",
    "Objective",
    "Space",
    "SpaceError",
    "StopTrial",
    "Study",
    "Trial",
    "TrialResult",
    "TuneError",
    "objective",
    "open_study",
    "search",
]
