"""A function of three parameters, measured with noise: `tune run --objective examples/numpy_function.py`."""

import numpy as np

import tune

HEIGHTS = np.array([1.0, 1.2, 3.0, 3.2])
SCALES = np.array([[3, 10, 30], [0.1, 10, 35], [3, 10, 30], [0.1, 10, 35]])
CENTERS = np.array(
    [[0.3689, 0.117, 0.2673], [0.4699, 0.4387, 0.747], [0.1091, 0.8732, 0.5547], [0.0382, 0.5743, 0.8828]]
)


@tune.objective(
    space=tune.Space(x=tune.Float(0, 1), y=tune.Float(0, 1), z=tune.Float(0, 1)),
    score="value",
    direction="minimize",
    budget=1,
    unit="evaluation",
)
def hartmann(trial: tune.Trial) -> None:
    """Hartmann's function; its minimum is -3.863 at (0.115, 0.556, 0.853)."""
    point = np.array([trial.params["x"], trial.params["y"], trial.params["z"]])
    value = -HEIGHTS @ np.exp(-(SCALES * (point - CENTERS) ** 2).sum(axis=1))
    noise = np.random.default_rng(trial.seed).normal(scale=0.02)
    trial.report(1, value=value + noise)


if __name__ == "__main__":
    hartmann.run(x=0.115, y=0.556, z=0.853)
