"""Files that anybody may have made: exports, space files, images. Each is used or refused in a sentence,
with exit code 2 or 78, soon, and with bounded reading."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from PIL import Image

from search.errors import ConfigError, UsageError
from search.serve import model as models
from search.serve.demo import make_server
from search.serve.folder import Export, is_export, open_export
from search.serve.image_file import read_image
from search.serve.model import Model
from search.space.defaults import BY_NAME
from search.space.file import MAX_BYTES, read_space

Command = Callable[..., Any]

FUZZ = settings(
    max_examples=300,
    deadline=5000,  # milliseconds: each ends soon
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
FUZZ_OF_JSON = settings(FUZZ, max_examples=100)
"""Drawing a JSON value takes longer than reading it, 15 ms."""


@pytest.fixture
def folder(exported: Path, tmp_path: Path) -> Path:
    """An export to be damaged, beside an image that fits it."""
    shutil.copytree(exported / "twodigit", tmp_path / "export")
    pixels = np.zeros((42, 28), dtype=np.uint8)
    pixels[5:38, 12:15] = 255
    Image.fromarray(pixels).save(tmp_path / "one.png")
    return tmp_path / "export"


def put(folder: Path, name: str, content: bytes) -> None:
    """Writes a file of an export, and its checksum into the manifest."""
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def outcome(work: Callable[[], Any]) -> Any:
    """What the work gives, or the words of its refusal; every other exception fails the test."""
    try:
        return work()
    except (ConfigError, UsageError) as refusal:
        return str(refusal)


def refused(here: Command, folder: Path, code: int = 78) -> str:
    """What `predict` and `demo` say of an export."""
    words = ""
    for command in (["predict", "export", "one.png"], ["demo", "export", "--port", "0"]):
        done = here(*command, cwd=folder.parent)
        assert done.returncode == code, done.stderr
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
        assert "unexpected error" not in done.stderr
        assert done.stderr.count("\n") == 1
        words = done.stderr
    return words


class TestFiles:
    @pytest.mark.parametrize("name", ["manifest.json", "config.json", "model.onnx", "model.pt2", "README.md"])
    @pytest.mark.parametrize("kind", ["fifo", "device", "link", "folder", "gigabytes"])
    def test_what_is_no_plain_file(self, folder: Path, here: Command, name: str, kind: str) -> None:
        shutil.move(folder / name, folder.parent / name)
        match kind:
            case "fifo":
                os.mkfifo(folder / name)
            case "device":
                (folder / name).symlink_to("/dev/zero")
            case "link":
                (folder / name).symlink_to(folder.parent / name)
            case "folder":
                (folder / name).mkdir()
            case "gigabytes":
                with (folder / name).open("wb") as file:
                    file.truncate(10**11)
        assert f"{name} cannot be read (" in refused(here, folder)

    @pytest.mark.parametrize(
        "name", ["../one.png", "/dev/zero", "a/../b", "", ".", "..", "a\0b", "\x1b[31m", "x" * 300]
    )
    def test_a_listed_name_that_leads_elsewhere(self, folder: Path, here: Command, name: str) -> None:
        manifest = json.loads((folder / "manifest.json").read_bytes())
        manifest["files"][name] = {"sha256": "0"}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        words = refused(here, folder)
        assert "lies elsewhere" in words
        assert words.rstrip("\n").isprintable()

    def test_a_manifest_of_many_files(self, folder: Path, here: Command) -> None:
        manifest = json.loads((folder / "manifest.json").read_bytes())
        manifest["files"] |= {f"a{n}": {"sha256": "0"} for n in range(1000)}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        assert "files, more than 32" in refused(here, folder)

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"[" * 100_000, "nested too deeply"),
            (b'{"format": "tune-export-1", "format": "tune-export-1"}', "'format' twice"),
            (b'{"format": "tune-export-1", "trial": NaN}', "NaN is not a number"),
            (b'{"format": "tune-export-1", "trial": ' + b"9" * 5000 + b"}", "digits"),
            (b" " * 2_000_000, "more than 1,000,000 bytes"),
            (b"\xff\xfe\x00", "cannot be read"),
            (b"", "cannot be read"),
            (b'{"format": "' + b"x" * 900_000 + b'"}', "has the format"),
        ],
    )
    def test_json_that_is_odd(self, folder: Path, here: Command, content: bytes, words: str) -> None:
        (folder / "manifest.json").write_bytes(content)
        told = refused(here, folder)
        assert words in told
        assert len(told) < 1000

    def test_an_export_is_not_replaced_by_reading_a_fifo(self, folder: Path, here: Command) -> None:
        (folder / "manifest.json").unlink()
        os.mkfifo(folder / "manifest.json")
        assert is_export(folder) is False
        done = here("export", "twodigit", "--out", "export", "--force", cwd=folder.parent)
        assert done.returncode == 2
        assert "a folder with other things in it" in done.stderr

    @pytest.mark.parametrize("name", ["x" * 300, "one.png/x", ""])
    def test_a_folder_that_cannot_be(self, folder: Path, here: Command, name: str) -> None:
        for command in (
            ["predict", name, "one.png"],
            ["demo", name],
            ["export", "s", "--out", name or "x" * 300],
        ):
            done = here(*command, cwd=folder.parent)
            assert done.returncode == 2, done.stderr
            assert "unexpected error" not in done.stderr


CONFIG = {
    "format": "tune-model-1",
    "task": "twodigit",
    "title": "Two digits",
    "digit_rows": [0, 14],
    "signature": {"image": [1, 42, 28], "numbers": 0, "heads": [["first_digit", 10], ["second_digit", 10]]},
}


def change(**changes: object) -> dict[str, Any]:
    """CONFIG with other values; those of the signature by their names too."""
    signature = {**CONFIG["signature"], **{k: v for k, v in changes.items() if k in CONFIG["signature"]}}  # type: ignore[dict-item]
    return {**CONFIG, **{k: v for k, v in changes.items() if k in CONFIG}, "signature": signature}


class TestConfig:
    @pytest.mark.parametrize(
        "config",
        [
            change(image=[1, 0, 28]),
            change(image=[1, 42, 0]),
            change(image=[0, 42, 28]),
            change(image=[3, 42, 28]),
            change(image=[1, -42, 28]),
            change(image=[1, 10**9, 28]),
            change(image=[1, 10**400, 28]),
            change(image=[1, 42.0, 28]),
            change(image=[True, 42, 28]),
            change(image=[1, "42", 28]),
            change(image=[1, 42]),
            change(image={"1": 1}),
            change(image=None),
            change(heads=[]),
            change(heads=[["first_digit", 0]]),
            change(heads=[["first_digit", 10**9]]),
            change(heads=[["first_digit", 10], ["first_digit", 10]]),
            change(heads=[["first_digit"]]),
            change(heads=[[3, 10]]),
            change(heads=[["", 10]]),
            change(heads=[["\x1b[2J", 10]]),
            change(heads=[["\ud800", 10]]),
            change(heads=[["a", 2]] * 1000),
            change(heads="first_digit"),
            change(numbers=-1),
            change(numbers=10**9),
            change(numbers=True),
            change(numbers=None),
            change(digit_rows=[]),
            change(digit_rows=[15]),
            change(digit_rows=[-1]),
            change(digit_rows=[0] * 1000),
            change(digit_rows=[[0]]),
            change(task=3),
            change(task="a\nb"),
            change(title="x" * 100_000),
            change(format=[]),
            {**CONFIG, "signature": []},
            [],
            3,
        ],
        ids=lambda config: ascii(config)[:60],
    )
    def test_what_no_task_has_is_refused(self, folder: Path, here: Command, config: object) -> None:
        put(folder, "config.json", json.dumps(config).encode())
        words = refused(here, folder)
        assert "config.json cannot be understood (" in words
        assert words.rstrip("\n").isprintable()
        assert len(words) < 1000

    def test_what_fits_another_model_is_refused(self, folder: Path, here: Command) -> None:
        for config, words in (
            (change(heads=[["other", 10]]), "gives no other"),
            (change(numbers=10), "takes {'image': 'tensor(float)'}, not"),
        ):
            put(folder, "config.json", json.dumps(config).encode())
            assert words in refused(here, folder)
        for config, words in (
            (change(heads=[["first_digit", 3]]), "does not give 3 logits of first_digit"),
            (change(image=[1, 50, 28]), "cannot compute an image"),
        ):
            put(folder, "config.json", json.dumps(config).encode())
            model = Model(open_export(folder))
            with pytest.raises(ConfigError, match=words):
                model.answer(np.zeros((model.export.height, 28), dtype=np.uint8))


def onnx_file(nodes: list[onnx.NodeProto], *given: onnx.TensorProto, image: str = "image") -> bytes:
    """A model with the two heads of twodigit; `given`: its initial values."""
    heads = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 10])
        for name in ("first_digit", "second_digit")
    ]
    taken = helper.make_tensor_value_info(image, TensorProto.FLOAT, ["N", 1, 42, 28])
    graph = helper.make_graph(nodes, "crafted", [taken], heads, list(given))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(made.SerializeToString())


def constant(name: str, values: list[float]) -> onnx.NodeProto:
    value = helper.make_tensor("value", TensorProto.FLOAT, [1, len(values)], values)
    return helper.make_node("Constant", [], [name], value=value)


TWICE = helper.make_node("Identity", ["first_digit"], ["second_digit"])


def endless() -> bytes:
    """A loop that a person would not see the end of."""
    truth = helper.make_tensor_value_info("go", TensorProto.BOOL, [])
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Identity", ["v"], ["w"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            truth,
            helper.make_tensor_value_info("v", TensorProto.FLOAT, [1, 10]),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, [1, 10]),
        ],
    )
    return onnx_file(
        [helper.make_node("Loop", ["m", "t", "c"], ["first_digit"], body=body), TWICE],
        helper.make_tensor("m", TensorProto.INT64, [], [2**62]),
        helper.make_tensor("t", TensorProto.BOOL, [], [True]),
        helper.make_tensor("c", TensorProto.FLOAT, [1, 10], [0.0] * 10),
    )


class TestModel:
    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"", "cannot load"),
            (b"not a model", "cannot load"),
            (onnx_file([constant("first_digit", [0.0] * 10), TWICE], image="canvas"), "takes {'canvas'"),
            (onnx_file([constant("first_digit", [float("nan")] * 10), TWICE]), "not finite numbers"),
            (onnx_file([constant("first_digit", [float("inf")] * 10), TWICE]), "not finite numbers"),
            (
                onnx_file([constant("first_digit", [0.0] * 9), TWICE]),
                "does not give 10 logits of first_digit",
            ),
            (endless(), "cannot compute an image"),
        ],
        ids=["empty", "text", "input", "nan", "inf", "shape", "endless"],
    )
    def test_a_model_that_contradicts_its_folder_is_refused(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, here: Command, content: bytes, words: str
    ) -> None:
        monkeypatch.setattr(models, "LONGEST_S", 1.0)
        put(folder, "model.onnx", content)
        done = here("predict", "export", "one.png", cwd=folder.parent)
        assert done.returncode == 78
        assert words in done.stderr
        assert done.stderr.count("\n") == 1

    def test_a_sound_one_still_answers(self, folder: Path, here: Command) -> None:
        put(folder, "model.onnx", onnx_file([constant("first_digit", [0.0] * 9 + [9.0]), TWICE]))
        told = here("predict", "export", "one.png", "--json", cwd=folder.parent).parsed
        assert [head["answer"] for head in told["heads"].values()] == [9, 9]


JSON_VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(-2, 60),
        st.floats(),
        st.text(max_size=20),
        st.sampled_from([10**400, "", "x" * 2000, "../x", "image", "first_digit"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)


def paths(value: object) -> list[tuple[Any, ...]]:
    """The place of each value inside a JSON value."""
    found: list[tuple[Any, ...]] = [()]
    inside = value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else [])
    for key, each in inside:
        found += [(key, *path) for path in paths(each)]
    return found


@st.composite
def mutated(draw: st.DrawFn, value: object) -> object:
    """The value with some of its parts replaced, removed or doubled."""
    value = json.loads(json.dumps(value))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(paths(value)))
        if not path:
            return draw(JSON_VALUES)
        place: Any = value
        for key in path[:-1]:
            place = place[key]
        match draw(st.sampled_from(["replace", "remove", "double"])):
            case "replace":
                place[path[-1]] = draw(JSON_VALUES)
            case "remove":
                del place[path[-1]]
            case "double" if isinstance(place, list):
                place.append(place[path[-1]])
    return value


class TestFuzz:
    @FUZZ_OF_JSON
    @given(data=st.data())
    def test_a_config(self, folder: Path, data: st.DataObject) -> None:
        put(folder, "config.json", json.dumps(data.draw(mutated(CONFIG))).encode())
        self.used_or_refused(folder)

    @FUZZ_OF_JSON
    @given(data=st.data())
    def test_a_manifest(self, folder: Path, exported: Path, data: st.DataObject) -> None:
        manifest = json.loads((exported / "twodigit" / "manifest.json").read_bytes())
        (folder / "manifest.json").write_text(json.dumps(data.draw(mutated(manifest))))
        assert is_export(folder) in (True, False)
        self.used_or_refused(folder)

    @FUZZ
    @given(
        content=st.one_of(
            st.binary(max_size=300), st.text(max_size=300).map(lambda t: t.encode("utf-8", "replace"))
        )
    )
    def test_bytes(self, folder: Path, content: bytes) -> None:
        (folder / "manifest.json").write_bytes(content)
        with pytest.raises((ConfigError, UsageError)):
            open_export(folder)

    @staticmethod
    def used_or_refused(folder: Path) -> None:
        def use() -> Export:
            export = open_export(folder)
            model = Model(export)
            number = 0 if export.numbers else None
            answers = model.answer(np.zeros((export.height, export.width), dtype=np.uint8), number)
            assert list(answers) == [name for name, _ in export.heads]
            with make_server(model, host="127.0.0.1", port=0) as server:
                assert server.port > 0
            return export

        found = outcome(use)
        assert isinstance(found, Export) or (isinstance(found, str) and len(found) < 10_000)


SPACE = """
channels = { low = 16, high = 64, log = true }
lr = { low = 1e-4, high = 1e-1, log = true }
optimizer = ["adamw", "nesterov"]
dropout = 0.25
model = ["mlp", "conv"]
depth.low = 1
depth.high = 3
"""

TOKENS = (
    *(
        "[",
        "]",
        "{",
        "}",
        "=",
        ",",
        ".",
        '"',
        "'",
        '"""',
        "#",
        "\n",
        " ",
        "\\u0041",
        "\\ud800",
        "\0",
        "\x1b",
        "\ufeff",
    ),
    *(
        "inf",
        "-inf",
        "nan",
        "true",
        "false",
        "1e999",
        "-0.0",
        "0x10",
        "1_0",
        "07:32:00",
        "1979-05-27",
        "9" * 5000,
    ),
    *(
        "channels",
        "lr",
        "low",
        "high",
        "log",
        "step",
        "model",
        "mlp",
        "[" * 2000,
        "a." * 2000,
        "1," * 2000,
        "é",
    ),
)


@st.composite
def space_texts(draw: st.DrawFn) -> bytes:
    """A space file in which pieces were replaced, removed or put in."""
    text = SPACE
    for _ in range(draw(st.integers(1, 5))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 8)))
        text = text[:start] + draw(st.one_of(st.sampled_from(TOKENS), st.text(max_size=5))) + text[end:]
    return text.encode("utf-8", "replace")


class TestSpaceFile:
    @FUZZ
    @given(content=st.one_of(space_texts(), st.binary(max_size=200)))
    def test_is_read_or_refused(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "space.toml"
        path.write_bytes(content)
        found = outcome(lambda: read_space(path))
        if isinstance(found, str):
            assert found.startswith(f"{path}: ")
            assert len(found) < 20_000
        else:
            assert set(found.domains) <= set(BY_NAME)

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"channels = " + b"[" * 5000, "nested too deeply"),
            (b"channels = " + b"{a = " * 5000, "nested too deeply"),
            (b"channels = " + b"9" * 5000, "a number has thousands of digits"),
            (b"channels = " + b"9" * 4000, "must be a whole number from 1 to 1024, not 9999"),
            (b"lr = " + b"9" * 4000, "must be a number from 1e-07 to 100, not 9999"),
            (b"a" + b".a" * 30_000 + b" = 1", "a key has more than 20 parts"),
            (b"lr = {" + b'"\\"" . ' * 5_000 + b"a = 1}", "a key has more than 20 parts"),
            (b"channels = [" + b"1," * 200_000 + b"]", f"it has more than {MAX_BYTES:,} bytes"),
            (b"channels = [" + b"1," * 20_000 + b"]", "a list may have 1,000 options, not 20,000"),
            (b"channels = [" + b"-1," * 900 + b"]", "and more"),
            (b"\n".join(b"a%d = 1" % n for n in range(5000)), "and more"),
            (b"optimizer = '" + b"x" * 60_000 + b"'", "must be one of sgd"),
            (b"channels = {low = 8, high = 16, step = 9}", "step must be at most 8, not 9"),
            (
                b"channels = {low = 8, high = 16, step = " + b"9" * 4000 + b"}",
                "step must be at most 8, not 999",
            ),
            (b"lr = {low = nan, high = inf}", "low must be a number from 1e-07 to 100, not nan"),
            ("dropout = 0.25".encode("utf-16"), "UTF-8 is expected"),
        ],
        ids=lambda value: ascii(value)[:40],
    )
    def test_says_what_is_wrong(self, tmp_path: Path, here: Command, content: bytes, words: str) -> None:
        (tmp_path / "space.toml").write_bytes(content)
        done = here("run", "--task", "twodigit", "--space", "space.toml", cwd=tmp_path)
        assert done.returncode == 78, done.stderr
        assert words in done.stderr
        assert len(done.stderr) < 20_000
        assert not (tmp_path / "studies.db").exists()

    @pytest.mark.parametrize("name", ["fifo", "/dev/zero", ".", "none", "x" * 300])
    def test_must_be_a_file(self, tmp_path: Path, here: Command, name: str) -> None:
        os.mkfifo(tmp_path / "fifo")
        done = here("run", "--task", "twodigit", "--space", name, cwd=tmp_path)
        assert done.returncode == 78, done.stderr
        assert "cannot be read (" in done.stderr

    def test_may_begin_with_a_mark(self, tmp_path: Path) -> None:
        (tmp_path / "plain.toml").write_bytes(SPACE.encode())
        (tmp_path / "marked.toml").write_bytes(b"\xef\xbb\xbf" + SPACE.replace("\n", "\r\n").encode())
        assert read_space(tmp_path / "marked.toml") == read_space(tmp_path / "plain.toml")


def packed(kind: str, mode: str = "L") -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.arange(784, dtype=np.uint8).reshape(28, 28)).convert(mode).save(file, kind)
    return file.getvalue()


IMAGES = [packed("PNG"), packed("PNG", "P"), packed("PNG", "RGBA"), packed("JPEG"), packed("JPEG", "CMYK")]


@st.composite
def images(draw: st.DrawFn) -> bytes:
    """An image file in which bytes were changed, put in or cut off."""
    content = bytearray(draw(st.sampled_from(IMAGES)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(content)))
        content[place : place + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
    return bytes(content[: draw(st.one_of(st.none(), st.integers(0, len(content))))])


class TestImageFile:
    @FUZZ
    @given(content=st.one_of(images(), st.binary(max_size=100)))
    def test_is_read_or_refused(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "picture"
        path.write_bytes(content)
        found = outcome(lambda: read_image(path, height=28, width=28))
        assert str(path) in found if isinstance(found, str) else found.pixels.shape == (28, 28)

    @pytest.mark.parametrize(
        "name", ["fifo", "/dev/zero", "/dev/null", "sparse", "text", "scans.jpg", "x" * 300]
    )
    def test_must_be_an_image_file(self, folder: Path, here: Command, name: str) -> None:
        beside = folder.parent
        os.mkfifo(beside / "fifo")
        (beside / "text").write_text("seven")
        with (beside / "sparse").open("wb") as file:
            file.truncate(10**11)
        (beside / "scans.jpg").write_bytes(packed("JPEG")[:-2] + b"\xff\xda\0\2" * 200 + b"\xff\xd9")
        done = here("predict", "export", name, cwd=beside)
        assert done.returncode == 78, done.stderr
        assert done.stderr.count("\n") == 1
        assert "cannot be read as an image" in done.stderr or "is not a PNG" in done.stderr


class TestOutputs:
    @pytest.mark.parametrize("name", ["fifo", "device", "dangling"])
    def test_what_is_no_file_is_never_replaced(
        self, exported: Path, here: Command, tmp_path: Path, name: str
    ) -> None:
        shutil.copy(exported / "studies.db", tmp_path)
        out = tmp_path / f"{name}.png"
        match name:
            case "fifo":
                os.mkfifo(out)
            case "device":
                out.symlink_to("/dev/null")
            case "dangling":
                out.symlink_to("nowhere")
        before = out.lstat()
        for command in (["report", "twodigit"], ["compare", "twodigit", "again"], ["data", "show"]):
            for force in ([], ["--force"]):
                done = here(*command, "--out", out.name, *force, cwd=tmp_path)
                assert done.returncode == 2, done.stderr
                assert "exists and is not a regular file" in done.stderr
        after = out.lstat()  # reading it may change its access time
        assert (after.st_mode, after.st_ino, after.st_mtime_ns) == (
            before.st_mode,
            before.st_ino,
            before.st_mtime_ns,
        )

    def test_behind_a_link_its_file_is_written(self, exported: Path, here: Command, tmp_path: Path) -> None:
        shutil.copy(exported / "studies.db", tmp_path)
        (tmp_path / "page.html").write_text("old")
        (tmp_path / "link.html").symlink_to("page.html")
        done = here("compare", "twodigit", "again", "--out", "link.html", "--force", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "link.html").is_symlink()
        assert "<html" in (tmp_path / "page.html").read_text()

    def test_a_name_that_is_too_long(self, exported: Path, here: Command, tmp_path: Path) -> None:
        shutil.copy(exported / "studies.db", tmp_path)
        for command in (["report", "twodigit"], ["compare", "twodigit", "again"], ["data", "show"]):
            done = here(*command, "--out", "x" * 300 + ".png", cwd=tmp_path)
            assert done.returncode == 2
            assert "cannot be written: File name too long" in done.stderr
