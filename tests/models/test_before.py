"""What was written before the mean and deviation were part of a network's description loads as it was.

The files in `before/` were written by commit f12430d.
"""

from pathlib import Path

import pytest
import torch

from models.checkpoint import load_checkpoint
from models.export import rebuild
from models.network import Network

BEFORE = Path(__file__).with_name("before")

IMAGE = torch.arange(24, dtype=torch.uint8).view(2, 1, 4, 3) * 10
NUMBER = torch.tensor([0, 1])
LOGITS = {
    "a": [["-0x1.f97776p-3", "-0x1.85b940p-6"], ["0x1.220620p-2", "-0x1.8ecd90p-4"]],
    "b": [
        ["-0x1.5da7e0p-2", "0x1.af6a70p-5", "-0x1.2c66f0p-5"],
        ["-0x1.4b1a98p-2", "0x1.c06a98p-3", "-0x1.5e3f24p-1"],
    ],
}
"""Of IMAGE and NUMBER, by that commit, on an AMD EPYC."""


@pytest.mark.parametrize("what", ["checkpoint", "export"])
def test_loads_unchanged(what: str) -> None:
    network: Network = (
        load_checkpoint(BEFORE / "checkpoint.safetensors").network()
        if what == "checkpoint"
        else rebuild(BEFORE)
    )
    assert (network.signature.mean, network.signature.deviation) == ((0.1307,), (0.3081,))
    by_constants = IMAGE.float().mul_(1 / (255 * 0.3081)).sub_(0.1307 / 0.3081)
    assert torch.equal(network.normalize(IMAGE), by_constants)
    with torch.inference_mode():
        found = network(IMAGE, NUMBER)
    for head, rows in LOGITS.items():
        wanted = torch.tensor([[float.fromhex(value) for value in row] for row in rows])
        # Another processor may add in another order.
        torch.testing.assert_close(found[head], wanted, rtol=0, atol=1e-6)
