"""AutoGluon on the images that own_images.py has stored, as tables of pixels, for as long as `tune` took.
Prints the best accuracy on the validation images.

    pip install 'autogluon.tabular[all]'; python benchmarks/peers/digits_by_autogluon.py digits.npz 26
"""

import sys
import tempfile

import numpy as np
import pandas as pd  # type: ignore[import-untyped]  # it ships no types
from autogluon.tabular import TabularPredictor  # type: ignore[import-not-found]  # an environment of its own

with np.load(sys.argv[1]) as stored:
    arrays = dict(stored)
tables = {}
for part in ("train", "val"):
    tables[part] = pd.DataFrame(arrays[f"{part}_images"]).rename(columns="pixel {}".format)
    tables[part]["label"] = arrays[f"{part}_labels"]
with tempfile.TemporaryDirectory() as folder:
    predictor = TabularPredictor("label", path=folder, eval_metric="accuracy", verbosity=0)
    predictor.fit(tables["train"], tuning_data=tables["val"], time_limit=float(sys.argv[2]), num_cpus=2)
    print(predictor.leaderboard()["score_val"].max())
