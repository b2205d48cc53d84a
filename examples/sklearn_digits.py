"""scikit-learn on its digits, with checkpoints (needs `pip install scikit-learn`):
`tune run --objective examples/sklearn_digits.py`."""

import pickle

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import tune

images, labels = load_digits(return_X_y=True)
x_rest, x_test, y_rest, y_test = train_test_split(images / 16, labels, test_size=360, random_state=0)
x_train, x_val, y_train, y_val = train_test_split(x_rest, y_rest, test_size=360, random_state=0)


@tune.objective(
    space=tune.Space(
        lr=tune.Float(1e-4, 1e-1, log=True),
        width=tune.Int(8, 128, log=True),
        alpha=tune.Float(1e-6, 1e-1, log=True),
        solver=tune.Choice(["adam", "sgd"]),
        momentum=tune.Float(0.0, 0.99, when={"solver": "sgd"}),
    ),
    score="accuracy",
    budget=20,
    checkpoints=True,
)
def train(trial: tune.Trial) -> None:
    params, start = trial.params, 0
    state = trial.directory / "model.pickle"
    model = MLPClassifier(
        hidden_layer_sizes=(params["width"],),
        solver=params["solver"],
        alpha=params["alpha"],
        learning_rate_init=params["lr"],
        momentum=params.get("momentum", 0.9),
        random_state=trial.seed % 2**32,
    )
    if trial.resumed:
        model, start = pickle.loads(state.read_bytes())
    for epoch in range(start + 1, trial.budget + 1):
        model.partial_fit(x_train, y_train, classes=range(10))
        correct = model.predict(x_val) == y_val
        state.write_bytes(pickle.dumps((model, epoch)))
        trial.checkpoint()
        trial.examples(correct)
        trial.report(epoch, accuracy=correct.mean(), loss=model.loss_)


@train.test
def test(trial: tune.Trial) -> dict[str, float]:
    model, _ = pickle.loads((trial.directory / "model.pickle").read_bytes())
    return {"accuracy": model.score(x_test, y_test)}


if __name__ == "__main__":
    train.run(lr=0.01)
