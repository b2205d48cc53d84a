"""Any image file becomes light ink on black, or is refused; and everything that was done is told."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search.errors import ConfigError, UsageError
from search.serve.image_file import read_image

SEVEN = np.zeros((28, 28), dtype=np.uint8)
SEVEN[6:9, 8:20] = 200
SEVEN[9:22, 15:18] = 255
SEVEN[9:22, 14] = 90


def read(path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    image = read_image(path, height=28, width=28)
    assert image.pixels.dtype == np.uint8
    assert image.pixels.shape == (28, 28)
    return image.pixels, image.notes


def gray() -> Image.Image:
    return Image.fromarray(SEVEN)


def colored(ink: tuple[int, int, int], background: tuple[int, int, int]) -> Image.Image:
    return Image.composite(Image.new("RGB", (28, 28), ink), Image.new("RGB", (28, 28), background), gray())


def transparent(ink: str, *, opaque_background: str | None = None) -> Image.Image:
    image = Image.new("RGBA", (28, 28), opaque_background or (0, 0, 0, 0))
    if opaque_background is not None:
        image.putpixel((14, 14), (0, 0, 0, 0))
        image.paste(Image.new("RGBA", (28, 28), ink), mask=gray())
        return image
    image = Image.new("RGBA", (28, 28), ink)
    image.putalpha(gray())
    return image


def palette() -> Image.Image:
    return colored((250, 250, 0), (0, 0, 60)).convert("P", palette=Image.Palette.ADAPTIVE)


def sixteen_bits() -> Image.Image:
    return Image.fromarray(SEVEN.astype(np.uint16) * 257)


EXACT = 0
"""Largest difference of a pixel from SEVEN."""


@pytest.mark.parametrize(
    ("make", "notes", "within"),
    [
        (gray, [], EXACT),
        (lambda: Image.fromarray(255 - SEVEN), ["inverted"], EXACT),
        (lambda: gray().convert("RGB"), [], EXACT),
        (lambda: Image.fromarray(255 - SEVEN).convert("RGB"), ["inverted"], EXACT),
        (lambda: colored((255, 255, 255), (0, 0, 0)), [], EXACT),
        (lambda: colored((255, 255, 0), (0, 0, 0)), ["colored"], 40),
        (lambda: colored((0, 0, 120), (255, 255, 255)), ["colored", "inverted"], 40),
        (lambda: gray().convert("RGBA"), [], EXACT),
        (lambda: transparent("black"), ["laid on white", "inverted"], 1),
        (lambda: transparent("white"), ["laid on black"], 1),
        (lambda: transparent("navy"), ["laid on white", "colored", "inverted"], 40),
        (lambda: transparent("black", opaque_background="white"), ["laid on white", "inverted"], 255),
        (sixteen_bits, ["reduced to 8 bits"], 1),
        (palette, ["colored"], 60),
        (lambda: gray().point(lambda shade: 255 * (shade > 50), mode="1"), [], 165),
        (lambda: gray().resize((112, 112), Image.Resampling.NEAREST), ["from 112×112 to 28×28"], EXACT),
        (lambda: gray().resize((281, 280), Image.Resampling.NEAREST), ["from 281×280 to 28×28"], 60),
        (lambda: gray().point(lambda shade: shade // 12), ["do not trust"], 255),
    ],
)
def test_what_is_done_is_told(
    tmp_path: Path, make: Callable[[], Image.Image], notes: list[str], within: int
) -> None:
    make().save(tmp_path / "seven.png")
    pixels, told = read(tmp_path / "seven.png")
    assert len(told) == len(notes), told
    for words, note in zip(notes, told, strict=True):
        assert words in note
        assert note.endswith(".")
    assert int(np.abs(pixels.astype(int) - SEVEN).max()) <= within
    assert pixels[0].max() < 30, "the border is background"


def test_a_jpeg_is_read_and_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # taken with the camera on its side
    big = gray().resize((280, 280), Image.Resampling.NEAREST)
    big.rotate(90).save(tmp_path / "seven.jpg", quality=95, exif=exif)
    pixels, told = read(tmp_path / "seven.jpg")
    assert told[0].startswith("It was turned upright")
    assert int(np.abs(pixels.astype(int) - SEVEN).max()) <= 12


def with_exif(exif: bytes) -> bytes:
    """SEVEN as a PNG file with these notes of its camera."""
    file = io.BytesIO()
    gray().save(file, "PNG")
    head, end = file.getvalue()[:-12], file.getvalue()[-12:]
    chunk = b"eXIf" + exif
    return head + struct.pack(">I", len(exif)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + end


TURNED = bytes.fromhex("4d4d002a00000008 0001 0112 0003 00000001 0006 0000 00000000")
"""Notes of one entry: the camera was on its side."""


@pytest.mark.parametrize("length", [*range(len(TURNED) - 4), "not EXIF", "no such orientation"])
def test_notes_of_the_camera_that_mean_nothing_are_left_alone(tmp_path: Path, length: int | str) -> None:
    notes = {"not EXIF": b"seven", "no such orientation": TURNED.replace(b"\x00\x06", b"\x00\x09")}
    exif = TURNED[:length] if isinstance(length, int) else notes[length]
    (tmp_path / "seven.png").write_bytes(with_exif(exif))
    pixels, told = read(tmp_path / "seven.png")
    assert told == ()
    assert (pixels == SEVEN).all()


def test_a_note_that_is_damaged_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    """The second one, a resolution, lies beyond the end."""
    beyond = bytes.fromhex("011a 0005 00000001 0000ffff")
    (tmp_path / "seven.png").write_bytes(
        with_exif(TURNED[:8] + b"\x00\x02" + TURNED[10:22] + beyond + bytes(4))
    )
    pixels, told = read(tmp_path / "seven.png")
    assert told == ("It was turned upright, as its camera says.",)
    assert (pixels == np.rot90(SEVEN, -1)).all()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: gray().crop((0, 0, 28, 20)), "a smaller one lacks"),
        (lambda: gray().resize((14, 14)), "14 wide and 14 high"),
        (lambda: gray().resize((42, 28)), "would have to be distorted"),
        (lambda: gray().resize((300, 280)), "28 pixels wide and 28 high"),
        (lambda: Image.new("L", (28, 28), 77), "all its pixels have the same shade"),
        (lambda: Image.new("RGBA", (28, 28), (9, 9, 9, 0)), "wholly transparent"),
        (lambda: Image.new("1", (5000, 5000)), "more than 4096 pixels"),
    ],
)
def test_what_cannot_be_made_to_fit_is_refused(
    tmp_path: Path, make: Callable[[], Image.Image], words: str
) -> None:
    make().save(tmp_path / "x.png")
    with pytest.raises(UsageError, match=words) as refusal:
        read(tmp_path / "x.png")
    assert str(tmp_path / "x.png") in str(refusal.value)


def test_a_missing_image_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no image"):
        read(tmp_path / "none.png")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("text.png", b"seven", "it is not a PNG, JPEG, GIF"),
        ("empty.png", b"", "cannot be read as an image: it is empty"),
        ("cut.png", 60, "cannot be read as an image"),
        ("seven.ppm", "PPM", "it is not a PNG, JPEG, GIF"),
    ],
)
def test_what_is_no_image_is_refused(tmp_path: Path, name: str, content: object, words: str) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        gray().save(path, format="PNG" if isinstance(content, int) else str(content))
        if isinstance(content, int):
            path.write_bytes(path.read_bytes()[:content])
    with pytest.raises(ConfigError, match=words):
        read(path)


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read as an image"):
        read(tmp_path)
