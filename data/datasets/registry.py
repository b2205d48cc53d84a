"""All datasets by name: a new one is a module and one line here, or in a package's metadata."""

from __future__ import annotations

from data import registry
from data.datasets.base import Dataset
from data.datasets.mnist import MNIST

DATASETS: dict[str, Dataset] = {
    "mnist": MNIST,
}

GROUP = "tune.datasets"
"""Entry points of installed packages that declare one more."""


def get_dataset(name: str) -> Dataset:
    """The dataset of that name.

    Raises:
        UnknownName, UnusableEntry: see data.registry.declared.
    """
    if name in DATASETS:
        return DATASETS[name]
    found = registry.declared(Dataset, name, GROUP, tuple(DATASETS))
    assert isinstance(found, Dataset), "it was looked at"
    return found
