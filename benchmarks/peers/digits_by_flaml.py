"""FLAML on the images that own_images.py has stored, for as long as `tune` took. Prints the best accuracy on
the validation images.

    pip install 'flaml[automl]'; python benchmarks/peers/digits_by_flaml.py digits.npz 26
"""

import sys

import numpy as np
from flaml import AutoML  # type: ignore[import-not-found]  # it lies in an environment of its own

with np.load(sys.argv[1]) as stored:
    arrays = dict(stored)
automl = AutoML()
automl.fit(
    arrays["train_images"],
    arrays["train_labels"],
    X_val=arrays["val_images"],
    y_val=arrays["val_labels"],
    task="classification",
    metric="accuracy",
    eval_method="holdout",
    time_budget=float(sys.argv[2]),
    n_jobs=2,
    seed=0,
    verbose=0,
)
print(1 - automl.best_loss)
