"""The spec of a study for tests: one place that names all fields that a spec must have."""

from __future__ import annotations

from dataclasses import replace

from search.records import NetworkSpec

_PLAIN = NetworkSpec(
    task="twodigit",
    space={},
    epochs=1,
    epoch_images=36_000,
    validation_pictures=4_000,
    seed=0,
    sampler="tpe",
    pruner="none",
    checksums={},
)


def network_spec(**changed: object) -> NetworkSpec:
    """Of a study of twodigit that searches nothing, without a pruner, but for what is given."""
    return replace(_PLAIN, **changed)  # type: ignore[arg-type]  # a field's name decides its type
