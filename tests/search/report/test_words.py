"""How figures and names read."""

from __future__ import annotations

from search.report.words import hardware


def test_a_gpu_is_named_before_the_cpu_beside_it() -> None:
    assert hardware({"cpu": "Xeon", "gpu": "H200", "cores": 16}) == "H200"
    assert hardware({"cpu": "Xeon"}) == "Xeon"
    assert hardware({}) == "an unknown processor"
