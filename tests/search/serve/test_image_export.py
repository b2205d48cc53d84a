"""An exported network of any images: class names in every file, `predict` on files of any kind, the demo's
answers. Exports of digits, also old ones, are read as they were."""

from __future__ import annotations

import base64
import csv
import io
import json
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image
from typer.testing import CliRunner

from data.images import Fit, decode, fitted
from models.quantize import INT8, quantize
from search.cli.app import app
from search.errors import ConfigError, UsageError
from search.serve.demo import make_server
from search.serve.folder import CONFIG_FORMAT, NAMED_FORMAT, Export, described, open_export, write_manifest
from search.serve.image_file import prepared
from search.serve.model import Model
from search.service.predict import predict
from tests.support.image_export import HEIGHT, LABELS, WIDTH, image_export

RED, BLUE, WHITE = (230, 10, 20), (0, 0, 255), (255, 255, 255)


@pytest.fixture(scope="module")
def colors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return image_export(tmp_path_factory.mktemp("exports") / "colors")


def painted(path: Path, color: tuple[int, int, int], size: tuple[int, int] = (60, 45)) -> Path:
    """An image file of one color."""
    Image.new("RGB", size, color).save(path)
    return path


def test_the_export_says_what_an_image_is_and_what_classes_are_called(colors: Path) -> None:
    export = open_export(colors)
    assert (export.channels, export.height, export.width, export.fit) == (3, HEIGHT, WIDTH, Fit.PAD)
    assert export.labels == LABELS
    assert export.label("color", 0) == "röd"
    config = json.loads((colors / "config.json").read_bytes())
    assert config["format"] == NAMED_FORMAT
    assert config["signature"]["mean"] == [0, 0, 0]
    assert config["signature"]["deviation"] == [1, 1, 1]


def test_the_onnx_file_says_it_itself_also_with_eight_bits(colors: Path, tmp_path: Path) -> None:
    import torch

    images = torch.randint(256, (64, 3, HEIGHT, WIDTH), dtype=torch.uint8)
    quantize(colors / "model.onnx", tmp_path / INT8, image=images, number=None)
    for file in (colors / "model.onnx", tmp_path / INT8):
        told = {each.key: each.value for each in onnx.load_model(file).metadata_props}
        assert json.loads(told["labels"]) == {head: list(names) for head, names in LABELS.items()}
        assert json.loads(told["fit"]) == "pad"


def test_a_configuration_without_names_has_the_previous_format() -> None:
    assert described(fit=None, labels={}, task="sum") == {"format": CONFIG_FORMAT, "task": "sum"}


def changed(colors: Path, folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """The export with another configuration, whose checksum is right."""
    folder.mkdir()
    for file in ("model.onnx", "config.json"):
        (folder / file).write_bytes((colors / file).read_bytes())
    config = json.loads((folder / "config.json").read_bytes())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))
    write_manifest(folder, {"study": "colors", "trial": 3}, {})
    return folder


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda told: told.update(fit="squeeze"), "fit must be pad, crop, stretch"),
        (lambda told: told["labels"].update(size=["a", "b"]), "not one of the heads"),
        (lambda told: told["labels"].update(light=["a"]), "labels of light must be a list of 2 to 2"),
        (lambda told: told["labels"].update(light=["a", "b\n"]), "must be printable"),
        (lambda told: told.update(labels=3), "labels is not a JSON object"),
        (lambda told: told["signature"]["image"].__setitem__(0, 2), "1 or 3 channels, not 2"),
        (lambda told: told.pop("fit"), "channels must be a whole number from 1 to 1"),
        (lambda told: told.update(format="tune-model-9"), "its format is 'tune-model-9'"),
    ],
)
def test_a_configuration_that_disagrees_is_refused(
    colors: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        open_export(changed(colors, tmp_path / "changed", change))


def test_an_export_may_have_as_many_classes_and_heads_as_a_set(colors: Path, tmp_path: Path) -> None:
    heads = [[f"head_{number}", 10_000] for number in range(64)]
    names = [f"class {number}" for number in range(10_000)]

    def change(told: dict[str, Any]) -> None:
        told["signature"]["heads"] = heads
        told["labels"] = {head: names for head, _ in heads}

    export = open_export(changed(colors, tmp_path / "many", change))
    assert (len(export.heads), len(export.labels["head_63"])) == (64, 10_000)


@pytest.mark.parametrize("name", ["x.png", "x.gif", "x.webp", "x.bmp", "x.tif", "x.jpg"])
def test_an_image_of_any_format_and_size_is_answered_by_name(colors: Path, tmp_path: Path, name: str) -> None:
    export, found = predict(colors, [painted(tmp_path / name, RED)], number=None)
    (answered,) = found
    assert {head: export.label(head, each.choice) for head, each in answered.heads.items()} == {
        "color": "röd",
        "light": "dark",
    }
    assert answered.notes == ("It is 60 wide and 45 high.", "It was resized to 16×12 pixels.")


@pytest.mark.parametrize("fit", Fit)
def test_an_image_is_treated_as_those_of_the_set(colors: Path, tmp_path: Path, fit: Fit) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (90, 50, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "x.png")
    content = (tmp_path / "x.png").read_bytes()
    seen = prepared(content, "x.png", height=HEIGHT, width=WIDTH, channels=3, fit=fit)
    stored, _ = fitted(
        decode(content, channels=3, at_least=(HEIGHT, WIDTH)).pixels, HEIGHT, WIDTH, fit
    )  # as data/ingest does
    assert (seen.pixels == stored).all()
    logits = Model(open_export(colors)).answer(seen.pixels)["color"].probabilities
    means = np.exp(10 * stored.reshape(-1, 3).mean(axis=0) / 255)
    assert logits == pytest.approx(means / means.sum(), abs=1e-4)


def test_a_gray_image_and_a_transparent_one(colors: Path, tmp_path: Path) -> None:
    Image.new("L", (16, 12), 200).save(tmp_path / "gray.png")
    Image.new("RGBA", (16, 12), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    export, found = predict(colors, [tmp_path / "gray.png", tmp_path / "clear.png"], number=None)
    gray, clear = found
    assert export.label("light", gray.heads["light"].choice) == "bright"
    assert export.label("light", clear.heads["light"].choice) == "bright"
    assert gray.notes == ()
    assert clear.notes == ("It is transparent: it was laid on white.",)


class TestCommand:
    """`tune predict` in this process: an image is answered by its service, which needs no torch."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "photos" / "inner").mkdir(parents=True)
        painted(tmp_path / "photos" / "a red one.PNG", RED)
        painted(tmp_path / "photos" / "inner" / "b.jpg", BLUE)
        (tmp_path / "photos" / "c.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
        (tmp_path / "photos" / "notes.txt").write_text("not an image")
        return tmp_path / "photos"

    def run(self, *arguments: object) -> Any:
        return CliRunner().invoke(app, ["predict", *map(str, arguments)])

    def test_one_image(self, colors: Path, folder: Path) -> None:
        done = self.run(colors, folder / "a red one.PNG")
        assert done.exit_code == 0
        color, light = done.stdout.splitlines()
        assert color.split("(")[0].split()[:2] == ["color", "röd"]
        assert "blue <b>" in color
        assert light.startswith("light  dark")
        told = json.loads(self.run(colors, folder / "a red one.PNG", "--json").stdout)
        assert told["picture"] == str(folder / "a red one.PNG")
        assert told["heads"]["color"]["answer"] == 0
        assert told["heads"]["color"]["label"] == "röd"
        assert told["heads"]["color"]["labels"] == ["röd", "green", "blue <b>"]
        assert sum(told["heads"]["color"]["probabilities"]) == pytest.approx(1)

    def test_a_folder_with_a_damaged_image(self, colors: Path, folder: Path) -> None:
        done = self.run(colors, folder, "--json")
        assert isinstance(done.exception, ConfigError)
        assert str(done.exception) == "1 of the images could not be predicted: see above."
        told = json.loads(done.stdout)
        assert [Path(each["picture"]).name for each in told] == ["a red one.PNG", "c.png", "b.jpg"]
        assert [each["heads"]["color"]["label"] for each in told if "heads" in each] == ["röd", "blue <b>"]
        assert "c.png cannot be read as an image" in told[1]["error"]
        assert "c.png cannot be read as an image" in done.stderr

    def test_csv(self, colors: Path, folder: Path) -> None:
        done = self.run(colors, folder, folder / "none.png", "--csv")
        assert isinstance(done.exception, ConfigError)
        rows = list(csv.DictReader(io.StringIO(done.stdout)))
        assert list(rows[0]) == ["file", "color", "color_probability", "light", "light_probability", "error"]
        assert [row["color"] for row in rows] == ["röd", "", "blue <b>", ""]
        assert float(rows[0]["color_probability"]) > 0.99
        assert "There is no image" in rows[3]["error"]

    def test_notes_on_many_images_are_summed_up_and_errors_come_last(
        self, colors: Path, tmp_path: Path
    ) -> None:
        many = tmp_path / "many"
        many.mkdir()
        for number in range(5):
            painted(many / f"{number}.png", RED, (640 + number, 200))
        (many / "0 damaged.png").write_bytes(b"no image")
        lines = self.run(colors, many).stderr.splitlines()
        assert "cannot be read as an image" in lines[-1]
        assert [line.split(":")[0] for line in lines[:-1]] == ["0.png, 1.png, 2.png and 2 more images"] * 3
        size = "It is 640 wide and 200 high. The numbers are those of the first."
        assert lines[0].endswith(f": {size}")
        told = json.loads(self.run(colors, many, "--json").stdout)
        assert ["It is 644 wide and 200 high." in each.get("notes", []) for each in told][-1]

    def test_several_for_people(self, colors: Path, folder: Path) -> None:
        done = self.run(colors, folder / "a red one.PNG", folder / "inner/b.jpg")
        assert done.exit_code == 0
        assert [line.split("PNG")[0].split("jpg")[0] for line in done.stdout.splitlines()] == [
            f"{folder}/a red one.",
            f"{folder}/a red one.",
            f"{folder}/inner/b.",
            f"{folder}/inner/b.",
        ]

    def test_what_cannot_be_asked(self, colors: Path, folder: Path, tmp_path: Path) -> None:
        damaged = self.run(colors, folder / "c.png")
        assert isinstance(damaged.exception, ConfigError)
        (tmp_path / "empty").mkdir()
        empty = self.run(colors, tmp_path / "empty")
        assert isinstance(empty.exception, UsageError)
        assert "has no image files" in str(empty.exception)
        long = self.run(colors, "x" * 300)
        assert isinstance(long.exception, ConfigError)
        assert "File name too long" in str(long.exception)
        both = self.run(colors, folder, "--csv", "--json")
        assert isinstance(both.exception, UsageError)


@pytest.fixture(scope="module")
def port(colors: Path) -> Iterator[int]:
    end = threading.Event()
    with make_server(Model(open_export(colors)), host="127.0.0.1", port=0) as made:
        thread = threading.Thread(target=made.run, args=(end.is_set,))
        thread.start()
        yield made.port
        end.set()
        thread.join()


def ask(port: int, body: bytes, content_type: str = "application/octet-stream") -> tuple[int, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", "/predict", body, {"Content-Type": content_type})
    response = connection.getresponse()
    found = response.status, json.load(response)
    connection.close()
    return found


class TestDemo:
    def test_answers_as_predict_does(self, colors: Path, port: int, tmp_path: Path) -> None:
        content = painted(tmp_path / "x.webp", BLUE, (640, 200)).read_bytes()
        status, told = ask(port, content)
        assert status == 200
        seen = prepared(content, "x", height=HEIGHT, width=WIDTH, channels=3, fit=Fit.PAD)
        assert base64.b64decode(told["picture"]) == seen.pixels.tobytes()
        assert told["notes"] == list(seen.notes)
        expected = Model(open_export(colors)).answer(seen.pixels)
        assert told["heads"]["color"] == {
            "answer": 2,
            "probabilities": list(expected["color"].probabilities),
        }

    def test_about_says_names(self, port: int) -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/about")
        told = json.load(connection.getresponse())
        connection.close()
        assert (told["channels"], told["fit"]) == (3, "pad")
        assert told["labels"] == {head: list(names) for head, names in LABELS.items()}

    @pytest.mark.parametrize(
        ("body", "content_type", "status", "words"),
        [
            (b"seven", "application/octet-stream", 400, "It cannot be read as an image: it is not a PNG"),
            (b"", "application/octet-stream", 400, "it is empty"),
            (b"{}", "application/json", 415, "application/octet-stream"),
        ],
    )
    def test_what_is_no_image(
        self, port: int, body: bytes, content_type: str, status: int, words: str
    ) -> None:
        found, told = ask(port, body, content_type)
        assert found == status
        assert words in told["error"]


def test_exports_of_digits_are_as_they_were(exported: Path) -> None:
    export: Export = open_export(exported / "sum")
    assert json.loads((exported / "sum" / "config.json").read_bytes())["format"] == CONFIG_FORMAT
    assert (export.channels, export.fit, export.labels) == (1, None, {})
    assert export.label("sum", 12) == "12"
