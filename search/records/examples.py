"""What is known of a task's examples without opening them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class Examples:
    """What sentences about a study say of the examples that its networks were measured on."""

    are: str = "images"
    """what vary from one data set to another, so that an interval is over them: "digits", "images" """
    references_are: str = "references"
    """what the configurations are that a search begins with: "references", "published networks" """
    remark: str = ""
    """a sentence on how validation differs from test; empty: nothing is known"""
    majority: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    """by head, the most frequent class of validation and its share, which is the accuracy of always answering
    with it; heads whose classes are about equally frequent are left out"""
