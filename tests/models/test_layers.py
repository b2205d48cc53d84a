"""The layers written by hand against what torch does."""

import pytest
import torch

from models.layers import Dropout, Normalize


def dropout(p: float, seed: int) -> Dropout:
    layer = Dropout(p)
    layer.generator = torch.Generator().manual_seed(seed)
    return layer


@pytest.mark.parametrize("p", [0.001, 0.25, 0.5, 0.9, 0.999])
def test_dropout_leaves_out_that_share_and_keeps_the_mean(p: float) -> None:
    out = dropout(p, seed=1)(torch.ones(1000, 1001))
    share = float((out == 0).float().mean())
    assert share == pytest.approx(p, abs=5 * (p * (1 - p) / 1e6) ** 0.5)
    torch.testing.assert_close(out[out != 0].unique(), torch.tensor([1 / (1 - p)]), rtol=2e-2, atol=0)


def test_dropout_without_work_returns_its_input() -> None:
    x = torch.ones(3, 5)
    assert dropout(0.0, seed=1)(x) is x
    assert dropout(0.5, seed=1).eval()(x) is x


def test_dropout_draws_from_its_generator_alone() -> None:
    x = torch.ones(64, 33)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one = dropout(0.5, seed=1)(x)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    assert torch.equal(dropout(0.5, seed=1)(x), one)
    assert not torch.equal(dropout(0.5, seed=2)(x), one)


def test_dropout_passes_the_gradient_where_it_passed_the_value() -> None:
    x = torch.ones(8, 9, requires_grad=True)
    out = dropout(0.5, seed=1)(x)
    out.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, out.detach())


IMAGE = torch.arange(240, dtype=torch.uint8).view(2, 3, 5, 8)


def test_one_mean_is_for_all_channels_and_to_the_bit_what_it_was_when_it_was_a_constant() -> None:
    normalize = Normalize((0.1307,), (0.3081,))
    by_bytes = IMAGE.float().mul_(1 / (255 * 0.3081)).sub_(0.1307 / 0.3081)
    assert torch.equal(normalize(IMAGE), by_bytes)
    assert torch.equal(normalize(IMAGE.float() / 255), (IMAGE.float() / 255 - 0.1307) / 0.3081)
    assert normalize.state_dict() == {}


def test_a_mean_for_each_channel() -> None:
    normalize = Normalize((0.1, 0.5, 0.2), (0.3, 0.2, 1.0))
    means, deviations = (torch.tensor(each).view(3, 1, 1) for each in ((0.1, 0.5, 0.2), (0.3, 0.2, 1.0)))
    wanted = (IMAGE.double() / 255 - means) / deviations
    for image in (IMAGE, IMAGE.float() / 255):
        torch.testing.assert_close(normalize(image).double(), wanted, rtol=1e-5, atol=1e-6)
    assert normalize.state_dict() == {}, "the description of a network has them, its weights need not"
