"""The side of tune: `tune run --objective by_tune.py:train`, as it comes."""

import course_cnn

import tune


@tune.objective(
    space=tune.Space(
        lr=tune.Float(*course_cnn.LR, log=True),
        channels=tune.Int(*course_cnn.CHANNELS, log=True),
        dropout=tune.Float(*course_cnn.DROPOUT),
    ),
    score="accuracy",
    budget=course_cnn.EPOCHS,
    checkpoints=True,
)
def train(trial: tune.Trial) -> None:
    state = trial.directory / "state.pt" if trial.resumed else None
    for epoch, accuracy in course_cnn.epochs(
        trial.params, until=trial.budget, directory=trial.directory, state=state
    ):
        trial.checkpoint()
        trial.report(epoch, accuracy=accuracy)
