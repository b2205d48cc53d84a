"""All datasets by name: a new one is a module and one line here, or in a package's metadata. Sets of images
that users added are found in the cache."""

from __future__ import annotations

from data import registry
from data.datasets.base import Dataset
from data.datasets.image_set import get_set, is_set_name
from data.datasets.mnist import MNIST

DATASETS: dict[str, Dataset] = {
    "mnist": MNIST,
}

GROUP = "tune.datasets"
"""Entry points of installed packages that declare one more."""


def get_dataset(name: str) -> Dataset:
    """The dataset of that name; NAME@DIGITS is a set of images that a user added.

    Raises:
        SetAbsent: see data.datasets.image_set.get_set.
        UnknownName, UnusableEntry: see data.registry.declared.
    """
    if name in DATASETS:
        return DATASETS[name]
    if is_set_name(name):
        return get_set(name)
    found = registry.declared(Dataset, name, GROUP, tuple(DATASETS))
    assert isinstance(found, Dataset), "it was looked at"
    return found
