"""Derives independent seeds from one root, so that no two random streams of a study are the same."""

from __future__ import annotations

import hashlib

from search.records import AblationRun, Confirming


def derive(seed: int, *path: str | int) -> int:
    """A seed in 0..2³¹-1 that depends on the root and on every step of the path.

    `derive(7, "train", 12)` is the same on every machine and Python; a change in any part changes it all.
    """
    text = "/".join(str(step) for step in (seed, *path))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 33


def training_seed(
    root: int, *, origin: int, confirming: Confirming | None, ablation: AblationRun | None = None
) -> int:
    """The seed of all that is random in a trial: initialization, order of examples, augmentation, dropout.

    root: the study's. origin: number of the trial that the settings were first given to. In a confirmation
    all candidates share a seed, so that their runs are pairs; none of these seeds occurs in a search. So do
    all arms of an ablation, whose seeds are others again.
    """
    if ablation is not None:
        return derive(root, "ablate", "choose" if ablation.chooses else "measure", ablation.seed)
    if confirming is not None:
        return derive(root, "confirm", confirming.seed)
    return derive(root, "trial", origin)
