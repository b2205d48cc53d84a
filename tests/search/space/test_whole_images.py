"""What a search of whole images begins with follows from their size, their colors and their number."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
import torch
from made_images import SHADES, MadeImages

from data.datasets.base import Split
from data.datasets.mnist import MNIST
from data.tasks.classification import REFERENCES, Classification, epochs_for
from data.tasks.registry import TASKS
from models.network import build
from search.errors import ConfigError
from search.objectives.network.decoding import decode, signature_of
from search.space.defaults import BY_NAME, FAMILIES, default_space, shown_settings, without_effect
from search.space.file import change_space, read_space, space_entries, space_of_entries
from search.study.evaluation_schedule import EvaluationSchedule
from search.study.pruners import make_pruning
from tune.space import Choice, Domain, Fixed, Float, Int, Value


def task_of(shape: tuple[int, int, int], images: int = 10_000) -> Classification:
    sizes = {Split.TRAIN: images, Split.VALIDATION: 100, Split.TEST: 100}
    return Classification(MadeImages(shape, columns=(SHADES,), sizes=sizes))


def ends(domain: Domain) -> list[Value]:
    match domain:
        case Int() | Float():
            return [domain.low, domain.high]
        case Choice():
            return list(domain.options)
        case Fixed():
            return [domain.value]
    raise AssertionError(domain)


SHAPES = [
    (1, 8, 8),
    (3, 8, 8),
    (1, 8, 128),
    (3, 12, 10),
    (1, 15, 15),
    (3, 32, 32),
    (3, 64, 48),
    (3, 128, 128),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("images", [100, 50_000])
def test_every_network_of_the_space_fits_the_images(shape: tuple[int, int, int], images: int) -> None:
    """Each combination of what shrinks an image, conditions included."""
    space = default_space(("conv",), task_of(shape, images))
    shrinking = ("blocks", "stem", "convolutions", "kernel", "padding", "batch_norm", "batch_size")
    fixed = {name: ends(domain)[0] for name, domain in space.domains.items()}
    for values in product(*(ends(space.domains[name]) for name in shrinking)):
        settings = space.active({**fixed, **dict(zip(shrinking, values, strict=True))})
        config = decode(settings, images=1000, seed=1, precision="float32").model
        _, height, width = config.sizes(shape)[-1]  # type: ignore[union-attr]  # all are convolutions
        assert min(height, width) >= 2
        config.check_training(shape, int(settings["batch_size"]))  # type: ignore[union-attr]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 12, 10), (3, 64, 48)], ids=str)
def test_the_smallest_and_the_largest_network_learn_from_such_images(
    shape: tuple[int, int, int], family: str
) -> None:
    task = task_of(shape)
    for pick in (0, -1):
        settings = {name: ends(d)[pick] for name, d in default_space((family,), task).domains.items()}
        network = build(
            decode(settings, images=1000, seed=1, precision="float32").model, signature_of(task), seed=1
        )
        logits = network.logits(torch.zeros(2, *shape, dtype=torch.uint8))
        assert logits.shape == (2, 3)
        logits.sum().backward()  # type: ignore[no-untyped-call]


def test_only_settings_that_mean_something_are_in_the_space_and_shown() -> None:
    task = task_of((3, 32, 32))
    assert without_effect(task) == {"pairing", "number_width"}
    space = default_space(FAMILIES, task)
    assert set(space.domains) == set(BY_NAME) - {"pairing", "number_width"}
    assert shown_settings({"lr": 0.1, "pairing": "fixed", "flip": True}, task) == {"lr": 0.1, "flip": True}
    for composed in TASKS.values():
        assert "flip" not in default_space(FAMILIES, composed).domains
        assert default_space(FAMILIES, composed).domains == default_space().domains
        assert "flip" in without_effect(composed)
        assert "pairing" in default_space(FAMILIES, composed).domains
    settings = space.active({name: ends(domain)[-1] for name, domain in space.domains.items()})
    decoded = decode(settings, images=1000, seed=0, precision="float32")
    assert (decoded.augmentation.flip, decoded.augmentation.pairing) == (True, "fixed")


def test_flip_is_searched_in_color_and_off_in_gray() -> None:
    assert default_space(FAMILIES, task_of((3, 32, 32))).domains["flip"] == Choice((False, True))
    assert default_space(FAMILIES, task_of((1, 32, 32))).domains["flip"] == Fixed(False)


def test_few_images_get_small_networks_and_more_dropout_and_large_ones_fewer_channels() -> None:
    few, many = (default_space(FAMILIES, task_of((1, 28, 28), n)).domains for n in (1_000, 54_000))
    usual = default_space().domains
    assert many["hidden"] == usual["hidden"]
    assert (few["hidden"].high, few["dropout"].high) == (256, 0.7)  # type: ignore[union-attr]
    assert few["batch_size"] == Choice((32, 64))
    assert many["blocks"] == usual["blocks"], "28 pixels are those that the defaults were measured on"
    blocks = {
        side: default_space(FAMILIES, task_of((1, side, side))).domains["blocks"] for side in (8, 16, 64)
    }
    assert {side: (d.low, d.high) for side, d in blocks.items()} == {8: (1, 2), 16: (2, 3), 64: (3, 4)}  # type: ignore[union-attr]
    large = default_space(FAMILIES, task_of((3, 64, 64))).domains
    assert (large["channels"].high, large["width"].high) == (16, 128)  # type: ignore[union-attr]


def test_a_file_narrows_the_space_of_its_task_and_knows_what_means_nothing(tmp_path: Path) -> None:
    task = task_of((3, 32, 32))
    path = tmp_path / "space.toml"
    path.write_text("flip = true\nblocks = 2\n")
    space = read_space(path, FAMILIES, task)
    assert space.domains["flip"] == Fixed(True)
    assert space.domains["shift"] == default_space(FAMILIES, task).domains["shift"]
    assert space_of_entries(space_entries(space)) == space, "as the spec of a study keeps it"
    with pytest.raises(ConfigError, match="x: pairing: means nothing for this task"):
        change_space({"pairing": "fresh"}, FAMILIES, task, where="x")
    with pytest.raises(ConfigError, match="x: flip: means nothing for this task"):
        change_space({"flip": True}, FAMILIES, TASKS["twodigit"], where="x")
    with pytest.raises(ConfigError, match="channels: belongs to the family conv"):
        change_space({"channels": 8}, ("mlp",), task, where="x")


@pytest.mark.parametrize(
    ("images", "pixels", "epochs", "first"),
    [
        (54_000, 784, 4, 13_500),
        (1_458, 64, 44, 3 * 1_458),
        (300, 784, 128, 8 * 300),
        (50, 784, 200, 12 * 50),
        (5_000, 784, 20, 5_000),
        (16_200, 4_096, 6, 8_100),
        (1_000_000, 784, 2, 125_000),
    ],
)
def test_the_budget_and_the_first_evaluation_follow_from_the_number_of_images(
    images: int, pixels: int, epochs: int, first: int
) -> None:
    assert epochs_for(images, pixels) == epochs
    side = int(pixels**0.5)
    task = task_of((1, side, side), images)
    assert task.epochs == epochs
    schedule = EvaluationSchedule.doubling(
        epoch_images=images,
        epochs=task.epochs,
        early_evaluations=task.early_evaluations,
        every=task.evaluate_every,
    )
    rungs = make_pruning("asha", schedule).rungs
    assert (schedule.first, rungs[0], rungs[-1]) == (first, first, images * epochs)
    assert set(rungs) <= set(schedule.rungs), "no trial is judged where nothing is reported"
    assert len(schedule.rungs) <= 24, "an evaluation costs as much as training on hundreds of images"


def test_mnist_as_ten_classes_has_the_budget_of_the_sum() -> None:
    assert Classification(MNIST).epochs == TASKS["sum"].epochs
    assert Classification(MNIST).early_evaluations == TASKS["sum"].early_evaluations


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_reference_has_every_setting_of_its_family_and_fits(name: str, shape: tuple[int, int, int]) -> None:
    task = task_of(shape)
    settings = task.references[name]
    own = {n for n, p in BY_NAME.items() if p.family in (None, settings["model"])}
    assert set(settings) == own - without_effect(task)
    assert all(value in BY_NAME[setting].legal for setting, value in settings.items())
    spec = decode(settings, images=1000, seed=0, precision="float32")
    network = build(spec.model, signature_of(task), seed=0)
    if name == "logistic-regression":
        assert network.parameter_count == 3 * (shape[0] * shape[1] * shape[2] + 1)
